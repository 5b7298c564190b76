package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/zaridb/zari/zodb"
)

var packGroup = group{name: "pack", needs: []Cap{CapPacker}, tests: []test{
	{name: "Empty", run: testPackEmpty},
	{name: "Tomorrow", run: testPackTomorrow},
	{name: "Yesterday", run: testPackYesterday},
	{name: "OldRevisions", run: testPackOldRevisions},
	{name: "KeepsWhatIsSeen", run: testPackKeepsWhatIsSeen},
	{name: "OnlyOneObject", run: testPackOnlyOneObject},
	{name: "Deleted", needs: []Cap{CapDeleter}, run: testPackDeleted},
	{name: "UndoneCreation", needs: []Cap{CapUndoer}, run: testPackUndoneCreation},
	{name: "AfterUndo", needs: []Cap{CapUndoer}, run: testPackAfterUndo},
	{name: "Redundant", run: testPackRedundant},
	{name: "WhileWriting", run: testPackWhileWriting},
	{name: "NowWhileWriting", run: testPackNowWhileWriting},
	{name: "LotsWhileWriting", run: testPackLotsWhileWriting},
	{name: "WhileVoted", run: testPackWhileVoted},
	{name: "WhileUndoVoted", needs: []Cap{CapUndoer}, run: testPackWhileUndoVoted},
	{name: "ChangesSince", needs: []Cap{CapWatcher}, run: testPackChangesSince},
	{name: "WhileIterating", needs: []Cap{CapIterator}, run: testPackWhileIterating},
	{name: "Progress", run: testPackProgress},
	{name: "GC", run: testPackGC},
	{name: "Reopened", run: testPackReopened},
}}

// pack packs history only.
func (t *T) pack(at time.Time) {
	t.Helper()
	if err := ability[zodb.Packer](t, t.S).Pack(t.ctx, at, zodb.PackOptions{}); err != nil {
		t.Fatalf("Pack(%v): %v", at, err)
	}
}

// packedAway checks that a revision cannot be loaded any more by its serial. (Where the
// medium had forgotten it before, it is not the pack that decides.)
func (t *T) packedAway(oid zodb.OID, serial zodb.TID) {
	t.Helper()
	h, ok := zodb.As[zodb.Historian](t.S)
	if !ok || t.H.HistoryFree {
		return
	}
	data, err := h.LoadSerial(t.ctx, oid, serial)
	if _, gone := errors.AsType[*zodb.NoObjectError](err); !gone {
		t.Errorf("LoadSerial(%v, %v), which is packed away: %d bytes, %v; want a *zodb.NoObjectError", oid, serial, len(data), err)
	}
}

func testPackEmpty(t *T) {
	t.pack(t.H.Now())
	tid := t.put(1, 0, Object(1))
	t.current(1, tid, Object(1))
}

func testPackTomorrow(t *T) {
	tid := t.put(0, 0, Object(1))
	t.pack(t.H.Now().Add(24 * time.Hour))
	t.current(0, tid, Object(1))
	tid = t.put(0, tid, Object(2))
	t.current(0, tid, Object(2))
}

func testPackYesterday(t *T) {
	tids := t.revisions(1, 3)
	t.pack(t.H.Now().Add(-24 * time.Hour))
	t.current(1, tids[2], Object(3))
	if t.has(CapHistorian) {
		equal(t, "the first revision, which nothing has packed", t.loadBefore(1, tids[0]+1).Data, Object(1))
	}
}

func testPackOldRevisions(t *T) {
	root := t.put(0, 0, Object(0, 1))
	tids := t.revisions(1, 3)
	t.pack(t.between())
	t.current(0, root, Object(0, 1))
	t.current(1, tids[2], Object(3))
	t.packedAway(1, tids[0])
	t.packedAway(1, tids[1])
	tid := t.put(1, tids[2], Object(4))
	t.current(1, tid, Object(4))
}

// Who looks at the time of the pack, or later, sees no difference.
func testPackKeepsWhatIsSeen(t *T) {
	if !t.has(CapHistorian) {
		t.Skipf("the storage has no %s", CapHistorian)
	}
	a, b := t.revisions(1, 3), t.revisions(2, 1)
	at := t.between()
	a4 := t.put(1, a[2], Object(4))
	b2 := t.put(2, b[0], Object(2))
	a5 := t.put(1, a4, Object(5))
	t.pack(at)
	want := []struct {
		oid          zodb.OID
		before       zodb.TID
		serial, next zodb.TID
		value        int
	}{
		{1, zodb.TIDAt(at), a[2], a4, 3}, {1, a4, a[2], a4, 3}, {1, a4 + 1, a4, a5, 4}, {1, a5, a4, a5, 4},
		{1, zodb.MaxTID, a5, 0, 5}, {2, zodb.TIDAt(at), b[0], b2, 1}, {2, b2 + 1, b2, 0, 2},
	}
	for _, w := range want {
		rec := t.loadBefore(w.oid, w.before)
		what := fmt.Sprintf("%v before %v", w.oid, w.before)
		equal(t, "Serial of "+what, rec.Serial, w.serial)
		equal(t, "Next of "+what, rec.Next, w.next)
		equal(t, "data of "+what, rec.Data, Object(w.value))
	}
	t.packedAway(1, a[0])
	t.packedAway(1, a[1])
}

func testPackOnlyOneObject(t *T) {
	root := t.put(0, 0, Object(0, 1, 2))
	tids := t.revisions(1, 3)
	two := t.put(2, 0, Object(11))
	t.pack(t.between())
	t.current(0, root, Object(0, 1, 2))
	t.current(1, tids[2], Object(3))
	t.current(2, two, Object(11))
	t.packedAway(1, tids[0])
	t.packedAway(1, tids[1])
}

func testPackDeleted(t *T) {
	tids := t.revisions(1, 2)
	keep := t.put(2, 0, Object(7))
	deleted := t.remove(1, tids[1])
	t.pack(t.between())
	t.absent(1, zodb.MaxTID)
	t.packedAway(1, tids[0])
	t.packedAway(1, tids[1])
	t.current(2, keep, Object(7))
	if last := t.S.LastTID(); last < deleted {
		t.Errorf("LastTID went back to %v, from %v", last, deleted)
	}
}

func testPackUndoneCreation(t *T) {
	keep := t.put(2, 0, Object(7))
	made := t.put(1, 0, Object(1))
	t.undo(made)
	t.pack(t.between())
	t.absent(1, zodb.MaxTID)
	t.current(2, keep, Object(7))
}

// What an undo brought back survives the revision that it came from.
func testPackAfterUndo(t *T) {
	tids := t.revisions(1, 3)
	var at []time.Time
	tid := tids[2]
	for range 6 {
		tid = t.undo(tid)
		at = append(at, t.between())
	}
	for _, at := range at {
		t.pack(at)
		t.current(1, tid, Object(3))
	}
	tid = t.put(1, tid, Object(4))
	t.current(1, tid, Object(4))
}

// A pack to a time before the last one may be refused, but loses nothing.
func testPackRedundant(t *T) {
	tids := t.revisions(1, 2)
	early := t.between()
	t3 := t.put(1, tids[1], Object(3))
	two := t.put(2, 0, Object(9))
	late := t.between()
	t4 := t.put(1, t3, Object(4))
	t.pack(late)
	if err := ability[zodb.Packer](t, t.S).Pack(t.ctx, early, zodb.PackOptions{}); err != nil {
		t.Logf("the earlier pack is refused: %v", err)
	}
	t.pack(late)
	t.current(1, t4, Object(4))
	t.current(2, two, Object(9))
	if t.has(CapHistorian) {
		equal(t, "what was current at the pack", t.loadBefore(1, t4).Serial, t3)
	}
}

// counter is what a writer of the pack tests does: it commits the numbers from
// its last one on until told to stop, and knows its last commit.
type counter struct {
	oid    zodb.OID
	serial zodb.TID
	value  int
}

func (c *counter) run(ctx context.Context, s zodb.Storage, n int, stop *atomic.Bool) error {
	for i := 0; i < n && !stop.Load(); i++ {
		tid, err := commit(ctx, s, nil, write{c.oid, c.serial, Object(c.value + 1)})
		if err != nil {
			return fmt.Errorf("commit number %d of object %v: %w", c.value+1, c.oid, err)
		}
		c.serial, c.value = tid, c.value+1
		rec, err := s.LoadBefore(ctx, c.oid, zodb.MaxTID)
		if err != nil {
			return fmt.Errorf("load of what was just committed: %w", err)
		}
		if rec.Serial != tid || valueOf(rec.Data) != c.value {
			return fmt.Errorf("object %v: loaded %d of %v, want %d of %v", c.oid, valueOf(rec.Data), rec.Serial, c.value, tid)
		}
	}
	return nil
}

// packBeside packs while others write, and checks that nothing is lost.
func packBeside(t *T, pack func()) {
	t.Helper()
	counters := make([]*counter, 3)
	for i := range counters {
		c := &counter{oid: zodb.OID(i + 1)}
		if err := c.run(t.ctx, t.S, 20, new(atomic.Bool)); err != nil {
			t.Fatal(err)
		}
		counters[i] = c
	}
	var stop atomic.Bool
	writers := start(t, "writers", func() (struct{}, error) {
		errs := make(chan error, len(counters))
		for _, c := range counters {
			go func() { errs <- c.run(t.ctx, t.S, 500, &stop) }()
		}
		var all []error
		for range counters {
			all = append(all, <-errs)
		}
		return struct{}{}, errors.Join(all...)
	})
	defer stop.Store(true)
	pack()
	stop.Store(true)
	writers.ok()
	for _, c := range counters {
		t.current(c.oid, c.serial, Object(c.value))
	}
}

func testPackWhileWriting(t *T) {
	t.revisions(9, 20)
	at := t.between()
	packBeside(t, func() { t.pack(at) })
}

func testPackNowWhileWriting(t *T) {
	packBeside(t, func() { t.pack(t.H.Now()) })
}

func testPackLotsWhileWriting(t *T) {
	packBeside(t, func() {
		for range 5 {
			t.pack(t.H.Now())
		}
	})
}

// A transaction that voted before a pack finishes after it.
func testPackWhileVoted(t *T) {
	tids := t.revisions(1, 3)
	txn := t.writing(write{1, tids[2], Object(4)}, write{2, 0, Object(5)})
	t.vote(txn)
	t.pack(t.between())
	tid := t.finish(txn)
	t.current(1, tid, Object(4))
	t.current(2, tid, Object(5))
}

// An undo that voted before a pack finishes after it, though the revision that it
// brings back is packed away.
func testPackWhileUndoVoted(t *T) {
	tids := t.revisions(1, 3)
	txn := t.undoing(tids[2])
	t.vote(txn)
	t.pack(t.between())
	t.current(1, tids[2], Object(3))
	tid := t.finish(txn)
	t.current(1, tid, Object(2))
	t.pack(t.between())
	t.current(1, tid, Object(2))
}

// Who follows the storage and was at a transaction before a pack is told of all
// changes since, or that its position is not known any more.
func testPackChangesSince(t *T) {
	tids := []zodb.TID{t.put(1, 0, Object(1)), t.put(2, 0, Object(2))}
	tids = append(tids, t.put(1, tids[0], Object(3)), t.put(3, 0, Object(4)))
	t.pack(t.between())
	tids = append(tids, t.put(2, tids[1], Object(5)))
	for i, want := range [][]zodb.OID{{1, 2, 3}, {1, 2, 3}, {2, 3}, {2}, {}} {
		oids, upTo, err := ability[zodb.Watcher](t, t.S).ChangesSince(t.ctx, tids[i])
		if errors.Is(err, zodb.ErrUnknownPosition) && i < 3 {
			continue
		}
		if err != nil {
			t.Fatalf("ChangesSince(transaction %d of 5): %v", i+1, err)
		}
		for _, oid := range want {
			if !slices.Contains(oids, oid) {
				t.Errorf("ChangesSince(transaction %d of 5): %v, want %v", i+1, oids, want)
			}
		}
		equal(t, "the tid up to which it looked", upTo, tids[4])
	}
}

// An iteration that is under way may end with an error, but reads nothing wrong.
func testPackWhileIterating(t *T) {
	tids := t.revisions(1, 40)
	at := t.between()
	value := 0
	for txn, err := range ability[zodb.Iterator](t, t.S).Transactions(t.ctx, 0, 0) {
		if err != nil {
			t.Logf("the iteration ends after %d transactions: %v", value, err)
			break
		}
		if value == 5 {
			t.pack(at)
		}
		value++
		for _, r := range txn.Records {
			if i := valueOf(r.Data) - 1; i < 0 || i >= len(tids) || tids[i] != txn.TID {
				t.Fatalf("transaction %v holds number %d", txn.TID, i+1)
			}
		}
	}
	t.current(1, tids[39], Object(40))
}

func testPackProgress(t *T) {
	t.revisions(1, 30)
	var last int64
	opts := zodb.PackOptions{Progress: func(done, total int64) {
		if done < last || total < done {
			t.Errorf("progress: %d of %d after %d", done, total, last)
		}
		last = done
	}}
	if err := ability[zodb.Packer](t, t.S).Pack(t.ctx, t.between(), opts); err != nil {
		t.Fatalf("Pack: %v", err)
	}
}

// With GC what cannot be reached from the root goes; a storage that cannot do
// that says so, and has then changed nothing.
func testPackGC(t *T) {
	root := t.put(0, 0, Object(0, 1))
	one := t.put(1, 0, Object(1, 2))
	two := t.put(2, 0, Object(2, 1))
	loose := t.commit(write{3, 0, Object(3, 4)}, write{4, 0, Object(4)})
	at := t.between()
	late := t.put(5, 0, Object(5)) // not reachable, but made after the time of the pack
	err := ability[zodb.Packer](t, t.S).Pack(t.ctx, at, zodb.PackOptions{GC: true})
	t.current(0, root, Object(0, 1))
	t.current(1, one, Object(1, 2))
	t.current(2, two, Object(2, 1))
	t.current(5, late, Object(5))
	if errors.Is(err, errors.ErrUnsupported) {
		t.current(3, loose, Object(3, 4))
		t.current(4, loose, Object(4))
		return
	}
	if err != nil {
		t.Fatalf("Pack with GC: %v, want nil or errors.ErrUnsupported", err)
	}
	t.absent(3, zodb.MaxTID)
	t.absent(4, zodb.MaxTID)
}

func testPackReopened(t *T) {
	tids := t.revisions(1, 3)
	two := t.put(2, 0, Object(2))
	t.pack(t.between())
	t4 := t.put(1, tids[2], Object(4))
	t.reopen()
	t.current(1, t4, Object(4))
	t.current(2, two, Object(2))
	t.packedAway(1, tids[0])
	equal(t, "LastTID", t.S.LastTID(), t4)
}
