package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/zaridb/zari/zodb"
)

var watchGroup = group{name: "watch", needs: []Cap{CapWatcher}, tests: []test{
	{name: "Observe", run: testObserve},
	{name: "OwnAndAll", run: testObserveConcurrent},
	{name: "Gapless", needs: []Cap{CapIterator}, history: true, run: testObserveGapless},
	{name: "Visible", run: testObserveVisible},
	{name: "NotAborted", run: testObserveNotAborted},
	{name: "InTurn", run: testObserveInTurn},
	{name: "Stop", run: testObserveStop},
	{name: "Undo", needs: []Cap{CapUndoer}, run: testObserveUndo},
	{name: "Deletion", needs: []Cap{CapDeleter}, run: testObserveDeletion},
	{name: "Restore", needs: []Cap{CapRestorer}, run: testObserveRestore},
	{name: "ChangesSince", run: testChangesSince},
	{name: "ChangesSinceUnknown", run: testChangesSinceUnknown},
	{name: "Watch", needs: []Cap{CapIterator}, history: true, run: testWatch},
	{name: "WatchWhileWriting", needs: []Cap{CapIterator}, history: true, run: testWatchWhileWriting},
	{name: "WatchCancelled", run: testWatchCancelled},
}}

// observer keeps what it is told.
type observer struct {
	mu      sync.Mutex
	changes []zodb.Change
}

func (o *observer) observe(c zodb.Change) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c.OIDs = slices.Clone(c.OIDs)
	slices.Sort(c.OIDs)
	c.Token = zodb.Token{}
	o.changes = append(o.changes, c)
}

func (o *observer) all() []zodb.Change {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.changes)
}

// observed starts an observer, which stops at the end of the test.
func (t *T) observed() (o *observer, after zodb.TID) {
	t.Helper()
	o = new(observer)
	after, stop := ability[zodb.Watcher](t, t.S).Observe(o.observe)
	t.Cleanup(stop)
	return o, after
}

func testObserve(t *T) {
	first := t.put(1, 0, Object(1))
	o, after := t.observed()
	equal(t, "the position where Observe begins", after, first)
	t1 := t.commit(write{1, first, Object(2)}, write{2, 0, Object(3)})
	t2 := t.put(3, 0, Object(4))
	equal(t, "changes", o.all(), []zodb.Change{{TID: t1, OIDs: []zodb.OID{1, 2}}, {TID: t2, OIDs: []zodb.OID{3}}})
}

// Several observers see the same, in tid order, every transaction once.
func testObserveConcurrent(t *T) {
	one, _ := t.observed()
	two, _ := t.observed()
	var mu sync.Mutex
	committed := make(map[zodb.TID]zodb.OID)
	t.together(4, func(i int) error {
		for n := range 25 {
			oid := zodb.OID(100*i + n + 1)
			tid, err := commit(t.ctx, t.S, nil, write{oid, 0, Object(n)})
			if err != nil {
				return err
			}
			mu.Lock()
			committed[tid] = oid
			mu.Unlock()
		}
		return nil
	})
	changes := one.all()
	equal(t, "changes of the second observer", two.all(), changes)
	equal(t, "number of changes", len(changes), len(committed))
	for i, c := range changes {
		if i > 0 && c.TID <= changes[i-1].TID {
			t.Errorf("change %v observed after %v", c.TID, changes[i-1].TID)
		}
		equal(t, "oids of "+c.TID.String(), c.OIDs, []zodb.OID{committed[c.TID]})
	}
}

// What is iterated up to the position, and what is observed after, is all there
// is, wherever in a stream of commits the observation begins.
func testObserveGapless(t *T) {
	writers := start(t, "writers", func() (struct{}, error) {
		var serial zodb.TID
		for n := range 60 {
			tid, err := commit(t.ctx, t.S, nil, write{1, serial, Object(n)})
			if err != nil {
				return struct{}{}, err
			}
			serial = tid
		}
		return struct{}{}, nil
	})
	type observation struct {
		o     *observer
		after zodb.TID
	}
	var all []observation
	for range 20 {
		o, after := t.observed()
		all = append(all, observation{o, after})
	}
	writers.ok()
	tids := tidsOf(t.history())
	for _, ob := range all {
		var want, got []zodb.TID
		for _, tid := range tids {
			if tid > ob.after {
				want = append(want, tid)
			}
		}
		for _, c := range ob.o.all() {
			got = append(got, c.TID)
		}
		equal(t, fmt.Sprintf("changes observed after %v", ob.after), got, want)
	}
}

// An observer may load what it is told of, before LastTID moves.
func testObserveVisible(t *T) {
	var mu sync.Mutex
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	_, stop := ability[zodb.Watcher](t, t.S).Observe(func(c zodb.Change) {
		mu.Lock()
		defer mu.Unlock()
		if last := t.S.LastTID(); last >= c.TID {
			problem("observer of %v: LastTID is %v already", c.TID, last)
		}
		for _, oid := range c.OIDs {
			rec, err := t.S.LoadBefore(t.ctx, oid, c.TID+1)
			if err != nil || rec.Serial != c.TID {
				problem("observer of %v: LoadBefore(%v, %v): serial %v, %v", c.TID, oid, c.TID+1, rec.Serial, err)
			}
		}
	})
	t.Cleanup(stop)
	tids := t.revisions(1, 3)
	t.commit(write{1, tids[2], Object(4)}, write{2, 0, Object(5)})
	mu.Lock()
	defer mu.Unlock()
	if err := errors.Join(problems...); err != nil {
		t.Error(err)
	}
}

func testObserveNotAborted(t *T) {
	o, _ := t.observed()
	txn := t.writing(write{1, 0, Object(1)})
	t.vote(txn)
	txn.Abort()
	equal(t, "changes after an abort", o.all(), nil)
	tid := t.put(2, 0, Object(1))
	equal(t, "changes", o.all(), []zodb.Change{{TID: tid, OIDs: []zodb.OID{2}}})
}

// Observers are told in the order in which they began, so that a cache which observes a
// storage before all others has heard of a change when they ask about it.
func testObserveInTurn(t *T) {
	var mu sync.Mutex
	var told []int
	for i := range 5 {
		_, stop := ability[zodb.Watcher](t, t.S).Observe(func(zodb.Change) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, i)
		})
		t.Cleanup(stop)
	}
	t.put(1, 0, Object(1))
	t.put(2, 0, Object(2))
	mu.Lock()
	defer mu.Unlock()
	equal(t, "who was told, in that order", told, []int{0, 1, 2, 3, 4, 0, 1, 2, 3, 4})
}

// After stop the observer is not called any more; stop waits for a call that is
// under way.
func testObserveStop(t *T) {
	o := new(observer)
	entered, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	_, stop := ability[zodb.Watcher](t, t.S).Observe(func(c zodb.Change) {
		once.Do(func() { close(entered); <-leave })
		o.observe(c)
	})
	first := start(t, "commit", func() (zodb.TID, error) { return commit(t.ctx, t.S, nil, write{1, 0, Object(1)}) })
	release := sync.OnceFunc(func() { close(leave) })
	t.Cleanup(release)
	select {
	case <-entered:
	case <-first.done:
		t.Fatalf("Finish returned %v, %v before the observer was told", first.v, first.err)
	case <-t.ctx.Done():
		t.Fatal("the observer is not told of a commit")
	}
	stopping := start(t, "stop", func() (struct{}, error) { stop(); return struct{}{}, nil })
	stopping.waits()
	release()
	stopping.ok()
	tid := first.ok()
	t.put(2, 0, Object(2))
	equal(t, "changes", o.all(), []zodb.Change{{TID: tid, OIDs: []zodb.OID{1}}})
}

func testObserveUndo(t *T) {
	t1 := t.commit(write{1, 0, Object(1)}, write{2, 0, Object(2)})
	t2 := t.commit(write{1, t1, Object(3)}, write{3, 0, Object(4)})
	o, _ := t.observed()
	tid := t.undo(t2)
	equal(t, "changes of an undo", o.all(), []zodb.Change{{TID: tid, OIDs: []zodb.OID{1, 3}}})
}

func testObserveDeletion(t *T) {
	first := t.put(1, 0, Object(1))
	o, _ := t.observed()
	tid := t.remove(1, first)
	equal(t, "changes of a deletion", o.all(), []zodb.Change{{TID: tid, OIDs: []zodb.OID{1}}})
}

func testObserveRestore(t *T) {
	o, _ := t.observed()
	t.restore(1000, zodb.TxnRecord{OID: 1, Data: Object(1)}, zodb.TxnRecord{OID: 2, Data: Object(2)})
	t.restore(1001, zodb.TxnRecord{OID: 2})
	equal(t, "changes of restores", o.all(), []zodb.Change{{TID: 1000, OIDs: []zodb.OID{1, 2}}, {TID: 1001, OIDs: []zodb.OID{2}}})
}

func testChangesSince(t *T) {
	var tids []zodb.TID
	tids = append(tids, t.put(1, 0, Object(1)))
	tids = append(tids, t.commit(write{2, 0, Object(2)}, write{3, 0, Object(3)}))
	tids = append(tids, t.put(1, tids[0], Object(4)))
	tids = append(tids, t.put(2, tids[1], Object(5)))
	last := tids[3]
	for i, want := range [][]zodb.OID{{1, 2, 3}, {1, 2}, {2}, {}} {
		oids, upTo, err := ability[zodb.Watcher](t, t.S).ChangesSince(t.ctx, tids[i])
		if err != nil {
			t.Fatalf("ChangesSince(%v): %v", tids[i], err)
		}
		slices.Sort(oids)
		if got := slices.Compact(oids); !slices.Equal(got, want) {
			t.Errorf("ChangesSince(transaction %d of 4): %v, want %v", i+1, got, want)
		}
		equal(t, "the tid up to which it looked", upTo, last)
	}
}

// A position that is no transaction of this history is not taken for one.
func testChangesSinceUnknown(t *T) {
	tids := t.revisions(1, 3)
	for _, after := range []zodb.TID{tids[2] + 1, tids[1] + 1, tids[0] - 1, zodb.MaxTID} {
		if slices.Contains(tids, after) || t.H.HistoryFree && t.has(CapSyncer) && after <= tids[2] {
			continue // it is one, or one that another writer may have committed and overwritten
		}
		oids, _, err := ability[zodb.Watcher](t, t.S).ChangesSince(t.ctx, after)
		if !errors.Is(err, zodb.ErrUnknownPosition) {
			t.Errorf("ChangesSince(%v), which is no transaction: %v, %v; want ErrUnknownPosition", after, oids, err)
		}
	}
}

// watched reads n changes from a position, with what happens meanwhile.
func watched(t *T, after zodb.TID, n int) *running[[]zodb.TID] {
	return start(t, fmt.Sprintf("Watch after %v", after), func() ([]zodb.TID, error) {
		var got []zodb.TID
		for c, err := range zodb.Watch(t.ctx, t.S, after) {
			if err != nil {
				return got, err
			}
			got = append(got, c.TID)
			if len(got) == n {
				break
			}
		}
		return got, nil
	})
}

func testWatch(t *T) {
	tids := t.revisions(1, 4)
	for i := range 3 {
		equal(t, "tids watched", watched(t, tids[i], 3-i).ok(), tids[i+1:])
	}
	w := watched(t, tids[3], 2)
	t5 := t.put(1, tids[3], Object(5))
	t6 := t.put(1, t5, Object(6))
	equal(t, "tids watched", w.ok(), []zodb.TID{t5, t6})
}

func testWatchWhileWriting(t *T) {
	first := t.put(1, 0, Object(0))
	const n = 50
	writer := start(t, "writer", func() (struct{}, error) {
		serial := first
		for i := range n {
			tid, err := commit(t.ctx, t.S, nil, write{1, serial, Object(i)})
			if err != nil {
				return struct{}{}, err
			}
			serial = tid
		}
		return struct{}{}, nil
	})
	var watches []*running[[]zodb.TID]
	for range 5 {
		watches = append(watches, watched(t, first, n))
	}
	writer.ok()
	want := tidsOf(t.history())[1:]
	for _, w := range watches {
		equal(t, "tids watched", w.ok(), want)
	}
}

func testWatchCancelled(t *T) {
	first := t.put(1, 0, Object(1))
	ctx, cancel := context.WithCancel(t.ctx)
	w := start(t, "Watch", func() (struct{}, error) {
		for _, err := range zodb.Watch(ctx, t.S, first) {
			if err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	w.settle()
	cancel()
	_, err := w.result()
	matches(t, "Watch whose context is cancelled", err, context.Canceled)
}
