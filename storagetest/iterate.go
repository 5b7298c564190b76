package storagetest

import (
	"context"
	"slices"

	"github.com/zaridb/zari/zodb"
)

var iterateGroup = group{name: "iterate", needs: []Cap{CapIterator}, tests: []test{
	{name: "Empty", run: testIterateEmpty},
	{name: "Simple", history: true, run: testIterateSimple},
	{name: "Range", history: true, run: testIterateRange},
	{name: "Backward", history: true, run: testIterateBackward},
	{name: "Metadata", history: true, run: testIterateMetadata},
	{name: "Records", run: testIterateRecords},
	{name: "Zombie", needs: []Cap{CapUndoer}, run: testIterateZombie},
	{name: "IntraTransaction", run: testIterateIntraTransaction},
	{name: "Repeatedly", history: true, run: testIterateRepeatedly},
	{name: "Break", run: testIterateBreak},
	{name: "WhileWriting", history: true, run: testIterateWhileWriting},
	{name: "Many", history: true, run: testIterateMany},
	{name: "Cancelled", run: testIterateCancelled},
}}

// extension is the pickle of {"foo": 1}, as an unusual pickler writes it: it must
// come back byte by byte.
var extension = []byte("\x80\x03}(X\x03\x00\x00\x00fooJ\x01\x00\x00\x00u.")

func (t *T) backward(from zodb.TID) []zodb.TID {
	t.Helper()
	var tids []zodb.TID
	for txn, err := range ability[zodb.Iterator](t, t.S).Backward(t.ctx, from) {
		if err != nil {
			t.Fatalf("Backward(%v): %v", from, err)
		}
		tids = append(tids, txn.TID)
	}
	return tids
}

func testIterateEmpty(t *T) {
	equal(t, "transactions of an empty storage", len(t.history()), 0)
	equal(t, "transactions of an empty storage, backward", len(t.backward(0)), 0)
}

func testIterateSimple(t *T) {
	tids := t.revisions(1, 3)
	txns := t.history()
	equal(t, "tids", tidsOf(txns), tids)
	for i, txn := range txns {
		equal(t, "records", txn.Records, []zodb.TxnRecord{{OID: 1, Data: Object(i + 1)}})
		equal(t, "Status", txn.Status, byte(' '))
		if txn.Size < 0 {
			t.Errorf("Size of %v: %d", txn.TID, txn.Size)
		}
	}
}

func testIterateRange(t *T) {
	tids := t.revisions(1, 4)
	between := func(i int) zodb.TID { return tids[i] + (tids[i+1]-tids[i])/2 }
	for _, c := range []struct {
		start, stop zodb.TID
		want        []zodb.TID
	}{
		{tids[0], tids[3], tids}, {tids[2], 0, tids[2:]}, {0, tids[1], tids[:2]}, {tids[1], tids[2], tids[1:3]},
		{tids[1], between(2), tids[1:3]}, {tids[0] + 1, between(2), tids[1:3]}, {tids[2], tids[1], nil},
		{tids[2], tids[2], tids[2:3]}, {tids[3] + 1, 0, nil}, {0, tids[0] - 1, nil}, {0, zodb.MaxTID, tids},
	} {
		got := tidsOf(t.historyOf(t.S, c.start, c.stop))
		if !slices.Equal(got, c.want) {
			t.Errorf("Transactions(%v, %v): %v, want %v", c.start, c.stop, got, c.want)
		}
	}
}

func testIterateBackward(t *T) {
	tids := t.revisions(1, 6)
	for i, from := range []zodb.TID{tids[0], tids[1], tids[2], tids[3], tids[4], tids[5]} {
		want := slices.Clone(tids[:i+1])
		slices.Reverse(want)
		equal(t, "Backward from "+from.String(), t.backward(from), want)
	}
	slices.Reverse(tids)
	equal(t, "Backward from the last", t.backward(0), tids)
	equal(t, "Backward from the end of time", t.backward(zodb.MaxTID), tids)
	equal(t, "Backward from before the first", len(t.backward(tids[5]-1)), 0)
}

func testIterateMetadata(t *T) {
	metas := []zodb.TxnMeta{
		{},
		{User: []byte("user"), Description: []byte("what it did"), Extension: extension},
		{User: []byte("\xff\xfe no text"), Description: make([]byte, 1000)},
	}
	for i, meta := range metas {
		txn := t.beginWith(meta)
		t.store(txn, write{zodb.OID(i + 1), 0, Object(i)})
		t.end(txn)
	}
	for i, txn := range t.history() {
		equal(t, "User", string(txn.User), string(metas[i].User))
		equal(t, "Description", string(txn.Description), string(metas[i].Description))
		equal(t, "Extension", string(txn.Extension), string(metas[i].Extension))
	}
}

func testIterateRecords(t *T) {
	var writes []write
	for i := range 20 {
		writes = append(writes, write{zodb.OID(20 - i), 0, Object(i)})
	}
	tid := t.commit(writes...)
	var got []write
	for _, r := range t.historyOf(t.S, tid, tid)[0].Records {
		got = append(got, write{r.OID, 0, r.Data})
	}
	byOID := func(a, b write) int { return int(a.oid) - int(b.oid) }
	slices.SortFunc(writes, byOID)
	slices.SortFunc(got, byOID)
	equal(t, "number of records", len(got), len(writes))
	for i := range got {
		equal(t, "oid", got[i].oid, writes[i].oid)
		equal(t, "data", got[i].data, writes[i].data)
	}
}

// An object whose creation was undone is iterated as a record without data.
func testIterateZombie(t *T) {
	tid := t.undo(t.put(1, 0, Object(1)))
	equal(t, "records", t.historyOf(t.S, tid, tid)[0].Records, []zodb.TxnRecord{{OID: 1}})
}

// A transaction that is voted, but not finished, is not iterated.
func testIterateIntraTransaction(t *T) {
	first := t.put(1, 0, Object(1))
	txn := t.writing(write{2, 0, Object(2)})
	t.vote(txn)
	equal(t, "tids", tidsOf(t.history()), []zodb.TID{first})
	equal(t, "tids, backward", t.backward(0), []zodb.TID{first})
	second := t.finish(txn)
	equal(t, "tids", tidsOf(t.history()), []zodb.TID{first, second})
}

func testIterateRepeatedly(t *T) {
	tids := t.revisions(1, 3)
	seq := ability[zodb.Iterator](t, t.S).Transactions(t.ctx, 0, 0)
	for range 2 {
		var got []zodb.TID
		for txn, err := range seq {
			if err != nil {
				t.Fatalf("Transactions: %v", err)
			}
			got = append(got, txn.TID)
		}
		equal(t, "tids", got, tids)
	}
}

// Who stops early leaves nothing behind: the leak check and the next commit tell.
func testIterateBreak(t *T) {
	tids := t.revisions(1, 5)
	it := ability[zodb.Iterator](t, t.S)
	for range it.Transactions(t.ctx, 0, 0) {
		break
	}
	for range it.Backward(t.ctx, 0) {
		break
	}
	t.put(1, tids[4], Object(6))
}

// An iteration to the end goes to what was the end when it began.
func testIterateWhileWriting(t *T) {
	tids := t.revisions(1, 3)
	last := tids[2]
	var got []zodb.TID
	for txn, err := range ability[zodb.Iterator](t, t.S).Transactions(t.ctx, 0, 0) {
		if err != nil {
			t.Fatalf("Transactions: %v", err)
		}
		got = append(got, txn.TID)
		last = t.put(1, last, Object(9))
		if len(got) > len(tids) {
			break
		}
	}
	equal(t, "tids", got, tids)
}

// Starting points are found in a long history too.
func testIterateMany(t *T) {
	tids := t.revisions(1, 200)
	for range 10 {
		i := t.rnd.IntN(len(tids))
		j := min(i+t.rnd.IntN(5), len(tids)-1)
		equal(t, "tids from the middle", tidsOf(t.historyOf(t.S, tids[i], tids[j])), tids[i:j+1])
		back := t.backward(tids[i])
		equal(t, "number of tids backward from the middle", len(back), i+1)
		equal(t, "first tid backward from the middle", back[0], tids[i])
	}
}

func testIterateCancelled(t *T) {
	t.revisions(1, 5)
	ctx, cancel := context.WithCancel(t.ctx)
	cancel()
	_, err := transactions(ctx, ability[zodb.Iterator](t, t.S), 0, 0)
	matches(t, "Transactions with a cancelled context", err, context.Canceled)
}
