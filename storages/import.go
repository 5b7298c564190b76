package storages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/zaridb/zari/composite/demo"
	"github.com/zaridb/zari/composite/importing"
	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/transfer"
	"github.com/zaridb/zari/zodb"
)

// importDir is the folder beside a data file that an import into it needs.
func importDir(path string) string { return path + ".import" }

func importState(path string) importing.File {
	return importing.File{FS: vfs.OS(), Path: filepath.Join(importDir(path), "state")}
}

// RefuseUnfinished returns an error for a data file that is only a part of a database,
// because an import into it is not done. Open calls it; it is there for those who
// read data files in other ways.
func RefuseUnfinished(path string) error {
	unfinished, err := importState(path).Unfinished()
	if err != nil {
		return err
	}
	if !unfinished {
		return nil
	}
	state, _ := importState(path).Load()
	return fmt.Errorf("%s is only a part of its database: the import from %s is not done, and what was written since it began is in %s; "+
		"go on with the command that began it, with the same directories for blobs: zari serve --import %s %s", path, state.Source, importDir(path), state.Source, path)
}

// openImport begins an import, or goes on with it; or opens the destination, if the
// import is done.
func (o *opener) openImport(ctx context.Context, c *config.Import) (zodb.Storage, error) {
	dst := c.Destination
	if o.ReadOnly || dst.ReadOnly || dst.Create {
		return nil, errors.New("an import writes to its destination, and does not throw away what is there")
	}
	state, err := importState(dst.Path).Load()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if state.Done {
		return o.openImported(ctx, dst)
	}
	im := &imported{}
	if err := o.beginImport(ctx, c, im); err != nil {
		return nil, errors.Join(err, im.Close())
	}
	return im, nil
}

// openImported opens a destination that is the database, and removes what the
// import needed; all but the state, which says that it is done.
func (o *opener) openImported(ctx context.Context, dst *config.FileStorage) (zodb.Storage, error) {
	if o.Logger != nil {
		o.Logger.InfoContext(ctx, "the import is done already: the destination is served, the source is not needed any more", "destination", dst.Path)
	}
	s, err := o.openFile(ctx, dst, "")
	if err != nil {
		return nil, err
	}
	if err := removeJournal(dst.Path); err != nil && o.Logger != nil {
		o.Logger.WarnContext(ctx, "what an import left could not be removed; it is not needed any more", "err", err)
	}
	return s, nil
}

func removeJournal(path string) error {
	entries, err := os.ReadDir(importDir(path))
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.Name() != filepath.Base(importState(path).Path) {
			errs = append(errs, os.RemoveAll(filepath.Join(importDir(path), e.Name())))
		}
	}
	return errors.Join(errs...)
}

// imported is an import with what goes with it.
type imported struct {
	zodb.Storage
	closers []io.Closer // what is closed, the last first
}

// As finds the abilities of the import.
func (im *imported) As(target any) bool { return zodb.PassOn(im.Storage, target) }

// Close closes everything.
func (im *imported) Close() error {
	var err error
	for i := len(im.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, im.closers[i].Close())
	}
	return err
}

// beginImport opens everything. What is open after an error is closed by im.Close.
func (o *opener) beginImport(ctx context.Context, c *config.Import, im *imported) error {
	dir := importDir(c.Destination.Path)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := vfs.OS().SyncDir(filepath.Dir(dir)); err != nil {
		return err
	}
	guards, err := o.guardSource(c, im)
	if err != nil {
		return err
	}
	readOnly := *o
	readOnly.ReadOnly, readOnly.Existing = true, true
	parts := make([]zodb.Storage, 3)
	for i, open := range []func() (zodb.Storage, error){
		func() (zodb.Storage, error) { return readOnly.open(ctx, c.Source, "") },
		func() (zodb.Storage, error) {
			return o.openFile(ctx, &config.FileStorage{Path: filepath.Join(dir, "journal.fs"), BlobDir: filepath.Join(dir, "blobs")}, "")
		},
		func() (zodb.Storage, error) { return o.openFile(ctx, c.Destination, "") },
	} {
		if parts[i], err = open(); err != nil {
			return err
		}
		im.closers = append(im.closers, parts[i])
	}
	copying := transfer.Options{BatchBytes: importBatch}
	if _, blobs := zodb.As[zodb.BlobStore](parts[0]); !blobs {
		copying.NeedBlobs = true // the source was named without their directory: without them it is not the database
	}
	s, err := importing.Open(ctx, importing.Options{
		Source: parts[0], Journal: parts[1], Destination: parts[2], State: importState(c.Destination.Path),
		Lay: layChanges, Copy: o.copyImport(copying), Verify: guards.check, Logger: o.Logger,
	})
	if err != nil {
		return err
	}
	im.Storage = s
	im.closers = append(im.closers, s)
	return nil
}

func layChanges(ctx context.Context, base, changes zodb.Storage) (zodb.Storage, error) {
	return demo.New(ctx, base, changes, demo.Options{})
}

// importBatch is how much is committed to the destination at a time: little enough
// that the disk has time for clients in between.
const importBatch = 2 << 20

func (o *opener) copyImport(options transfer.Options) func(ctx context.Context, dst, src zodb.Storage) error {
	return func(ctx context.Context, dst, src zodb.Storage) error {
		r, err := transfer.Copy(ctx, dst, src, options)
		if r.BlobsMissing > 0 && o.Logger != nil {
			o.Logger.WarnContext(ctx, "records of blobs were copied whose files the source has not got", "blobs", r.BlobsMissing)
		}
		return err
	}
}

// guard watches a data file of the source.
type guard struct {
	path string
	info os.FileInfo
}

type guards []guard

// guardSource sees to it that nobody writes to the data files of the source. It
// locks them as their servers would. Where it may not (a file system that is
// read-only), their sizes and times tell at the end whether somebody did.
func (o *opener) guardSource(c *config.Import, im *imported) (guards, error) {
	var list guards
	for part := range config.All(c.Source) {
		f, ok := part.(*config.FileStorage)
		if !ok {
			continue
		}
		info, err := os.Stat(f.Path)
		if err != nil {
			return nil, fmt.Errorf("the source of an import: %w", err)
		}
		if there, err := os.Stat(c.Destination.Path); err == nil && os.SameFile(info, there) {
			return nil, fmt.Errorf("source and destination of an import are the same file, %s", f.Path)
		}
		lock, err := vfs.OS().Lock(f.Path + ".lock")
		switch {
		case errors.Is(err, vfs.ErrLocked):
			return nil, fmt.Errorf("the source of an import must not be written meanwhile, but a server has %s open: stop it first: %w", f.Path, err)
		case err == nil:
			im.closers = append(im.closers, lock)
		}
		list = append(list, guard{f.Path, info})
	}
	return list, nil
}

func (g guards) check(context.Context) error {
	for _, x := range g {
		now, err := os.Stat(x.path)
		if err != nil {
			return fmt.Errorf("the source of an import: %w", err)
		}
		if now.Size() != x.info.Size() || !now.ModTime().Equal(x.info.ModTime()) {
			return fmt.Errorf("the source %s was written since the import was opened; what was written there is not served", x.path)
		}
	}
	return nil
}
