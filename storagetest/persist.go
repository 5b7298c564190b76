package storagetest

import (
	"errors"
	"slices"

	"github.com/zaridb/zari/zodb"
)

var persistGroup = group{name: "persist", tests: []test{
	{name: "Updates", run: testPersistUpdates},
	{name: "History", needs: []Cap{CapIterator}, run: testPersistHistory},
	{name: "Unfinished", run: testPersistUnfinished},
	{name: "TIDsGrow", run: testPersistTIDsGrow},
	{name: "UUID", run: testPersistUUID},
	{name: "Position", needs: []Cap{CapWatcher}, run: testPersistPosition},
	{name: "Undo", needs: []Cap{CapUndoer}, run: testPersistUndo},
	{name: "Deletion", needs: []Cap{CapDeleter}, run: testPersistDeletion},
	{name: "Empty", run: testPersistEmpty},
}}

func testPersistUpdates(t *T) {
	one := t.put(1, 0, Object(1))
	tids := t.revisions(2, 3)
	for range 3 {
		t.reopen()
		t.current(1, one, Object(1))
		t.current(2, tids[2], Object(3))
		equal(t, "LastTID", t.S.LastTID(), tids[2])
		if t.keepsHistory() {
			equal(t, "an old revision", t.loadBefore(2, tids[1]).Serial, tids[0])
		}
	}
	tid := t.put(2, tids[2], Object(4))
	t.current(2, tid, Object(4))
	t.reopen()
	t.current(2, tid, Object(4))
}

func testPersistHistory(t *T) {
	txn := t.beginWith(zodb.TxnMeta{User: []byte("user"), Description: []byte("note"), Extension: extension})
	t.store(txn, write{1, 0, Object(1)}, write{2, 0, Object(2)})
	tid := t.end(txn)
	t.put(1, tid, Object(3))
	before := plain(t.history())
	t.reopen()
	equal(t, "history after reopening", plain(t.history()), before)
}

func testPersistUnfinished(t *T) {
	first := t.put(1, 0, Object(1))
	open := t.writing(write{1, first, Object(2)})
	voted := t.writing(write{2, 0, Object(3)})
	t.vote(voted)
	open.Abort()
	voted.Abort()
	t.reopen()
	t.current(1, first, Object(1))
	t.absent(2, zodb.MaxTID)
}

func testPersistTIDsGrow(t *T) {
	var last zodb.TID
	for i := range 4 {
		tid := t.put(zodb.OID(i+1), 0, Object(i))
		if tid <= last {
			t.Fatalf("transaction %v came after %v", tid, last)
		}
		last = tid
		t.reopen()
		equal(t, "LastTID after reopening", t.S.LastTID(), last)
	}
}

func testPersistUUID(t *T) {
	uuid := t.S.Info().UUID
	t.put(1, 0, Object(1))
	t.reopen()
	equal(t, "UUID after reopening", t.S.Info().UUID, uuid)
}

// A position from before is still known, or said to be unknown; never misread.
func testPersistPosition(t *T) {
	first := t.put(1, 0, Object(1))
	second := t.put(2, 0, Object(2))
	t.reopen()
	for _, c := range []struct {
		after zodb.TID
		want  []zodb.OID
	}{{first, []zodb.OID{2}}, {second, nil}} {
		oids, upTo, err := ability[zodb.Watcher](t, t.S).ChangesSince(t.ctx, c.after)
		if errors.Is(err, zodb.ErrUnknownPosition) {
			continue
		}
		if err != nil {
			t.Fatalf("ChangesSince(%v): %v", c.after, err)
		}
		if !slices.Equal(oids, c.want) || upTo != second {
			t.Errorf("ChangesSince(%v) after reopening: %v up to %v, want %v up to %v", c.after, oids, upTo, c.want, second)
		}
	}
}

func testPersistUndo(t *T) {
	tids := t.revisions(1, 3)
	t.undo(tids[2])
	t.reopen()
	tid := t.undo(tids[1])
	t.current(1, tid, Object(1))
	t.reopen()
	t.current(1, tid, Object(1))
	tid = t.undo(tids[0])
	t.reopen()
	t.gone(1, tid)
}

func testPersistDeletion(t *T) {
	tids := t.revisions(1, 2)
	deleted := t.remove(1, tids[1])
	t.reopen()
	t.gone(1, deleted)
	tid := t.put(1, deleted, Object(3))
	t.reopen()
	t.current(1, tid, Object(3))
}

func testPersistEmpty(t *T) {
	t.reopen()
	equal(t, "LastTID of an empty storage", t.S.LastTID(), 0)
	t.put(1, 0, Object(1))
}
