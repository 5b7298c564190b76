package storagetest

import (
	"context"
	"fmt"

	"github.com/zaridb/zari/zodb"
)

var recordIteratorGroup = group{name: "record_iterator", needs: []Cap{CapRecordIterator}, tests: []test{
	{name: "Empty", run: testCurrentEmpty},
	{name: "All", run: testCurrentAll},
	{name: "Range", run: testCurrentRange},
	{name: "AsOf", needs: []Cap{CapHistorian}, run: testCurrentAsOf},
	{name: "Deleted", needs: []Cap{CapDeleter}, run: testCurrentDeleted},
	{name: "Break", run: testCurrentBreak},
	{name: "WhileWriting", needs: []Cap{CapHistorian}, run: testCurrentWhileWriting},
	{name: "Cancelled", run: testCurrentCancelled},
}}

const maxOID zodb.OID = 1<<64 - 1

func (t *T) records(asOf zodb.TID, from, to zodb.OID) []zodb.Current {
	t.Helper()
	var all []zodb.Current
	for c, err := range ability[zodb.RecordIterator](t, t.S).Current(t.ctx, asOf, from, to) {
		if err != nil {
			t.Fatalf("Current(%v, %v, %v): %v", asOf, from, to, err)
		}
		all = append(all, c)
	}
	return all
}

func testCurrentEmpty(t *T) {
	equal(t, "records of an empty storage", len(t.records(0, 0, maxOID)), 0)
}

func testCurrentAll(t *T) {
	oids := []zodb.OID{0, 1, 2, 255, 256, 1 << 16, 1<<16 + 1, 1 << 32, 1<<40 + 3}
	var want []zodb.Current
	for i := range oids { // stored in another order than that of the oids
		oid := oids[(i*4)%len(oids)]
		t.put(oid, 0, Object(i))
	}
	t.put(2, t.load(2).Serial, Object(77))
	for _, oid := range oids {
		rec := t.load(oid)
		want = append(want, zodb.Current{OID: oid, Serial: rec.Serial, Data: rec.Data})
	}
	equal(t, "records", t.records(0, 0, maxOID), want)
}

func testCurrentRange(t *T) {
	for oid := range zodb.OID(20) {
		t.put(3*oid, 0, Object(int(oid)))
	}
	for _, r := range [][2]zodb.OID{{0, 57}, {3, 9}, {4, 8}, {7, 8}, {57, maxOID}, {58, maxOID}, {0, 0}, {9, 3}} {
		var got, want []zodb.OID
		for oid := range zodb.OID(20) {
			if r[0] <= 3*oid && 3*oid <= r[1] {
				want = append(want, 3*oid)
			}
		}
		for _, c := range t.records(0, r[0], r[1]) {
			got = append(got, c.OID)
		}
		equal(t, fmt.Sprintf("oids of the records from %v to %v", r[0], r[1]), got, want)
	}
}

func testCurrentAsOf(t *T) {
	one := t.revisions(1, 3)
	two := t.put(2, 0, Object(9))
	one4 := t.put(1, one[2], Object(4))
	for _, c := range []struct {
		asOf zodb.TID
		want []zodb.Current
	}{
		{one[0], []zodb.Current{{OID: 1, Serial: one[0], Data: Object(1)}}},
		{one[2], []zodb.Current{{OID: 1, Serial: one[2], Data: Object(3)}}},
		{two, []zodb.Current{{OID: 1, Serial: one[2], Data: Object(3)}, {OID: 2, Serial: two, Data: Object(9)}}},
		{one4, []zodb.Current{{OID: 1, Serial: one4, Data: Object(4)}, {OID: 2, Serial: two, Data: Object(9)}}},
		{one[0] - 1, nil},
	} {
		equal(t, "records as of "+c.asOf.String(), t.records(c.asOf, 0, maxOID), c.want)
	}
}

func testCurrentDeleted(t *T) {
	first := t.put(1, 0, Object(1))
	two := t.put(2, 0, Object(2))
	deleted := t.remove(1, first)
	want := []zodb.Current{{OID: 2, Serial: two, Data: Object(2)}}
	equal(t, "records", t.records(0, 0, maxOID), want)
	equal(t, "records", t.records(deleted, 0, maxOID), want)
	if t.has(CapHistorian) {
		equal(t, "number of records before the deletion", len(t.records(two, 0, maxOID)), 2)
	}
}

func testCurrentBreak(t *T) {
	t.commit(write{1, 0, Object(1)}, write{2, 0, Object(2)})
	for range ability[zodb.RecordIterator](t, t.S).Current(t.ctx, 0, 0, maxOID) {
		break
	}
	t.put(3, 0, Object(3))
}

// Commits that happen during an iteration are not part of it.
func testCurrentWhileWriting(t *T) {
	const n = 40
	var writes []write
	for oid := range zodb.OID(n) {
		writes = append(writes, write{oid, 0, Object(1)})
	}
	tid := t.commit(writes...)
	seen := zodb.OID(0)
	for c, err := range ability[zodb.RecordIterator](t, t.S).Current(t.ctx, tid, 0, maxOID) {
		if err != nil {
			t.Fatalf("Current: %v", err)
		}
		if c.OID != seen || c.Serial != tid {
			t.Fatalf("record of %v by %v, want %v by %v", c.OID, c.Serial, seen, tid)
		}
		seen++
		if seen == 3 {
			t.put(n-1, tid, Object(2))
			t.put(n+5, 0, Object(3))
		}
	}
	equal(t, "number of records", seen, n)
}

func testCurrentCancelled(t *T) {
	t.commit(write{1, 0, Object(1)}, write{2, 0, Object(2)})
	ctx, cancel := context.WithCancel(t.ctx)
	cancel()
	var last error
	for _, err := range ability[zodb.RecordIterator](t, t.S).Current(ctx, 0, 0, maxOID) {
		last = err
	}
	matches(t, "Current with a cancelled context", last, context.Canceled)
}
