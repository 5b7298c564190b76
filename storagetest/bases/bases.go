// Package bases has the storages that the tests of wrappers and composites stand
// on: one in memory, one on a data file.
//
// A [Medium] is an empty place for data. [Harness] makes a harness for
// storagetest of a wrapper around storages that are opened there.
package bases

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/engine/filestorage"
	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// Options are what the storages look into records with. Both may be nil.
type Options struct {
	Resolver   store.Resolver
	References func(data []byte, dst []zodb.OID) ([]zodb.OID, error)
}

// Medium makes an empty place for data, and returns how a storage is opened there.
type Medium func(t testing.TB) Open

// Open opens the data of a medium. Whatever had them open must be closed.
type Open func(t testing.TB, readOnly bool) zodb.Storage

// Memory keeps data in memory, and blobs in a directory.
func Memory(o Options) Medium {
	return func(t testing.TB) Open {
		dir, err := blobs.Open(vfs.OS(), t.TempDir(), "")
		if err != nil {
			t.Fatalf("blobs.Open: %v", err)
		}
		engine := memstorage.New(memstorage.Options{Name: "memory", Blobs: dir, References: o.References})
		return func(t testing.TB, readOnly bool) zodb.Storage {
			if readOnly {
				return o.store(t, readOnlyEngine{engine})
			}
			return o.store(t, engine)
		}
	}
}

// readOnlyEngine says that it cannot be written.
type readOnlyEngine struct{ *memstorage.Engine }

func (readOnlyEngine) ReadOnly() bool { return true }

// File keeps data in a data file with a blob directory. Nothing is synced.
func File(o Options) Medium {
	return func(t testing.TB) Open {
		path := filepath.Join(t.TempDir(), "Data.fs")
		return func(t testing.TB, readOnly bool) zodb.Storage {
			t.Helper()
			engine, err := filestorage.Open(filestorage.Options{
				Path: path, FS: vfs.NoSync(vfs.OS()), BlobDir: filepath.Join(filepath.Dir(path), "blobs"),
				ReadOnly: readOnly, References: o.References,
			})
			if err != nil {
				t.Fatalf("filestorage.Open: %v", err)
			}
			return o.store(t, engine)
		}
	}
}

func (o Options) store(t testing.TB, engine store.Engine) zodb.Storage {
	t.Helper()
	s, err := store.Open(t.Context(), engine, store.Options{Resolver: o.Resolver})
	if err != nil {
		t.Fatalf("store.Open: %v", err)
	}
	return s
}

// Harness is the harness of what wrap makes of a storage on the medium. wrap nil
// is the storage itself. Its Caps are those of the storage.
func Harness(medium Medium, wrap func(t testing.TB, base zodb.Storage) zodb.Storage) storagetest.Harness {
	if wrap == nil {
		wrap = func(_ testing.TB, base zodb.Storage) zodb.Storage { return base }
	}
	w := &wrapped{wrap: wrap, media: make(map[zodb.Storage]Open)}
	return storagetest.Harness{
		New:      func(t testing.TB) zodb.Storage { return w.open(t, medium(t), false) },
		Reopen:   func(t testing.TB, s zodb.Storage) zodb.Storage { return w.reopen(t, s, false) },
		ReadOnly: func(t testing.TB, s zodb.Storage) zodb.Storage { return w.reopen(t, s, true) },
		Over: func(t testing.TB, between func(zodb.Storage) zodb.Storage) zodb.Storage {
			return wrap(t, between(medium(t)(t, false)))
		},
		Caps: storagetest.Without(storagetest.AllCaps(), storagetest.CapSyncer, storagetest.CapPrefetcher),
	}
}

// wrapped knows on which medium each storage is.
type wrapped struct {
	wrap func(testing.TB, zodb.Storage) zodb.Storage

	mu    sync.Mutex
	media map[zodb.Storage]Open
}

func (w *wrapped) open(t testing.TB, open Open, readOnly bool) zodb.Storage {
	t.Helper()
	s := w.wrap(t, open(t, readOnly))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.media[s] = open
	return s
}

func (w *wrapped) reopen(t testing.TB, s zodb.Storage, readOnly bool) zodb.Storage {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	w.mu.Lock()
	open := w.media[s]
	w.mu.Unlock()
	return w.open(t, open, readOnly)
}
