package storagetest

import (
	"sync"
	"testing"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/storagetest/faulty"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// storeCaps are the abilities of a Store on memstorage with blobs.
var storeCaps = Without(AllCaps(), CapSyncer, CapPrefetcher)

// memory makes Stores on memstorage, and knows the engine of each.
type memory struct {
	mu      sync.Mutex
	engines map[zodb.Storage]*memstorage.Engine
}

// readOnlyEngine is an engine that says it cannot be written.
type readOnlyEngine struct{ *memstorage.Engine }

func (readOnlyEngine) ReadOnly() bool { return true }

func (m *memory) open(t testing.TB, engine *memstorage.Engine, as store.Engine) zodb.Storage {
	t.Helper()
	s, err := store.Open(t.Context(), as, store.Options{Resolver: Counters{}})
	if err != nil {
		t.Fatalf("store.Open: %v", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.engines[s] = engine
	return s
}

func (m *memory) engineOf(t testing.TB, s zodb.Storage) *memstorage.Engine {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.engines[s]
}

func (m *memory) with(t testing.TB, opts memstorage.Options) zodb.Storage {
	t.Helper()
	dir, err := blobs.Open(vfs.OS(), t.TempDir(), "")
	if err != nil {
		t.Fatalf("blobs.Open: %v", err)
	}
	opts.Blobs = dir
	engine := memstorage.New(opts)
	return m.open(t, engine, engine)
}

func (m *memory) reopen(t testing.TB, s zodb.Storage) zodb.Storage {
	engine := m.engineOf(t, s)
	return m.open(t, engine, engine)
}

// harness is a Store on memstorage. What it acknowledged is durable as far as it
// goes, so that a crash is a new Store on the same engine.
func harness() Harness { return harnessWith(memstorage.Options{Name: "memory"}) }

func harnessWith(opts memstorage.Options) Harness {
	m := &memory{engines: make(map[zodb.Storage]*memstorage.Engine)}
	return Harness{
		New:    func(t testing.TB) zodb.Storage { return m.with(t, opts) },
		Reopen: m.reopen,
		Crash:  func(t testing.TB, s zodb.Storage, _ uint64) zodb.Storage { return m.reopen(t, s) },
		ReadOnly: func(t testing.TB, s zodb.Storage) zodb.Storage {
			engine := m.engineOf(t, s)
			return m.open(t, engine, readOnlyEngine{engine})
		},
		Over:  func(t testing.TB, wrap func(zodb.Storage) zodb.Storage) zodb.Storage { return wrap(m.with(t, opts)) },
		Caps:  storeCaps,
		Merge: CountersMerge(),
	}
}

func TestStore(t *testing.T) { Run(t, harness()) }

// What is overwritten is forgotten.
func TestHistoryFree(t *testing.T) { Run(t, historyFree()) }

func historyFree() Harness {
	h := harnessWith(memstorage.Options{Name: "memory", HistoryFree: true})
	h.Caps, h.HistoryFree = Without(h.Caps, CapUndoer), true
	return h
}

// A transparent wrapper passes as well, with every ability adapted.
func TestFaulty(t *testing.T) {
	h := harness()
	inner := h.New
	h.New = func(t testing.TB) zodb.Storage { return faulty.New().Wrap(inner(t)) }
	h.Reopen, h.Crash, h.ReadOnly, h.Over = nil, nil, nil, nil
	Run(t, h)
}

// A store that offers less skips what it has not.
func TestPlainStore(t *testing.T) {
	h := Harness{
		New: func(t testing.TB) zodb.Storage {
			s, err := store.Open(t.Context(), memstorage.New(memstorage.Options{}), store.Options{
				Without: store.Undo | store.Delete | store.Restore | store.Records,
			})
			if err != nil {
				t.Fatalf("store.Open: %v", err)
			}
			return s
		},
		Caps: []Cap{CapWatcher, CapIterator, CapHistorian, CapPacker, CapOutcomer, CapNoMerge},
	}
	Run(t, h)
}

func BenchmarkStore(b *testing.B) { Bench(b, harness()) }
