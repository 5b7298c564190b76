package cache_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/wrapper/cache"
	"github.com/zaridb/zari/zodb"
)

// counted is a storage that counts the loads that reach it, and does as it is told before it
// answers one.
type counted struct {
	zodb.Storage
	loads  atomic.Int64
	before func()
}

func (c *counted) As(target any) bool { return zodb.PassOn(c.Storage, target) }

func (c *counted) LoadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
	c.loads.Add(1)
	if c.before != nil {
		c.before()
	}
	return c.Storage.LoadBefore(ctx, oid, tid)
}

func cached(t *testing.T, o memstorage.Options, so store.Options) (*cache.Storage, *counted) {
	t.Helper()
	base, err := store.Open(t.Context(), memstorage.New(o), so)
	if err != nil {
		t.Fatal(err)
	}
	c := &counted{Storage: base}
	s, err := cache.New(c, cache.Options{Bytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, c
}

// put commits a revision of object 1.
func put(t *testing.T, s zodb.Storage, serial zodb.TID, data string) zodb.TID {
	t.Helper()
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	if err := txn.Store(t.Context(), 1, serial, []byte(data)); err != nil {
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

// want loads object 1 and compares.
func want(t *testing.T, s zodb.Storage, data string) {
	t.Helper()
	rec, err := s.LoadBefore(t.Context(), 1, zodb.MaxTID)
	if err != nil || string(rec.Data) != data {
		t.Errorf("%q, %v, want %q", rec.Data, err, data)
	}
}

// The medium is asked once; after a commit and after a pack, again.
func TestAsks(t *testing.T) {
	s, base := cached(t, memstorage.Options{}, store.Options{})
	first := put(t, s, 0, "one")
	asks := func(n int64, what, data string) {
		t.Helper()
		before := base.loads.Load()
		for range 3 {
			want(t, s, data)
		}
		if got := base.loads.Load() - before; got != n {
			t.Errorf("%s: %d questions, want %d", what, got, n)
		}
	}
	asks(1, "at first", "one")
	put(t, s, first, "two")
	asks(1, "after a commit", "two")
	p, ok := zodb.As[zodb.Packer](s)
	if !ok {
		t.Fatal("no Packer")
	}
	_ = p.Pack(t.Context(), time.Now(), zodb.PackOptions{DryRun: true, NoGC: true}) // this medium cannot
	asks(0, "after a dry run", "two")
	if err := p.Pack(t.Context(), time.Now(), zodb.PackOptions{NoGC: true}); err != nil {
		t.Fatal(err)
	}
	asks(1, "after a pack", "two")
	if rec, ok := s.Recall(1, zodb.MaxTID); !ok || string(rec.Data) != "two" {
		t.Errorf("recalled: %+v, %v", rec, ok)
	}
	if _, ok := s.Recall(2, zodb.MaxTID); ok {
		t.Error("what was never loaded is recalled")
	}
}

// An object that is replaced while it is asked for, by a medium that then has forgotten what
// it was, is answered as it is.
func TestForgottenMeanwhile(t *testing.T) {
	s, base := cached(t, memstorage.Options{HistoryFree: true}, store.Options{WindowBytes: 1})
	first := put(t, s, 0, "one")
	base.before = func() {
		base.before = nil
		put(t, base.Storage, first, "two")
	}
	want(t, s, "two")
	want(t, s, "two")
}

// A storage that is closed answers nothing from memory.
func TestClosed(t *testing.T) {
	s, _ := cached(t, memstorage.Options{}, store.Options{})
	put(t, s, 0, "one")
	want(t, s, "one")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.LoadBefore(t.Context(), 1, zodb.MaxTID); !errors.Is(err, zodb.ErrClosed) {
		t.Errorf("a load: %v", err)
	}
	if _, ok := s.Recall(1, zodb.MaxTID); ok {
		t.Error("it is recalled")
	}
}

// deaf does not tell of commits.
type deaf struct{ zodb.Storage }

func TestWithoutWatcher(t *testing.T) {
	base, err := store.Open(t.Context(), memstorage.New(memstorage.Options{}), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cache.New(deaf{base}, cache.Options{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if _, err := base.LoadBefore(t.Context(), 1, 1); !errors.Is(err, zodb.ErrClosed) {
		t.Errorf("the storage is not closed: %v", err)
	}
}
