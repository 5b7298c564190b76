package filestorage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/zodb"
)

// loadIndex reads the index file, and reports whether it fits the data file, of
// which there are size bytes. If so, g.end and g.head are those of the index.
func (s *Storage) loadIndex(g *generation, size int64) bool {
	x, covers, err := s.readIndex()
	if errors.Is(err, fs.ErrNotExist) || (err == nil && covers < minIndexed) {
		return false
	}
	var head zodb.TID
	if err == nil {
		head, err = checkIndex(g, x, covers, size)
	}
	if err != nil {
		s.opts.Logger.Warn("the index file is of no use; reading the whole file", "file", s.path, "reason", err)
		return false
	}
	g.index, g.end, g.head = x, covers, head
	s.saved.Store(covers)
	return true
}

func (s *Storage) readIndex() (*index, int64, error) {
	f, err := s.fs.OpenFile(s.path+".index", os.O_RDONLY, 0)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	x := newIndex()
	covers, err := datafs.ReadIndex(f, x.addBucket)
	return x, covers, err
}

// minIndexed is the size of a data file below which an index is not used, as in
// Python.
const minIndexed = 100

// checkIndex compares the index with the last transaction before the position up
// to which it covers the file that has records, as Python does, and returns the
// last tid there.
func checkIndex(g *generation, x *index, covers, size int64) (zodb.TID, error) {
	if covers > size {
		return 0, fmt.Errorf("it covers %d bytes of %d", covers, size)
	}
	w := datafs.NewWindow(g.file, 1<<14)
	head := zodb.TID(0)
	for end := covers; end > datafs.MagicSize; {
		pos, err := txnBefore(w, g.name, end)
		if err != nil {
			return 0, err
		}
		sc := datafs.NewScanner(w, g.name, pos, end, 0)
		if !sc.Txn() {
			return 0, sc.Err()
		}
		if head == 0 {
			head = sc.Head.TID
		}
		checked, err := checkTxnIndex(sc, x)
		if checked || err != nil {
			return head, err
		}
		end = pos
	}
	return head, nil
}

// checkTxnIndex compares the index with some records of the transaction at sc,
// and reports whether there were any.
func checkTxnIndex(sc *datafs.Scanner, x *index) (checked bool, err error) {
	for range 5 {
		if !sc.Record() {
			break
		}
		checked = true
		if pos := x.get(sc.Rec.OID); pos != sc.Pos {
			return checked, fmt.Errorf("object %v is at %d and not at %d", sc.Rec.OID, sc.Pos, pos)
		}
	}
	return checked, sc.Err()
}

// txnBefore returns the position of the transaction that ends at end.
func txnBefore(w *datafs.Window, name string, end int64) (int64, error) {
	pos := end - datafs.TrailerSize
	if pos < datafs.MagicSize+datafs.TxnHeaderSize {
		return 0, datafs.Corrupt(name, "transaction trailer", pos, errors.New("it lies outside of the file"))
	}
	b, err := w.AtBack(pos, datafs.TrailerSize)
	if err != nil {
		return 0, datafs.ReadError(name, "transaction trailer", pos, err)
	}
	length := binary.BigEndian.Uint64(b)
	if length < datafs.TxnHeaderSize || length > uint64(pos-datafs.MagicSize) {
		return 0, datafs.Corrupt(name, "transaction trailer", pos, fmt.Errorf("a transaction of %d bytes does not fit before it", length))
	}
	return pos - int64(length), nil
}

// saveIndex writes the index file, if there is anything new.
func (s *Storage) saveIndex() error {
	s.saveMu.Lock()
	defer s.saveMu.Unlock()
	data, end := s.encodeIndex()
	if data == nil || end == s.saved.Load() {
		return nil
	}
	if err := s.replaceFile(s.path+".index", s.path+".index.index_tmp", data); err != nil {
		return fmt.Errorf("saving the index: %w", err)
	}
	s.saved.Store(end)
	return nil
}

// encodeIndex returns the index file for this moment, nil if the storage is
// closed.
func (s *Storage) encodeIndex() ([]byte, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gen
	if g == nil {
		return nil, 0
	}
	g.index.sort()
	var buf bytes.Buffer
	buf.Grow(g.index.n*8 + len(g.index.keys)*24 + 64)
	w := datafs.NewIndexWriter(&buf, g.end)
	g.index.buckets(w.Bucket) // a bytes.Buffer returns no errors
	w.Close()
	return buf.Bytes(), g.end
}

// saveIndexOnClose saves the index; that it cannot costs the next start time and
// nothing else.
func (s *Storage) saveIndexOnClose() {
	if err := s.saveIndex(); err != nil {
		s.opts.Logger.Warn("the index could not be saved; the next start will take longer", "file", s.path, "error", err)
	}
}

// saveIndexLater saves the index in the background when enough was appended.
func (s *Storage) saveIndexLater(end int64) {
	if end-s.saved.Load() < s.opts.IndexEvery || !s.saving.CompareAndSwap(false, true) {
		return
	}
	s.wg.Go(func() {
		defer s.saving.Store(false)
		s.saveIndexOnClose()
	})
}

func (s *Storage) removeIndex() error { return ifExists(s.fs.Remove(s.path + ".index")) }

// replaceFile writes a file durably under another name and puts it in place.
func (s *Storage) replaceFile(name, temp string, data []byte) error {
	f, err := s.fs.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		s.fs.Remove(temp)
		return noSpace(err)
	}
	if err := s.fs.Rename(temp, name); err != nil {
		return err
	}
	return s.fs.SyncDir(filepath.Dir(name))
}
