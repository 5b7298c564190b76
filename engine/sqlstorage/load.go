package sqlstorage

import (
	"context"
	"math"
	"slices"

	"github.com/zaridb/zari/zodb"
)

const (
	loadPreserving = `SELECT tid, state,
			(SELECT MIN(later.tid) FROM object_state later WHERE later.zoid = o.zoid AND later.tid > o.tid)
		FROM object_state o WHERE zoid = ? AND tid < ? ORDER BY tid DESC LIMIT 1`
	loadFree  = `SELECT tid, state, 0 FROM object_state WHERE zoid = ?`
	anyExists = `SELECT COUNT(*) FROM (SELECT 1 FROM object_state WHERE zoid = ? LIMIT 1) found`
)

// revision is a row of object_state, and the tid of the one after it.
type revision struct {
	tid, next int64
	state     []byte // nil: there is none
}

// LoadBefore implements store.Engine.
func (e *Engine) LoadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
	missing := &zodb.NoObjectError{OID: oid, Before: tid}
	if oid > math.MaxInt64 {
		return zodb.Record{}, missing
	}
	before := int64(min(tid, math.MaxInt64))
	var rev revision
	var found bool
	err := e.db.Read(ctx, func(s Session) (err error) {
		rev, found, err = e.load(ctx, s, int64(oid), before)
		if err == nil && !found {
			var n int64
			n, err = number(ctx, s, anyExists, int64(oid))
			missing.Known = n > 0
		}
		return err
	})
	switch {
	case err != nil:
		return zodb.Record{}, err
	case !found:
		return zodb.Record{}, missing
	case rev.state == nil:
		missing.Known, missing.DeletedAt = true, zodb.TID(rev.tid)
		return zodb.Record{}, missing
	}
	return zodb.Record{Data: rev.state, Serial: zodb.TID(rev.tid), Next: zodb.TID(rev.next)}, nil
}

// load returns the newest revision before a tid.
func (e *Engine) load(ctx context.Context, s Session, oid, before int64) (rev revision, found bool, err error) {
	if e.form == Free {
		rev, found, err = loadRow(ctx, s, loadFree, oid)
		return rev, found && rev.tid < before, err
	}
	return loadRow(ctx, s, loadPreserving, oid, before)
}

func loadRow(ctx context.Context, s Session, statement string, args ...any) (rev revision, found bool, err error) {
	for row, err := range s.Query(ctx, statement, args...) {
		if err != nil {
			return rev, false, err
		}
		if err := row.Scan(&rev.tid, &rev.state, &rev.next); err != nil {
			return rev, false, err
		}
		found = true
	}
	return rev, found, nil
}

// Serials implements store.Engine.
func (e *Engine) Serials(ctx context.Context, oids []zodb.OID) ([]zodb.TID, error) {
	serials := make(map[int64]int64, len(oids))
	err := e.db.Read(ctx, func(s Session) error {
		return ReadSerials(ctx, e.db, s, e.form, rowOIDs(oids), serials)
	})
	if err != nil {
		return nil, err
	}
	tids := make([]zodb.TID, len(oids))
	for i, oid := range oids {
		if oid <= math.MaxInt64 {
			tids[i] = zodb.TID(serials[int64(oid)])
		}
	}
	return tids, nil
}

// ReadSerials fills in the newest serials of the objects that have a row, and leaves
// the others as they are. Dialects use it, too.
func ReadSerials(ctx context.Context, d Dialect, s Session, form Form, oids []int64, serials map[int64]int64) error {
	for some := range slices.Chunk(oids, MaxIn) {
		cond, args := d.In("zoid", some)
		for row, err := range s.Query(ctx, `SELECT zoid, tid FROM `+form.objects()+` WHERE `+cond, args...) {
			if err != nil {
				return err
			}
			var oid, tid int64
			if err := row.Scan(&oid, &tid); err != nil {
				return err
			}
			serials[oid] = tid
		}
	}
	return nil
}

// rowOIDs returns the oids that a row can have.
func rowOIDs(oids []zodb.OID) []int64 {
	list := make([]int64, 0, len(oids))
	for _, oid := range oids {
		if oid <= math.MaxInt64 {
			list = append(list, int64(oid))
		}
	}
	return list
}

// LoadMany implements store.ManyLoader.
func (e *Engine) LoadMany(ctx context.Context, oids []zodb.OID) ([]zodb.Record, error) {
	found := make(map[int64]zodb.Record, len(oids))
	err := e.db.Read(ctx, func(s Session) error {
		clear(found)
		for some := range slices.Chunk(rowOIDs(oids), MaxIn) {
			if err := e.loadSome(ctx, s, some, found); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	list := make([]zodb.Record, len(oids))
	for i, oid := range oids {
		if oid <= math.MaxInt64 {
			list[i] = found[int64(oid)]
		}
	}
	return list, nil
}

func (e *Engine) loadSome(ctx context.Context, s Session, oids []int64, found map[int64]zodb.Record) error {
	column, statement := "zoid", `SELECT zoid, tid, state FROM object_state WHERE `
	if e.form == Preserving {
		column = "c.zoid"
		statement = `SELECT o.zoid, o.tid, o.state FROM current_object c JOIN object_state o ON o.zoid = c.zoid AND o.tid = c.tid WHERE `
	}
	cond, args := e.db.In(column, oids)
	for row, err := range s.Query(ctx, statement+cond, args...) {
		if err != nil {
			return err
		}
		var oid, tid int64
		var rec zodb.Record
		if err := row.Scan(&oid, &tid, &rec.Data); err != nil {
			return err
		}
		rec.Serial = zodb.TID(tid)
		found[oid] = rec
	}
	return nil
}
