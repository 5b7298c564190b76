package cache_test

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/sqlite"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/storagetest/bases"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/wrapper/cache"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

var looking = bases.Options{Resolver: storagetest.Counters{}, References: pickle.References}

// A large cache holds everything, a small one hardly anything.
const (
	large = 1 << 20
	small = 8 << 10
)

func wrap(t testing.TB, base zodb.Storage, size int64) zodb.Storage {
	t.Helper()
	s, err := cache.New(base, cache.Options{Bytes: size})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func onMemory(size int64) storagetest.Harness {
	h := bases.Harness(bases.Memory(looking), func(t testing.TB, base zodb.Storage) zodb.Storage { return wrap(t, base, size) })
	h.Merge = storagetest.CountersMerge()
	return h
}

// openers opens a medium as often as need be, and knows which medium each storage has.
type openers struct {
	medium func(t testing.TB) bases.Open
	size   int64

	mu   sync.Mutex
	open map[zodb.Storage]bases.Open
}

func (o *openers) again(t testing.TB, open bases.Open, readOnly bool) zodb.Storage {
	t.Helper()
	s := wrap(t, open(t, readOnly), o.size)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open[s] = open
	return s
}

func (o *openers) of(s zodb.Storage) bases.Open {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.open[s]
}

// shared is the harness of caches over a medium that several servers have open.
func shared(size int64, medium func(t testing.TB) bases.Open) storagetest.Harness {
	o := &openers{medium: medium, size: size, open: make(map[zodb.Storage]bases.Open)}
	reopen := func(t testing.TB, s zodb.Storage, readOnly bool) zodb.Storage {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return o.again(t, o.of(s), readOnly)
	}
	return storagetest.Harness{
		New:      func(t testing.TB) zodb.Storage { return o.again(t, medium(t), false) },
		Peer:     func(t testing.TB, s zodb.Storage) zodb.Storage { return o.again(t, o.of(s), false) },
		Reopen:   func(t testing.TB, s zodb.Storage) zodb.Storage { return reopen(t, s, false) },
		ReadOnly: func(t testing.TB, s zodb.Storage) zodb.Storage { return reopen(t, s, true) },
		Caps:     storagetest.Without(storagetest.AllCaps(), storagetest.CapPrefetcher),
		Merge:    storagetest.CountersMerge(),
	}
}

type readOnlyHandle struct{ *memstorage.Handle }

func (readOnlyHandle) ReadOnly() bool { return true }

func sharedMemory(historyFree bool) func(t testing.TB) bases.Open {
	return func(t testing.TB) bases.Open {
		dir, err := blobs.Open(vfs.OS(), t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		db := memstorage.NewShared(memstorage.Options{Blobs: dir, References: pickle.References, HistoryFree: historyFree}, nil, memstorage.Faults{})
		return func(t testing.TB, readOnly bool) zodb.Storage {
			var engine store.Engine = db.Open()
			if readOnly {
				engine = readOnlyHandle{db.Open()}
			}
			s, err := store.Open(t.Context(), engine, store.Options{Resolver: storagetest.Counters{}})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
}

func onSQLite(o sqlstorage.Options) func(t testing.TB) bases.Open {
	return func(t testing.TB) bases.Open {
		dir := t.TempDir()
		return func(t testing.TB, readOnly bool) zodb.Storage {
			db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir, Create: true, ReadOnly: readOnly, Pragmas: map[string]string{"synchronous": "off"}})
			if err != nil {
				t.Fatal(err)
			}
			o := o
			o.Create, o.ReadOnly, o.References = true, readOnly, pickle.OwnReferences
			o.Blobs = &sqlstorage.BlobOptions{Dir: filepath.Join(dir, "blobs")}
			engine, err := sqlstorage.Open(t.Context(), db, o)
			if err != nil {
				t.Fatal(err)
			}
			s, err := store.Open(t.Context(), engine, store.Options{Resolver: storagetest.Counters{}})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
}

func TestContract(t *testing.T) {
	t.Run("memory", func(t *testing.T) { storagetest.Run(t, onMemory(large)) })
	t.Run("small", func(t *testing.T) { storagetest.Run(t, onMemory(small)) })
	t.Run("shared", func(t *testing.T) { storagetest.Run(t, shared(large, sharedMemory(false))) })
	t.Run("shared_free", func(t *testing.T) {
		h := shared(large, sharedMemory(true))
		h.HistoryFree, h.Caps = true, storagetest.Without(h.Caps, storagetest.CapUndoer)
		storagetest.Run(t, h)
	})
	t.Run("sqlite", func(t *testing.T) {
		h := shared(large, onSQLite(sqlstorage.Options{}))
		h.Peer, h.Caps = nil, storagetest.Without(h.Caps, storagetest.CapSyncer)
		storagetest.Run(t, h)
	})
	t.Run("sqlite_free", func(t *testing.T) {
		h := shared(large, onSQLite(sqlstorage.Options{Form: sqlstorage.Free}))
		h.Peer, h.HistoryFree = nil, true
		h.Caps = storagetest.Without(h.Caps, storagetest.CapSyncer, storagetest.CapUndoer)
		storagetest.Run(t, h)
	})
	t.Run("sqlite_shared", func(t *testing.T) {
		if testing.Short() {
			t.Skip("left to the full run")
		}
		h := shared(large, onSQLite(sqlstorage.Options{Shared: true}))
		h.Cannot = wholeDatabase
		storagetest.Run(t, h)
	})
}

// wholeDatabase is what cannot be had of a SQLite database that others write to.
var wholeDatabase = map[string]string{
	"sync/Interleaved": oneLock, "check_current/Shared": oneLock, "pack/WhileVoted": oneLock, "pack/WhileUndoVoted": oneLock,
	"locks/Disjoint": oneLock, "locks/ConflictsKeepOnlyTheirs": oneLock, "locks/Cancelled": oneLock,
}

const oneLock = "SQLite's only lock is that of the whole database, which RelStorage takes when it votes"

func BenchmarkContract(b *testing.B) { storagetest.Bench(b, onMemory(large)) }

// TestLikeMemory runs generated sequences with and without a cache: the histories must
// be equal.
func TestLikeMemory(t *testing.T) {
	memory := bases.Harness(bases.Memory(looking), nil)
	for seed := range uint64(3) {
		storagetest.Metamorphic(t, seed+1, map[string]storagetest.Harness{"memory": memory, "cached": onMemory(large), "small": onMemory(small)})
	}
}
