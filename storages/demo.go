package storages

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/composite/demo"
	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// openDemo opens changes over a base. What is not configured is kept in memory,
// as in Python.
func (o *opener) openDemo(ctx context.Context, c *config.DemoStorage) (zodb.Storage, error) {
	base, err := o.openOr(ctx, c.Base, func() (zodb.Storage, error) {
		return o.openMapping(ctx, &config.MappingStorage{Title: "nothing"}, "")
	})
	if err != nil {
		return nil, err
	}
	changes, err := o.openOr(ctx, c.Changes, func() (zodb.Storage, error) { return o.openScratch(ctx) })
	if err != nil {
		return nil, errors.Join(err, base.Close())
	}
	s, err := demo.New(ctx, base, changes, demo.Options{Name: c.Title})
	if err != nil {
		return nil, errors.Join(err, changes.Close(), base.Close())
	}
	return s, nil
}

// openOr opens c, or what stands in for it where nothing is configured.
func (o *opener) openOr(ctx context.Context, c config.Storage, absent func() (zodb.Storage, error)) (zodb.Storage, error) {
	if c == nil {
		return absent()
	}
	s, err := o.open(ctx, c, "")
	if err != nil {
		return nil, at(c, err)
	}
	return s, nil
}

// scratch is a storage in memory whose blobs are in a directory that goes with it.
type scratch struct {
	zodb.Storage
	dir string
}

// openScratch opens what holds changes that nobody wants to keep. It offers what
// Python's DemoStorage does then: blobs, but no undo.
func (o *opener) openScratch(ctx context.Context) (zodb.Storage, error) {
	dir, err := os.MkdirTemp("", "zari-changes-")
	if err != nil {
		return nil, fmt.Errorf("a directory for the blobs of changes that are kept in memory: %w", err)
	}
	files, err := blobs.Open(vfs.NoSync(vfs.OS()), dir, "")
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	so := o.store()
	so.Without = store.Undo | store.Delete
	s, err := store.Open(ctx, memstorage.New(memstorage.Options{Name: "memory", Blobs: files, PackGC: true, References: references}), so)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &scratch{s, dir}, nil
}

// As finds the abilities of the storage in memory.
func (s *scratch) As(target any) bool { return zodb.PassOn(s.Storage, target) }

// Close drops it all.
func (s *scratch) Close() error { return errors.Join(s.Storage.Close(), os.RemoveAll(s.dir)) }
