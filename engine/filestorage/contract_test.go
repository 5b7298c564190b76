package filestorage_test

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/zaridb/zari/engine/filestorage"
	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// files makes Stores on data files, and knows the file of each.
type files struct {
	mu    sync.Mutex
	paths map[zodb.Storage]string
}

func (f *files) open(t testing.TB, path string, readOnly bool) zodb.Storage {
	t.Helper()
	engine, err := filestorage.Open(filestorage.Options{Path: path, FS: vfs.NoSync(vfs.OS()), BlobDir: filepath.Join(filepath.Dir(path), "blobs"), ReadOnly: readOnly})
	if err != nil {
		t.Fatalf("filestorage.Open: %v", err)
	}
	s, err := store.Open(t.Context(), engine, store.Options{Resolver: storagetest.Counters{}})
	if err != nil {
		t.Fatalf("store.Open: %v", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paths[s] = path
	return s
}

func (f *files) reopen(t testing.TB, s zodb.Storage, readOnly bool) zodb.Storage {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	f.mu.Lock()
	path := f.paths[s]
	f.mu.Unlock()
	return f.open(t, path, readOnly)
}

func harness() storagetest.Harness {
	f := &files{paths: make(map[zodb.Storage]string)}
	return storagetest.Harness{
		New:      func(t testing.TB) zodb.Storage { return f.open(t, filepath.Join(t.TempDir(), "Data.fs"), false) },
		Reopen:   func(t testing.TB, s zodb.Storage) zodb.Storage { return f.reopen(t, s, false) },
		ReadOnly: func(t testing.TB, s zodb.Storage) zodb.Storage { return f.reopen(t, s, true) },
		Caps:     storagetest.Without(storagetest.AllCaps(), storagetest.CapSyncer, storagetest.CapPrefetcher),
		Merge:    storagetest.CountersMerge(),
	}
}

func TestContract(t *testing.T) { storagetest.Run(t, harness()) }

func BenchmarkContract(b *testing.B) { storagetest.Bench(b, harness()) }

// TestLikeMemory runs generated sequences of operations on a data file and in
// memory: the histories must be equal.
func TestLikeMemory(t *testing.T) {
	memory := storagetest.Harness{New: func(t testing.TB) zodb.Storage {
		s, err := store.Open(t.Context(), memstorage.New(memstorage.Options{}), store.Options{Resolver: storagetest.Counters{}})
		if err != nil {
			t.Fatalf("store.Open: %v", err)
		}
		return s
	}}
	for seed := range uint64(10) {
		storagetest.Metamorphic(t, seed+1, map[string]storagetest.Harness{"memory": memory, "file": harness()})
	}
}
