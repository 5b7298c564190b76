package sqltest

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// Database is an empty database that a test has made.
type Database struct {
	Open        func(t testing.TB, readOnly bool) (sqlstorage.Dialect, error)
	Blobs       string // the directory of its blobs, or where they are cached
	SharedBlobs bool   // Blobs is where they are, for all servers
}

// Contract returns the harness of Stores on databases that fresh makes.
func Contract(o sqlstorage.Options, fresh func(t testing.TB) Database) storagetest.Harness {
	s := &stores{options: o, on: make(map[zodb.Storage]Database)}
	h := storagetest.Harness{
		HistoryFree: o.Form == sqlstorage.Free,
		New:         func(t testing.TB) zodb.Storage { return s.open(t, fresh(t), false) },
		Reopen:      func(t testing.TB, old zodb.Storage) zodb.Storage { return s.reopen(t, old, false) },
		ReadOnly:    func(t testing.TB, old zodb.Storage) zodb.Storage { return s.reopen(t, old, true) },
		Caps:        storagetest.Without(storagetest.AllCaps(), storagetest.CapPrefetcher),
		Merge:       storagetest.CountersMerge(),
	}
	if o.Form == sqlstorage.Free {
		h.Caps = storagetest.Without(h.Caps, storagetest.CapUndoer)
	}
	if o.Shared {
		h.Peer = s.peer
	} else {
		h.Caps = storagetest.Without(h.Caps, storagetest.CapSyncer)
	}
	return h
}

// stores knows on which database each Store is.
type stores struct {
	options sqlstorage.Options

	mu sync.Mutex
	on map[zodb.Storage]Database
}

func (s *stores) open(t testing.TB, d Database, readOnly bool) zodb.Storage {
	t.Helper()
	db, err := d.Open(t, readOnly)
	if err != nil {
		t.Fatalf("opening the database: %v", err)
	}
	o := s.options
	o.Create, o.ReadOnly, o.References = true, readOnly, pickle.OwnReferences
	o.Blobs = &sqlstorage.BlobOptions{Dir: d.Blobs, Shared: d.SharedBlobs}
	engine, err := sqlstorage.Open(t.Context(), db, o)
	if err != nil {
		t.Fatalf("opening the engine: %v", err)
	}
	opened := openStore(t, engine)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on[opened] = d
	return opened
}

func openStore(t testing.TB, engine store.Engine) zodb.Storage {
	t.Helper()
	s, err := store.Open(t.Context(), engine, store.Options{Resolver: storagetest.Counters{}})
	if err != nil {
		t.Fatalf("store.Open: %v", err)
	}
	return s
}

func (s *stores) database(of zodb.Storage) Database {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.on[of]
}

func (s *stores) reopen(t testing.TB, old zodb.Storage, readOnly bool) zodb.Storage {
	t.Helper()
	if err := old.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return s.open(t, s.database(old), readOnly)
}

// peer opens the database of another Store a second time.
func (s *stores) peer(t testing.TB, other zodb.Storage) zodb.Storage {
	t.Helper()
	d := s.database(other)
	if !d.SharedBlobs {
		d.Blobs = filepath.Join(t.TempDir(), "blobs") // a cache of its own
	}
	return s.open(t, d, false)
}

// LikeMemory runs generated sequences of operations on a database and in memory: the
// histories must be equal.
func LikeMemory(t *testing.T, seeds int, database storagetest.Harness) {
	memory := storagetest.Harness{HistoryFree: database.HistoryFree, New: func(t testing.TB) zodb.Storage {
		return openStore(t, memstorage.New(memstorage.Options{HistoryFree: database.HistoryFree}))
	}}
	for seed := range seeds {
		storagetest.Metamorphic(t, uint64(seed+1), map[string]storagetest.Harness{"memory": memory, "database": database})
	}
}
