package transfer_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/transfer"
	"github.com/zaridb/zari/zodb"
)

// forgetful opens a storage in memory that keeps no history.
func forgetful(t *testing.T) *store.Store {
	t.Helper()
	dir, err := blobs.Open(noSync{vfs.OS()}, filepath.Join(t.TempDir(), "blobs"), "")
	if err != nil {
		t.Fatal(err)
	}
	return openStore(t, memstorage.New(memstorage.Options{Blobs: dir, HistoryFree: true}))
}

func verifyCurrent(t *testing.T, dst, src zodb.Storage, to zodb.TID) *transfer.Verification {
	t.Helper()
	v, err := transfer.Verify(t.Context(), dst, src, transfer.VerifyOptions{To: to, NoHistory: true})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A copy without history is brought up to date again and again, and has what is current in the source.
func TestCopyWithoutHistory(t *testing.T) {
	o := transfer.Options{NoHistory: true, BatchBytes: 10_000}
	for seed := range uint64(20) {
		src, dst := memory(t), forgetful(t)
		w := newWorld(t, src, seed)
		for range 4 {
			w.grow(15)
			if _, err := transfer.Copy(t.Context(), dst, src, o); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			v := verifyCurrent(t, dst, src, 0)
			if !v.Equal() || v.Records == 0 {
				t.Fatalf("seed %d: %d differences of %d objects: %v", seed, v.Count, v.Records, v.Differences)
			}
		}
	}
}

func TestCopyWithoutHistoryRefuses(t *testing.T) {
	o := transfer.Options{NoHistory: true}
	src, other, dst := memory(t), memory(t), forgetful(t)
	newWorld(t, src, 1).grow(20)
	newWorld(t, other, 2).grow(40)
	if _, err := transfer.Copy(t.Context(), dst, src, o); err != nil {
		t.Fatal(err)
	}
	_, err := transfer.Copy(t.Context(), dst, other, o)
	if _, ok := errors.AsType[*transfer.HistoryError](err); !ok {
		t.Errorf("another history: %v", err)
	}
}

func TestVerifyWithoutHistoryNotices(t *testing.T) {
	src, dst := memory(t), forgetful(t)
	w := newWorld(t, src, 3)
	w.grow(20)
	if _, err := transfer.Copy(t.Context(), dst, src, transfer.Options{NoHistory: true}); err != nil {
		t.Fatal(err)
	}
	then := src.LastTID()
	copies := newWorld(t, dst, 4)
	for oid := range w.live {
		if rec, err := dst.LoadBefore(t.Context(), oid, zodb.MaxTID); err == nil {
			copies.live[oid] = rec.Serial
		}
	}
	copies.change() // other data, and maybe more objects
	if v := verifyCurrent(t, dst, src, 0); v.Equal() {
		t.Error("changes in the copy are not noticed")
	}
	w.grow(1)
	w.change()
	if v := verifyCurrent(t, forgetful(t), src, then); v.Count == 0 || v.Records != 0 {
		t.Errorf("an empty copy: %+v", v)
	}
}
