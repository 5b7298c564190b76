package storagetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/zodb"
)

var _ testing.TB = (*T)(nil)

// T is what a test of the suite has in hand: a fresh storage, and methods that
// fail the test where the operation fails.
type T struct {
	testing.TB
	H   Harness
	S   zodb.Storage
	rnd *rand.Rand

	ctx    context.Context // ends when patience does
	cancel context.CancelFunc
	found  []Cap
	closed bool                  // the test closed S itself
	lost   map[zodb.Storage]bool // crashed: what their Close says means nothing
}

func newT(tb testing.TB, h Harness) *T {
	ctx, cancel := context.WithTimeout(tb.Context(), 3*h.Patience)
	tb.Cleanup(cancel)
	return &T{TB: tb, H: h, ctx: ctx, cancel: cancel, lost: make(map[zodb.Storage]bool), rnd: rand.New(rand.NewPCG(h.Seed, 0))}
}

// Context ends with the test, or when it has lasted too long.
func (t *T) Context() context.Context { return t.ctx }

// own makes s the storage under test, closed at the end.
func (t *T) own(s zodb.Storage) {
	t.S, t.closed = s, false
	t.Cleanup(func() {
		if t.lost[s] {
			s.Close()
			return
		}
		closeTwice(t, s)
	})
}

// auditAll audits the storage under test, if it is still open.
func (t *T) auditAll() {
	t.Helper()
	if !t.closed {
		Audit(t, t.S)
	}
}

// reopen closes the storage and opens its data again.
func (t *T) reopen() {
	t.Helper()
	if t.H.Reopen == nil {
		t.Skip("the harness has no Reopen")
	}
	t.own(t.H.Reopen(t, t.S))
}

// write is one store of a transaction.
type write struct {
	oid    zodb.OID
	serial zodb.TID
	data   []byte
}

// begin opens a transaction that is aborted at the end of the test, if it is not
// ended by then.
func (t *T) begin() zodb.Txn {
	t.Helper()
	return t.beginWith(zodb.TxnMeta{})
}

func (t *T) beginWith(meta zodb.TxnMeta) zodb.Txn {
	t.Helper()
	txn, err := t.S.Begin(t.ctx, meta)
	if err != nil {
		t.Fatalf("Begin: %v", err)
	}
	t.Cleanup(txn.Abort)
	return txn
}

// writing opens a transaction with some writes.
func (t *T) writing(writes ...write) zodb.Txn {
	t.Helper()
	txn := t.begin()
	t.store(txn, writes...)
	return txn
}

func (t *T) store(txn zodb.Txn, writes ...write) {
	t.Helper()
	for _, w := range writes {
		if err := txn.Store(t.ctx, w.oid, w.serial, w.data); err != nil {
			t.Fatalf("Store(%v, %v): %v", w.oid, w.serial, err)
		}
	}
}

func (t *T) check(txn zodb.Txn, oid zodb.OID, serial zodb.TID) {
	t.Helper()
	if err := txn.CheckCurrent(t.ctx, oid, serial); err != nil {
		t.Fatalf("CheckCurrent(%v, %v): %v", oid, serial, err)
	}
}

// vote votes, which must succeed without conflicts.
func (t *T) vote(txn zodb.Txn) zodb.Votes {
	t.Helper()
	votes, err := txn.Vote(t.ctx)
	if err != nil {
		t.Fatalf("Vote: %v", err)
	}
	if len(votes.Conflicts) > 0 {
		t.Fatalf("Vote: conflicts %+v, want none", votes.Conflicts)
	}
	return votes
}

func (t *T) finish(txn zodb.Txn) zodb.TID {
	t.Helper()
	tid, err := txn.Finish(t.ctx, nil)
	if err != nil {
		t.Fatalf("Finish: %v", err)
	}
	return tid
}

// end votes and finishes.
func (t *T) end(txn zodb.Txn) zodb.TID {
	t.Helper()
	t.vote(txn)
	return t.finish(txn)
}

// commit commits a transaction with the given writes.
func (t *T) commit(writes ...write) zodb.TID {
	t.Helper()
	return t.end(t.writing(writes...))
}

// put commits one revision of one object.
func (t *T) put(oid zodb.OID, serial zodb.TID, data []byte) zodb.TID {
	t.Helper()
	return t.commit(write{oid, serial, data})
}

// revisions commits n revisions of one object, Object(1) to Object(n), and
// returns their tids.
func (t *T) revisions(oid zodb.OID, n int) []zodb.TID {
	t.Helper()
	tids := make([]zodb.TID, n)
	var serial zodb.TID
	for i := range tids {
		serial = t.put(oid, serial, Object(i+1))
		tids[i] = serial
	}
	return tids
}

// newOID returns an oid that nobody has used.
func (t *T) newOID() zodb.OID {
	t.Helper()
	oids, err := t.S.NewOIDs(t.ctx, 1)
	if err != nil || len(oids) != 1 {
		t.Fatalf("NewOIDs(1): %v, %v", oids, err)
	}
	return oids[0]
}

// loadBefore loads a revision that must be there.
func (t *T) loadBefore(oid zodb.OID, tid zodb.TID) zodb.Record {
	t.Helper()
	rec, err := t.S.LoadBefore(t.ctx, oid, tid)
	if err != nil {
		t.Fatalf("LoadBefore(%v, %v): %v", oid, tid, err)
	}
	return rec
}

// load loads the current revision, which must be there.
func (t *T) load(oid zodb.OID) zodb.Record {
	t.Helper()
	return t.loadBefore(oid, zodb.MaxTID)
}

// current checks what the current revision of oid is.
func (t *T) current(oid zodb.OID, serial zodb.TID, data []byte) {
	t.Helper()
	rec := t.load(oid)
	equal(t, "serial of the current revision of "+oid.String(), rec.Serial, serial)
	equal(t, "current data of "+oid.String(), rec.Data, data)
	equal(t, "next of the current revision of "+oid.String(), rec.Next, 0)
}

// absent loads a revision that must not be there.
func (t *T) absent(oid zodb.OID, tid zodb.TID) *zodb.NoObjectError {
	t.Helper()
	rec, err := t.S.LoadBefore(t.ctx, oid, tid)
	e, ok := errors.AsType[*zodb.NoObjectError](err)
	if !ok {
		t.Fatalf("LoadBefore(%v, %v): record of %v, error %v; want a *zodb.NoObjectError", oid, tid, rec.Serial, err)
	}
	equal(t, "OID of the error", e.OID, oid)
	return e
}

// equal fails the test if got is not want.
func equal[V any](t testing.TB, what string, got, want V) {
	t.Helper()
	if diff := difference(want, got); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

// difference describes how got differs from want, at bearable length. It is empty
// if they are equal, which is found out much faster than what the difference is.
func difference(want, got any) string {
	if reflect.DeepEqual(want, got) {
		return ""
	}
	diff := cmp.Diff(want, got)
	if len(diff) > 4000 {
		return diff[:4000] + "..."
	}
	return diff
}

// isError fails the test if err holds no error of type E.
func isError[E error](t testing.TB, what string, err error) E {
	t.Helper()
	e, ok := errors.AsType[E](err)
	if !ok {
		t.Fatalf("%s: error %v (%T), want a %T", what, err, err, e)
	}
	return e
}

// matches fails the test if err does not match target.
func matches(t testing.TB, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("%s: error %v, want %v", what, err, target)
	}
}

// running is an operation in a goroutine of its own.
type running[V any] struct {
	t    *T
	what string
	done chan struct{}
	v    V
	err  error
}

// start runs f aside. If the test ends before f, it ends f by its context.
func start[V any](t *T, what string, f func() (V, error)) *running[V] {
	r := &running[V]{t: t, what: what, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.v, r.err = f()
	}()
	t.Cleanup(func() {
		select {
		case <-r.done:
			return
		default:
		}
		t.cancel()
		select {
		case <-r.done:
		case <-time.After(t.H.Patience):
			t.Errorf("%s: does not end, although its context did", what)
		}
	})
	return r
}

// waits fails the test if the operation ends now.
func (r *running[V]) waits() {
	r.t.Helper()
	select {
	case <-r.done:
		r.t.Fatalf("%s: ended with (%+v, %v); it must wait", r.what, r.v, r.err)
	case <-time.After(r.t.H.Grace):
	}
}

// settle gives the operation a moment to come as far as it will.
func (r *running[V]) settle() {
	select {
	case <-r.done:
	case <-time.After(r.t.H.Grace):
	}
}

// result waits for the operation to end.
func (r *running[V]) result() (V, error) {
	r.t.Helper()
	select {
	case <-r.done:
	case <-time.After(r.t.H.Patience):
		r.t.Fatalf("%s: does not end", r.what)
	}
	return r.v, r.err
}

// ok waits for the operation to succeed.
func (r *running[V]) ok() V {
	r.t.Helper()
	v, err := r.result()
	if err != nil {
		r.t.Fatalf("%s: %v", r.what, err)
	}
	return v
}

// together runs f(0) to f(n-1) at the same time and fails the test with the
// first error of each.
func (t *T) together(n int, f func(i int) error) {
	t.Helper()
	all := make([]*running[struct{}], n)
	for i := range all {
		all[i] = start(t, "worker", func() (struct{}, error) { return struct{}{}, f(i) })
	}
	for i, r := range all {
		<-r.done
		if r.err != nil {
			t.Errorf("worker %d of %d (seed %d): %v", i, n, t.H.Seed, r.err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// between returns a time after all commits so far and before all to come.
func (t *T) between() time.Time {
	t.Helper()
	pass := func(tid zodb.TID) time.Time {
		for {
			now := t.H.Now()
			if zodb.TIDAt(now) > tid {
				return now
			}
			if t.ctx.Err() != nil {
				t.Fatalf("the clock does not pass %v", tid)
			}
		}
	}
	at := pass(t.S.LastTID() + 1)
	pass(zodb.TIDAt(at) + 1)
	return at
}
