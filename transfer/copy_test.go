package transfer_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/storagetest/faulty"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/transfer"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// oneByOne hides that a storage is an Appender.
type oneByOne struct{ *store.Store }

func (s oneByOne) As(target any) bool {
	if _, ok := target.(*zodb.Appender); ok {
		return false
	}
	return s.Store.As(target)
}

func TestCopy(t *testing.T) {
	for from, open := range kinds {
		for to, openDst := range kinds {
			for _, batch := range []int64{1, 5000, 16 << 20} {
				t.Run(from+" to "+to, func(t *testing.T) {
					w := newWorld(t, open(t), 1)
					w.grow(120)
					w.pack()
					w.grow(80)
					dst := openDst(t)
					r := copied(t, dst, w.s, transfer.Options{BatchBytes: batch})
					if r.Transactions == 0 || r.Blobs == 0 || r.BlobsMissing != 0 || r.Last != w.s.LastTID() || r.Resumed != 0 {
						t.Errorf("%+v", r)
					}
					nothingStaged(t, dst)
				})
			}
		}
	}
}

func nothingStaged(t *testing.T, s *store.Store) {
	t.Helper()
	dir, err := s.BlobTempDir()
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "zari-copy.lock" {
			t.Errorf("%s is left in %s", e.Name(), dir)
		}
	}
}

func TestCopyOneByOne(t *testing.T) {
	w := newWorld(t, memory(t), 2)
	w.grow(60)
	copied(t, oneByOne{memory(t)}, w.s, transfer.Options{})
}

func TestCopyGoesOn(t *testing.T) {
	w := newWorld(t, file(t, t.TempDir(), false), 3)
	dst := file(t, t.TempDir(), false)
	for range 5 {
		w.grow(20)
		before := dst.LastTID()
		r := copied(t, dst, w.s, transfer.Options{})
		if r.Resumed != before || r.First <= before {
			t.Errorf("after %v: %+v", before, r)
		}
	}
	if r := copied(t, dst, w.s, transfer.Options{}); r.Transactions != 0 {
		t.Errorf("with nothing to do: %+v", r)
	}
	w.pack() // the copy is still a copy of what comes
	w.grow(10)
	if _, err := transfer.Copy(t.Context(), dst, w.s, transfer.Options{}); err != nil {
		t.Errorf("after a pack of the source: %v", err)
	}
	if dst.LastTID() != w.s.LastTID() {
		t.Errorf("LastTID is %v, want %v", dst.LastTID(), w.s.LastTID())
	}
}

func TestCopyOfAPart(t *testing.T) {
	w := newWorld(t, memory(t), 4)
	w.grow(40)
	dst := memory(t)
	to := w.tids[20]
	r, err := transfer.Copy(t.Context(), dst, w.s, transfer.Options{To: to})
	if err != nil || r.Last != to || dst.LastTID() != to {
		t.Fatalf("Copy up to %v: %+v, %v", to, r, err)
	}
	v, err := transfer.Verify(t.Context(), dst, w.s, transfer.VerifyOptions{To: to})
	if err != nil || !v.Equal() {
		t.Errorf("Verify up to there: %+v, %v", v, err)
	}
	copied(t, dst, w.s, transfer.Options{})

	late, from := memory(t), w.tids[30]
	r, err = transfer.Copy(t.Context(), late, w.s, transfer.Options{From: from})
	if err != nil || r.First != from {
		t.Fatalf("Copy from %v: %+v, %v", from, r, err)
	}
	for txn, err := range late.Transactions(t.Context(), 0, 0) {
		if err != nil || txn.TID != from {
			t.Errorf("a copy from %v begins with %v, %v", from, txn, err)
		}
		break
	}
}

// What is in the destination and not in the source is never overwritten.
func TestOtherHistoriesAreRefused(t *testing.T) {
	w := newWorld(t, memory(t), 5)
	w.grow(30)
	for name, spoil := range map[string]func(dst *store.Store){
		"is newer than all of the source": func(dst *store.Store) { newWorld(t, dst, 6).grow(1) },
		"is not in the source": func(dst *store.Store) {
			newWorld(t, dst, 6).grow(1)
			w.grow(3)
		},
	} {
		dst := memory(t)
		copied(t, dst, w.s, transfer.Options{})
		spoil(dst)
		last := dst.LastTID()
		_, err := transfer.Copy(t.Context(), dst, w.s, transfer.Options{})
		if _, ok := errors.AsType[*transfer.HistoryError](err); !ok || !strings.Contains(err.Error(), name) {
			t.Errorf("Copy: %v, want that it %s", err, name)
		}
		if dst.LastTID() != last {
			t.Errorf("the destination has changed")
		}
	}
}

// The same tids are not enough.
func TestOtherContentsAreRefused(t *testing.T) {
	src := memory(t)
	put(t, src, zodb.TxnMeta{TID: 1000}, zodb.TxnRecord{OID: 1, Data: []byte("one")})
	put(t, src, zodb.TxnMeta{TID: 1001}, zodb.TxnRecord{OID: 2, Data: []byte("two")})
	put(t, src, zodb.TxnMeta{TID: 1002}, zodb.TxnRecord{OID: 3, Data: []byte("three")})
	for want, at1000 := range map[string]func(s *store.Store){
		"has other data of object 0x01": func(s *store.Store) {
			put(t, s, zodb.TxnMeta{TID: 1000}, zodb.TxnRecord{OID: 1, Data: []byte("eins")})
		},
		"has no record of object 0x01": func(s *store.Store) {
			put(t, s, zodb.TxnMeta{TID: 1000}, zodb.TxnRecord{OID: 7, Data: []byte("one")})
		},
		"changed 2 objects, and 1": func(s *store.Store) {
			put(t, s, zodb.TxnMeta{TID: 1000}, zodb.TxnRecord{OID: 1, Data: []byte("one")}, zodb.TxnRecord{OID: 2})
		},
		"has another user": func(s *store.Store) {
			put(t, s, zodb.TxnMeta{TID: 1000, User: []byte("u")}, zodb.TxnRecord{OID: 1, Data: []byte("one")})
		},
		"0000000000000001 is not in the source": func(s *store.Store) {
			put(t, s, zodb.TxnMeta{TID: 1}, zodb.TxnRecord{OID: 1, Data: []byte("one")})
			put(t, s, zodb.TxnMeta{TID: 1000}, zodb.TxnRecord{OID: 1, Data: []byte("one")})
		},
	} {
		dst := memory(t)
		at1000(dst)
		put(t, dst, zodb.TxnMeta{TID: 1001}, zodb.TxnRecord{OID: 2, Data: []byte("two")})
		if _, err := transfer.Copy(t.Context(), dst, src, transfer.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Copy: %v, want %q", err, want)
		}
		if dst.LastTID() != 1001 {
			t.Errorf("the destination has changed")
		}
	}
}

// The extension may have come through a protocol that carries only the dict.
func TestExtensionsAreTheSameInOtherBytes(t *testing.T) {
	src := memory(t)
	other, err := pickle.Encode(pickle.NewDict("ip", "::1"))
	if err != nil || string(other) == string(extension) {
		t.Fatal(other, err)
	}
	put(t, src, zodb.TxnMeta{TID: 1000, Extension: extension})
	put(t, src, zodb.TxnMeta{TID: 1001})
	for ext, want := range map[string]string{string(other): "", "": "another extension", "\x80": "another extension"} {
		dst := memory(t)
		put(t, dst, zodb.TxnMeta{TID: 1000, Extension: []byte(ext)})
		_, err := transfer.Copy(t.Context(), dst, src, transfer.Options{})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("Copy after extension %q: %v, want %q", ext, err, want)
		}
	}
}

// put restores one transaction.
func put(t testing.TB, s *store.Store, meta zodb.TxnMeta, records ...zodb.TxnRecord) {
	t.Helper()
	txn, err := s.Begin(t.Context(), meta)
	if err != nil {
		t.Fatal(err)
	}
	r, _ := zodb.As[zodb.RestoreTxn](txn)
	for _, rec := range records {
		if err := r.Restore(t.Context(), rec.OID, rec.Data, rec.From); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.Append(t.Context(), []zodb.Txn{txn}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
}

func TestBlobsNeedAPlace(t *testing.T) {
	w := newWorld(t, memory(t), 7)
	w.grow(30)
	bare := func() *store.Store { return openStore(t, memstorage.New(memstorage.Options{})) }
	if _, err := transfer.Copy(t.Context(), bare(), w.s, transfer.Options{}); err == nil || !strings.Contains(err.Error(), "destination was opened without") {
		t.Errorf("Copy of blobs to where there is no place: %v", err)
	}
	records := bare()
	if r, err := transfer.Copy(t.Context(), records, w.s, transfer.Options{WithoutBlobs: true}); err != nil || r.Blobs != 0 {
		t.Errorf("Copy without blobs: %+v, %v", r, err)
	}
	if v, err := transfer.Verify(t.Context(), records, w.s, transfer.VerifyOptions{WithoutBlobs: true}); err != nil || !v.Equal() {
		t.Errorf("Verify without blobs: %+v, %v", v, err)
	}
	_, err := transfer.Copy(t.Context(), memory(t), records, transfer.Options{})
	if err == nil || !strings.Contains(err.Error(), "is a blob") {
		t.Errorf("Copy from where the blobs are missing altogether: %v", err)
	}
}

func TestMissingBlobFiles(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, file(t, dir, false), 8)
	w.grow(40)
	removed := int64(0)
	filepath.WalkDir(filepath.Join(dir, "blobs"), func(path string, d os.DirEntry, err error) error {
		if strings.HasSuffix(path, ".blob") && removed < 2 {
			removed++
			return os.Remove(path)
		}
		return err
	})
	if r := copied(t, memory(t), w.s, transfer.Options{}); r.BlobsMissing != removed {
		t.Errorf("with %d blobs removed: %+v", removed, r)
	}
}

func TestOneCopyAtATime(t *testing.T) {
	w := newWorld(t, memory(t), 9)
	w.grow(30)
	dst := memory(t)
	dir, err := dst.BlobTempDir()
	if err != nil {
		t.Fatal(err)
	}
	lock, err := vfs.OS().Lock(filepath.Join(dir, "zari-copy.lock"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := transfer.Copy(t.Context(), dst, w.s, transfer.Options{}); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("Copy beside another: %v", err)
	}
	lock.Close()
	left := filepath.Join(dir, "zari-copy")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(left, "0x01-left"), nil, 0o600)
	copied(t, dst, w.s, transfer.Options{})
	nothingStaged(t, dst)
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	copied(t, dst, w.s, transfer.Options{}) // nothing to copy any more
	nothingStaged(t, dst)
}

func TestStoragesThatCannot(t *testing.T) {
	src := memory(t)
	noRestore, err := store.Open(t.Context(), memstorage.New(memstorage.Options{}), store.Options{Without: store.Restore})
	if err != nil {
		t.Fatal(err)
	}
	defer noRestore.Close()
	if _, err := transfer.Copy(t.Context(), noRestore, src, transfer.Options{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Copy to where nothing can be restored: %v", err)
	}
	if _, err := transfer.Copy(t.Context(), src, plain{src}, transfer.Options{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Copy from where nothing can be iterated: %v", err)
	}
	dir := t.TempDir()
	file(t, dir, false).Close()
	if _, err := transfer.Copy(t.Context(), file(t, dir, true), src, transfer.Options{}); !errors.Is(err, zodb.ErrReadOnly) {
		t.Errorf("Copy to where nothing can be written: %v", err)
	}
}

// plain has no abilities.
type plain struct{ zodb.Storage }

func (plain) As(any) bool { return false }

func TestCancel(t *testing.T) {
	w := newWorld(t, memory(t), 10)
	w.grow(60)
	dst := memory(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := transfer.Copy(ctx, dst, w.s, transfer.Options{BatchBytes: 1, Progress: func(p transfer.Progress) {
		if p.Transactions == 10 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || dst.LastTID() == w.s.LastTID() {
		t.Errorf("Copy: %v, at %v", err, dst.LastTID())
	}
	copied(t, dst, w.s, transfer.Options{})
	nothingStaged(t, dst)
}

// Whatever fails on either side, what was copied is a beginning, and starting
// again completes it.
func TestFaults(t *testing.T) {
	w := newWorld(t, memory(t), 11)
	w.grow(60)
	errFault := errors.New("fault")
	for seed := range uint64(40) {
		from, to := faulty.New(), faulty.New()
		var target *store.Store
		var dst zodb.Storage
		if target = memory(t); seed%2 == 0 {
			dst = to.Wrap(target)
		} else {
			dst = to.Wrap(oneByOne{target})
		}
		src := from.Wrap(w.s)
		from.Set(faulty.Randomly(seed, 100, faulty.Fault{Err: errFault}))
		to.Set(faulty.First(
			faulty.Randomly(seed+100, 150, faulty.Fault{Err: errFault}),
			faulty.Randomly(seed+200, 150, faulty.Fault{Lost: true}),
		))
		var err error
		for range 100 {
			if _, err = transfer.Copy(t.Context(), dst, src, transfer.Options{BatchBytes: 20000}); err == nil {
				break
			}
			if !errors.Is(err, errFault) && !errors.Is(err, zodb.ErrCommitUnknown) {
				t.Fatalf("seed %d: Copy: %v", seed, err)
			}
			v, err := transfer.Verify(t.Context(), target, w.s, transfer.VerifyOptions{To: max(1, target.LastTID())})
			if err != nil || !v.Equal() {
				t.Fatalf("seed %d: after a fault: %+v, %v", seed, v, err)
			}
		}
		if err != nil {
			t.Fatalf("seed %d: Copy does not end: %v", seed, err)
		}
		same(t, target, w.s)
	}
}
