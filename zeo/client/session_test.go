package client_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zeo/client"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// put commits one revision.
func put(t *testing.T, s zodb.Storage, oid zodb.OID, serial zodb.TID, data string) zodb.TID {
	t.Helper()
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		t.Fatalf("Begin: %v", err)
	}
	defer txn.Abort()
	if err := txn.Store(t.Context(), oid, serial, []byte(data)); err != nil {
		t.Fatal(err)
	}
	if votes, err := txn.Vote(t.Context()); err != nil || len(votes.Conflicts) > 0 {
		t.Fatalf("Vote: %+v, %v", votes, err)
	}
	tid, err := txn.Finish(t.Context(), nil)
	if err != nil {
		t.Fatalf("Finish: %v", err)
	}
	return tid
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not happen", what)
		}
	}
}

// changes collects what an observer is told.
func changes(s *client.Storage) (<-chan zodb.Change, func()) {
	told := make(chan zodb.Change, 1000)
	_, stop := s.Observe(func(c zodb.Change) { told <- c })
	return told, stop
}

// What happened while the connection was away is told as one change, with its
// objects if the server knows them.
func TestMissedChanges(t *testing.T) {
	base := memory(t)
	u := serve(t, base, wire.Pickle)
	s := open(t, client.Options{Addresses: []string{u.addr}, MinRetry: time.Millisecond, MaxRetry: 10 * time.Millisecond})
	defer s.Close()
	first := put(t, s, 1, 0, "one")
	if _, err := s.LoadBefore(t.Context(), 1, zodb.MaxTID); err != nil {
		t.Fatal(err)
	}
	told, stop := changes(s)
	defer stop()
	u.stop()
	put(t, base, 2, 0, "two")
	last := put(t, base, 1, first, "three")
	if rec, err := s.LoadBefore(t.Context(), 1, zodb.MaxTID); err != nil || rec.Serial != first || rec.AsOf >= last {
		t.Errorf("while there is no server: %+v, %v; want what is in memory, as of then", rec, err)
	}
	u.start()
	c := <-told
	if c.Missed != zodb.MissedListed || c.TID != last || len(c.OIDs) != 2 {
		t.Errorf("told of %+v, want objects 1 and 2 as missed up to %v", c, last)
	}
	eventually(t, "the new position", func() bool { return s.LastTID() == last })
	if rec, err := s.LoadBefore(t.Context(), 1, zodb.MaxTID); err != nil || rec.Serial != last {
		t.Errorf("after it: %+v, %v", rec, err)
	}
	u.stop()
	serial := zodb.TID(0)
	for i := range 150 { // more than the server's queue
		serial = put(t, base, 3, serial, fmt.Sprint(i))
	}
	u.start()
	if c := <-told; c.Missed != zodb.MissedUnknown || c.TID != serial {
		t.Errorf("told of %+v, want something unknown up to %v", c, serial)
	}
}

// A server whose data are older than what was seen is refused.
func TestServerBehind(t *testing.T) {
	base, old := memory(t), memory(t)
	u := serve(t, base, wire.Pickle)
	serve(t, old, wire.Pickle)
	s := open(t, client.Options{Addresses: []string{u.addr}, MinRetry: time.Millisecond, MaxRetry: 10 * time.Millisecond, WaitTimeout: 200 * time.Millisecond})
	defer s.Close()
	put(t, old, 1, 0, "old")
	last := put(t, s, 1, 0, "one")
	u.stop()
	u.storage = old
	u.start()
	var behind *client.BehindError
	eventually(t, "the refusal", func() bool {
		_, err := s.LoadBefore(t.Context(), 2, zodb.MaxTID)
		return errors.As(err, &behind)
	})
	if behind.Here != last || behind.Server >= last || s.LastTID() != last {
		t.Errorf("%v; LastTID is %v, want %v", behind, s.LastTID(), last)
	}
	u.stop()
	u.storage = base
	u.start()
	eventually(t, "the return of the right server", func() bool {
		_, err := s.NewOIDs(t.Context(), 1)
		return err == nil
	})
}

// A server that can only be read will do until there is one that can be written.
func TestReadOnlyFallback(t *testing.T) {
	base := memory(t)
	put(t, base, 1, 0, "one")
	readOnly, writable := serveReadOnly(t, base), serve(t, base, wire.Pickle)
	writable.stop()
	opts := client.Options{Addresses: []string{writable.addr, readOnly}, MinRetry: time.Millisecond, MaxRetry: 20 * time.Millisecond}
	opts.WaitTimeout = 200 * time.Millisecond
	if _, err := client.Open(t.Context(), client.Options{Addresses: opts.Addresses, Wait: true, WaitTimeout: opts.WaitTimeout}); !errors.Is(err, zodb.ErrReadOnly) {
		t.Errorf("Open without fallback: %v, want %v", err, zodb.ErrReadOnly)
	}
	opts.ReadOnlyFallback = true
	opts.WaitTimeout = 20 * time.Second
	s := open(t, opts)
	defer s.Close()
	if !s.Info().ReadOnly {
		t.Error("not read-only")
	}
	if _, err := s.Begin(t.Context(), zodb.TxnMeta{}); !errors.Is(err, zodb.ErrReadOnly) {
		t.Errorf("Begin: %v", err)
	}
	if rec, err := s.LoadBefore(t.Context(), 1, zodb.MaxTID); err != nil || string(rec.Data) != "one" {
		t.Errorf("LoadBefore: %+v, %v", rec, err)
	}
	writable.start()
	eventually(t, "the change to the writable server", func() bool { return !s.Info().ReadOnly })
	eventually(t, "a commit", func() bool {
		txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
		if err == nil {
			txn.Abort()
		}
		return err == nil
	})
	put(t, s, 2, 0, "two")
}

// Operations wait for a server, and no longer than they are told to.
func TestWaiting(t *testing.T) {
	base := memory(t)
	u := serve(t, base, wire.Pickle)
	u.stop()
	opts := client.Options{Addresses: []string{u.addr}, MinRetry: time.Millisecond, MaxRetry: 10 * time.Millisecond, WaitTimeout: 50 * time.Millisecond}
	s, err := client.Open(t.Context(), opts)
	if err != nil {
		t.Fatalf("Open without Wait: %v", err)
	}
	defer s.Close()
	if _, err := s.LoadBefore(t.Context(), 1, zodb.MaxTID); !errors.Is(err, client.ErrDisconnected) {
		t.Errorf("LoadBefore without a server: %v", err)
	}
	if _, ok := zodb.As[zodb.Iterator](s); ok {
		t.Error("an ability is claimed before it can be known")
	}
	opts.WaitTimeout = time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	opts.Wait = true
	if _, err := client.Open(ctx, opts); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Open whose context ends: %v", err)
	}
	u.start()
	eventually(t, "the connection", func() bool {
		_, err := s.NewOIDs(t.Context(), 1)
		return err == nil
	})
	if _, ok := zodb.As[zodb.Iterator](s); !ok {
		t.Error("an ability is missing")
	}
}

// putBlob commits a blob.
func putBlob(t *testing.T, s zodb.Storage, oid zodb.OID, content string) zodb.TID {
	t.Helper()
	store, ok := zodb.As[zodb.BlobStore](s)
	if !ok {
		t.Fatal("no blobs")
	}
	dir, err := store.BlobTempDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, fmt.Sprintf("%d.tmp", oid))
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	b, _ := zodb.As[zodb.BlobTxn](txn)
	if err := b.StoreBlob(t.Context(), oid, 0, []byte("record"), path); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Vote(t.Context()); err != nil {
		t.Fatal(err)
	}
	tid, err := txn.Finish(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return tid
}

func blobIs(t *testing.T, s zodb.Storage, oid zodb.OID, serial zodb.TID, content string) {
	t.Helper()
	store, _ := zodb.As[zodb.BlobStore](s)
	path, err := store.LoadBlob(t.Context(), oid, serial)
	if err != nil {
		t.Fatalf("LoadBlob(%v): %v", oid, err)
	}
	data, err := os.ReadFile(path)
	if err != nil || string(data) != content {
		t.Errorf("blob %v: %d bytes, %v; want %d", oid, len(data), err, len(content))
	}
}

// A blob directory that is bounded stays so, and what went is loaded again.
func TestBlobCacheIsBounded(t *testing.T) {
	const limit, size, n = 100_000, 10_000, 40
	dir := t.TempDir()
	u := serve(t, memory(t), wire.Msgpack)
	s := open(t, client.Options{Addresses: []string{u.addr}, BlobDir: dir, BlobCacheBytes: limit})
	defer s.Close()
	var tids []zodb.TID
	for i := range n {
		tids = append(tids, putBlob(t, s, zodb.OID(i), strings.Repeat(string(rune('a'+i%26)), size)))
	}
	for range 2 {
		for i, tid := range tids {
			blobIs(t, s, zodb.OID(i), tid, strings.Repeat(string(rune('a'+i%26)), size))
		}
		var kept int64
		d, err := blobs.Open(vfs.OS(), dir, "")
		if err != nil {
			t.Fatal(err)
		}
		for id, err := range d.All() {
			if err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(d.Path(id.OID, id.TID)); err == nil {
				kept += info.Size()
			}
		}
		if kept > limit+limit/10+size || kept < limit/2 {
			t.Errorf("%d bytes are kept, the limit is %d", kept, limit)
		}
	}
}

// A blob directory that is the server's own has every file once.
func TestSharedBlobDirectory(t *testing.T) {
	base := memory(t)
	u := serve(t, base, wire.Pickle)
	store, _ := zodb.As[zodb.BlobStore](base)
	sub, err := store.BlobDir(0)
	if err != nil {
		t.Fatal(err)
	}
	root := sub
	for range 8 { // the bushy layout has a folder for each byte of an oid
		root = filepath.Dir(root)
	}
	s := open(t, client.Options{Addresses: []string{u.addr}, BlobDir: root, SharedBlobDir: true})
	defer s.Close()
	tid := putBlob(t, s, 5, "content")
	blobIs(t, s, 5, tid, "content")
	theirs, err := store.LoadBlob(t.Context(), 5, tid)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := s.LoadBlob(t.Context(), 5, tid)
	if err != nil || ours != theirs {
		t.Errorf("the client has %s, the server %s: %v", ours, theirs, err)
	}
}

// Zari's servers restore blobs, through a chain as well.
func TestRestoreBlob(t *testing.T) {
	base := memory(t)
	u := serve(t, base, wire.Pickle)
	middle := serve(t, open(t, client.Options{Addresses: []string{u.addr}, BlobDir: t.TempDir()}), wire.Msgpack)
	dir := t.TempDir()
	s := open(t, client.Options{Addresses: []string{middle.addr}, BlobDir: dir})
	defer s.Close()
	path := filepath.Join(dir, "staged")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{TID: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	b, _ := zodb.As[zodb.BlobTxn](txn)
	if err := b.RestoreBlob(t.Context(), 3, []byte("record"), 0, path); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Vote(t.Context()); err != nil {
		t.Fatal(err)
	}
	if tid, err := txn.Finish(t.Context(), nil); err != nil || tid != 1000 {
		t.Fatalf("Finish: %v, %v", tid, err)
	}
	blobIs(t, base, 3, 1000, "content")
	blobIs(t, s, 3, 1000, "content")
}

// The cache of a Python client may be handed over.
func TestBlobCacheOfPython(t *testing.T) {
	u := serve(t, memory(t), wire.Pickle)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".layout"), []byte("zeocache"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, client.Options{Addresses: []string{u.addr}, BlobDir: dir})
	defer s.Close()
	tid := putBlob(t, s, 5, "content")
	blobIs(t, s, 5, tid, "content")
	if layout, err := os.ReadFile(filepath.Join(dir, ".layout")); err != nil || string(layout) != "zeocache" {
		t.Errorf("the layout is %q, %v", layout, err)
	}
}

// A blob that is larger than the limit is loaded all the same, once.
func TestBlobLargerThanTheCache(t *testing.T) {
	base := memory(t)
	u := serve(t, base, wire.Pickle)
	content := strings.Repeat("large", 1000)
	tid := putBlob(t, base, 1, content)
	s := open(t, client.Options{Addresses: []string{u.addr}, BlobDir: filepath.Join(t.TempDir(), "cache"), BlobCacheBytes: 1000})
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	path, err := s.LoadBlob(ctx, 1, tid)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != content {
		t.Errorf("%d bytes, %v; want %d", len(got), err, len(content))
	}
}
