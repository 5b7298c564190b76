package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zaridb/zari/storages"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// zari runs a command line and returns its exit status and output.
func zari(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&errOut)
	err := root.ExecuteContext(t.Context())
	if err != nil {
		errOut.WriteString("zari: " + err.Error() + "\n")
	}
	return exitCode(err), out.String(), errOut.String()
}

// zariOK runs a command line that must succeed, and returns its output.
func zariOK(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := zari(t, args...)
	if code != exitOK {
		t.Fatalf("zari %s: exit status %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// sample is a database of the tests.
type sample struct {
	path string // a URL
	tids []zodb.TID
}

// newSample makes a database in dir: three transactions on the objects 0 and 1,
// one that makes the blob 2, one that undoes the third.
func newSample(t *testing.T, dir string) *sample {
	t.Helper()
	s := &sample{path: fileURL(dir)}
	st := s.open(t)
	defer st.Close()
	for i := range 3 {
		s.commit(t, st, "edit number "+string(rune('0'+i)), func(txn zodb.Txn) error {
			for oid := range zodb.OID(2) {
				if err := txn.Store(context.Background(), oid, s.last(), record(t, "app.Document", i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	s.commit(t, st, "a blob", func(txn zodb.Txn) error {
		blobs, _ := zodb.As[zodb.BlobStore](st)
		temp, err := blobs.BlobTempDir()
		if err != nil {
			return err
		}
		path := filepath.Join(temp, "new")
		if err := os.WriteFile(path, []byte("contents of the blob"), 0o600); err != nil {
			return err
		}
		b, _ := zodb.As[zodb.BlobTxn](txn)
		return b.StoreBlob(context.Background(), 2, 0, record(t, "ZODB.blob.Blob", 0), path)
	})
	s.commit(t, st, "undo", func(txn zodb.Txn) error {
		u, _ := zodb.As[zodb.UndoTxn](txn)
		return u.Undo(context.Background(), s.tids[2])
	})
	return s
}

func fileURL(dir string) string {
	return "file://" + filepath.Join(dir, "Data.fs") + "?blobstorage_dir=" + filepath.Join(dir, "blobs")
}

func record(t *testing.T, class string, i int) []byte {
	t.Helper()
	dot := strings.LastIndex(class, ".")
	data, err := pickle.EncodeRecord(&pickle.Global{Module: class[:dot], Name: class[dot+1:]}, int64(i))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (s *sample) last() zodb.TID {
	if len(s.tids) == 0 {
		return 0
	}
	return s.tids[len(s.tids)-1]
}

func (s *sample) open(t *testing.T) zodb.Storage {
	t.Helper()
	st, err := storages.OpenURL(context.Background(), s.path, storages.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func (s *sample) commit(t *testing.T, st zodb.Storage, description string, fill func(zodb.Txn) error) {
	t.Helper()
	txn, err := st.Begin(context.Background(), zodb.TxnMeta{User: []byte("/ admin"), Description: []byte(description)})
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	if err := fill(txn); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Vote(context.Background()); err != nil {
		t.Fatal(err)
	}
	tid, err := txn.Finish(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.tids = append(s.tids, tid)
}

// more commits one more transaction.
func (s *sample) more(t *testing.T) {
	t.Helper()
	st := s.open(t)
	defer st.Close()
	s.commit(t, st, "more", func(txn zodb.Txn) error {
		return txn.Store(context.Background(), 3, 0, record(t, "app.Folder", len(s.tids)))
	})
}

// runExamples runs the examples of a command's help, with replacements in them;
// each must succeed.
func runExamples(t *testing.T, examples string, replace ...string) {
	t.Helper()
	n := 0
	for line := range strings.Lines(examples) {
		line = strings.NewReplacer(replace...).Replace(strings.TrimSpace(line))
		line, _, _ = strings.Cut(line, "  #")
		rest, ok := strings.CutPrefix(line, "zari ")
		if !ok {
			continue
		}
		rest, _, _ = strings.Cut(rest, " | ")
		rest = strings.TrimSpace(rest)
		n++
		zariOK(t, words(rest)...)
	}
	if n == 0 {
		t.Error("there are no examples")
	}
}

// words splits a command line as a shell does, as far as examples need it.
func words(line string) (list []string) {
	quoted := false
	word := ""
	for _, r := range line {
		switch {
		case r == '\'':
			quoted = !quoted
		case r == ' ' && !quoted:
			if word != "" {
				list = append(list, word)
			}
			word = ""
		default:
			word += string(r)
		}
	}
	return append(list, word)
}
