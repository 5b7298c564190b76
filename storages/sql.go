package storages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/mysql"
	"github.com/zaridb/zari/engine/sqlstorage/postgres"
	"github.com/zaridb/zari/engine/sqlstorage/sqlite"
	"github.com/zaridb/zari/store"
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
		PackGC: c.PackGC, References: o.ownReferences(), Logger: o.Logger,
	})
	if err != nil {
		return nil, err
	}
	so := o.store()
	so.LockWait = c.LockTimeout
	so.Name = c.Title
	return store.Open(ctx, engine, so)
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
	replicas, err := readReplicas(c.ReplicaConf)
	if err != nil {
		return nil, err
	}
	switch sql := c.SQL.(type) {
	case *config.PostgreSQL:
		return postgres.Open(ctx, postgres.Options{DSN: sql.DSN, Replicas: replicas, Shared: c.CoWritten, Readers: c.PoolSize})
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

// readReplicas reads a replica-conf file: HOST or HOST:PORT on each line, the best
// first; lines that begin with # are comments. A path "" has none.
func readReplicas(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("replica-conf: %w", err)
	}
	defer f.Close()
	const most = 1 << 16 // bytes
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("replica-conf: %w", err)
	}
	var list []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			list = append(list, line)
		}
	}
	if len(list) == 0 || len(text) > most {
		return nil, fmt.Errorf("replica-conf: %s does not name servers, HOST or HOST:PORT on each line", path)
	}
	return list, nil
}

var errBothSockets = errors.New("replica-conf names servers, and unix_socket another one: leave out one")
