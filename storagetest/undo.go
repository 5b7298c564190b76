package storagetest

import (
	"slices"

	"github.com/zaridb/zari/zodb"
)

var undoGroup = group{name: "undo", needs: []Cap{CapUndoer}, tests: []test{
	{name: "Simple", run: testUndoSimple},
	{name: "CreationBranch1", run: testUndoCreationBranch1},
	{name: "CreationBranch2", run: testUndoCreationBranch2},
	{name: "TwoObjects", run: testUndoTwoObjects},
	{name: "TwoTransactionsAtOnce", run: testUndoTwoAtOnce},
	{name: "OneObjectOfTwo", run: testUndoOneOfTwo},
	{name: "ManyTimes", run: testUndoManyTimes},
	{name: "NotUndoable", run: testNotUndoable},
	{name: "PartlyNotUndoable", run: testPartlyNotUndoable},
	{name: "BecomesNotUndoable", run: testBecomesNotUndoable},
	{name: "UnknownTransaction", run: testUndoUnknown},
	{name: "Aborted", run: testUndoAborted},
	{name: "BesideConflict", run: testUndoBesideConflict},
	{name: "Deletion", needs: []Cap{CapDeleter}, run: testUndoDeletion},
	{name: "Iterated", needs: []Cap{CapIterator}, run: testUndoIterated},
	{name: "Log", run: testUndoLog},
	{name: "LogIndices", run: testUndoLogIndices},
	{name: "LogFilter", run: testUndoLogFilter},
	{name: "Resolved", run: testUndoResolved},
	{name: "AfterPack", needs: []Cap{CapPacker}, run: testUndoAfterPack},
	{name: "LogAfterPack", needs: []Cap{CapPacker}, run: testUndoLogAfterPack},
}}

// undoing opens a transaction that undoes others, in the given order.
func (t *T) undoing(tids ...zodb.TID) zodb.Txn {
	t.Helper()
	txn := t.begin()
	for _, tid := range tids {
		if err := txnAbility[zodb.UndoTxn](t, txn).Undo(t.ctx, tid); err != nil {
			t.Fatalf("Undo(%v): %v", tid, err)
		}
	}
	return txn
}

// undo undoes transactions in one new one.
func (t *T) undo(tids ...zodb.TID) zodb.TID {
	t.Helper()
	return t.end(t.undoing(tids...))
}

// undoFails checks that a transaction cannot be undone. Undo may say so at once.
func (t *T) undoFails(tid zodb.TID) *zodb.UndoError {
	t.Helper()
	txn := t.begin()
	defer txn.Abort()
	err := txnAbility[zodb.UndoTxn](t, txn).Undo(t.ctx, tid)
	if err == nil {
		_, err = txn.Vote(t.ctx)
	}
	return isError[*zodb.UndoError](t, "undo of "+tid.String(), err)
}

func (t *T) undoLog(first, last int, filter func(*zodb.UndoEntry) bool) []zodb.UndoEntry {
	t.Helper()
	log, err := ability[zodb.Undoer](t, t.S).UndoLog(t.ctx, first, last, filter)
	if err != nil {
		t.Fatalf("UndoLog(%d, %d): %v", first, last, err)
	}
	return log
}

// gone checks that the newest revision of oid is one without data.
func (t *T) gone(oid zodb.OID, at zodb.TID) {
	t.Helper()
	e := t.absent(oid, zodb.MaxTID)
	equal(t, "DeletedAt of "+oid.String(), e.DeletedAt, at)
}

func testUndoSimple(t *T) {
	tids := t.revisions(1, 3)
	txn := t.undoing(tids[2])
	equal(t, "Resolved", t.vote(txn).Resolved, []zodb.OID{1})
	tid := t.finish(txn)
	t.current(1, tid, Object(2))
	tid = t.undo(tids[1])
	t.current(1, tid, Object(1))
	tid = t.undo(tids[0]) // the creation
	t.gone(1, tid)
	tid = t.undo(tid) // undo the undo of the creation
	t.current(1, tid, Object(1))
}

// After the undo of a change one may go on to undo the creation ...
func testUndoCreationBranch1(t *T) {
	tids := t.revisions(1, 2)
	tid := t.undo(tids[1])
	t.current(1, tid, Object(1))
	tid = t.undo(tids[0])
	t.gone(1, tid)
}

// ... or undo the undo.
func testUndoCreationBranch2(t *T) {
	tids := t.revisions(1, 2)
	tid := t.undo(tids[1])
	t.current(1, tid, Object(1))
	tid = t.undo(tid)
	t.current(1, tid, Object(2))
}

func testUndoTwoObjects(t *T) {
	t1 := t.commit(write{1, 0, Object(31)}, write{2, 0, Object(51)})
	t2 := t.commit(write{1, t1, Object(32)}, write{2, t1, Object(52)})
	txn := t.undoing(t2)
	resolved := t.vote(txn).Resolved
	slices.Sort(resolved)
	equal(t, "Resolved", slices.Compact(resolved), []zodb.OID{1, 2})
	tid := t.finish(txn)
	t.current(1, tid, Object(31))
	t.current(2, tid, Object(51))
}

func testUndoTwoAtOnce(t *T) {
	t1 := t.commit(write{1, 0, Object(30)}, write{2, 0, Object(50)})
	t2 := t.commit(write{1, t1, Object(31)}, write{2, t1, Object(51)})
	t3 := t.commit(write{1, t2, Object(32)}, write{2, t2, Object(52)})
	tid := t.undo(t3, t2)
	t.current(1, tid, Object(30))
	t.current(2, tid, Object(50))
	tid = t.undo(tid)
	t.current(1, tid, Object(32))
	t.current(2, tid, Object(52))
}

// A transaction may be undone that shares only some objects with later ones, if
// those objects are not changed by it.
func testUndoOneOfTwo(t *T) {
	t1 := t.commit(write{1, 0, Object(33)}, write{2, 0, Object(53)})
	t2 := t.put(1, t1, Object(34))
	t3 := t.put(2, t1, Object(54))
	tid := t.undo(t2)
	t.current(1, tid, Object(33))
	t.current(2, t3, Object(54))
}

func testUndoManyTimes(t *T) {
	t1 := t.commit(write{1, 0, Object(1)}, write{2, 0, Object(7)})
	tid := t.put(1, t1, Object(3))
	for i := range 10 {
		tid = t.undo(tid)
		want := 1
		if i%2 == 1 {
			want = 3
		}
		t.current(1, tid, Object(want))
		t.current(2, t1, Object(7))
	}
}

func testNotUndoable(t *T) {
	tids := t.revisions(1, 3)
	e := t.undoFails(tids[1])
	equal(t, "TID of the error", e.TID, tids[1])
	if !e.HasOID || e.OID != 1 {
		t.Errorf("the error names object %v (%v), want 1", e.OID, e.HasOID)
	}
	t.current(1, tids[2], Object(3))
	e = t.undoFails(tids[0])
	equal(t, "TID of the error", e.TID, tids[0])
	t.current(1, tids[2], Object(3))
}

func testPartlyNotUndoable(t *T) {
	t0 := t.put(1, 0, Object(80))
	t1 := t.commit(write{1, t0, Object(81)}, write{2, 0, Object(91)})
	t2 := t.put(2, t1, Object(92))
	e := t.undoFails(t1)
	if !e.HasOID || e.OID != 2 {
		t.Errorf("the error names object %v (%v), want 2", e.OID, e.HasOID)
	}
	t.current(1, t1, Object(81))
	t.current(2, t2, Object(92))
}

// Undo is worked out at Vote.
func testBecomesNotUndoable(t *T) {
	tids := t.revisions(1, 2)
	txn := t.undoing(tids[1])
	t3 := t.put(1, tids[1], Object(3))
	_, err := txn.Vote(t.ctx)
	isError[*zodb.UndoError](t, "Vote", err)
	txn.Abort()
	t.current(1, t3, Object(3))
}

func testUndoUnknown(t *T) {
	tids := t.revisions(1, 2)
	t.undoFails(tids[1] + 1)
	t.undoFails(1)
}

func testUndoAborted(t *T) {
	tids := t.revisions(1, 2)
	txn := t.undoing(tids[1])
	t.vote(txn)
	t.current(1, tids[1], Object(2))
	txn.Abort()
	t.current(1, tids[1], Object(2))
	tid := t.undo(tids[1])
	t.current(1, tid, Object(1))
}

// An undo stands while another object's conflict is merged.
func testUndoBesideConflict(t *T) {
	undone, other := t.revisions(1, 2), t.revisions(2, 2)
	txn := t.undoing(undone[1])
	t.store(txn, write{2, other[0], Object(9)})
	conflicts(t, txn)
	t.store(txn, write{2, other[1], Object(10)})
	tid := t.end(txn)
	t.current(1, tid, Object(1))
	t.current(2, tid, Object(10))
}

func testUndoDeletion(t *T) {
	tids := t.revisions(1, 2)
	deleted := t.remove(1, tids[1])
	t.gone(1, deleted)
	tid := t.undo(deleted)
	t.current(1, tid, Object(2))
}

// Records of an undo carry the data, and say where they are from.
func testUndoIterated(t *T) {
	t1 := t.commit(write{1, 0, Object(1)}, write{2, 0, Object(2)})
	t2 := t.commit(write{1, t1, Object(11)}, write{3, 0, Object(13)})
	tid := t.undo(t2)
	txns := t.historyOf(t.S, tid, tid)
	equal(t, "number of transactions", len(txns), 1)
	records := txns[0].Records
	slices.SortFunc(records, func(a, b zodb.TxnRecord) int { return int(a.OID) - int(b.OID) })
	equal(t, "records of the undo", records, []zodb.TxnRecord{
		{OID: 1, Data: Object(1), From: t1},
		{OID: 3},
	})
	for _, r := range t.historyOf(t.S, t2, t2)[0].Records {
		equal(t, "From of an ordinary record", r.From, 0)
	}
}

func testUndoLog(t *T) {
	txn := t.beginWith(zodb.TxnMeta{User: []byte("/acl someone"), Description: []byte("a note"), Extension: extension})
	t.store(txn, write{1, 0, Object(1)})
	first := t.end(txn)
	second := t.put(1, first, Object(2))
	log := t.undoLog(0, 10, nil)
	equal(t, "number of entries", len(log), 2)
	equal(t, "TID of the newest", log[0].TID, second)
	if log[1].Size <= 0 {
		t.Errorf("Size of an entry: %d", log[1].Size)
	}
	log[1].Size = 0
	equal(t, "the oldest entry", log[1], zodb.UndoEntry{
		TID: first, User: []byte("/acl someone"), Description: []byte("a note"), Extension: extension,
	})
}

func testUndoLogIndices(t *T) {
	tids := t.revisions(1, 26)
	slices.Reverse(tids)
	for _, r := range [][2]int{{0, 100000}, {0, 26}, {0, 20}, {0, 1}, {11, 17}, {25, 26}, {25, 30}, {26, 30}, {5, 5}} {
		var got []zodb.TID
		for _, e := range t.undoLog(r[0], r[1], nil) {
			got = append(got, e.TID)
		}
		first, last := min(r[0], len(tids)), min(r[1], len(tids))
		if !slices.Equal(got, tids[first:last]) {
			t.Errorf("UndoLog(%d, %d): %v, want %v", r[0], r[1], got, tids[first:last])
		}
	}
}

// Entries are counted after the filter.
func testUndoLogFilter(t *T) {
	var tids []zodb.TID
	for i := range 10 {
		txn := t.beginWith(zodb.TxnMeta{User: []byte{'a' + byte(i%2)}})
		t.store(txn, write{zodb.OID(i + 1), 0, Object(i)})
		tids = append(tids, t.end(txn))
	}
	log := t.undoLog(1, 4, func(e *zodb.UndoEntry) bool { return string(e.User) == "b" })
	var got []zodb.TID
	for _, e := range log {
		got = append(got, e.TID)
	}
	equal(t, "entries 1 to 3 of user b", got, []zodb.TID{tids[7], tids[5], tids[3]})
}

// What was changed since may be merged with the undo.
func testUndoResolved(t *T) {
	m := t.H.Merge
	if m == nil {
		t.Skip("the storage merges no conflicts: Harness.Merge is nil")
	}
	base := t.put(1, 0, m.Base)
	a := t.put(1, base, m.A)
	t.put(1, a, m.Merged)
	txn := t.undoing(a)
	equal(t, "Resolved", t.vote(txn).Resolved, []zodb.OID{1})
	tid := t.finish(txn)
	t.current(1, tid, m.B) // Base -> A is taken out of Base -> A -> Merged
}

func testUndoAfterPack(t *T) {
	tids := t.revisions(1, 2)
	at := t.between()
	t3 := t.put(1, tids[1], Object(3))
	t4 := t.put(1, t3, Object(4))
	t.pack(at)
	tid := t.undo(t4)
	t.current(1, tid, Object(3))
	tid = t.undo(t3)
	t.current(1, tid, Object(2)) // what was current at the pack is still there
	t.undoFails(tids[1])
}

// A pack that has something to drop ends the log.
func testUndoLogAfterPack(t *T) {
	tids := t.revisions(1, 2)
	at := t.between()
	third := t.put(1, tids[1], Object(3))
	equal(t, "entries before the pack", len(t.undoLog(0, 10, nil)), 3)
	t.pack(at)
	log := t.undoLog(0, 10, nil)
	equal(t, "entries after the pack", len(log), 1)
	equal(t, "the entry that is left", log[0].TID, third)
}
