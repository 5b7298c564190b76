package storagetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// sharers makes Stores on databases in memory that others write to as well, and knows
// the database of each.
type sharers struct {
	mu        sync.Mutex
	databases map[zodb.Storage]*memstorage.Shared
}

func (m *sharers) open(t testing.TB, db *memstorage.Shared, as store.Engine) zodb.Storage {
	t.Helper()
	s, err := store.Open(t.Context(), as, store.Options{Resolver: Counters{}})
	if err != nil {
		t.Fatalf("store.Open: %v", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.databases[s] = db
	return s
}

func (m *sharers) databaseOf(s zodb.Storage) *memstorage.Shared {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.databases[s]
}

func (m *sharers) peer(t testing.TB, s zodb.Storage) zodb.Storage {
	t.Helper()
	db := m.databaseOf(s)
	return m.open(t, db, db.Open())
}

func (m *sharers) reopen(t testing.TB, s zodb.Storage) zodb.Storage {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return m.peer(t, s)
}

// readOnlyHandle is a server that only reads what others write.
type readOnlyHandle struct{ *memstorage.Handle }

func (readOnlyHandle) ReadOnly() bool { return true }

// sharedHarness is a Store on a database that other Stores write to as well. What was
// acknowledged is durable as far as it goes, so that a crash is the end of all sessions.
func sharedHarness(historyFree bool, f memstorage.Faults) Harness {
	m := &sharers{databases: make(map[zodb.Storage]*memstorage.Shared)}
	create := func(t testing.TB) zodb.Storage {
		t.Helper()
		dir, err := blobs.Open(vfs.OS(), t.TempDir(), "")
		if err != nil {
			t.Fatalf("blobs.Open: %v", err)
		}
		db := memstorage.NewShared(memstorage.Options{Name: "shared", Blobs: dir, HistoryFree: historyFree}, nil, f)
		return m.open(t, db, db.Open())
	}
	h := Harness{
		New:    create,
		Reopen: m.reopen,
		Crash:  func(t testing.TB, s zodb.Storage, _ uint64) zodb.Storage { return m.reopen(t, s) },
		Peer:   m.peer,
		ReadOnly: func(t testing.TB, s zodb.Storage) zodb.Storage {
			if err := s.Close(); err != nil {
				t.Fatalf("Close: %v", err)
			}
			db := m.databaseOf(s)
			return m.open(t, db, readOnlyHandle{db.Open()})
		},
		Over:  func(t testing.TB, wrap func(zodb.Storage) zodb.Storage) zodb.Storage { return wrap(create(t)) },
		Caps:  Without(AllCaps(), CapPrefetcher),
		Merge: CountersMerge(),
	}
	if historyFree {
		h.Caps, h.HistoryFree = Without(h.Caps, CapUndoer), true
	}
	return h
}

// Several servers write to one database.
func TestShared(t *testing.T) {
	for _, historyFree := range []bool{false, true} {
		for _, delay := range []time.Duration{0, 200 * time.Microsecond} {
			t.Run(fmt.Sprintf("free=%v,delay=%v", historyFree, delay), func(t *testing.T) {
				if delay > 0 && testing.Short() {
					t.Skip("delays are left to the full run")
				}
				Run(t, sharedHarness(historyFree, memstorage.Faults{Delay: delay}))
			})
		}
	}
}
