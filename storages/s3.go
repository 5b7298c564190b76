package storages

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/config/zconfig"
	"github.com/zaridb/zari/engine/s3storage"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/engine/s3storage/objstore/bucket"
	"github.com/zaridb/zari/engine/s3storage/objstore/dir"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/wrapper/before"
	"github.com/zaridb/zari/zodb"
)

// openS3 opens a database in a bucket or a directory.
func (o *opener) openS3(ctx context.Context, c *config.S3Storage, blobDir string) (zodb.Storage, error) {
	if c.BlobDir != "" && blobDir != "" {
		return nil, errTwoBlobDirs
	}
	opts := s3storage.Options{
		BlobDir: c.BlobDir + blobDir, BlobCache: c.BlobCache, CacheDir: c.CacheDir, CacheBytes: c.CacheDirSize,
		ReadOnly: c.ReadOnly || o.ReadOnly, Window: c.Window, MaxTransaction: c.MaxTxn, Lease: c.Lease, Backlog: c.LogBacklog,
		KeepHistory: c.KeepHistory, PackGC: c.PackGC, References: o.ownReferences(), Logger: o.Logger,
		Page: o.Roster.Page(c.StorageName()),
	}
	u, err := parseS3(c, &opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", config.Redact(c.URL), err)
	}
	if u.at != 0 {
		opts.ReadOnly = true
	}
	if opts.Objects, err = u.open(ctx); err != nil {
		return nil, err
	}
	if err := u.log.or(c).open(ctx, &opts); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", opts.Name, err), opts.Objects.Close())
	}
	opts.OpenURL = u.beside
	engine, err := s3storage.Open(ctx, opts)
	if err != nil {
		return nil, err
	}
	st, err := store.Open(ctx, engine, o.store())
	if err != nil {
		return nil, err
	}
	s, err := o.cached(st, u.kept, c)
	if err != nil || u.at == 0 {
		return s, err
	}
	view, err := before.New(ctx, s, before.Options{Before: u.at + 1})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return view, nil
}

// S3 is a database in a bucket or a directory, to be looked after without a server.
type S3 struct {
	URL     string // as others find it: without what is only about this process
	Options s3storage.Options
	At      zodb.TID // not 0: as this transaction left it
}

// OpenS3 opens the store that an argument of a command names, but not the database in it.
func OpenS3(ctx context.Context, where string) (*S3, error) {
	c, _, err := config.FindStorage(where, nil)
	if err != nil {
		return nil, err
	}
	section, ok := c.(*config.S3Storage)
	if !ok {
		return nil, fmt.Errorf("%s: write s3://BUCKET/PREFIX or s3dir:///DIRECTORY", config.Redact(where))
	}
	s := &S3{}
	u, err := parseS3(section, &s.Options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", section.URL, err)
	}
	s.URL, s.At, s.Options.OpenURL = u.public, u.at, u.beside
	s.Options.Objects, err = u.open(ctx)
	return s, err
}

// s3URL is a URL of a database in a bucket or a directory.
type s3URL struct {
	open   func(ctx context.Context) (objstore.Store, error)
	bucket bucket.Options // of a bucket
	public string         // where others find it
	at     zodb.TID       // not 0: the database as this transaction left it
	log    s3Log
	kept   int64 // bytes of records in memory
}

// beside opens the store of another database, with the credentials of this one.
func (x *s3URL) beside(ctx context.Context, where string) (objstore.Store, error) {
	if path, ok := strings.CutPrefix(where, "s3dir://"); ok {
		return dir.Open(path)
	}
	other, _, err := bucket.ParseURL(where)
	if err != nil {
		return nil, err
	}
	opts := x.bucket
	opts.Bucket, opts.Prefix = other.Bucket, other.Prefix
	opts.Region = cmp.Or(other.Region, opts.Region)
	opts.Endpoint = cmp.Or(other.Endpoint, opts.Endpoint)
	opts.Addressing = cmp.Or(other.Addressing, opts.Addressing)
	return bucket.Open(ctx, opts)
}

// publicURL is where others find a bucket that need not have its settings.
func publicURL(b bucket.Options) string {
	q := make(url.Values)
	for name, value := range map[string]string{"region": b.Region, "endpoint": b.Endpoint, "addressing": b.Addressing} {
		if value != "" {
			q.Set(name, value)
		}
	}
	readable := strings.NewReplacer("%3A", ":", "%2F", "/").Replace(q.Encode()) // both may stand in a query
	u := url.URL{Scheme: "s3", Host: b.Bucket, Path: "/" + b.Prefix, RawQuery: readable}
	return u.String()
}

// parseS3 reads the URL of a section, and what it says about the engine into opts.
func parseS3(c *config.S3Storage, opts *s3storage.Options) (s3URL, error) {
	text := c.URL
	opts.Name, _, _ = strings.Cut(text, "?")
	x := s3URL{kept: c.CacheSize}
	var rest url.Values
	if path, ok := strings.CutPrefix(opts.Name, "s3dir://"); ok {
		u, err := url.Parse(text)
		if err != nil {
			return x, err
		}
		rest = u.Query()
		x.public = opts.Name
		x.open = func(context.Context) (objstore.Store, error) { return dir.Open(path) }
	} else {
		b, unknown, err := bucket.ParseURL(text)
		if err != nil {
			return x, err
		}
		rest = unknown
		x.bucket, x.public = b, publicURL(b)
		x.open = func(ctx context.Context) (objstore.Store, error) { return bucket.Open(ctx, b) }
	}
	for name, values := range rest {
		value := values[len(values)-1]
		if err := x.option(name, value, opts); err != nil {
			return x, fmt.Errorf("%s: %w", config.Redact("?" + name + "=" + value)[1:], err)
		}
	}
	return x, nil
}

// option reads an option of the URL that is about the engine.
func (x *s3URL) option(name, value string, opts *s3storage.Options) (err error) {
	switch name {
	case "blob-dir":
		opts.BlobDir = value
	case "blob-cache-size":
		opts.BlobCache, err = config.SomeBytes(value)
	case "cache-dir":
		opts.CacheDir = value
	case "cache-dir-size":
		opts.CacheBytes, err = config.SomeBytes(value)
	case "read-only":
		opts.ReadOnly, err = zconfig.Boolean(value)
	case "log":
		x.log.kind, err = config.S3Log(value)
	case "log-dsn":
		x.log.dsn, err = config.LogDSN(value)
	case "log-dir":
		x.log.dir = value
	case "log-abandon":
		x.log.abandon, err = config.LogID(value)
	case "log-backlog":
		opts.Backlog, err = config.SomeBytes(value)
	case "commit-window":
		opts.Window, err = config.Duration(value)
	case "max-transaction":
		opts.MaxTransaction, err = config.SomeBytes(value)
	case "lease":
		opts.Lease, err = config.Duration(value)
	case "keep-history":
		opts.KeepHistory, err = config.Duration(value)
	case "pack-gc":
		opts.PackGC, err = zconfig.Boolean(value)
	case "cache-size":
		x.kept, err = zconfig.ByteSize(value)
	case "at":
		x.at, err = ParseInstant(value, time.Now())
	default:
		known := append(bucket.Parameters(), "blob-dir", "blob-cache-size", "cache-dir", "cache-dir-size", "cache-size",
			"read-only", "log", "log-dsn", "log-dir", "log-abandon", "log-backlog", "commit-window", "max-transaction", "lease",
			"keep-history", "pack-gc", "at")
		slices.Sort(known)
		return fmt.Errorf("this option is not known: there are %s", strings.Join(known, ", "))
	}
	return err
}
