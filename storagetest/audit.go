package storagetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/zaridb/zari/zodb"
)

// Audit reads the whole of a storage at rest and compares what its methods say:
// transactions forward and backward, the revision that is found just before and
// just after each tid, current records, histories. Run does so after every test;
// tests of one's own do well to do the same. A storage without an Iterator has
// nothing to compare with.
func Audit(t testing.TB, s zodb.Storage) {
	t.Helper()
	it, ok := zodb.As[zodb.Iterator](s)
	if !ok {
		return
	}
	a := &auditor{ctx: context.WithoutCancel(t.Context()), s: s, it: it}
	for _, step := range []func() error{a.forward, a.backward, a.revisions, a.current, a.histories} {
		if err := step(); err != nil {
			t.Errorf("audit: %v", err)
			return
		}
	}
}

// auditor holds what the transactions of a storage say about its objects.
type auditor struct {
	ctx context.Context
	s   zodb.Storage
	it  zodb.Iterator

	tids    []zodb.TID
	objects map[zodb.OID][]revision // oldest first
	oids    []zodb.OID              // ascending
}

type revision struct {
	tid  zodb.TID
	data []byte
}

func (a *auditor) forward() error {
	txns, err := transactions(a.ctx, a.it, 0, 0)
	if err != nil {
		return fmt.Errorf("reading Transactions: %w", err)
	}
	a.objects = make(map[zodb.OID][]revision)
	for _, t := range txns {
		if len(a.tids) > 0 && t.TID <= a.tids[len(a.tids)-1] {
			return fmt.Errorf("from Transactions: %v after %v", t.TID, a.tids[len(a.tids)-1])
		}
		a.tids = append(a.tids, t.TID)
		if err := a.add(t); err != nil {
			return err
		}
	}
	a.oids = slices.Sorted(maps.Keys(a.objects))
	if last := a.s.LastTID(); len(a.tids) > 0 && last < a.tids[len(a.tids)-1] {
		return fmt.Errorf("the LastTID is %v, but there is transaction %v", last, a.tids[len(a.tids)-1])
	}
	return nil
}

func (a *auditor) add(t *zodb.Transaction) error {
	for _, r := range t.Records {
		revs := a.objects[r.OID]
		if n := len(revs); n > 0 && revs[n-1].tid == t.TID {
			return fmt.Errorf("transaction %v has object %v twice", t.TID, r.OID)
		}
		a.objects[r.OID] = append(revs, revision{t.TID, r.Data})
	}
	return nil
}

func (a *auditor) backward() error {
	var tids []zodb.TID
	for t, err := range a.it.Backward(a.ctx, 0) {
		if err != nil {
			return fmt.Errorf("reading Backward: %w", err)
		}
		tids = append(tids, t.TID)
	}
	slices.Reverse(tids)
	if diff := difference(a.tids, tids); diff != "" {
		return fmt.Errorf("what Backward yields, reversed, is not Transactions:\n%s", diff)
	}
	return nil
}

// revisions looks for every revision just after its tid and just before the next.
func (a *auditor) revisions() error {
	for _, oid := range a.oids {
		revs := a.objects[oid]
		for i, r := range revs {
			next := zodb.TID(0)
			if i+1 < len(revs) {
				next = revs[i+1].tid
			}
			if next != 0 && !finds[zodb.Historian](a.s) {
				continue // old revisions may be gone
			}
			if err := a.revision(oid, r, next, r.tid+1); err != nil {
				return err
			}
			if err := a.revision(oid, r, next, cmp.Or(next, zodb.MaxTID)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *auditor) revision(oid zodb.OID, r revision, next, before zodb.TID) error {
	rec, err := a.s.LoadBefore(a.ctx, oid, before)
	if r.data == nil {
		if e, ok := errors.AsType[*zodb.NoObjectError](err); !ok || e.DeletedAt != r.tid {
			return fmt.Errorf("LoadBefore(%v, %v): %v, want deleted at %v", oid, before, err, r.tid)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("LoadBefore(%v, %v): %w", oid, before, err)
	}
	if rec.Serial != r.tid || rec.Next != next {
		return fmt.Errorf("LoadBefore(%v, %v): serial %v, next %v; want %v, %v", oid, before, rec.Serial, rec.Next, r.tid, next)
	}
	if string(rec.Data) != string(r.data) {
		return fmt.Errorf("LoadBefore(%v, %v): %d bytes, which are not the %d of transaction %v", oid, before, len(rec.Data), len(r.data), r.tid)
	}
	return nil
}

// current compares the records that a RecordIterator finds.
func (a *auditor) current() error {
	ri, ok := zodb.As[zodb.RecordIterator](a.s)
	if !ok {
		return nil
	}
	var want, got []zodb.Current
	for _, oid := range a.oids {
		if r := a.objects[oid][len(a.objects[oid])-1]; r.data != nil {
			want = append(want, zodb.Current{OID: oid, Serial: r.tid, Data: r.data})
		}
	}
	for c, err := range ri.Current(a.ctx, 0, 0, 1<<64-1) {
		if err != nil {
			return fmt.Errorf("reading Current: %w", err)
		}
		got = append(got, c)
	}
	if diff := difference(want, got); diff != "" {
		return fmt.Errorf("from Current (-as transactions say, +as found):\n%s", diff)
	}
	return nil
}

// histories compares what a Historian says of each object.
func (a *auditor) histories() error {
	h, ok := zodb.As[zodb.Historian](a.s)
	if !ok {
		return nil
	}
	for _, oid := range a.oids {
		revs := a.objects[oid]
		got, err := h.History(a.ctx, oid, len(revs)+1)
		if _, gone := errors.AsType[*zodb.NoObjectError](err); gone && revs[len(revs)-1].data == nil {
			continue // of a deleted object
		}
		if err != nil {
			return fmt.Errorf("asking History(%v): %w", oid, err)
		}
		var want, have []zodb.TID
		for _, r := range slices.Backward(revs) {
			want = append(want, r.tid)
		}
		for _, r := range got {
			have = append(have, r.TID)
		}
		if diff := difference(want, have); diff != "" {
			return fmt.Errorf("from History(%v) (-as transactions say, +as found):\n%s", oid, diff)
		}
	}
	return nil
}
