package storagetest

import (
	"bytes"
	"math"

	"github.com/zaridb/zari/zodb"
)

var basicGroup = group{name: "basic", tests: []test{
	{name: "Empty", run: testEmpty},
	{name: "StoreAndLoad", run: testStoreAndLoad},
	{name: "Root", run: testRoot},
	{name: "SeveralObjects", run: testSeveralObjects},
	{name: "ManyObjects", run: testManyObjects},
	{name: "LargeObject", run: testLargeObject},
	{name: "LargeOID", run: testLargeOID},
	{name: "LastStoreCounts", run: testLastStoreCounts},
	{name: "AbortBeforeVote", run: testAbortBeforeVote},
	{name: "AbortAfterVote", run: testAbortAfterVote},
	{name: "NotVisibleBeforeFinish", run: testNotVisibleBeforeFinish},
	{name: "EmptyTransactions", run: testEmptyTransactions},
	{name: "TIDsGrow", run: testTIDsGrow},
	{name: "Info", run: testInfo},
	{name: "AnyBytes", run: testAnyBytes},
}}

func testEmpty(t *T) {
	equal(t, "LastTID of an empty storage", t.S.LastTID(), 0)
	for _, tid := range []zodb.TID{0, 1, zodb.MaxTID} {
		e := t.absent(7, tid)
		equal(t, "Known of an object that never was", e.Known, false)
		equal(t, "DeletedAt of an object that never was", e.DeletedAt, 0)
	}
}

func testStoreAndLoad(t *T) {
	oid := t.newOID()
	var serial zodb.TID
	for i := range 10 {
		data := Object(i)
		serial = t.put(oid, serial, data)
		t.current(oid, serial, data)
		equal(t, "LastTID", t.S.LastTID(), serial)
	}
}

func testRoot(t *T) {
	tid := t.put(0, 0, Object(1, 5))
	t.current(0, tid, Object(1, 5))
}

func testSeveralObjects(t *T) {
	a, b := t.newOID(), t.newOID()
	tid := t.commit(write{a, 0, Object(1)}, write{b, 0, Object(2)})
	t.current(a, tid, Object(1))
	t.current(b, tid, Object(2))
	tid2 := t.put(a, tid, Object(3))
	t.current(a, tid2, Object(3))
	t.current(b, tid, Object(2))
}

func testManyObjects(t *T) {
	const n = 300
	var writes []write
	for i := range n {
		writes = append(writes, write{zodb.OID(3*i + 1), 0, Object(i)})
	}
	tid := t.commit(writes...)
	for _, w := range writes {
		t.current(w.oid, tid, w.data)
	}
}

func testLargeObject(t *T) {
	data := ObjectOf(1, 3<<20)
	oid := t.newOID()
	tid := t.put(oid, 0, data)
	rec := t.load(oid)
	if rec.Serial != tid || !bytes.Equal(rec.Data, data) {
		t.Errorf("load of %d bytes: serial %v, %d bytes; want %v and the same bytes", len(data), rec.Serial, len(rec.Data), tid)
	}
}

// Clients and converters choose oids as they like.
func testLargeOID(t *T) {
	for _, oid := range []zodb.OID{1<<32 - 1, 1 << 32, 1<<40 + 3, 1<<62 + 1} {
		tid := t.put(oid, 0, Object(1))
		t.current(oid, tid, Object(1))
	}
	t.absent(1<<40+4, zodb.MaxTID)
}

func testLastStoreCounts(t *T) {
	oid := t.newOID()
	tid := t.commit(write{oid, 0, Object(1)}, write{oid, 0, Object(2)}, write{oid, 0, Object(3)})
	t.current(oid, tid, Object(3))
}

func testAbortBeforeVote(t *T) {
	oid := t.newOID()
	txn := t.writing(write{oid, 0, Object(1)})
	txn.Abort()
	t.absent(oid, zodb.MaxTID)
	equal(t, "LastTID after an abort", t.S.LastTID(), 0)
	tid := t.put(oid, 0, Object(2))
	t.current(oid, tid, Object(2))
}

func testAbortAfterVote(t *T) {
	a, b := t.newOID(), t.newOID()
	tid := t.put(a, 0, Object(1))
	txn := t.writing(write{a, tid, Object(2)}, write{b, 0, Object(3)})
	t.vote(txn)
	txn.Abort()
	t.current(a, tid, Object(1))
	t.absent(b, zodb.MaxTID)
	equal(t, "LastTID after an abort", t.S.LastTID(), tid)
	tid2 := t.commit(write{a, tid, Object(4)}, write{b, 0, Object(5)})
	t.current(a, tid2, Object(4))
	t.current(b, tid2, Object(5))
}

func testNotVisibleBeforeFinish(t *T) {
	oid := t.newOID()
	first := t.put(oid, 0, Object(1))
	txn := t.writing(write{oid, first, Object(2)})
	t.current(oid, first, Object(1))
	t.vote(txn)
	t.current(oid, first, Object(1))
	equal(t, "LastTID after a vote", t.S.LastTID(), first)
	tid := t.finish(txn)
	t.current(oid, tid, Object(2))
}

// A transaction without writes is one all the same, and holds nothing up.
func testEmptyTransactions(t *T) {
	for range 3 {
		t.commit()
	}
	oid := t.newOID()
	tid := t.put(oid, 0, Object(1))
	t.commit()
	t.current(oid, tid, Object(1))
}

func testTIDsGrow(t *T) {
	oid := t.newOID()
	var last zodb.TID
	for i := range 30 {
		tid := t.put(oid, last, Object(i))
		if tid <= last {
			t.Fatalf("transaction %v came after transaction %v", tid, last)
		}
		if tid > zodb.MaxTID {
			t.Fatalf("transaction %v is beyond MaxTID", tid)
		}
		last = tid
	}
}

func testInfo(t *T) {
	if info := t.S.Info(); info.Objects != 0 || info.ReadOnly {
		t.Errorf("Info of an empty storage: %+v", info)
	}
	for range 2 {
		t.put(t.newOID(), 0, Object(1))
	}
	info := t.S.Info()
	if info.Objects != 0 && info.Objects != 2 {
		t.Errorf("Info().Objects = %d, want 2, or 0 if it is not known", info.Objects)
	}
	if info.Size < 0 {
		t.Errorf("Info().Size = %d", info.Size)
	}
	equal(t, "UUID, asked twice", t.S.Info().UUID, info.UUID)
}

// Data need not be pickles: they are opaque.
func testAnyBytes(t *T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for i, data := range [][]byte{{0}, {'.'}, []byte("not a pickle"), all, bytes.Repeat([]byte{0xff}, math.MaxUint16+1)} {
		oid := zodb.OID(i + 1)
		tid := t.put(oid, 0, data)
		t.current(oid, tid, data)
	}
}
