package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/engine/filestorage"
	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/transfer"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// extension is the pickle of {'ip': '::1'}, written in an unusual way: a copy
// must keep it to the byte.
var extension = []byte("\x80\x02}X\x02\x00\x00\x00ipX\x03\x00\x00\x00::1s.")

func openStore(t testing.TB, engine store.Engine) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), engine, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// noSync is the file system without syncs, which cost more than all the rest.
type noSync struct{ vfs.FS }

type noSyncFile struct{ vfs.File }

func (noSync) SyncDir(string) error { return nil }
func (noSyncFile) Sync() error      { return nil }
func (noSyncFile) Datasync() error  { return nil }

func (f noSync) OpenFile(name string, flag int, perm os.FileMode) (vfs.File, error) {
	file, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return noSyncFile{file}, nil
}

// memory opens a storage in memory with blobs.
func memory(t testing.TB) *store.Store {
	t.Helper()
	dir, err := blobs.Open(noSync{vfs.OS()}, filepath.Join(t.TempDir(), "blobs"), "")
	if err != nil {
		t.Fatal(err)
	}
	return openStore(t, memstorage.New(memstorage.Options{Blobs: dir, References: pickle.References}))
}

// file opens the data file of a folder, with blobs.
func file(t testing.TB, dir string, readOnly bool) *store.Store {
	t.Helper()
	engine, err := filestorage.Open(filestorage.Options{
		FS: noSync{vfs.OS()}, Path: filepath.Join(dir, "Data.fs"), BlobDir: filepath.Join(dir, "blobs"), ReadOnly: readOnly, References: pickle.References,
	})
	if err != nil {
		t.Fatal(err)
	}
	return openStore(t, engine)
}

// kinds are the storages that are copied from and to.
var kinds = map[string]func(t testing.TB) *store.Store{
	"memory": memory,
	"file":   func(t testing.TB) *store.Store { return file(t, t.TempDir(), false) },
}

// world fills a storage with all that there is to copy.
type world struct {
	t    testing.TB
	s    *store.Store
	rnd  *rand.Rand
	live map[zodb.OID]zodb.TID
	tids []zodb.TID
	n    int
}

func newWorld(t testing.TB, s *store.Store, seed uint64) *world {
	return &world{t: t, s: s, rnd: rand.New(rand.NewPCG(seed, 0)), live: make(map[zodb.OID]zodb.TID)}
}

// record returns a pickle with some class and no references.
func (w *world) record(class string) []byte {
	w.n++
	size := w.rnd.IntN(200)
	if w.rnd.IntN(30) == 0 {
		size = 100_000
	}
	data, err := pickle.EncodeRecord(&pickle.Global{Module: class, Name: "Blob"}, fmt.Sprintf("%d %s", w.n, bytes.Repeat([]byte("x"), size)))
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

func (w *world) begin() zodb.Txn {
	w.t.Helper()
	meta := zodb.TxnMeta{User: []byte("/ user"), Description: fmt.Appendf(nil, "number %d", len(w.tids))}
	if w.rnd.IntN(3) == 0 {
		meta.Extension = extension
	}
	txn, err := w.s.Begin(w.t.Context(), meta)
	if err != nil {
		w.t.Fatal(err)
	}
	return txn
}

func (w *world) finish(txn zodb.Txn) (zodb.TID, bool) {
	w.t.Helper()
	defer txn.Abort()
	if _, err := txn.Vote(w.t.Context()); err != nil {
		if _, ok := errors.AsType[*zodb.UndoError](err); ok {
			return 0, false
		}
		w.t.Fatal(err)
	}
	tid, err := txn.Finish(w.t.Context(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.tids = append(w.tids, tid)
	return tid, true
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// grow commits n transactions.
func (w *world) grow(n int) {
	w.t.Helper()
	for range n {
		switch k := w.rnd.IntN(12); {
		case k == 0 && len(w.tids) > 2:
			w.undo()
		case k == 1 && len(w.live) > 2:
			w.remove()
		case k == 2:
			_, ok := w.finish(w.begin()) // without records
			_ = ok
		default:
			w.change()
		}
	}
}

func (w *world) change() {
	txn := w.begin()
	var oids []zodb.OID
	for range 1 + w.rnd.IntN(5) {
		oid := zodb.OID(w.rnd.IntN(50))
		oids = append(oids, oid)
		if w.rnd.IntN(6) > 0 {
			w.check(txn.Store(w.t.Context(), oid, w.live[oid], w.record("some")))
			continue
		}
		dir, err := w.s.BlobTempDir()
		w.check(err)
		path := filepath.Join(dir, fmt.Sprintf("test-%d", w.n))
		w.check(os.WriteFile(path, w.record("content"), 0o600))
		b, _ := zodb.As[zodb.BlobTxn](txn)
		w.check(b.StoreBlob(w.t.Context(), oid, w.live[oid], w.record("ZODB.blob"), path))
	}
	tid, _ := w.finish(txn)
	for _, oid := range oids {
		w.live[oid] = tid
	}
}

func (w *world) remove() {
	for oid, serial := range w.live {
		if oid == 0 {
			continue
		}
		txn := w.begin()
		d, _ := zodb.As[zodb.DeleteTxn](txn)
		w.check(d.Delete(w.t.Context(), oid, serial))
		w.live[oid], _ = w.finish(txn)
		return
	}
}

// undo undoes one of the last transactions, if that is possible.
func (w *world) undo() {
	txn := w.begin()
	u, _ := zodb.As[zodb.UndoTxn](txn)
	undone := w.tids[len(w.tids)-1-w.rnd.IntN(2)]
	w.check(u.Undo(w.t.Context(), undone))
	tid, ok := w.finish(txn)
	if !ok {
		return
	}
	for t, err := range w.s.Transactions(w.t.Context(), tid, tid) {
		w.check(err)
		for _, r := range t.Records {
			w.live[r.OID] = tid
		}
	}
}

// pack packs away what was replaced before now.
func (w *world) pack() {
	w.check(w.s.Pack(w.t.Context(), time.Now(), zodb.PackOptions{}))
}

// same fails the test if the storages differ.
func same(t testing.TB, dst, src zodb.Storage) {
	t.Helper()
	v, err := transfer.Verify(t.Context(), dst, src, transfer.VerifyOptions{})
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	for _, d := range v.Differences {
		t.Errorf("%v", d)
	}
	if dst.LastTID() != src.LastTID() {
		t.Errorf("LastTID is %v, want %v", dst.LastTID(), src.LastTID())
	}
}

// copied copies and compares.
func copied(t testing.TB, dst, src zodb.Storage, o transfer.Options) transfer.Result {
	t.Helper()
	r, err := transfer.Copy(t.Context(), dst, src, o)
	if err != nil {
		t.Fatalf("Copy: %v", err)
	}
	same(t, dst, src)
	return r
}
