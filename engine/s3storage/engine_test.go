package s3storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/engine/s3storage/objstore/fake"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// world is a bucket and a clock that both the store and the engines go by.
type world struct {
	bucket *fake.Bucket
	now    atomic.Int64 // seconds
}

func newWorld() *world {
	w := &world{}
	w.now.Store(1_000_000)
	w.bucket = fake.NewBucket(fake.Options{Now: func() time.Time { return time.Unix(w.now.Load(), 0) }})
	return w
}

func (w *world) pass(d time.Duration) { w.now.Add(int64(d / time.Second)) }

func (w *world) open(t *testing.T, client *fake.Store, change func(*Options)) *Engine {
	t.Helper()
	opts := Options{
		Objects: client, Writer: fmt.Sprint(client), Manual: true, Doubt: 5 * time.Second,
		Elapsed: func() time.Duration { return time.Duration(w.now.Load()) * time.Second },
		Sleep:   func(_ context.Context, d time.Duration) { w.pass(max(d, time.Second)) },
	}
	if change != nil {
		change(&opts)
	}
	e, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return e
}

func commit(e *Engine, oids ...zodb.OID) (zodb.TID, error) {
	last, _ := e.Head()
	t := &txnlog.Txn{TID: last + 1, Status: ' '}
	for _, oid := range oids {
		prev, err := e.Serials(context.Background(), []zodb.OID{oid})
		if err != nil {
			return 0, err
		}
		t.Records = append(t.Records, txnlog.Record{OID: oid, Prev: prev[0], Data: fmt.Appendf(nil, "object %v at %v", oid, t.TID)})
	}
	_, err := e.Append(context.Background(), []*txnlog.Txn{t}, nil)
	return t.TID, err
}

func mustCommit(t *testing.T, e *Engine, oids ...zodb.OID) zodb.TID {
	t.Helper()
	tid, err := commit(e, oids...)
	if err != nil {
		t.Fatalf("Append: %v", err)
	}
	return tid
}

// TestStalledWriterAfterCollection: a writer is stopped while its PUT of slot n is under
// way. Another one takes over in slot n, goes on, moves the transactions to a segment, and
// after the grace period deletes slot n. Then the PUT arrives, and succeeds, for its slot
// is free again. The commit must not be acknowledged. (SlateDB found this in its own
// log: RFC 0026.)
func TestStalledWriterAfterCollection(t *testing.T) {
	w := newWorld()
	stalled := w.bucket.Open("stalled")
	a := w.open(t, stalled, nil)
	mustCommit(t, a, 1)

	sent, arrive := make(chan struct{}), make(chan struct{})
	key := layout.LogKey(a.Slot() + 1)
	stalled.SetRule(func(op fake.Op) fake.Fault {
		if op.Kind == fake.Put && op.Key == key {
			close(sent)
			return fake.Fault{Hold: arrive}
		}
		return fake.Fault{}
	})
	answer := make(chan error)
	go func() {
		_, err := commit(a, 1)
		answer <- err
	}()
	<-sent

	b := w.open(t, w.bucket.Open("next"), nil)
	two := mustCommit(t, b, 2)
	if err := b.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.pass(25 * time.Hour)
	if err := b.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.bucket.Objects()[key]; ok {
		t.Fatalf("%s is still there: the test tests nothing", key)
	}

	close(arrive)
	err := <-answer
	if !errors.Is(err, zodb.ErrCommitUnknown) || !errors.Is(err, zodb.ErrNotPrimary) {
		t.Errorf("the stalled commit: %v; want that it is not known, and that this is not the writer", err)
	}
	if _, ok := w.bucket.Objects()[key]; !ok {
		t.Fatal("the PUT did not succeed: the test tests nothing")
	}
	if _, err := commit(a, 1); !errors.Is(err, zodb.ErrNotPrimary) {
		t.Errorf("the next commit of the stalled writer: %v", err)
	}
	c := w.open(t, w.bucket.Open("reader"), func(o *Options) { o.ReadOnly = true })
	if last, _ := c.Head(); last != two {
		t.Errorf("the last transaction is %v, want %v", last, two)
	}
	// What came too late is swept up.
	w.pass(25 * time.Hour)
	if err := b.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.bucket.Objects()[key]; ok {
		t.Error("what came too late is still there")
	}
}

// A store that ignores conditions is refused.
func TestConditionsIgnored(t *testing.T) {
	client := fake.New()
	client.SetRule(fake.Always(fake.Fault{IgnoreCond: true}))
	if _, err := Open(t.Context(), Options{Objects: client}); !errors.Is(err, objstore.ErrNoConditions) {
		t.Errorf("Open: %v", err)
	}
}

// A cold load is one ranged GET of about the record's size.
func TestColdLoadIsOneRequest(t *testing.T) {
	w := newWorld()
	a := w.open(t, w.bucket.Open("writer"), nil)
	for range 20 {
		mustCommit(t, a, 1, 2, 3)
	}
	for _, compacted := range []bool{false, true} {
		if compacted {
			if err := a.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		client := w.bucket.Open("reader")
		b := w.open(t, client, func(o *Options) { o.ReadOnly = true })
		for oid := range zodb.OID(3) {
			before := client.Counts()
			rec, err := b.LoadBefore(t.Context(), oid+1, zodb.MaxTID)
			if err != nil {
				t.Fatal(err)
			}
			used := client.Counts().Sub(before)
			if used.Requests() != 1 || used.Get != 1 || used.BytesOut > 100 {
				t.Errorf("compacted %v: a load of %d bytes costs %+v", compacted, len(rec.Data), used)
			}
		}
	}
}

// A commit is one PUT, and an idle database costs nothing.
func TestCommitIsOneRequest(t *testing.T) {
	w := newWorld()
	client := w.bucket.Open("writer")
	a := w.open(t, client, nil)
	before := client.Counts()
	mustCommit(t, a, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
	if used := client.Counts().Sub(before); used.Requests() != 1 || used.Put != 1 {
		t.Errorf("a commit costs %+v", used)
	}
}

// The start needs the hint, or a list, or neither.
func TestBootWithoutHint(t *testing.T) {
	for _, what := range []string{"hint", "no hint", "old hint", "foreign hint"} {
		w := newWorld()
		a := w.open(t, w.bucket.Open("writer"), nil)
		for range 5 {
			mustCommit(t, a, 1)
		}
		if err := a.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		old := w.bucket.Objects()[layout.HintKey]
		for range 5 {
			mustCommit(t, a, 1)
		}
		for range 2 {
			if err := a.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.pass(25 * time.Hour)
			if err := a.Collect(t.Context()); err != nil {
				t.Fatal(err)
			}
			mustCommit(t, a, 1)
		}
		client := w.bucket.Open("damage")
		var err error
		switch what {
		case "no hint":
			err = client.Delete(t.Context(), layout.HintKey)
		case "old hint":
			_, err = client.Put(t.Context(), layout.HintKey, old, objstore.Always)
		case "foreign hint":
			p := layout.Pointer{Slot: 99, Checkpoint: layout.CheckpointKey(99, layout.NewID())}
			_, err = client.Put(t.Context(), layout.HintKey, p.EncodeHint(), objstore.Always)
		}
		if err != nil {
			t.Fatal(err)
		}
		b := w.open(t, w.bucket.Open("reader"), func(o *Options) { o.ReadOnly = true })
		want, _ := a.Head()
		if last, _ := b.Head(); last != want || b.Slot() != a.Slot() {
			t.Errorf("%s: the reader is at %v in slot %d, want %v in %d", what, last, b.Slot(), want, a.Slot())
		}
	}
}

// A reader that was away for longer than the grace period begins again.
func TestReaderLeftBehind(t *testing.T) {
	w := newWorld()
	a := w.open(t, w.bucket.Open("writer"), nil)
	mustCommit(t, a, 1)
	b := w.open(t, w.bucket.Open("reader"), func(o *Options) { o.ReadOnly = true })
	for range 3 {
		mustCommit(t, a, 1)
		if err := a.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.pass(25 * time.Hour)
		if err := a.Collect(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Follow(t.Context()); err != nil {
		t.Fatalf("Follow: %v", err)
	}
	want, _ := a.Head()
	if last, _ := b.Head(); last != want {
		t.Errorf("the reader is at %v, want %v", last, want)
	}
}

// While a slot is in doubt nothing else is written; what is settled says what became of it.
func TestDoubt(t *testing.T) {
	for _, landed := range []bool{false, true} {
		w := newWorld()
		client := w.bucket.Open("writer")
		a := w.open(t, client, nil)
		mustCommit(t, a, 1)
		down := fake.Fault{Err: fake.ErrSlow}
		client.SetRule(func(op fake.Op) fake.Fault {
			if op.Kind == fake.Put && landed {
				return fake.Fault{Lost: true}
			}
			return down
		})
		tid, err := commit(a, 1)
		if !errors.Is(err, zodb.ErrCommitUnknown) {
			t.Fatalf("Append: %v", err)
		}
		if _, err := a.Settle(t.Context()); !errors.Is(err, zodb.ErrCommitUnknown) {
			t.Errorf("Settle while the store is down: %v", err)
		}
		if _, err := commit(a, 2); err == nil || errors.Is(err, zodb.ErrCommitUnknown) {
			t.Errorf("a commit behind one in doubt: %v; want that it surely failed", err)
		}
		client.SetRule(nil)
		head, err := a.Settle(t.Context())
		if err != nil || head != tid {
			t.Errorf("Settle = %v, %v; want %v", head, err, tid)
		}
		mustCommit(t, a, 2)
	}
}

// A reader tells every change once it has read it, whichever way it came to know it.
func TestChanges(t *testing.T) {
	for _, behind := range []bool{false, true} {
		w := newWorld()
		a := w.open(t, w.bucket.Open("writer"), nil)
		first := mustCommit(t, a, 1)
		b := w.open(t, w.bucket.Open("reader"), func(o *Options) { o.ReadOnly = true })
		if changes, head, err := b.Changes(t.Context(), first); err != nil || len(changes) != 0 || head != first {
			t.Errorf("at first: %v, %v, %v", changes, head, err)
		}
		want := map[zodb.TID][]zodb.OID{}
		for i := range zodb.OID(3) {
			want[mustCommit(t, a, 1, 5+i)] = []zodb.OID{1, 5 + i}
			if behind { // the log is gone before the reader looks
				if err := a.Compact(t.Context()); err != nil {
					t.Fatal(err)
				}
				w.pass(25 * time.Hour)
				if err := a.Collect(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if n, err := b.Follow(t.Context()); err != nil || n == 0 {
			t.Fatalf("Follow = %d, %v", n, err)
		}
		changes, head, err := b.Changes(t.Context(), first)
		if last, _ := a.Head(); err != nil || head != last || len(changes) != len(want) {
			t.Fatalf("behind %v: %v, %v, %v", behind, changes, head, err)
		}
		for _, c := range changes {
			if !slices.Equal(c.OIDs, want[c.TID]) {
				t.Errorf("behind %v: %v changed %v, want %v", behind, c.TID, c.OIDs, want[c.TID])
			}
		}
		next := mustCommit(t, a, 9)
		if _, err := b.Follow(t.Context()); err != nil {
			t.Fatal(err)
		}
		changes, _, err = b.Changes(t.Context(), head)
		if err != nil || len(changes) != 1 || changes[0].TID != next {
			t.Errorf("behind %v, then: %v, %v", behind, changes, err)
		}
	}
}
