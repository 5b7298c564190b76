package storagetest

import (
	"errors"
	"slices"
	"sync"

	"github.com/zaridb/zari/zodb"
)

// The append group is about restored transactions that are committed many at a
// time.
var appendGroup = group{name: "append", needs: []Cap{CapAppender, CapRestorer}, tests: []test{
	{name: "Together", run: testAppendTogether},
	{name: "None", run: testAppendNone},
	{name: "Iterated", needs: []Cap{CapIterator}, history: true, run: testAppendIterated},
	{name: "Observed", needs: []Cap{CapWatcher}, run: testAppendObserved},
	{name: "TIDTooOld", run: testAppendTIDTooOld},
	{name: "OutOfOrder", run: testAppendOutOfOrder},
	{name: "NotRestored", run: testAppendNotRestored},
	{name: "Voted", run: testAppendVoted},
	{name: "OIDs", run: testAppendOIDs},
	{name: "Blobs", needs: []Cap{CapBlobStore}, run: testAppendBlobs},
	{name: "CommitsBeside", run: testAppendCommitsBeside},
}}

// appending appends transactions and returns how many were committed.
func (t *T) appending(txns ...zodb.Txn) (int, error) {
	t.Helper()
	return ability[zodb.Appender](t, t.S).Append(t.ctx, txns)
}

// appendAll appends transactions, all of which must be committed.
func (t *T) appendAll(txns ...zodb.Txn) {
	t.Helper()
	n, err := t.appending(txns...)
	if err != nil || n != len(txns) {
		t.Fatalf("Append of %d transactions: %d, %v", len(txns), n, err)
	}
}

// restoringAt opens a transaction with the given tid and one restored record.
func (t *T) restoringAt(tid zodb.TID, oid zodb.OID, value int) zodb.Txn {
	t.Helper()
	return t.restoring(zodb.TxnMeta{TID: tid}, zodb.TxnRecord{OID: oid, Data: Object(value)})
}

// ended checks that transactions are over: nothing of them is locked.
func (t *T) ended(txns ...zodb.Txn) {
	t.Helper()
	for _, txn := range txns {
		if _, err := txn.Vote(t.ctx); err == nil {
			t.Errorf("a transaction that was given to Append can be voted on")
		}
	}
	other := start(t, "commit after an Append", func() (zodb.TID, error) {
		return commit(t.ctx, t.S, nil, write{4711, 0, Object(1)})
	})
	other.ok()
}

func testAppendTogether(t *T) {
	t.appendAll(
		t.restoring(zodb.TxnMeta{TID: 1000}, zodb.TxnRecord{OID: 1, Data: Object(1)}, zodb.TxnRecord{OID: 2, Data: Object(2)}),
		t.restoringAt(1001, 1, 3),
		t.restoring(zodb.TxnMeta{TID: 1002}, zodb.TxnRecord{OID: 2}, zodb.TxnRecord{OID: 1, Data: Object(1), From: 1000}),
	)
	equal(t, "LastTID", t.S.LastTID(), 1002)
	t.current(1, 1002, Object(1))
	t.gone(2, 1002)
	equal(t, "data before 1002", t.loadBefore(1, 1002).Data, Object(3))
	equal(t, "next of the revision of 1000", t.loadBefore(1, 1001).Next, 1001)
	t.appendAll(t.restoringAt(1003, 2, 4))
	t.current(2, 1003, Object(4))
	tid := t.put(1, 1002, Object(5))
	t.current(1, tid, Object(5))
}

func testAppendNone(t *T) {
	t.appendAll()
	equal(t, "LastTID", t.S.LastTID(), 0)
}

// What comes out is what would have come out one by one.
func testAppendIterated(t *T) {
	meta := zodb.TxnMeta{TID: 1000, Status: 'p', User: []byte("u"), Description: []byte("d"), Extension: extension}
	t.appendAll(
		t.restoring(meta, zodb.TxnRecord{OID: 1, Data: Object(1)}),
		t.restoring(zodb.TxnMeta{TID: 1001}),
		t.restoring(zodb.TxnMeta{TID: 1002}, zodb.TxnRecord{OID: 1}),
		t.restoring(zodb.TxnMeta{TID: 1003}, zodb.TxnRecord{OID: 1, Data: Object(1), From: 1000}),
		t.restoring(zodb.TxnMeta{TID: 1004}, zodb.TxnRecord{OID: 1, Data: Object(1), From: 1003}),
	)
	history := plain(t.history())
	equal(t, "history", history, []zodb.Transaction{
		{TID: 1000, Status: 'p', User: meta.User, Description: meta.Description, Extension: extension, Records: []zodb.TxnRecord{{OID: 1, Data: Object(1)}}},
		{TID: 1001, Status: ' ', Records: []zodb.TxnRecord{}},
		{TID: 1002, Status: ' ', Records: []zodb.TxnRecord{{OID: 1}}},
		{TID: 1003, Status: ' ', Records: []zodb.TxnRecord{{OID: 1, Data: Object(1), From: 1000}}},
		{TID: 1004, Status: ' ', Records: []zodb.TxnRecord{{OID: 1, Data: Object(1), From: 1003}}},
	})
	t.current(1, 1004, Object(1))
}

func testAppendObserved(t *T) {
	var mu sync.Mutex
	var changes []zodb.Change
	_, stop := ability[zodb.Watcher](t, t.S).Observe(func(c zodb.Change) {
		mu.Lock()
		defer mu.Unlock()
		changes = append(changes, zodb.Change{TID: c.TID, OIDs: c.OIDs})
	})
	t.appendAll(t.restoringAt(1000, 1, 1), t.restoringAt(1001, 2, 2), t.restoringAt(1002, 1, 3))
	stop()
	equal(t, "changes", changes, []zodb.Change{
		{TID: 1000, OIDs: []zodb.OID{1}}, {TID: 1001, OIDs: []zodb.OID{2}}, {TID: 1002, OIDs: []zodb.OID{1}},
	})
}

func testAppendTIDTooOld(t *T) {
	last := t.put(1, 0, Object(1))
	txns := []zodb.Txn{t.restoringAt(last, 1, 2), t.restoringAt(last+1, 1, 3)}
	if n, err := t.appending(txns...); n != 0 || err == nil {
		t.Errorf("Append at tid %v, which is not after %v: %d, %v", last, last, n, err)
	}
	t.current(1, last, Object(1))
	t.ended(txns...)
}

// What comes before the mistake is kept, and nothing of what comes after.
func testAppendOutOfOrder(t *T) {
	txns := []zodb.Txn{t.restoringAt(1000, 1, 1), t.restoringAt(1002, 1, 2), t.restoringAt(1001, 1, 3), t.restoringAt(1003, 1, 4)}
	if n, err := t.appending(txns...); n != 2 || err == nil {
		t.Errorf("Append of the tids 1000, 1002, 1001, 1003: %d, %v; want 2 and an error", n, err)
	}
	t.current(1, 1002, Object(2))
	t.ended(txns...)
}

func testAppendNotRestored(t *T) {
	stored := t.beginWith(zodb.TxnMeta{TID: 1001})
	t.store(stored, write{2, 0, Object(2)})
	txns := []zodb.Txn{t.restoringAt(1000, 1, 1), stored, t.begin()}
	if n, err := t.appending(txns...); n != 0 || err == nil {
		t.Errorf("Append of a transaction that was not restored: %d, %v", n, err)
	}
	t.absent(1, zodb.MaxTID)
	t.absent(2, zodb.MaxTID)
	t.ended(txns...)
}

func testAppendVoted(t *T) {
	txn := t.restoringAt(1000, 1, 1)
	t.vote(txn)
	if n, err := t.appending(txn); n != 0 || err == nil {
		t.Errorf("Append of a transaction that has voted: %d, %v", n, err)
	}
	t.absent(1, zodb.MaxTID)
	t.ended(txn)
}

func testAppendOIDs(t *T) {
	t.appendAll(t.restoringAt(1000, 100000, 1), t.restoringAt(1001, 200000, 1))
	if oid := t.newOID(); oid <= 200000 {
		t.Errorf("NewOIDs after oid 200000 was restored: %v", oid)
	}
}

func testAppendBlobs(t *T) {
	var txns []zodb.Txn
	for i := range 4 {
		txn := t.beginWith(zodb.TxnMeta{TID: zodb.TID(1000 + i)})
		for oid := range zodb.OID(3) {
			path := t.staged(appendedBlob(i, oid))
			if err := txnAbility[zodb.BlobTxn](t, txn).RestoreBlob(t.ctx, oid, Object(i), 0, path); err != nil {
				t.Fatalf("RestoreBlob: %v", err)
			}
		}
		txns = append(txns, txn)
	}
	t.appendAll(txns...)
	for i := range 4 {
		if t.H.HistoryFree && i < 3 {
			continue // they were overwritten
		}
		for oid := range zodb.OID(3) {
			t.blob(oid, zodb.TID(1000+i), appendedBlob(i, oid))
		}
	}
}

func appendedBlob(i int, oid zodb.OID) string { return string(Object(100*i + int(oid))) }

// Ordinary commits go on beside, and all are in order.
func testAppendCommitsBeside(t *T) {
	future := zodb.TIDAt(t.H.Now().AddDate(10, 0, 0))
	beside := start(t, "commits beside an Append", func() (tids []zodb.TID, err error) {
		for i := range 10 {
			tid, err := commit(t.ctx, t.S, nil, write{zodb.OID(1000 + i), 0, Object(i)})
			if err != nil {
				return nil, err
			}
			tids = append(tids, tid)
		}
		return tids, nil
	})
	appended := 0
	for i := range 5 {
		txns := []zodb.Txn{t.restoringAt(future+zodb.TID(1000*i), 1, i), t.restoringAt(future+zodb.TID(1000*i+1), 2, i)}
		n, err := t.appending(txns...)
		if err != nil && (n > 0 || errors.Is(err, zodb.ErrCommitUnknown)) {
			t.Fatalf("Append: %d, %v", n, err)
		}
		appended += n
	}
	tids := beside.ok()
	if !slices.IsSorted(tids) || appended == 0 {
		t.Errorf("tids of the commits beside %d appended ones: %v", appended, tids)
	}
	equal(t, "LastTID", t.S.LastTID() >= max(tids[9], future), true)
}
