package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/zaridb/zari/zodb"
)

// Change is an object that is not the same in two states.
type Change struct {
	OID      zodb.OID
	Old, New *zodb.Current // nil where there is no such object
}

// Blob reports whether it is an object with a blob, whose record says nothing of
// the contents.
func (c *Change) Blob() bool {
	return c.Old != nil && isBlob(c.Old.Data) || c.New != nil && isBlob(c.New.Data)
}

// State is a storage as it was just after a transaction: At 0 is now.
type State struct {
	Storage zodb.Storage
	At      zodb.TID
}

// Diff yields the objects that differ between two states, in the order of their
// oids. Revisions with the same data are the same, whoever wrote them; of blobs
// that were written by different transactions the files are compared.
//
// It reads all objects of both states.
func Diff(ctx context.Context, older, newer State) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		d := &differ{older: older, newer: newer}
		if err := d.all(ctx, func(c Change) bool { return yield(c, nil) }); err != nil {
			yield(Change{}, err)
		}
	}
}

// DiffSince is Diff of two states of one storage: just after from, where 0 is the
// empty beginning, and just after to, where 0 is now. It reads only what was written
// between them. Where old revisions were packed away an object that was changed
// looks like one that was added.
func DiffSince(ctx context.Context, s zodb.Storage, from, to zodb.TID) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		d := &differ{older: State{s, from}, newer: State{s, to}}
		if err := d.since(ctx, func(c Change) bool { return yield(c, nil) }); err != nil {
			yield(Change{}, err)
		}
	}
}

// differ is one Diff.
type differ struct {
	older, newer State
	files        fileComparer
}

// current returns the objects of a state.
func (st State) current(ctx context.Context) (iter.Seq2[zodb.Current, error], error) {
	r, ok := zodb.As[zodb.RecordIterator](st.Storage)
	if !ok {
		return nil, fmt.Errorf("%s cannot list its objects: %w", named("the storage", st.Storage), errors.ErrUnsupported)
	}
	return r.Current(ctx, st.At, 0, ^zodb.OID(0)), nil
}

// all goes through both states side by side.
func (d *differ) all(ctx context.Context, yield func(Change) bool) error {
	olds, err := d.older.current(ctx)
	if err != nil {
		return err
	}
	news, err := d.newer.current(ctx)
	if err != nil {
		return err
	}
	next, stop := iter.Pull2(news)
	defer stop()
	n, newErr, more := next()
	for o, err := range olds {
		if err != nil {
			return err
		}
		for ; more && newErr == nil && n.OID < o.OID; n, newErr, more = next() {
			if !yield(Change{OID: n.OID, New: new(n)}) {
				return nil
			}
		}
		if newErr != nil {
			return newErr
		}
		c := Change{OID: o.OID, Old: &o}
		if more && n.OID == o.OID {
			c.New = new(n)
			n, newErr, more = next()
		}
		if goOn, err := d.yield(ctx, c, yield); err != nil || !goOn {
			return err
		}
	}
	for ; more; n, newErr, more = next() {
		if newErr != nil {
			return newErr
		}
		if !yield(Change{OID: n.OID, New: new(n)}) {
			return nil
		}
	}
	return nil
}

// since looks at the objects that were written between the states.
func (d *differ) since(ctx context.Context, yield func(Change) bool) error {
	s := d.older.Storage
	it, ok := zodb.As[zodb.Iterator](s)
	if !ok {
		return fmt.Errorf("%s cannot list its transactions: %w", named("the storage", s), errors.ErrUnsupported)
	}
	end := zodb.MaxTID
	if d.newer.At != 0 {
		end = d.newer.At + 1
	}
	written := make(map[zodb.OID]bool)
	for t, err := range it.Transactions(ctx, d.older.At+1, d.newer.At) {
		if err != nil {
			return err
		}
		for i := range t.Records {
			written[t.Records[i].OID] = true
		}
	}
	oids := make([]zodb.OID, 0, len(written))
	for oid := range written {
		oids = append(oids, oid)
	}
	slices.Sort(oids)
	for _, oid := range oids {
		c := Change{OID: oid}
		var err error
		if c.Old, err = load(ctx, s, oid, d.older.At+1); err != nil {
			return err
		}
		if c.New, err = load(ctx, s, oid, end); err != nil {
			return err
		}
		if goOn, err := d.yield(ctx, c, yield); err != nil || !goOn {
			return err
		}
	}
	return nil
}

// load returns an object as it was before a transaction, nil if there was none.
func load(ctx context.Context, s zodb.Storage, oid zodb.OID, before zodb.TID) (*zodb.Current, error) {
	rec, err := s.LoadBefore(ctx, oid, before)
	if _, missing := errors.AsType[*zodb.NoObjectError](err); missing {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &zodb.Current{OID: oid, Serial: rec.Serial, Data: rec.Data}, nil
}

// yield passes on a change, if it is one.
func (d *differ) yield(ctx context.Context, c Change, yield func(Change) bool) (goOn bool, err error) {
	same, err := d.same(ctx, c)
	if err != nil {
		return false, fmt.Errorf("object %v: %w", c.OID, err)
	}
	return same || yield(c), nil
}

func (d *differ) same(ctx context.Context, c Change) (bool, error) {
	switch {
	case c.Old == nil || c.New == nil:
		return c.Old == c.New, nil
	case !bytes.Equal(c.Old.Data, c.New.Data):
		return false, nil
	case c.Old.Serial == c.New.Serial || !isBlob(c.Old.Data):
		return true, nil
	}
	var paths [2]string
	for i, x := range []struct {
		s      zodb.Storage
		serial zodb.TID
	}{{d.older.Storage, c.Old.Serial}, {d.newer.Storage, c.New.Serial}} {
		blobs, ok := zodb.As[zodb.BlobStore](x.s)
		if !ok {
			return false, nil // another revision, of which nothing else is known
		}
		var err error
		paths[i], err = blobs.LoadBlob(ctx, c.OID, x.serial)
		if _, missing := errors.AsType[*zodb.NoObjectError](err); missing {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	at, _, err := d.files.firstDifference(ctx, paths[0], paths[1])
	return at < 0, err
}
