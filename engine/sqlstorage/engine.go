package sqlstorage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// Engine is a database in the tables of RelStorage.
type Engine struct {
	db     Dialect
	opts   Options
	form   Form
	blobs  *blobStore // nil: there are none
	oids   allocator
	lease  io.Closer // nil without one
	meta   bool      // there is a table zari_meta
	undone bool      // and a table zari_undone

	epoch  atomic.Uint64 // of the lease, 0 without one
	head   atomic.Uint64 // the last tid
	max    atomic.Uint64 // the largest oid
	floor  atomic.Uint64 // tids are larger, also where no row has it
	stat   statistics
	scans  chan struct{} // has room for those that hold a session
	tried  []*txnlog.Txn // by the last Append, until its outcome is known
	raises uint64        // of the epoch whose outcome is not known

	closing  sync.Once
	closeErr error
}

var (
	_ store.Engine       = (*Engine)(nil)
	_ store.HeadScanner  = (*Engine)(nil)
	_ store.Settler      = (*Engine)(nil)
	_ store.Checker      = (*Engine)(nil)
	_ store.Describer    = (*Engine)(nil)
	_ store.HistoryFree  = (*Engine)(nil)
	_ store.ManyLoader   = (*Engine)(nil)
	_ store.OIDAllocator = (*Engine)(nil)
)

// Open opens the database of a dialect, which the engine owns from now on, also when
// it fails. Unless ReadOnly it becomes the only writer: another server that has been
// is refused from then on.
func Open(ctx context.Context, d Dialect, o Options) (*Engine, error) {
	o = o.withDefaults()
	e := &Engine{db: d, opts: o, form: o.Form, scans: make(chan struct{}, longScans)}
	e.oids.db = d
	if err := e.open(ctx); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	o.Page.Add(d)
	return e, nil
}

func (e *Engine) open(ctx context.Context) error {
	if err := e.takeLease(ctx); err != nil {
		return err
	}
	if err := prepareSchema(ctx, e.db, e.opts); err != nil {
		return err
	}
	objects, err := e.db.Objects(ctx)
	if err != nil {
		return err
	}
	e.meta, e.undone = objects["table zari_meta"], objects["table zari_undone"]
	if err := e.openBlobs(); err != nil {
		return err
	}
	if err := e.useLease(ctx); err != nil {
		return err
	}
	if e.opts.Clear && !e.opts.ReadOnly {
		if err := e.clear(ctx, objects); err != nil {
			return err
		}
	}
	if err := e.readHead(ctx); err != nil {
		return err
	}
	meta, err := e.Meta(ctx)
	if err != nil {
		return err
	}
	e.floor.Store(uint64(meta.TIDFloor))
	if !e.opts.ReadOnly {
		if err := e.oids.raise(ctx, zodb.OID(e.max.Load())); err != nil {
			return err
		}
	}
	return e.measure(ctx)
}

// leasePatience is how long a server that starts waits for the lease: where many share,
// another one may have it that only begins, too, and perhaps makes the tables; and the
// session of a server that was killed may live on until its last statement has ended.
const leasePatience = 5 * time.Second

// takeLease takes what only one server can have: while it has it, nobody else makes
// tables, and nobody believes to be alone who is not. (Who writes without it is found by
// the next Append of who has it.)
func (e *Engine) takeLease(ctx context.Context) error {
	why := "another server writes to this database"
	if e.opts.Shared {
		if _, err := e.sharer(); err != nil {
			return err
		}
		why = "another server has this database for itself"
	}
	if e.opts.ReadOnly {
		return nil
	}
	lease, err := e.db.Lease(ctx)
	if errors.Is(err, ErrBusy) {
		e.opts.Logger.Info("waiting for another server to go", "storage", e.db.Name(), "patience", leasePatience)
	}
	for begin := time.Now(); errors.Is(err, ErrBusy) && ctx.Err() == nil && time.Since(begin) < leasePatience; {
		time.Sleep(50 * time.Millisecond)
		lease, err = e.db.Lease(ctx)
	}
	if errors.Is(err, ErrBusy) {
		return fmt.Errorf("%s: %s: stop it, or open both shared: %w", e.db.Name(), why, err)
	}
	if err == nil {
		e.lease = lease
	}
	return err
}

// useLease makes this the server that writes, and any other one that thinks so fail; or
// gives the lease back where others write, too.
func (e *Engine) useLease(ctx context.Context) error {
	switch {
	case e.lease == nil:
		return nil
	case !e.opts.Shared:
		return e.raiseEpoch(ctx)
	}
	lease := e.lease
	e.lease = nil
	return lease.Close()
}

// raiseEpoch locks out whoever has an older epoch. It waits for an Append that is
// under way, for that has the row locked.
func (e *Engine) raiseEpoch(ctx context.Context) error {
	return e.db.Write(ctx, func(s Session) error {
		n, err := s.Exec(ctx, nextEpoch)
		if err == nil && n != 1 {
			err = &SchemaError{e.db.Name(), "the table zari_meta has lost its row: insert (1, '', 0, 0, 0)"}
		}
		if err != nil {
			return err
		}
		epoch, err := number(ctx, s, selectEpoch)
		e.epoch.Store(uint64(epoch))
		return err
	})
}

// readHead finds the last tid and the largest oid, and counts roughly.
func (e *Engine) readHead(ctx context.Context) error {
	return e.db.Read(ctx, func(s Session) error {
		last, err := number(ctx, s, e.form.SelectLast())
		if err != nil {
			return err
		}
		largest, err := number(ctx, s, `SELECT MAX(zoid) FROM `+e.form.objects())
		if err != nil {
			return err
		}
		if last < 0 || largest < 0 {
			return corrupt(e.db, "a negative tid or oid (%d, %d)", last, largest)
		}
		e.head.Store(uint64(last))
		e.max.Store(uint64(largest))
		return nil
	})
}

// measure asks the database how large it is, roughly.
func (e *Engine) measure(ctx context.Context) error {
	objects, bytes, err := e.db.Size(ctx, e.form)
	e.stat.set(objects, bytes)
	return err
}

// corrupt is the error of a row that cannot be.
func corrupt(d Dialect, format string, args ...any) error {
	return &zodb.CorruptError{File: d.Name(), Record: "row", Err: fmt.Errorf(format, args...)}
}

// Name implements store.Describer.
func (e *Engine) Name() string { return e.db.Name() }

// ReadOnly implements store.Describer.
func (e *Engine) ReadOnly() bool { return e.opts.ReadOnly }

// HistoryFree implements store.HistoryFree.
func (e *Engine) HistoryFree() bool { return e.form == Free }

// Head implements store.Engine.
func (e *Engine) Head() (zodb.TID, zodb.OID) {
	return zodb.TID(e.head.Load()), zodb.OID(e.max.Load())
}

// Meta implements store.Engine. Its epoch is the lease's.
func (e *Engine) Meta(ctx context.Context) (store.Meta, error) {
	var m store.Meta
	if !e.meta {
		return m, nil // a database of RelStorage's that may only be read
	}
	err := e.db.Read(ctx, func(s Session) error {
		for row, err := range s.Query(ctx, selectMeta) {
			if err != nil {
				return err
			}
			if m, err = scanMeta(e.db, row); err != nil {
				return err
			}
		}
		return nil
	})
	return m, err
}

func scanMeta(d Dialect, row Row) (m store.Meta, err error) {
	var uuid []byte
	var epoch, floor, next int64
	if err := row.Scan(&uuid, &epoch, &floor, &next); err != nil {
		return m, err
	}
	if len(uuid) != 0 && len(uuid) != len(m.UUID) {
		return m, corrupt(d, "the uuid in zari_meta has %d bytes, not 16", len(uuid))
	}
	if floor < 0 || epoch < 0 {
		return m, corrupt(d, "a negative epoch or tid_floor (%d, %d) in zari_meta", epoch, floor)
	}
	copy(m.UUID[:], uuid)
	m.Epoch, m.TIDFloor, m.NextOID = uint64(epoch), zodb.TID(floor), zodb.OID(next)
	return m, nil
}

// Close implements store.Engine.
func (e *Engine) Close() error {
	e.closing.Do(func() {
		e.opts.Page.Close()
		if e.lease != nil {
			e.closeErr = e.lease.Close()
		}
		e.closeErr = errors.Join(e.closeErr, e.db.Close())
	})
	return e.closeErr
}
