package storagetest

import (
	"slices"

	"github.com/zaridb/zari/zodb"
)

var historyGroup = group{name: "history", needs: []Cap{CapHistorian}, tests: []test{
	{name: "Simple", history: true, run: testHistorySimple},
	{name: "Metadata", history: true, run: testHistoryMetadata},
	{name: "Unknown", run: testHistoryUnknown},
	{name: "LoadSerialUnknown", run: testLoadSerialUnknown},
	{name: "Undo", needs: []Cap{CapUndoer}, run: testHistoryUndo},
	{name: "AfterPack", needs: []Cap{CapPacker}, history: true, run: testHistoryAfterPack},
}}

func (t *T) historyOfObject(oid zodb.OID, size int) []zodb.TID {
	t.Helper()
	revs, err := ability[zodb.Historian](t, t.S).History(t.ctx, oid, size)
	if err != nil {
		t.Fatalf("History(%v, %d): %v", oid, size, err)
	}
	tids := make([]zodb.TID, len(revs))
	for i, r := range revs {
		tids[i] = r.TID
	}
	return tids
}

func testHistorySimple(t *T) {
	tids := t.revisions(1, 5)
	t.revisions(2, 3)
	slices.Reverse(tids)
	for size := 1; size <= 5; size++ {
		equal(t, "History", t.historyOfObject(1, size), tids[:size])
	}
	equal(t, "History, with more asked for than there is", t.historyOfObject(1, 100), tids)
}

func testHistoryMetadata(t *T) {
	txn := t.beginWith(zodb.TxnMeta{User: []byte("user"), Description: []byte("note"), Extension: extension})
	t.store(txn, write{1, 0, Object(1)})
	tid := t.end(txn)
	revs, err := ability[zodb.Historian](t, t.S).History(t.ctx, 1, 1)
	if err != nil || len(revs) != 1 {
		t.Fatalf("History: %v, %v", revs, err)
	}
	equal(t, "the revision", revs[0], zodb.Revision{
		TID: tid, User: []byte("user"), Description: []byte("note"), Extension: extension, Size: int64(len(Object(1))),
	})
}

func testHistoryUnknown(t *T) {
	t.put(1, 0, Object(1))
	_, err := ability[zodb.Historian](t, t.S).History(t.ctx, 99, 1)
	isError[*zodb.NoObjectError](t, "History of an object that never was", err)
}

func testLoadSerialUnknown(t *T) {
	tids := t.revisions(1, 2)
	other := t.put(2, 0, Object(1))
	h := ability[zodb.Historian](t, t.S)
	for _, serial := range []zodb.TID{1, tids[0] + 1, other, zodb.MaxTID} {
		if slices.Contains(tids, serial) {
			continue
		}
		_, err := h.LoadSerial(t.ctx, 1, serial)
		isError[*zodb.NoObjectError](t, "LoadSerial of a transaction that did not write the object", err)
	}
	_, err := h.LoadSerial(t.ctx, 99, tids[0])
	isError[*zodb.NoObjectError](t, "LoadSerial of an object that never was", err)
}

func testHistoryUndo(t *T) {
	tids := t.revisions(1, 2)
	tid := t.undo(tids[1])
	equal(t, "History", t.historyOfObject(1, 10), []zodb.TID{tid, tids[1], tids[0]})
	data, err := ability[zodb.Historian](t, t.S).LoadSerial(t.ctx, 1, tid)
	if err != nil {
		t.Fatalf("LoadSerial of an undo: %v", err)
	}
	equal(t, "LoadSerial of an undo", data, Object(1))
}

func testHistoryAfterPack(t *T) {
	tids := t.revisions(1, 4)
	at := t.between()
	last := t.put(1, tids[3], Object(5))
	t.pack(at)
	equal(t, "History", t.historyOfObject(1, 10), []zodb.TID{last, tids[3]})
}
