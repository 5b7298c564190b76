// Package storages knows every engine, wrapper and composite, and opens what a
// configuration names. It is the only package that does: the configuration says
// what there is, the server takes what it is given.
package storages

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/engine/filestorage"
	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/wrapper/delay"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// Options are what all storages of a process share.
type Options struct {
	TxnMemory int64 // bytes of one transaction that are kept in memory; 0: the default
	Logger    *slog.Logger

	// Progress is told of long work, such as the rebuild of an index.
	Progress func(storage, what string, done, total int64)
}

// Open opens what a section of a configuration names.
func Open(ctx context.Context, c config.Storage, o Options) (zodb.Storage, error) {
	s, err := open(ctx, c, "", o)
	if err != nil && c.Position().File != "" {
		return nil, fmt.Errorf("%v: storage %q: %w", c.Position(), c.StorageName(), err)
	}
	return s, err
}

func open(ctx context.Context, c config.Storage, blobDir string, o Options) (zodb.Storage, error) {
	switch c := c.(type) {
	case *config.FileStorage:
		return openFile(ctx, c, blobDir, o)
	case *config.MappingStorage:
		return openMapping(ctx, c, blobDir, o)
	case *config.BlobStorage:
		if blobDir != "" {
			return nil, fmt.Errorf("%v: a second blob directory for one storage", c.Pos)
		}
		return open(ctx, c.Storage, c.BlobDir, o)
	case *config.DelayedStorage:
		base, err := open(ctx, c.Storage, blobDir, o)
		if err != nil {
			return nil, err
		}
		return delay.New(base, 10*time.Millisecond), nil
	}
	return nil, fmt.Errorf("a storage of type %T cannot be opened", c)
}

func (o Options) store() store.Options {
	return store.Options{TxnMemory: o.TxnMemory, Logger: o.Logger}
}

func openFile(ctx context.Context, c *config.FileStorage, blobDir string, o Options) (zodb.Storage, error) {
	if c.BlobDir != "" && blobDir != "" {
		return nil, fmt.Errorf("%v: a second blob directory for one storage", c.Pos)
	}
	if blobDir == "" {
		blobDir = c.BlobDir
	}
	opts := filestorage.Options{
		Path: c.Path, BlobDir: blobDir, Create: c.Create, ReadOnly: c.ReadOnly, Quota: c.Quota,
		PackGC: c.PackGC, PackKeepOld: c.PackKeepOld, References: pickle.References, Logger: o.Logger,
	}
	if o.Progress != nil {
		opts.Progress = func(what string, done, total int64) { o.Progress(c.Path, what, done, total) }
	}
	engine, err := filestorage.Open(opts)
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, engine, o.store())
}

// openMapping opens a storage in memory. It offers no more than Python's
// MappingStorage, since clients are told what there is and behave accordingly.
func openMapping(ctx context.Context, c *config.MappingStorage, blobDir string, o Options) (zodb.Storage, error) {
	opts := memstorage.Options{Name: c.Title, PackGC: true, References: pickle.References}
	if blobDir != "" {
		dir, err := blobs.Open(vfs.OS(), blobDir, "")
		if err != nil {
			return nil, err
		}
		opts.Blobs = dir
	}
	so := o.store()
	so.Without = store.Undo | store.Restore | store.Delete | store.Records
	return store.Open(ctx, memstorage.New(opts), so)
}
