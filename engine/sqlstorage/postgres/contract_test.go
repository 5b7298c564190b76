package postgres_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/postgres"
	"github.com/zaridb/zari/internal/testpg"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// place is where a storage under test keeps its data.
type place struct{ dsn, blobs string }

// databases makes Stores on databases, and knows where each is.
type databases struct {
	options sqlstorage.Options
	files   bool // blobs are files, in one directory for all

	mu     sync.Mutex
	places map[zodb.Storage]place
}

func (d *databases) open(t testing.TB, p place, readOnly bool) zodb.Storage {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgres.Options{DSN: p.dsn, Shared: d.options.Shared})
	if err != nil {
		t.Fatal(err)
	}
	o := d.options
	o.Create, o.ReadOnly, o.References = true, readOnly, pickle.OwnReferences
	o.Blobs = &sqlstorage.BlobOptions{Dir: p.blobs, Shared: d.files}
	engine, err := sqlstorage.Open(t.Context(), db, o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), engine, store.Options{Resolver: storagetest.Counters{}})
	if err != nil {
		t.Fatal(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.places[s] = p
	return s
}

func (d *databases) reopen(t testing.TB, s zodb.Storage, readOnly bool) zodb.Storage {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	d.mu.Lock()
	p := d.places[s]
	d.mu.Unlock()
	return d.open(t, p, readOnly)
}

func harness(o sqlstorage.Options) storagetest.Harness {
	return (&databases{options: o}).harness()
}

func (d *databases) harness() storagetest.Harness {
	o := d.options
	d.places = make(map[zodb.Storage]place)
	caps := storagetest.Without(storagetest.AllCaps(), storagetest.CapSyncer, storagetest.CapPrefetcher)
	if o.Form == sqlstorage.Free {
		caps = storagetest.Without(caps, storagetest.CapUndoer)
	}
	var peer func(t testing.TB, s zodb.Storage) zodb.Storage
	if o.Shared {
		caps = append(caps, storagetest.CapSyncer)
		peer = func(t testing.TB, s zodb.Storage) zodb.Storage {
			d.mu.Lock()
			p := d.places[s]
			d.mu.Unlock()
			if !d.files {
				p.blobs = filepath.Join(t.TempDir(), "blobs") // a cache of its own
			}
			return d.open(t, p, false)
		}
	}
	return storagetest.Harness{
		HistoryFree: o.Form == sqlstorage.Free,
		Caps:        caps,
		Peer:        peer,
		New: func(t testing.TB) zodb.Storage {
			return d.open(t, place{testpg.Database(t), filepath.Join(t.TempDir(), "blobs")}, false)
		},
		Reopen:   func(t testing.TB, s zodb.Storage) zodb.Storage { return d.reopen(t, s, false) },
		ReadOnly: func(t testing.TB, s zodb.Storage) zodb.Storage { return d.reopen(t, s, true) },
		Merge:    storagetest.CountersMerge(),
	}
}

func TestContract(t *testing.T) {
	for _, form := range forms {
		t.Run(word(form), func(t *testing.T) { storagetest.Run(t, harness(sqlstorage.Options{Form: form})) })
		t.Run("shared_"+word(form), func(t *testing.T) {
			if testing.Short() && form == sqlstorage.Free {
				t.Skip("one shared form is enough for a short run")
			}
			storagetest.Run(t, harness(sqlstorage.Options{Form: form, Shared: true}))
		})
	}
	t.Run("blob_files", func(t *testing.T) {
		if os.Getenv("ZARI_ROUNDS") == "" {
			t.Skip("left to the long proofs: ZARI_ROUNDS is not set")
		}
		for _, form := range forms {
			d := &databases{options: sqlstorage.Options{Form: form, Shared: true}, files: true}
			t.Run(word(form), func(t *testing.T) { storagetest.Run(t, d.harness()) })
		}
	})
}

func BenchmarkContract(b *testing.B) { storagetest.Bench(b, harness(sqlstorage.Options{})) }

// TestLikeMemory runs generated sequences of operations on a database and in memory:
// the histories must be equal.
func TestLikeMemory(t *testing.T) {
	for _, form := range forms {
		memory := storagetest.Harness{HistoryFree: form == sqlstorage.Free, New: func(t testing.TB) zodb.Storage {
			engine := memstorage.New(memstorage.Options{HistoryFree: form == sqlstorage.Free})
			s, err := store.Open(t.Context(), engine, store.Options{Resolver: storagetest.Counters{}})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}}
		for seed := range uint64(2) {
			storagetest.Metamorphic(t, seed+1, map[string]storagetest.Harness{
				"memory": memory, "postgres": harness(sqlstorage.Options{Form: form}),
			})
		}
	}
}
