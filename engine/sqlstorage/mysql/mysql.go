package mysql

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"

	"github.com/zaridb/zari/engine/sqlstorage"
)

// DB is an open database. It implements sqlstorage.Dialect and Sharer.
type DB struct {
	opts Options
	name string
	info serverInfo // of the server that was there first

	reads     *pool // loads, in autocommit
	snapshots *pool // long ones, of one state each
	writes    *pool // what is not a commit of ZODB
	appends   *pool // one
	votes     *pool // those that hold locks

	wg      sync.WaitGroup
	closing context.Context // done when Close begins
	close   context.CancelFunc
}

var (
	_ sqlstorage.Dialect = (*DB)(nil)
	_ sqlstorage.Sharer  = (*DB)(nil)
	_ sqlstorage.Limiter = (*DB)(nil)

	_ sqlstorage.TextLimiter = (*DB)(nil)
	_ sqlstorage.RowLocker   = (*DB)(nil)
)

// How many connections there are at most, besides Options.
const (
	maxSnapshots = 8
	maxWrites    = 4
)

// Open connects to the database.
func Open(ctx context.Context, opts Options) (*DB, error) {
	opts = opts.withDefaults()
	if err := opts.check(); err != nil {
		return nil, err
	}
	d := &DB{opts: opts, name: nameOf(opts)}
	d.closing, d.close = context.WithCancel(context.Background())
	d.reads = newPool(d, readerSession, opts.Connections)
	d.snapshots = newPool(d, readerSession, maxSnapshots)
	d.writes = newPool(d, writerSession, maxWrites)
	d.appends = newPool(d, writerSession, 1)
	d.votes = newPool(d, writerSession, opts.Votes)
	c, err := d.reads.get(ctx)
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("connecting: %w", err)
	}
	d.info = c.info
	d.reads.put(c)
	return d, nil
}

// nameOf is the database as a URL, without user and password.
func nameOf(o Options) string {
	addresses := o.addresses()
	hosts := make([]string, len(addresses))
	for i, a := range addresses {
		hosts[i] = a
		if e := parseAddress(a); e.network == "unix" {
			hosts[i] = e.host
		}
	}
	return "mysql://" + strings.Join(hosts, ",") + "/" + o.Database
}

// Name implements sqlstorage.Dialect.
func (d *DB) Name() string { return d.name }

// Version returns the server's version: "10.11.6-MariaDB".
func (d *DB) Version() string { return d.info.version }

// Pools implements sqlstorage.Dialect.
func (d *DB) Pools() []sqlstorage.Pool {
	return []sqlstorage.Pool{
		d.reads.figures("loads"), d.snapshots.figures("snapshots"), d.writes.figures("writes"), d.appends.figures("commits"), d.votes.figures("votes"),
	}
}

// rowFrame is how many bytes of a packet are left to what a row has besides its state.
const rowFrame = 1 << 12

// MaxState implements sqlstorage.Limiter: a row is sent in one packet.
func (d *DB) MaxState() int64 { return d.info.packet - rowFrame }

// MaxBlob implements sqlstorage.Limiter: blobs are in chunks.
func (d *DB) MaxBlob() int64 { return math.MaxInt64 }

// MaxText implements sqlstorage.TextLimiter: RelStorage's columns are BLOBs.
func (d *DB) MaxText() int64 { return math.MaxUint16 }

// sizeQuery asks for InnoDB's estimates.
const sizeQuery = `SELECT MAX(CASE table_name WHEN ? THEN table_rows END), MAX(CASE table_name WHEN 'object_state' THEN data_length END)
	FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN ('object_state', 'current_object')`

// Size implements sqlstorage.Dialect.
func (d *DB) Size(ctx context.Context, form sqlstorage.Form) (objects, bytes int64, err error) {
	table := "current_object"
	if form == sqlstorage.Free {
		table = "object_state"
	}
	err = d.Read(ctx, func(s sqlstorage.Session) error {
		for r, err := range s.Query(ctx, sizeQuery, table) {
			if err != nil {
				return err
			}
			if err := r.Scan(&objects, &bytes); err != nil {
				return err
			}
		}
		return nil
	})
	return objects, bytes, err
}

// Close implements sqlstorage.Dialect.
func (d *DB) Close() error {
	d.close()
	for _, p := range []*pool{d.reads, d.snapshots, d.writes, d.appends, d.votes} {
		p.close()
	}
	d.wg.Wait()
	return nil
}

var _ io.Closer = (*DB)(nil)
