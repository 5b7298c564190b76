package s3storage_test

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/engine/s3storage"
	"github.com/zaridb/zari/engine/s3storage/front"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/engine/s3storage/objstore/dir"
	"github.com/zaridb/zari/engine/s3storage/objstore/fake"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// place is where a storage under test lies.
type place struct {
	objects func(t testing.TB) objstore.Store // opens the bucket
	client  objstore.Store                    // of the storage
	blobs   string
	fronts  func(t testing.TB) []front.Place // nil: there are none
}

// databases makes Stores, and knows the place of each.
type databases struct {
	opts s3storage.Options

	mu     sync.Mutex
	places map[zodb.Storage]place
}

func (d *databases) open(t testing.TB, p place, readOnly bool) zodb.Storage {
	t.Helper()
	opts := d.opts
	p.client = p.objects(t)
	opts.Objects, opts.BlobDir, opts.ReadOnly = p.client, p.blobs, readOnly
	if p.fronts != nil && !readOnly {
		opts.Fronts = p.fronts(t)
	}
	opts.Doubt = 50 * time.Millisecond
	opts.References = pickle.References
	engine, err := s3storage.Open(t.Context(), opts)
	if err != nil {
		t.Fatalf("s3storage.Open: %v", err)
	}
	s, err := store.Open(t.Context(), engine, store.Options{Resolver: storagetest.Counters{}})
	if err != nil {
		t.Fatalf("store.Open: %v", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.places[s] = p
	return s
}

func (d *databases) place(s zodb.Storage) place {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.places[s]
}

func (d *databases) reopen(t testing.TB, s zodb.Storage, readOnly bool) zodb.Storage {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return d.open(t, d.place(s), readOnly)
}

// crash cuts a storage off from its bucket, opens the database elsewhere, and ends the
// isolation: the first one goes on where it was, and must find out.
func (d *databases) crash(t testing.TB, s zodb.Storage, _ uint64) zodb.Storage {
	t.Helper()
	p := d.place(s)
	client := p.client.(*fake.Store)
	client.SetRule(fake.Always(fake.Fault{Err: fake.ErrLost}))
	defer client.SetRule(nil)
	next := p
	next.blobs = t.TempDir()
	return d.open(t, next, false)
}

func harness(bucket func(t testing.TB) func(t testing.TB) objstore.Store, opts s3storage.Options) storagetest.Harness {
	return harnessOf(opts, func(t testing.TB) place {
		return place{objects: bucket(t), blobs: filepath.Join(t.TempDir(), "blobs")}
	})
}

func harnessOf(opts s3storage.Options, empty func(t testing.TB) place) storagetest.Harness {
	d := &databases{opts: opts, places: make(map[zodb.Storage]place)}
	return storagetest.Harness{
		New:      func(t testing.TB) zodb.Storage { return d.open(t, empty(t), false) },
		Reopen:   func(t testing.TB, s zodb.Storage) zodb.Storage { return d.reopen(t, s, false) },
		ReadOnly: func(t testing.TB, s zodb.Storage) zodb.Storage { return d.reopen(t, s, true) },
		Crash:    d.crash,
		Caps:     storagetest.Without(storagetest.AllCaps(), storagetest.CapSyncer, storagetest.CapPrefetcher),
		Merge:    storagetest.CountersMerge(),
	}
}

func inMemory(testing.TB) func(testing.TB) objstore.Store {
	bucket := fake.NewBucket(fake.Options{})
	return func(testing.TB) objstore.Store { return bucket.Open("test") }
}

func inDirectory(t testing.TB) func(testing.TB) objstore.Store {
	path := t.TempDir()
	return func(t testing.TB) objstore.Store {
		s, err := dir.OpenFS(vfs.NoSync(vfs.OS()), path)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// busy makes the keeper do what it does with nearly every commit.
var busy = s3storage.Options{
	SegmentBytes: 2000, CompactSlots: 3, CheckpointSlots: 2, TailBytes: 500, BlobCache: 1,
}

func TestContract(t *testing.T) { storagetest.Run(t, harness(inMemory, s3storage.Options{})) }

func TestContractDirectory(t *testing.T) {
	h := harness(inDirectory, s3storage.Options{})
	h.Crash = nil // a directory cannot be cut off
	storagetest.Run(t, h)
}

func TestContractBusy(t *testing.T) { storagetest.Run(t, harness(inMemory, busy)) }

// TestLikeMemory runs generated sequences of operations in a bucket and in memory: the
// histories must be equal.
func TestLikeMemory(t *testing.T) {
	memory := storagetest.Harness{New: func(t testing.TB) zodb.Storage {
		s, err := store.Open(t.Context(), memstorage.New(memstorage.Options{}), store.Options{Resolver: storagetest.Counters{}})
		if err != nil {
			t.Fatalf("store.Open: %v", err)
		}
		return s
	}}
	for seed := range uint64(10) {
		storagetest.Metamorphic(t, seed+1, map[string]storagetest.Harness{
			"memory": memory, "bucket": harness(inMemory, s3storage.Options{}), "busy": harness(inMemory, busy),
		})
	}
}
