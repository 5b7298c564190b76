package storages

import (
	"context"
	"errors"
	"fmt"

	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/mysql"
	"github.com/zaridb/zari/engine/sqlstorage/postgres"
	"github.com/zaridb/zari/engine/sqlstorage/sqlite"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/wrapper/memcached"
	"github.com/zaridb/zari/zodb"
)

// openSQL opens a SQL database in RelStorage's tables.
func (o *opener) openSQL(ctx context.Context, c *config.RelStorage, blobDir string) (zodb.Storage, error) {
	if c.BlobDir != "" && blobDir != "" {
		return nil, errTwoBlobDirs
	}
	readOnly := c.ReadOnly || o.ReadOnly
	if c.Clear && (readOnly || o.Existing || c.CoWritten) {
		return nil, errClear
	}
	d, err := o.openDialect(ctx, c, readOnly)
	if err != nil {
		return nil, err
	}
	engine, err := sqlstorage.Open(ctx, d, sqlstorage.Options{
		Form: form(c), Shared: c.CoWritten, Create: o.creates(c), Clear: c.Clear, ReadOnly: readOnly, Blobs: blobOptions(c, blobDir),
		PackGC: c.PackGC, References: o.ownReferences(), Logger: o.Logger, Page: o.Roster.Page(c.StorageName()),
	})
	if err != nil {
		return nil, err
	}
	so := o.store()
	so.LockWait = c.LockTimeout
	so.Name = c.Title
	s, err := store.Open(ctx, engine, so)
	if err != nil {
		return nil, err
	}
	far, err := o.memcached(ctx, s, c)
	if err != nil {
		return nil, err
	}
	return o.cached(far, c.CacheSize, c)
}

// memcached keeps records of a storage in the memcached servers of its section, if there
// are any and it is a server that opens it.
func (o *opener) memcached(ctx context.Context, s zodb.Storage, c *config.RelStorage) (zodb.Storage, error) {
	if len(c.CacheServers) == 0 || !o.Caches {
		return s, nil
	}
	return memcached.New(ctx, s, memcached.Options{
		Servers: c.CacheServers, Prefix: c.CachePrefix, Logger: o.Logger, Page: o.page(c, s),
	})
}

var errClear = errors.New("what is in the database is to be thrown away, and it is only to be read, or shared with others")

func form(c *config.RelStorage) sqlstorage.Form {
	if c.KeepHistory {
		return sqlstorage.Preserving
	}
	return sqlstorage.Free
}

// creates reports whether tables that are not there are made.
func (o *opener) creates(c *config.RelStorage) bool {
	return c.CreateSchema && !c.ReadOnly && !o.ReadOnly && !o.Existing
}

// blobOptions returns nil for a storage without blobs. What a <blobstorage> around it
// keeps is, to RelStorage, a shared directory.
func blobOptions(c *config.RelStorage, outside string) *sqlstorage.BlobOptions {
	switch {
	case outside != "":
		return &sqlstorage.BlobOptions{Dir: outside, Shared: true}
	case c.BlobDir != "":
		return &sqlstorage.BlobOptions{Dir: c.BlobDir, Shared: c.SharedBlobDir, CacheSize: c.BlobCacheSize}
	}
	return nil
}

func (o *opener) openDialect(ctx context.Context, c *config.RelStorage, readOnly bool) (sqlstorage.Dialect, error) {
	replicas, err := openReplicas(c.ReplicaConf, o.Logger)
	if err != nil {
		return nil, err
	}
	switch sql := c.SQL.(type) {
	case *config.PostgreSQL:
		opts := postgres.Options{DSN: sql.DSN, Shared: c.CoWritten, Readers: c.PoolSize}
		if replicas != nil {
			opts.Replicas = replicas.servers
		}
		return postgres.Open(ctx, opts)
	case *config.MySQL:
		opts, err := mysqlOptions(sql, replicas)
		if err != nil {
			return nil, err
		}
		opts.Connections, opts.ReadOnly, opts.Logger = c.PoolSize, readOnly, o.Logger
		return mysql.Open(ctx, opts)
	case *config.SQLite:
		return sqlite.Open(ctx, sqlite.Options{
			Dir: sql.DataDir, Create: o.creates(c), ReadOnly: readOnly, Readers: c.PoolSize, Busy: c.LockTimeout, Pragmas: sql.Pragmas,
		})
	}
	return nil, fmt.Errorf("%T is not supported", c.SQL)
}

var errBothSockets = errors.New("replica-conf names servers, and unix_socket another one: leave out one")
