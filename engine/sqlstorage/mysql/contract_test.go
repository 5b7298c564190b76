package mysql

import (
	"bytes"
	"sync"
	"testing"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/internal/testmysql"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// databases makes Stores on databases, and knows the database of each.
type databases struct {
	options sqlstorage.Options

	mu   sync.Mutex
	made map[zodb.Storage]place
}

// place is where a Store keeps things.
type place struct {
	opts  Options
	blobs string
}

func (d *databases) open(t testing.TB, at place, readOnly bool) zodb.Storage {
	t.Helper()
	db, err := Open(t.Context(), at.opts)
	if err != nil {
		t.Fatalf("mysql.Open: %v", err)
	}
	o := d.options
	o.Create, o.ReadOnly, o.References = true, readOnly, pickle.OwnReferences
	o.Blobs = &sqlstorage.BlobOptions{Dir: at.blobs}
	engine, err := sqlstorage.Open(t.Context(), db, o)
	if err != nil {
		t.Fatalf("sqlstorage.Open: %v", err)
	}
	s, err := store.Open(t.Context(), engine, store.Options{Resolver: storagetest.Counters{}})
	if err != nil {
		t.Fatalf("store.Open: %v", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.made[s] = at
	return s
}

func (d *databases) reopen(t testing.TB, s zodb.Storage, readOnly bool) zodb.Storage {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	d.mu.Lock()
	at := d.made[s]
	d.mu.Unlock()
	return d.open(t, at, readOnly)
}

func harness(o sqlstorage.Options) storagetest.Harness {
	d := &databases{options: o, made: make(map[zodb.Storage]place)}
	caps := storagetest.Without(storagetest.AllCaps(), storagetest.CapPrefetcher)
	if !o.Shared {
		caps = storagetest.Without(caps, storagetest.CapSyncer)
	}
	if o.Form == sqlstorage.Free {
		caps = storagetest.Without(caps, storagetest.CapUndoer)
	}
	h := storagetest.Harness{
		HistoryFree: o.Form == sqlstorage.Free,
		New: func(t testing.TB) zodb.Storage {
			return d.open(t, place{options(t, testmysql.Database(t)), t.TempDir()}, false)
		},
		Reopen:   func(t testing.TB, s zodb.Storage) zodb.Storage { return d.reopen(t, s, false) },
		ReadOnly: func(t testing.TB, s zodb.Storage) zodb.Storage { return d.reopen(t, s, true) },
		Caps:     caps,
		Merge:    storagetest.CountersMerge(),
	}
	if o.Shared {
		h.Peer = func(t testing.TB, s zodb.Storage) zodb.Storage {
			d.mu.Lock()
			at := d.made[s]
			d.mu.Unlock()
			at.blobs = t.TempDir()
			return d.open(t, at, false)
		}
	}
	return h
}

func TestContract(t *testing.T) {
	eachForm(t, func(t *testing.T, form sqlstorage.Form) { storagetest.Run(t, harness(sqlstorage.Options{Form: form})) })
}

// TestSharedContract has every database open for other writers, too; the group peer has
// two servers on one.
func TestSharedContract(t *testing.T) {
	if testing.Short() {
		t.Skip("left to the full run; TestBank has two servers, too")
	}
	eachForm(t, func(t *testing.T, form sqlstorage.Form) {
		storagetest.Run(t, harness(sqlstorage.Options{Form: form, Shared: true}))
	})
}

// TestLikeMemory runs generated sequences of operations on a database and in memory:
// the histories must be equal.
func TestLikeMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("left to the full run")
	}
	memory := storagetest.Harness{New: func(t testing.TB) zodb.Storage {
		s, err := store.Open(t.Context(), memstorage.New(memstorage.Options{}), store.Options{Resolver: storagetest.Counters{}})
		if err != nil {
			t.Fatalf("store.Open: %v", err)
		}
		return s
	}}
	for seed := range uint64(5) {
		storagetest.Metamorphic(t, seed+1, map[string]storagetest.Harness{
			"memory": memory, "mysql": harness(sqlstorage.Options{}),
		})
	}
}

// TestTooLargeFailsTheVote has what the database cannot hold refused before anything
// is promised.
func TestTooLargeFailsTheVote(t *testing.T) {
	s := harness(sqlstorage.Options{}).New(t)
	defer s.Close()
	vote := func(meta zodb.TxnMeta, size int) error {
		t.Helper()
		x, err := s.Begin(t.Context(), meta)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Abort()
		if err := x.Store(t.Context(), 1, 0, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		_, err = x.Vote(t.Context())
		return err
	}
	if err := vote(zodb.TxnMeta{Description: make([]byte, 1<<16-1)}, 1<<24-rowFrame); err != nil {
		t.Errorf("what it can just hold: %v", err)
	}
	if err := vote(zodb.TxnMeta{Description: make([]byte, 1<<16)}, 1); err == nil {
		t.Error("a description that is too long is voted for")
	}
	if err := vote(zodb.TxnMeta{}, 1<<24); err == nil {
		t.Error("a state that is too long is voted for")
	}
	x, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		t.Fatal(err)
	}
	state := bytes.Repeat([]byte{0}, 1<<24-rowFrame)
	x.Store(t.Context(), 1, 0, state)
	if _, err := x.Vote(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Finish(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if rec, err := s.LoadBefore(t.Context(), 1, zodb.MaxTID); err != nil || !bytes.Equal(rec.Data, state) {
		t.Errorf("the longest state comes back with %d bytes, %v", len(rec.Data), err)
	}
}
