// Package storages knows every engine, wrapper and composite, and opens what a
// configuration or a command line names. It is the only package that does: the
// configuration says what there is, the server takes what it is given.
package storages

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/config/zconfig"
	"github.com/zaridb/zari/engine/filestorage"
	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/internal/roster"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/resolve"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/wrapper/cache"
	"github.com/zaridb/zari/wrapper/compress"
	"github.com/zaridb/zari/wrapper/delay"
	"github.com/zaridb/zari/wrapper/readonly"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// Options are what all storages of a process share.
type Options struct {
	ReadOnly  bool  // nothing is to be written, whatever the configuration says
	Existing  bool  // files and blob directories that are not there are an error, and none is emptied
	TxnMemory int64 // bytes of one transaction that are kept in memory; 0: the default
	Logger    *slog.Logger

	// Resolver merges conflicts, and counts them; nil: one that nobody asks for its
	// counts.
	Resolver *resolve.Resolver

	// Survive makes storages of servers that cannot be reached connect later; without
	// it they are an error, unless the configuration says not to wait.
	Survive bool

	// Several says that the storages may be databases that refer to each other, as
	// those of one configuration file do: a pack that would collect garbage in one
	// of them is refused then. Without it such a pack does as Python's, and warns.
	Several bool

	// Caches is for a server, which is asked for the same records again: they are kept in memory, and
	// in memcached, as the sections say. Without it only a <cache> keeps any.
	Caches bool

	// Roster is where operators find the parts of the storages that have figures to show, by
	// the names of the storages; nil: nowhere.
	Roster *roster.Roster

	// Progress is told of long work, such as the rebuild of an index.
	Progress func(storage, what string, done, total int64)
}

// Open opens what a section of a configuration names.
func Open(ctx context.Context, c config.Storage, o Options) (zodb.Storage, error) {
	list, err := OpenAll(ctx, []config.Storage{c}, o)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// OpenAll opens what the sections of a configuration name, in their order. A
// storage that several of them use is opened once, and closed when the last of
// them is. After an error nothing is left open.
func OpenAll(ctx context.Context, list []config.Storage, o Options) ([]zodb.Storage, error) {
	o.Several = o.Several || len(list) > 1
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	op := &opener{Options: o, shared: make(map[config.Storage]*shared)}
	var opened []zodb.Storage
	for _, c := range list {
		s, err := op.open(ctx, c, "")
		if err != nil {
			for _, s := range opened {
				err = errors.Join(err, s.Close())
			}
			return nil, at(c, err)
		}
		opened = append(opened, s)
	}
	return opened, nil
}

// OpenURL opens what a command line names: see [config.FindStorage].
func OpenURL(ctx context.Context, where string, o Options) (zodb.Storage, error) {
	c, notes, err := config.FindStorage(where, nil)
	if err != nil {
		return nil, err
	}
	if o.Logger != nil {
		for _, n := range notes {
			o.Logger.WarnContext(ctx, n.String())
		}
	}
	return Open(ctx, c, o)
}

// at tells where in a file the storage is.
func at(c config.Storage, err error) error {
	if _, told := errors.AsType[*zconfig.Error](err); told || c.Position().File == "" {
		return err
	}
	return fmt.Errorf("%v: storage %q: %w", c.Position(), c.StorageName(), err)
}

// opener opens storages that may share others.
type opener struct {
	Options
	shared map[config.Storage]*shared // those that are open
}

// open opens c. blobDir, if not "", is where a <blobstorage> around it wants its
// blobs.
func (o *opener) open(ctx context.Context, c config.Storage, blobDir string) (zodb.Storage, error) {
	if u, ok := c.(*config.Use); ok {
		return o.open(ctx, u.Storage, blobDir)
	}
	if s, ok := o.shared[c]; ok {
		return s.handle(), nil
	}
	s, err := o.openOne(ctx, c, blobDir)
	if err != nil || !c.Head().Shared {
		return s, err
	}
	sh := &shared{Storage: s}
	o.shared[c] = sh
	return sh.handle(), nil
}

func (o *opener) openOne(ctx context.Context, c config.Storage, blobDir string) (zodb.Storage, error) {
	switch c := c.(type) {
	case *config.FileStorage:
		if err := RefuseUnfinished(c.Path); err != nil {
			return nil, err
		}
		return o.openFile(ctx, c, blobDir)
	case *config.MappingStorage:
		return o.openMapping(ctx, c, blobDir)
	case *config.BlobStorage:
		if blobDir != "" {
			return nil, errTwoBlobDirs
		}
		return o.open(ctx, c.Storage, c.BlobDir)
	case *config.S3Storage:
		return o.openS3(ctx, c, blobDir)
	case *config.DemoStorage:
		return o.openDemo(ctx, c)
	case *config.Import:
		return o.openImport(ctx, c)
	case *config.RelStorage:
		return o.openSQL(ctx, c, blobDir)
	case *config.ClientStorage:
		return o.openClient(ctx, c, blobDir)
	case *config.Database:
		return o.open(ctx, c.Storage, blobDir)
	case *config.CacheStorage:
		base, err := o.open(ctx, c.Storage, blobDir)
		if err != nil {
			return nil, err
		}
		return cache.New(base, cache.Options{Bytes: c.Size, Page: o.page(c, base)})
	case *config.DelayedStorage:
		base, err := o.open(ctx, c.Storage, blobDir)
		if err != nil {
			return nil, err
		}
		return delay.New(base, 10*time.Millisecond), nil
	case *config.ZlibStorage:
		base, err := o.open(ctx, c.Storage, blobDir)
		if err != nil || c.Server {
			return base, err // every storage looks through compression by itself
		}
		return compress.New(base, compress.Options{Keep: !c.Compress}), nil
	case *config.BeforeStorage:
		return o.openBefore(ctx, c, blobDir)
	case *config.ReadOnlyStorage:
		base, err := o.open(ctx, c.Storage, blobDir)
		if err != nil {
			return nil, err
		}
		return readonly.New(base), nil
	}
	return nil, zconfig.Errorf(c.Position(), "<%s> is not supported yet", c.Head().Type)
}

// references looks into records, compressed or not.
var references = compress.References(pickle.References)

// ownReferences are those of a file, which may be one of several databases that refer
// to each other: what only another one refers to looks like garbage here.
func (o *opener) ownReferences() func(record []byte, dst []zodb.OID) ([]zodb.OID, error) {
	own := compress.References(pickle.OwnReferences)
	if o.Several {
		return own
	}
	var warn sync.Once
	return func(record []byte, dst []zodb.OID) ([]zodb.OID, error) {
		refs, err := own(record, dst)
		foreign, ok := errors.AsType[*pickle.ForeignError](err)
		if !ok {
			return refs, err
		}
		warn.Do(func() {
			o.Logger.Warn("a pack collects garbage in a database that refers to another one; what only that one refers to goes: "+
				"if it refers back, set pack-gc false, and use zari gc", "database", foreign.Database)
		})
		return references(record, dst)
	}
}

// cached keeps the records of a section's storage in memory, if there is a size for that and
// it is a server that opens it.
func (o *opener) cached(s zodb.Storage, size int64, c config.Storage) (zodb.Storage, error) {
	if size == 0 || !o.Caches {
		return s, nil
	}
	return cache.New(s, cache.Options{Bytes: size, Page: o.page(c, s)})
}

// page returns a page for what is around a section's storage, which need not have been given a name.
func (o *opener) page(c config.Storage, s zodb.Storage) *roster.Page {
	return o.Roster.Page(cmp.Or(c.StorageName(), s.Info().Name))
}

var errTwoBlobDirs = errors.New("a second blob directory for one storage")

func (o *opener) store() store.Options {
	if o.Resolver == nil {
		o.Resolver = resolve.New(resolve.Options{Logger: o.Logger})
	}
	return store.Options{TxnMemory: o.TxnMemory, Logger: o.Logger, Resolver: compress.Resolver(o.Resolver)}
}

func (o *opener) openFile(ctx context.Context, c *config.FileStorage, blobDir string) (zodb.Storage, error) {
	if c.BlobDir != "" && blobDir != "" {
		return nil, errTwoBlobDirs
	}
	if blobDir == "" {
		blobDir = c.BlobDir
	}
	opts := filestorage.Options{
		Path: c.Path, BlobDir: blobDir, Create: c.Create, ReadOnly: c.ReadOnly || o.ReadOnly, Quota: c.Quota,
		PackGC: c.PackGC, PackKeepOld: c.PackKeepOld, References: o.ownReferences(), Logger: o.Logger,
	}
	if c.Create && o.ReadOnly {
		return nil, fmt.Errorf("%v: create throws away what is in %s, and nothing is to be written", c.Pos, c.Path)
	}
	if o.Existing {
		if err := existing(c, blobDir); err != nil {
			return nil, err
		}
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

// existing finds out whether all that a file storage consists of is there, so that
// opening it makes nothing and throws nothing away.
func existing(c *config.FileStorage, blobDir string) error {
	if c.Create {
		return fmt.Errorf("%v: create throws away what is in %s, which is to be kept", c.Pos, c.Path)
	}
	if _, err := vfs.OS().Stat(c.Path); err != nil {
		return err
	}
	if blobDir == "" {
		return nil
	}
	if _, err := vfs.OS().Stat(blobDir); err != nil {
		return fmt.Errorf("the directory for blobs: %w", err)
	}
	return nil
}

// openMapping opens a storage in memory. It offers no more than Python's
// MappingStorage, since clients are told what there is and behave accordingly.
func (o *opener) openMapping(ctx context.Context, c *config.MappingStorage, blobDir string) (zodb.Storage, error) {
	opts := memstorage.Options{Name: c.Title, PackGC: true, References: references}
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
