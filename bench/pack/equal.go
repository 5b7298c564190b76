package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/zodb"
)

// equal compares two packed files: every transaction and every record of those that
// were there before the packs. It returns how many records there are. Behind them
// each file has the commits that were made during its pack.
func equal(a, b string, committedA, committedB int) (records int, err error) {
	x, err := openWalk(a)
	if err != nil {
		return 0, err
	}
	defer x.file.Close()
	y, err := openWalk(b)
	if err != nil {
		return 0, err
	}
	defer y.file.Close()
	for x.next() && y.next() {
		if err := x.same(y); err != nil {
			return records, err
		}
		records += len(x.records)
	}
	for ; x.more && y.next(); x.next() {
		return records, fmt.Errorf("%s has more transactions", a)
	}
	if x.more || y.next() {
		return records, fmt.Errorf("one file has more transactions than the other: %s is at %v, %s at %v", a, x.Head.TID, b, y.Head.TID)
	}
	for _, w := range []struct {
		*walk
		commits int
	}{{x, committedA}, {y, committedB}} {
		if err := w.Err(); err != nil {
			return records, err
		}
		if w.written != w.commits {
			return records, fmt.Errorf("%s has %d commits made during the pack, and %d were acknowledged", w.path, w.written, w.commits)
		}
	}
	return records, nil
}

// walk goes through the transactions of a file, those of the writer aside.
type walk struct {
	*datafs.Scanner
	path    string
	file    *os.File
	text    []byte
	records []record
	more    bool
	written int
}

type record struct {
	oid  zodb.OID
	prev bool
	data []byte
}

func openWalk(path string) (*walk, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	sc := datafs.NewScanner(datafs.NewWindow(f, 1<<20), path, datafs.MagicSize, info.Size(), 0)
	return &walk{Scanner: sc, path: path, file: f}, nil
}

func (w *walk) next() bool {
	for w.Txn() {
		text, err := w.Window.Copy(w.TxnPos+datafs.TxnHeaderSize, int(w.Head.HeaderLen()-datafs.TxnHeaderSize))
		if err != nil {
			return false
		}
		w.text, w.records = text, w.records[:0]
		for w.Record() {
			data, err := w.Window.Copy(w.Pos+datafs.DataHeaderSize, int(w.Rec.DataLen))
			if err != nil {
				return false
			}
			w.records = append(w.records, record{w.Rec.OID, w.Rec.Prev != 0, data})
		}
		if string(w.text) != "written" {
			w.more = w.Err() == nil
			return w.more
		}
		w.written++
	}
	w.more = false
	return false
}

func (w *walk) same(o *walk) error {
	if w.Head != o.Head || !bytes.Equal(w.text, o.text) || len(w.records) != len(o.records) {
		return fmt.Errorf("transaction %+v of %s with %d records, and %+v of %s with %d", w.Head, w.path, len(w.records), o.Head, o.path, len(o.records))
	}
	for i, r := range w.records {
		if s := o.records[i]; r.oid != s.oid || r.prev != s.prev || !bytes.Equal(r.data, s.data) {
			return fmt.Errorf("transaction %v: the records of object %v and %v differ", w.Head.TID, r.oid, s.oid)
		}
	}
	return nil
}

// equalBlobs compares the names of the blobs in two directories.
func equalBlobs(a, b string) (n int, err error) {
	x, err := blobNames(a)
	if err != nil {
		return 0, err
	}
	y, err := blobNames(b)
	if err != nil {
		return 0, err
	}
	for name := range x {
		if !y[name] {
			return 0, fmt.Errorf("%s is in %s and not in %s", name, a, b)
		}
	}
	if len(x) != len(y) {
		return 0, fmt.Errorf("%s has %d blobs, %s has %d", a, len(x), b, len(y))
	}
	return len(x), nil
}

func blobNames(dir string) (map[string]bool, error) {
	names := make(map[string]bool)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && strings.HasSuffix(path, ".blob") {
			name, err := filepath.Rel(dir, path)
			names[name] = true
			return err
		}
		return err
	})
	return names, err
}
