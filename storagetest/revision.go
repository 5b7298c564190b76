package storagetest

import (
	"github.com/zaridb/zari/zodb"
)

// The revision group is about loads of what is no longer current.
var revisionGroup = group{name: "revision", needs: []Cap{CapHistorian}, tests: []test{
	{name: "LoadSerial", run: testLoadSerial},
	{name: "LoadBefore", run: testLoadBefore},
	{name: "Edges", run: testLoadBeforeEdges},
	{name: "Old", run: testLoadBeforeOld},
	{name: "Creation", run: testLoadBeforeCreation},
	{name: "ConsecutiveTIDs", needs: []Cap{CapRestorer}, run: testConsecutiveTIDs},
	{name: "Undo", needs: []Cap{CapUndoer}, run: testLoadBeforeUndo},
	{name: "OtherObjects", run: testNextOfOtherObjects},
}}

func testLoadSerial(t *T) {
	oid := t.newOID()
	h := ability[zodb.Historian](t, t.S)
	for i, tid := range t.revisions(oid, 7) {
		data, err := h.LoadSerial(t.ctx, oid, tid)
		if err != nil {
			t.Fatalf("LoadSerial(%v, %v): %v", oid, tid, err)
		}
		equal(t, "LoadSerial", data, Object(i+1))
	}
}

func testLoadBefore(t *T) {
	oid := t.newOID()
	tids := t.revisions(oid, 10)
	for i := 1; i < len(tids); i++ {
		for _, before := range []zodb.TID{tids[i-1] + 1, tids[i-1] + (tids[i]-tids[i-1]+1)/2, tids[i]} {
			rec := t.loadBefore(oid, before)
			equal(t, "data", rec.Data, Object(i))
			equal(t, "Serial", rec.Serial, tids[i-1])
			equal(t, "Next", rec.Next, tids[i])
		}
	}
}

func testLoadBeforeEdges(t *T) {
	oid := t.newOID()
	equal(t, "Known of an object that never was", t.absent(oid, 0).Known, false)
	first := t.put(oid, 0, Object(1))
	for _, before := range []zodb.TID{0, 1, first - 1, first} {
		e := t.absent(oid, before)
		equal(t, "Known of an object before it was made", e.Known, true)
		equal(t, "Before", e.Before, before)
	}
	rec := t.loadBefore(oid, first+1)
	equal(t, "Serial just after the first", rec.Serial, first)
	equal(t, "Next of the only revision", rec.Next, 0)
	second := t.put(oid, first, Object(2))
	rec = t.loadBefore(oid, first+1)
	equal(t, "Serial just after the first", rec.Serial, first)
	equal(t, "Next of the first revision", rec.Next, second)
	rec = t.loadBefore(oid, second)
	equal(t, "Serial just before the second", rec.Serial, first)
	equal(t, "data just before the second", rec.Data, Object(1))
}

func testLoadBeforeOld(t *T) {
	oid := t.newOID()
	tids := t.revisions(oid, 50)
	rec := t.loadBefore(oid, tids[12])
	equal(t, "data", rec.Data, Object(12))
	equal(t, "Serial", rec.Serial, tids[11])
	equal(t, "Next", rec.Next, tids[12])
}

func testLoadBeforeCreation(t *T) {
	a, b := t.newOID(), t.newOID()
	t.put(a, 0, Object(1))
	tid := t.put(b, 0, Object(2))
	equal(t, "Known", t.absent(b, tid).Known, true)
}

// Nothing may be read between the tids of two transactions that follow each
// other closely.
func testConsecutiveTIDs(t *T) {
	var serial zodb.TID
	for tid := zodb.TID(1); tid <= 3; tid++ {
		txn := t.beginWith(zodb.TxnMeta{TID: tid})
		t.store(txn, write{1, serial, Object(int(tid))})
		equal(t, "a given tid", t.end(txn), tid)
		serial = tid
	}
	rec := t.loadBefore(1, 2)
	equal(t, "data before 2", rec.Data, Object(1))
	equal(t, "Serial before 2", rec.Serial, 1)
	equal(t, "Next before 2", rec.Next, 2)
	rec = t.loadBefore(1, 3)
	equal(t, "Serial before 3", rec.Serial, 2)
	equal(t, "Next before 3", rec.Next, 3)
}

func testLoadBeforeUndo(t *T) {
	oid := t.newOID()
	tids := t.revisions(oid, 5)
	last := tids[4]
	var undone []zodb.TID
	for range 4 {
		last = t.undo(last)
		undone = append(undone, last)
	}
	for i, tid := range undone {
		rec := t.loadBefore(oid, tid+1)
		equal(t, "Serial", rec.Serial, tid)
		equal(t, "data", rec.Data, Object(4+i%2)) // back to 4, forth to 5, ...
		next := zodb.TID(0)
		if i+1 < len(undone) {
			next = undone[i+1]
		}
		equal(t, "Next", rec.Next, next)
	}
}

// Next is the next revision of the same object, whatever else is committed.
func testNextOfOtherObjects(t *T) {
	a, b := t.newOID(), t.newOID()
	a1 := t.put(a, 0, Object(1))
	b1 := t.put(b, 0, Object(2))
	t.put(b, b1, Object(3))
	a2 := t.put(a, a1, Object(4))
	equal(t, "Next of the first revision", t.loadBefore(a, a1+1).Next, a2)
	equal(t, "Next of the first revision", t.loadBefore(a, b1+1).Next, a2)
	b3 := t.put(b, t.load(b).Serial, Object(5))
	t.current(a, a2, Object(4))
	equal(t, "Next of a's current revision", t.loadBefore(a, b3+1).Next, 0)
}
