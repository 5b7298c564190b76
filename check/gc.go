package check

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// GCSource is what garbage is looked for in.
type GCSource interface {
	Source
	// Revisions calls fn for every revision of an object that is still kept and has
	// data, newest first.
	Revisions(ctx context.Context, oid zodb.OID, fn func(*Record) error) error
	// Since calls fn for every object that was written by a transaction from since on,
	// perhaps more than once.
	Since(ctx context.Context, since zodb.TID, fn func(zodb.OID) error) error
	// LastTID is the last transaction that is in the source.
	LastTID() zodb.TID
}

var (
	_ GCSource = (*File)(nil)
	_ GCSource = Storage{}
)

// GCOptions say what is garbage.
type GCOptions struct {
	// Since keeps what was written from then on, and what that refers to.
	Since zodb.TID
	// Ignore names databases to which references do not count. One to any other
	// database that is not among those looked at is an error: from there objects
	// might be referred to.
	Ignore map[string]bool
}

// Garbage is an object that no root leads to.
type Garbage struct {
	Object
	TID  zodb.TID `json:"-"` // of its current revision
	Size int      `json:"size"`
	// Referrer is other garbage that refers to it, if there is some: then it is
	// there for as long as that is.
	Referrer *Object `json:"referrer,omitempty"`

	place
}

// Marks are what a look for garbage has found.
type Marks struct {
	dbs     []Database
	sources []GCSource
	graph   *Graph
	options GCOptions
	reached []*oidSet
	deleted []*oidSet // by Sweep
	revive  []place   // deleted, and reached since
	mu      sync.Mutex
	report  *Report
}

// Mark finds out what can be reached in databases that refer to each other: from
// their roots and from what was written lately, by the references of every revision
// that is kept. So an object that was unlinked stays until a pack has dropped the
// revision that referred to it, and undo never meets a missing object.
//
// A record that cannot be read is an error: it is no time to throw anything away.
func Mark(ctx context.Context, dbs []Database, o GCOptions, r *Report) (*Marks, error) {
	m := &Marks{dbs: dbs, options: o, report: r, graph: &Graph{dbs: dbs, numbers: make(map[string]int)}}
	var level []place
	for i, db := range dbs {
		source, ok := db.Source.(GCSource)
		if !ok {
			return nil, fmt.Errorf("%sits revisions cannot be read", db.prefix())
		}
		m.sources = append(m.sources, source)
		m.reached = append(m.reached, newOIDSet())
		m.deleted = append(m.deleted, newOIDSet())
		m.graph.numbers[db.Name] = i
		if _, err := source.Load(ctx, 0); err != nil {
			return nil, fmt.Errorf("%sthe root object: %w", db.prefix(), err)
		}
	}
	for i, source := range m.sources {
		level = m.claim(place{i, 0}, level)
		err := source.Since(ctx, o.Since, func(oid zodb.OID) error {
			level = m.claim(place{i, oid}, level)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("%s%w", dbs[i].prefix(), err)
		}
	}
	return m, m.spread(ctx, level)
}

// claim appends a place that was not reached before.
func (m *Marks) claim(at place, level []place) []place {
	if !m.reached[at.db].add(at.oid) {
		return level
	}
	if m.deleted[at.db].has(at.oid) {
		m.mu.Lock()
		m.revive = append(m.revive, at)
		m.mu.Unlock()
	}
	return append(level, at)
}

// spread reaches everything that a level leads to.
func (m *Marks) spread(ctx context.Context, level []place) error {
	done := int64(0)
	for len(level) > 0 {
		next, err := m.level(ctx, level)
		if err != nil {
			return err
		}
		done += int64(len(level))
		m.report.progress("marking", done, 0)
		level = next
	}
	return nil
}

func (m *Marks) level(ctx context.Context, level []place) (next []place, err error) {
	var mu sync.Mutex
	w := startWorkers(ctx, func(batch []place) error {
		var mine []place
		for _, at := range batch {
			err := m.sources[at.db].Revisions(ctx, at.oid, func(r *Record) (err error) {
				mine, err = m.follow(at, r, mine)
				return err
			})
			if err != nil {
				return fmt.Errorf("object %s: %w", m.dbs[at.db].label(at.oid), err)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		next = append(next, mine...)
		return nil
	})
	for len(level) > 0 {
		n := min(batchLen, len(level))
		if !w.give(level[:n]) {
			break
		}
		level = level[n:]
	}
	return next, w.wait(nil)
}

// follow appends what a record refers to and was not reached before.
func (m *Marks) follow(at place, r *Record, dst []place) ([]place, error) {
	refs, err := pickle.AllReferences(r.Data, nil)
	if err != nil {
		return dst, err
	}
	for _, t := range refs {
		if t.Strength == pickle.Weak || m.options.Ignore[t.Database] {
			continue
		}
		to, ok := m.graph.to(at.db, t)
		if !ok {
			return dst, fmt.Errorf("it refers to the database %q, which is not among those looked at: objects there may refer back. Name all databases, or ignore that one", t.Database)
		}
		dst = m.claim(to, dst)
	}
	return dst, nil
}

// Each calls fn for all garbage of one database, in the order of oids.
func (m *Marks) Each(ctx context.Context, db int, fn func(*Garbage) error) error {
	garbage := newOIDSet()
	progress := func(done, total int64) { m.report.progress("garbage", done, total) }
	err := m.sources[db].Each(ctx, progress, func(r *Record) error {
		if !m.reached[db].has(r.OID) {
			garbage.add(r.OID)
		}
		return nil
	})
	if err != nil {
		return err
	}
	by, err := m.referrers(ctx, db, garbage)
	if err != nil {
		return err
	}
	for oid := range garbage.all() {
		r, err := m.sources[db].Load(ctx, oid)
		if _, gone := errors.AsType[*zodb.NoObjectError](err); gone {
			continue
		}
		if err != nil {
			return fmt.Errorf("object %s: %w", m.dbs[db].label(oid), err)
		}
		class, _ := pickle.ClassOf(r.Data)
		g := &Garbage{TID: r.TID, Size: len(r.Data), place: place{db, oid}}
		g.Object = Object{Database: m.dbs[db].Name, OID: oid.String(), Class: className(class)}
		if from, ok := by(oid); ok {
			g.Referrer = &Object{Database: m.dbs[from.db].Name, OID: from.oid.String()}
		}
		if err := fn(g); err != nil {
			return err
		}
	}
	return nil
}

// referrers finds garbage of all databases that refers to garbage of one.
func (m *Marks) referrers(ctx context.Context, db int, garbage *oidSet) (func(zodb.OID) (place, bool), error) {
	var mu sync.Mutex
	inside := newTable[uint64]() // the referrer's oid + 1, in this database
	outside := make(map[zodb.OID]place)
	for i, source := range m.sources {
		err := source.Each(ctx, func(int64, int64) {}, func(r *Record) error {
			if r.Err != nil || m.reached[i].has(r.OID) {
				return nil
			}
			refs, err := pickle.AllReferences(r.Data, nil)
			if err != nil {
				return nil // garbage need not be readable
			}
			mu.Lock()
			defer mu.Unlock()
			for _, t := range refs {
				to, ok := m.graph.to(i, t)
				switch {
				case !ok || to.db != db || !garbage.has(t.OID) || (i == db && t.OID == r.OID):
				case i == db:
					inside.set(t.OID, uint64(r.OID)+1)
				default:
					outside[t.OID] = place{i, r.OID}
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return func(oid zodb.OID) (place, bool) {
		if by := inside.get(oid); by != 0 {
			return place{db, zodb.OID(by - 1)}, true
		}
		p, ok := outside[oid]
		return p, ok
	}, nil
}

// Revisions follows the records of an object back. A pack leaves one of those that it
// goes over, and others only where later ones point back to them: they are met there.
func (f *File) Revisions(_ context.Context, oid zodb.OID, fn func(*Record) error) error {
	pos := int64(f.current.get(oid))
	if pos == 0 {
		return nil
	}
	h, err := f.header(pos, oid)
	if err != nil {
		return err
	}
	if h.DataLen == 0 && h.Back == 0 {
		return nil // it is deleted
	}
	var buf []byte
	for pos != 0 {
		var r Record
		r, buf = f.load(pos, oid, buf)
		if _, deleted := r.Err.(*zodb.NoObjectError); !deleted {
			if r.Err != nil {
				return r.Err
			}
			if err := fn(&r); err != nil {
				return err
			}
		}
		if h, err = f.header(pos, oid); err != nil {
			return err
		}
		pos = h.Prev
	}
	return nil
}

// Since reads the headers of the file.
func (f *File) Since(ctx context.Context, since zodb.TID, fn func(zodb.OID) error) error {
	s := datafs.NewScanner(datafs.NewWindow(f.file, walkRead), f.path, datafs.MagicSize, f.end, 0)
	for s.Txn() {
		if err := ctx.Err(); err != nil {
			return err
		}
		for s.Head.TID >= since && s.Record() {
			if err := fn(s.Rec.OID); err != nil {
				return err
			}
		}
	}
	return s.Err()
}

// LastTID returns the last transaction that Walk found.
func (f *File) LastTID() zodb.TID { return f.lastTID }

// Revisions loads one revision after the other.
func (s Storage) Revisions(ctx context.Context, oid zodb.OID, fn func(*Record) error) error {
	before := zodb.MaxTID
	for {
		r, err := s.LoadBefore(ctx, oid, before)
		if gone, ok := errors.AsType[*zodb.NoObjectError](err); ok {
			if gone.DeletedAt == 0 || before == zodb.MaxTID {
				return nil
			}
			before = gone.DeletedAt
			continue
		}
		if err != nil {
			return err
		}
		rec := newRecord(oid, r.Serial, r.Data)
		if rec.Err != nil {
			return rec.Err
		}
		if err := fn(&rec); err != nil {
			return err
		}
		before = r.Serial
	}
}

// Since reads the transactions.
func (s Storage) Since(ctx context.Context, since zodb.TID, fn func(zodb.OID) error) error {
	it, ok := zodb.As[zodb.Iterator](s.Storage)
	if !ok {
		return errors.New("this storage cannot list its transactions")
	}
	for t, err := range it.Transactions(ctx, since, 0) {
		if err != nil {
			return err
		}
		for _, r := range t.Records {
			if err := fn(r.OID); err != nil {
				return err
			}
		}
	}
	return nil
}
