package demo

import (
	"context"
	"errors"
	"iter"

	"github.com/zaridb/zari/zodb"
)

// failed is a sequence of one error.
func failed[V any](err error) iter.Seq2[V, error] {
	return func(yield func(V, error) bool) {
		var none V
		yield(none, err)
	}
}

// joined yields the one sequence and then the other; the second not after an
// error of the first.
func joined[V any](first, second iter.Seq2[V, error]) iter.Seq2[V, error] {
	return func(yield func(V, error) bool) {
		for v, err := range first {
			if !yield(v, err) || err != nil {
				return
			}
		}
		second(yield)
	}
}

// iterators returns those of base and changes.
func (s *Storage) iterators() (base, changes zodb.Iterator, err error) {
	if s.closed.Load() {
		return nil, nil, zodb.ErrClosed
	}
	base, okB := zodb.As[zodb.Iterator](s.base.Storage)
	changes, okC := zodb.As[zodb.Iterator](s.changes)
	if !okB || !okC {
		return nil, nil, errors.ErrUnsupported
	}
	return base, changes, nil
}

// Transactions implements zodb.Iterator: those of the base, then the changes.
func (s *Storage) Transactions(ctx context.Context, start, stop zodb.TID) iter.Seq2[*zodb.Transaction, error] {
	base, changes, err := s.iterators()
	if err != nil {
		return failed[*zodb.Transaction](err)
	}
	cut, end := s.base.cut, s.LastTID()
	if stop != 0 {
		end = min(stop, end)
	}
	if end == 0 { // nothing: but for a stop, 0 means everything
		return changes.Transactions(ctx, start, 1)
	}
	later := changes.Transactions(ctx, max(start, cut+1), end)
	if end <= cut {
		return base.Transactions(ctx, start, end)
	}
	if start > cut || cut == 0 {
		return later
	}
	return joined(base.Transactions(ctx, start, cut), later)
}

// Backward implements zodb.Iterator: the changes, then those of the base.
func (s *Storage) Backward(ctx context.Context, from zodb.TID) iter.Seq2[*zodb.Transaction, error] {
	base, changes, err := s.iterators()
	if err != nil {
		return failed[*zodb.Transaction](err)
	}
	cut := s.base.cut
	switch {
	case cut == 0:
		return changes.Backward(ctx, from)
	case from != 0 && from <= cut:
		return base.Backward(ctx, from)
	}
	return joined(changes.Backward(ctx, from), base.Backward(ctx, cut))
}

// Current implements zodb.RecordIterator: the records of the changes among those
// of the base that they do not hide.
func (s *Storage) Current(ctx context.Context, asOf zodb.TID, from, to zodb.OID) iter.Seq2[zodb.Current, error] {
	base, okB := zodb.As[zodb.RecordIterator](s.base.Storage)
	changes, okC := zodb.As[zodb.RecordIterator](s.changes)
	cut, last := s.base.cut, s.LastTID()
	if asOf != 0 {
		last = min(asOf, last)
	}
	switch {
	case s.closed.Load():
		return failed[zodb.Current](zodb.ErrClosed)
	case !okB || !okC:
		return failed[zodb.Current](errors.ErrUnsupported)
	case cut == 0:
		return changes.Current(ctx, asOf, from, to)
	case last <= cut:
		return base.Current(ctx, last, from, to)
	}
	return func(yield func(zodb.Current, error) bool) {
		m := merger{s: s, ctx: ctx, last: last, yield: yield}
		m.run(base.Current(ctx, cut, from, to), changes.Current(ctx, last, from, to))
	}
}

// merger merges two sequences of records in the order of their oids.
type merger struct {
	s     *Storage
	ctx   context.Context
	last  zodb.TID
	yield func(zodb.Current, error) bool

	next func() (zodb.Current, error, bool) // of the changes
	c    zodb.Current                       // the next one that is to be yielded
	err  error
	ok   bool
}

func (m *merger) run(base, changes iter.Seq2[zodb.Current, error]) {
	next, stop := iter.Pull2(changes)
	defer stop()
	m.next = next
	m.c, m.err, m.ok = next()
	for b, err := range base {
		if err != nil {
			m.yield(b, err)
			return
		}
		if !m.changedUpTo(b.OID) {
			return
		}
		if hidden, err := m.hidden(b.OID); err != nil || !hidden {
			if !m.yield(b, err) || err != nil {
				return
			}
		}
	}
	m.changedUpTo(^zodb.OID(0))
}

// changedUpTo yields the records of the changes up to oid, and reports whether to
// go on.
func (m *merger) changedUpTo(oid zodb.OID) bool {
	for m.ok && (m.c.OID <= oid || m.err != nil) {
		if !m.yield(m.c, m.err) || m.err != nil {
			return false
		}
		m.c, m.err, m.ok = m.next()
	}
	return true
}

// hidden reports whether the changes have a revision of the object, a deletion
// included.
func (m *merger) hidden(oid zodb.OID) (bool, error) {
	serial, err := m.s.changedBefore(m.ctx, oid, m.last+1)
	return serial != 0, err
}

// History implements zodb.Historian.
func (s *Storage) History(ctx context.Context, oid zodb.OID, size int) ([]zodb.Revision, error) {
	if s.closed.Load() {
		return nil, zodb.ErrClosed
	}
	base, okB := zodb.As[zodb.Historian](s.base.Storage)
	changes, okC := zodb.As[zodb.Historian](s.changes)
	if !okB || !okC {
		return nil, errors.ErrUnsupported
	}
	revisions, err := changes.History(ctx, oid, size)
	if _, ok := errors.AsType[*zodb.NoObjectError](err); ok {
		err = nil
	}
	if err != nil || len(revisions) >= size && size > 0 {
		return revisions, err
	}
	older, err := s.historyBelow(ctx, base, oid, size-len(revisions))
	if _, ok := errors.AsType[*zodb.NoObjectError](err); ok && len(revisions) > 0 {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	return append(revisions, older...), nil
}

// historyBelow returns the newest revisions of the base, at most size, that are
// not after the cut.
func (s *Storage) historyBelow(ctx context.Context, base zodb.Historian, oid zodb.OID, size int) ([]zodb.Revision, error) {
	for ask := size; ; ask *= 2 {
		all, err := base.History(ctx, oid, ask)
		if err != nil {
			return nil, err
		}
		later := 0
		for later < len(all) && all[later].TID > s.base.cut {
			later++
		}
		found := all[later:]
		switch {
		case len(found) >= size:
			return found[:size], nil
		case len(all) < ask && len(found) == 0:
			return nil, &zodb.NoObjectError{OID: oid, Before: zodb.MaxTID}
		case len(all) < ask:
			return found, nil
		}
	}
}

// LoadSerial implements zodb.Historian.
func (s *Storage) LoadSerial(ctx context.Context, oid zodb.OID, serial zodb.TID) ([]byte, error) {
	if s.closed.Load() {
		return nil, zodb.ErrClosed
	}
	from := s.changes
	if serial <= s.base.cut {
		from = s.base.Storage
	}
	h, ok := zodb.As[zodb.Historian](from)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return h.LoadSerial(ctx, oid, serial)
}
