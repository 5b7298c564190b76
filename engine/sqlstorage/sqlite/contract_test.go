package sqlite_test

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/sqlite"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// databases makes Stores on databases, and knows the directory of each.
type databases struct {
	options sqlstorage.Options
	blobs   string // "rows", "shared"

	mu   sync.Mutex
	dirs map[zodb.Storage]string
}

// unsynced makes tests fast.
var unsynced = map[string]string{"synchronous": "off"}

func (d *databases) open(t testing.TB, dir string, readOnly bool) zodb.Storage {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir, Create: true, ReadOnly: readOnly, Pragmas: unsynced})
	if err != nil {
		t.Fatalf("sqlite.Open: %v", err)
	}
	o := d.options
	o.Create, o.ReadOnly, o.References = true, readOnly, pickle.OwnReferences
	o.Blobs = &sqlstorage.BlobOptions{Dir: filepath.Join(dir, "blobs"), Shared: d.blobs == "shared"}
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
	d.dirs[s] = dir
	return s
}

func (d *databases) reopen(t testing.TB, s zodb.Storage, readOnly bool) zodb.Storage {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	d.mu.Lock()
	dir := d.dirs[s]
	d.mu.Unlock()
	return d.open(t, dir, readOnly)
}

func harness(o sqlstorage.Options, blobs string) storagetest.Harness {
	d := &databases{options: o, blobs: blobs, dirs: make(map[zodb.Storage]string)}
	caps := storagetest.Without(storagetest.AllCaps(), storagetest.CapSyncer, storagetest.CapPrefetcher)
	if o.Form == sqlstorage.Free {
		caps = storagetest.Without(caps, storagetest.CapUndoer)
	}
	var peer func(t testing.TB, s zodb.Storage) zodb.Storage
	var cannot map[string]string
	if o.Shared {
		cannot = wholeDatabase(o.Form)
		caps = append(caps, storagetest.CapSyncer)
		peer = func(t testing.TB, s zodb.Storage) zodb.Storage {
			d.mu.Lock()
			dir := d.dirs[s]
			d.mu.Unlock()
			return d.open(t, dir, false)
		}
	}
	return storagetest.Harness{
		HistoryFree: o.Form == sqlstorage.Free,
		Peer:        peer,
		Cannot:      cannot,

		New:      func(t testing.TB) zodb.Storage { return d.open(t, t.TempDir(), false) },
		Reopen:   func(t testing.TB, s zodb.Storage) zodb.Storage { return d.reopen(t, s, false) },
		ReadOnly: func(t testing.TB, s zodb.Storage) zodb.Storage { return d.reopen(t, s, true) },
		Caps:     caps,
		Merge:    storagetest.CountersMerge(),
	}
}

// wholeDatabase is what cannot be had where others write to a SQLite database too: who
// has voted keeps everybody else from voting, and packs from going on, until it is
// finished.
func wholeDatabase(form sqlstorage.Form) map[string]string {
	const why = "SQLite's only lock is that of the whole database, which RelStorage takes when it votes"
	cannot := make(map[string]string)
	for _, name := range []string{
		"sync/Interleaved", "check_current/Shared", "pack/WhileVoted", "pack/WhileUndoVoted",
		"locks/Disjoint", "locks/ConflictsKeepOnlyTheirs", "locks/Cancelled",
	} {
		cannot[name] = why
	}
	if form == sqlstorage.Free {
		delete(cannot, "pack/WhileUndoVoted") // there is no undo
	}
	return cannot
}

func TestContract(t *testing.T) {
	t.Run("preserving", func(t *testing.T) { storagetest.Run(t, harness(sqlstorage.Options{}, "rows")) })
	t.Run("shared_blobs", func(t *testing.T) { storagetest.Run(t, harness(sqlstorage.Options{}, "shared")) })
	t.Run("free", func(t *testing.T) { storagetest.Run(t, harness(sqlstorage.Options{Form: sqlstorage.Free}, "rows")) })
	if testing.Short() {
		t.Skip("others that write, too: left to the full run")
	}
	t.Run("shared", func(t *testing.T) { storagetest.Run(t, harness(sqlstorage.Options{Shared: true}, "shared")) })
	t.Run("shared_free", func(t *testing.T) {
		storagetest.Run(t, harness(sqlstorage.Options{Form: sqlstorage.Free, Shared: true}, "shared"))
	})
}

func BenchmarkContract(b *testing.B) { storagetest.Bench(b, harness(sqlstorage.Options{}, "rows")) }

// TestLikeMemory runs generated sequences of operations on a database and in memory:
// the histories must be equal.
func TestLikeMemory(t *testing.T) {
	for _, form := range forms {
		memory := storagetest.Harness{HistoryFree: form == sqlstorage.Free, New: func(t testing.TB) zodb.Storage {
			engine := memstorage.New(memstorage.Options{HistoryFree: form == sqlstorage.Free})
			s, err := store.Open(t.Context(), engine, store.Options{Resolver: storagetest.Counters{}})
			if err != nil {
				t.Fatalf("store.Open: %v", err)
			}
			return s
		}}
		for seed := range uint64(5) {
			storagetest.Metamorphic(t, seed+1, map[string]storagetest.Harness{
				"memory": memory, "sqlite": harness(sqlstorage.Options{Form: form}, "rows"),
			})
		}
	}
}
