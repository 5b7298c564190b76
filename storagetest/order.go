package storagetest

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/zaridb/zari/zodb"
)

// The order group is about publication: in the order of tids, told before locks
// are freed, and never taken back.
var orderGroup = group{name: "order", tests: []test{
	{name: "Publication", run: testOrderPublication},
	{name: "CommittedOnce", run: testOrderCommittedOnce},
	{name: "CommittedBeforeLocks", run: testOrderCommittedBeforeLocks},
	{name: "CommittedBeforeNext", run: testOrderCommittedBeforeNext},
	{name: "ObservedBeforeFinish", needs: []Cap{CapWatcher}, run: testOrderObservedBeforeFinish},
	{name: "LastTID", run: testOrderLastTID},
	{name: "Stable", needs: []Cap{CapHistorian}, run: testOrderStable},
	{name: "AsOf", run: testOrderAsOf},
	{name: "AsOfWhileWriting", needs: []Cap{CapHistorian}, run: testOrderAsOfWhileWriting},
}}

// manyCommits runs clients that commit each objects of their own, and tells of
// each commit.
func manyCommits(t *T, clients, each int, committed func(client int, tid zodb.TID)) {
	t.Helper()
	t.together(clients, func(i int) error {
		var serial zodb.TID
		for n := range each {
			tid, err := commit(t.ctx, t.S, func(tid zodb.TID) { committed(i, tid) }, write{zodb.OID(i + 1), serial, Object(n)})
			if err != nil {
				return err
			}
			serial = tid
		}
		return nil
	})
}

func testOrderPublication(t *T) {
	var mu sync.Mutex
	var tids []zodb.TID
	manyCommits(t, 8, 25, func(_ int, tid zodb.TID) {
		mu.Lock()
		defer mu.Unlock()
		tids = append(tids, tid)
	})
	equal(t, "number of callbacks", len(tids), 8*25)
	for i := 1; i < len(tids); i++ {
		if tids[i] <= tids[i-1] {
			t.Fatalf("transaction %v was published after %v", tids[i], tids[i-1])
		}
	}
}

func testOrderCommittedOnce(t *T) {
	txn := t.writing(write{1, 0, Object(1)})
	t.vote(txn)
	var told []zodb.TID
	tid, err := txn.Finish(t.ctx, func(tid zodb.TID) { told = append(told, tid) })
	if err != nil {
		t.Fatalf("Finish: %v", err)
	}
	equal(t, "calls of committed before Finish returned", told, []zodb.TID{tid})

	aborted := t.writing(write{2, 0, Object(1)})
	t.vote(aborted)
	aborted.Abort()
	if _, err := aborted.Finish(t.ctx, func(tid zodb.TID) { t.Errorf("committed is told of an aborted transaction") }); err == nil {
		t.Errorf("Finish after Abort: no error")
	}
}

// held finishes a transaction whose committed callback waits until it is let go.
func held(t *T, txn zodb.Txn) (finish *running[zodb.TID], release func()) {
	t.Helper()
	entered, leave := make(chan struct{}), make(chan struct{})
	release = sync.OnceFunc(func() { close(leave) })
	finish = start(t, "Finish", func() (zodb.TID, error) {
		return txn.Finish(t.ctx, func(zodb.TID) { close(entered); <-leave })
	})
	t.Cleanup(release) // before the wait for Finish, which was registered by start
	select {
	case <-entered:
	case <-finish.done:
		t.Fatalf("Finish returned %v, %v without calling committed", finish.v, finish.err)
	case <-t.ctx.Done():
		t.Fatal("Finish does not call committed")
	}
	return finish, release
}

// A server queues its answers in committed: nobody may get the lock before.
func testOrderCommittedBeforeLocks(t *T) {
	first := t.put(1, 0, Object(1))
	txn := t.writing(write{1, first, Object(2)})
	t.vote(txn)
	finish, release := held(t, txn)
	waiter := t.writing(write{1, first, Object(3)})
	vote := t.voting("Vote on an object whose commit is being published", waiter)
	vote.waits()
	release()
	second := finish.ok()
	equal(t, "Committed", vote.ok().Conflicts[0].Committed, second)
	waiter.Abort()
}

// The next transaction is not published while this one's committed runs, and
// LastTID does not pass it.
func testOrderCommittedBeforeNext(t *T) {
	first := t.put(1, 0, Object(1))
	txn := t.writing(write{1, first, Object(2)})
	t.vote(txn)
	finish, release := held(t, txn)
	var told atomic.Uint64
	next := start(t, "commit of the next transaction", func() (zodb.TID, error) {
		return commit(t.ctx, t.S, func(tid zodb.TID) { told.Store(uint64(tid)) }, write{2, 0, Object(3)})
	})
	next.waits()
	if tid := zodb.TID(told.Load()); tid != 0 {
		t.Errorf("transaction %v is published while the one before it is", tid)
	}
	release()
	second, third := finish.ok(), next.ok()
	if third <= second {
		t.Errorf("transaction %v came after %v", third, second)
	}
}

// Observers are told before Finish returns.
func testOrderObservedBeforeFinish(t *T) {
	o, _ := t.observed()
	for i := range 20 {
		tid := t.put(zodb.OID(i+1), 0, Object(i))
		changes := o.all()
		if len(changes) != i+1 || changes[i].TID != tid {
			t.Fatalf("after Finish of %v: %d changes observed, want %d", tid, len(changes), i+1)
		}
	}
}

func testOrderLastTID(t *T) {
	var stop atomic.Bool
	reader := start(t, "reader of LastTID", func() (struct{}, error) {
		last := zodb.TID(0)
		for !stop.Load() {
			tid := t.S.LastTID()
			if tid < last {
				return struct{}{}, fmt.Errorf("LastTID went back from %v to %v", last, tid)
			}
			last = tid
		}
		return struct{}{}, nil
	})
	defer stop.Store(true)
	t.together(4, func(i int) error {
		var serial zodb.TID
		for n := range 25 {
			tid, err := commit(t.ctx, t.S, nil, write{zodb.OID(i + 1), serial, Object(n)})
			if err != nil {
				return err
			}
			if last := t.S.LastTID(); last < tid {
				return fmt.Errorf("LastTID is %v after Finish of %v", last, tid)
			}
			rec, err := t.S.LoadBefore(t.ctx, zodb.OID(i+1), zodb.MaxTID)
			if err != nil || rec.Serial != tid {
				return fmt.Errorf("after Finish of %v: loaded %v, %v", tid, rec.Serial, err)
			}
			serial = tid
		}
		return nil
	})
	stop.Store(true)
	reader.ok()
}

// sighting is what a client saw of an object just after a tid it knew.
type sighting struct {
	oid    zodb.OID
	at     zodb.TID
	record zodb.Record
}

// watchObjects loads objects 1 to n at the newest tid, until stop.
func watchObjects(t *T, n int, before func(last zodb.TID) zodb.TID, stop *atomic.Bool) ([]sighting, error) {
	var seen []sighting
	for i := 0; !stop.Load() && len(seen) < 5000; i++ {
		at := t.S.LastTID()
		oid := zodb.OID(i%n + 1)
		rec, err := t.S.LoadBefore(t.ctx, oid, before(at))
		if err != nil {
			return nil, fmt.Errorf("load of %v at %v: %w", oid, at, err)
		}
		seen = append(seen, sighting{oid, at, rec})
	}
	return seen, nil
}

// beside runs watchObjects while writers change the objects.
func beside(t *T, before func(last zodb.TID) zodb.TID) []sighting {
	t.Helper()
	const objects = 4
	var serials [objects]zodb.TID
	for i := range serials {
		serials[i] = t.put(zodb.OID(i+1), 0, Object(0))
	}
	var stop atomic.Bool
	defer stop.Store(true)
	reader := start(t, "reader", func() ([]sighting, error) { return watchObjects(t, objects, before, &stop) })
	t.together(objects, func(i int) error {
		serial := serials[i]
		for n := range 25 {
			tid, err := commit(t.ctx, t.S, nil, write{zodb.OID(i + 1), serial, Object(n)})
			if err != nil {
				return err
			}
			serial = tid
		}
		return nil
	})
	stop.Store(true)
	return reader.ok()
}

// What is seen just after a tid that was LastTID stays what it was: that is what
// makes a tid a snapshot.
func testOrderStable(t *T) {
	for _, s := range beside(t, func(last zodb.TID) zodb.TID { return last + 1 }) {
		rec := t.loadBefore(s.oid, s.at+1)
		if rec.Serial != s.record.Serial || string(rec.Data) != string(s.record.Data) {
			t.Fatalf("object %v at %v: revision %v, but it was %v then", s.oid, s.at, rec.Serial, s.record.Serial)
		}
		if s.record.Next != 0 && s.record.Next != rec.Next {
			t.Fatalf("object %v at %v: next %v, but it was %v then", s.oid, s.at, rec.Next, s.record.Next)
		}
		if s.record.Serial > s.at {
			t.Fatalf("object %v at %v: revision %v, which is later", s.oid, s.at, s.record.Serial)
		}
	}
}

func testOrderAsOf(t *T) {
	tids := t.revisions(1, 2)
	other := t.put(2, 0, Object(3))
	rec := t.load(1)
	if rec.AsOf < other {
		t.Errorf("AsOf of a current revision is %v, although %v is the last transaction", rec.AsOf, other)
	}
	rec = t.loadBefore(1, tids[1]+1)
	if rec.AsOf < tids[1] {
		t.Errorf("AsOf is %v, before the revision itself, %v", rec.AsOf, tids[1])
	}
	later := t.put(1, tids[1], Object(4))
	if rec.Next == 0 && rec.AsOf >= later {
		t.Errorf("AsOf was %v, but %v replaced the revision", rec.AsOf, later)
	}
}

// No revision <= AsOf replaced what was current, whatever was going on.
func testOrderAsOfWhileWriting(t *T) {
	for _, before := range []func(zodb.TID) zodb.TID{
		func(zodb.TID) zodb.TID { return zodb.MaxTID },
		func(last zodb.TID) zodb.TID { return last + 1 },
	} {
		checkAsOf(t, beside(t, before))
		if t.H.Reopen == nil || t.Failed() {
			return
		}
		t.fresh()
	}
}

// fresh goes on with a new, empty storage.
func (t *T) fresh() {
	t.Helper()
	t.auditAll()
	t.own(t.H.New(t))
}

func checkAsOf(t *T, seen []sighting) {
	t.Helper()
	for _, s := range seen {
		if s.record.Next != 0 {
			continue
		}
		if s.record.AsOf < s.record.Serial {
			t.Fatalf("object %v: revision %v is current as of %v, before it was", s.oid, s.record.Serial, s.record.AsOf)
		}
		if rec := t.loadBefore(s.oid, s.record.AsOf+1); rec.Serial != s.record.Serial {
			t.Fatalf("object %v: revision %v was current as of %v, but %v had replaced it", s.oid, s.record.Serial, s.record.AsOf, rec.Serial)
		}
	}
}
