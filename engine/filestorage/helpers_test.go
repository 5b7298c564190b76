package filestorage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// unsynced is a file system where syncing costs nothing.
type unsynced struct{ vfs.FS }

type unsyncedFile struct{ vfs.File }

func (unsynced) SyncDir(string) error { return nil }
func (unsyncedFile) Sync() error      { return nil }
func (unsyncedFile) Datasync() error  { return nil }

func (u unsynced) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := u.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return unsyncedFile{f}, nil
}

// countingFS counts the bytes that are read.
type countingFS struct {
	vfs.FS
	n atomic.Int64
}

type countingFile struct {
	vfs.File
	n *atomic.Int64
}

func (c *countingFS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := c.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return countingFile{f, &c.n}, nil
}

func (f countingFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(b, off)
	f.n.Add(int64(n))
	return n, err
}

const dataFile = "/d/Data.fs"

// disk returns an empty file system in memory with the folder of dataFile.
func disk(t testing.TB) *vfs.MemFS {
	t.Helper()
	m := vfs.Mem()
	if err := m.MkdirAll("/d", 0o777); err != nil {
		t.Fatal(err)
	}
	return m
}

func openOn(t testing.TB, fsys vfs.FS) *Storage {
	t.Helper()
	return open(t, Options{Path: dataFile, FS: fsys})
}

func open(t testing.TB, o Options) *Storage {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func closed(t testing.TB, s *Storage) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// put makes a record.
func put(oid zodb.OID, data string) txnlog.Record {
	return txnlog.Record{OID: oid, Data: []byte(data)}
}

func drop(oid zodb.OID) txnlog.Record { return txnlog.Record{OID: oid, Kind: txnlog.Delete} }

func back(oid zodb.OID, data string, from zodb.TID) txnlog.Record {
	return txnlog.Record{OID: oid, Data: []byte(data), From: from}
}

func txn(tid zodb.TID, records ...txnlog.Record) *txnlog.Txn {
	return &txnlog.Txn{
		TID: tid, Status: ' ', User: []byte("user"), Description: fmt.Appendf(nil, "transaction %d", tid),
		Extension: []byte("\x80\x03}."), Records: records,
	}
}

func appendTo(t testing.TB, s *Storage, batch ...*txnlog.Txn) {
	t.Helper()
	if n, err := s.Append(t.Context(), batch, nil); n != len(batch) || err != nil {
		t.Fatalf("Append of %d: %d, %v", len(batch), n, err)
	}
}

// load returns what LoadBefore says, in words.
func load(t testing.TB, s *Storage, oid zodb.OID, before zodb.TID) string {
	t.Helper()
	rec, err := s.LoadBefore(t.Context(), oid, before)
	missing, ok := errors.AsType[*zodb.NoObjectError](err)
	switch {
	case ok && missing.DeletedAt != 0:
		return fmt.Sprintf("deleted at %d", missing.DeletedAt)
	case ok && missing.Known:
		return "not yet"
	case ok:
		return "unknown"
	case err != nil:
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %d-%d", rec.Data, rec.Serial, rec.Next)
}

func wantLoad(t testing.TB, s *Storage, oid zodb.OID, before zodb.TID, want string) {
	t.Helper()
	if got := load(t, s, oid, before); got != want {
		t.Errorf("LoadBefore(%v, %d): %q, want %q", oid, before, got, want)
	}
}

// scan returns what Scan yields, a line for each transaction.
func scan(t testing.TB, s *Storage, from zodb.TID, dir store.Direction) (lines []string) {
	t.Helper()
	for x, err := range s.Scan(t.Context(), from, dir) {
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%d%c", x.TID, x.Status)
		for _, r := range x.Records {
			line += fmt.Sprintf(" %d<%d:", uint64(r.OID), r.Prev)
			switch {
			case r.Kind == txnlog.Delete:
				line += "-"
			case r.From != 0:
				line += fmt.Sprintf("%s=%d", r.Data, r.From)
			default:
				line += string(r.Data)
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func readFile(t testing.TB, fsys vfs.FS, name string) []byte {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t testing.TB, fsys vfs.FS, name string, data []byte) {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
}

func exists(t testing.TB, fsys vfs.FS, name string) bool {
	t.Helper()
	_, err := fsys.Stat(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

// logged is a log that can be searched.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logged) want(t testing.TB, parts ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range parts {
		if !strings.Contains(l.buf.String(), p) {
			t.Errorf("the log has no %q:\n%s", p, l.buf.String())
		}
	}
}
