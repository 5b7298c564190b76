package storagetest

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/zaridb/zari/zodb"
)

// The history_free group is about storages that forget what is overwritten: what is
// left of transactions, and that nothing wrong is said of what is not.
var historyFreeGroup = group{name: "history_free", tests: []test{
	{name: "Iterated", needs: []Cap{CapIterator}, run: testFreeIterated},
	{name: "IteratedWhileWriting", needs: []Cap{CapIterator}, run: testFreeIteratedWhileWriting},
	{name: "ChangesSince", needs: []Cap{CapWatcher}, run: testFreeChangesSince},
	{name: "History", needs: []Cap{CapHistorian}, run: testFreeHistory},
	{name: "Snapshot", run: testFreeSnapshot},
	{name: "CurrentAsOf", needs: []Cap{CapRecordIterator, CapDeleter}, run: testFreeCurrentAsOf},
	{name: "CurrentWhileWriting", needs: []Cap{CapRecordIterator}, run: testFreeCurrentWhileWriting},
	{name: "Restored", needs: []Cap{CapRestorer}, run: testFreeRestored},
	{name: "Reopened", run: testFreeReopened},
}}

func (t *T) historyFree() {
	t.Helper()
	if !t.H.HistoryFree {
		t.Skip("the storage keeps its history")
	}
}

// What is left of transactions are the records that nobody has overwritten.
func testFreeIterated(t *T) {
	t.historyFree()
	one := t.commit(write{1, 0, Object(1)}, write{2, 0, Object(2)})
	two := t.commit(write{2, one, Object(3)}, write{3, 0, Object(4)})
	three := t.commit(write{1, one, Object(5)})
	txns := t.history()
	equal(t, "tids", tidsOf(txns), []zodb.TID{two, three})
	records := slices.Clone(txns[0].Records)
	slices.SortFunc(records, func(a, b zodb.TxnRecord) int { return int(a.OID) - int(b.OID) })
	equal(t, "records", records, []zodb.TxnRecord{{OID: 2, Data: Object(3)}, {OID: 3, Data: Object(4)}})
	equal(t, "records", txns[1].Records, []zodb.TxnRecord{{OID: 1, Data: Object(5)}})
	equal(t, "Backward", t.backward(0), []zodb.TID{three, two})
	equal(t, "Backward from the one before the last", t.backward(two), []zodb.TID{two})
	equal(t, "Transactions from the last on", tidsOf(t.historyOf(t.S, three, 0)), []zodb.TID{three})
}

// whileWriting runs two writers that keep the invariant of incBoth, and f beside them
// again and again.
func (t *T) whileWriting(f func() error) {
	t.Helper()
	t.commit(incBoth.initial()...)
	var running atomic.Int32
	running.Store(2)
	t.together(3, func(i int) error {
		if i < 2 {
			defer running.Add(-1)
			return incBoth.change(t.ctx, t.S, 60)
		}
		for last := false; !last; {
			last = running.Load() == 0
			if err := f(); err != nil {
				return err
			}
		}
		return nil
	})
}

// An iteration is of one moment, though the moment before is overwritten meanwhile.
func testFreeIteratedWhileWriting(t *T) {
	t.historyFree()
	it := ability[zodb.Iterator](t, t.S)
	t.whileWriting(func() error {
		txns, err := transactions(t.ctx, it, 0, 0)
		if err != nil {
			return fmt.Errorf("reading Transactions: %w", err)
		}
		found := make(map[zodb.OID]int)
		for _, txn := range txns {
			for _, r := range txn.Records {
				if _, twice := found[r.OID]; twice {
					return fmt.Errorf("object %v is there twice", r.OID)
				}
				found[r.OID] = valueOf(r.Data)
			}
		}
		if len(found) != 2 || found[1] != found[2] {
			return fmt.Errorf("an iteration has the values %v", found)
		}
		return nil
	})
}

// All that changed since is known, though the transaction may be gone.
func testFreeChangesSince(t *T) {
	t.historyFree()
	var tids []zodb.TID
	tids = append(tids, t.commit(write{1, 0, Object(1)}, write{2, 0, Object(2)}))
	tids = append(tids, t.commit(write{2, tids[0], Object(3)}, write{3, 0, Object(4)}))
	tids = append(tids, t.commit(write{1, tids[0], Object(5)}))
	tids = append(tids, t.commit(write{2, tids[1], Object(5)}, write{3, tids[1], Object(5)}))
	check := func() {
		t.Helper()
		for i, want := range [][]zodb.OID{{1, 2, 3}, {1, 2, 3}, {2, 3}, {}} {
			oids, upTo, err := ability[zodb.Watcher](t, t.S).ChangesSince(t.ctx, tids[i])
			if err != nil {
				t.Fatalf("ChangesSince(%v): %v", tids[i], err)
			}
			slices.Sort(oids)
			if got := slices.Compact(oids); !slices.Equal(got, want) {
				t.Errorf("ChangesSince(transaction %d of 4): %v, want %v", i+1, got, want)
			}
			equal(t, "the tid up to which it looked", upTo, tids[3])
		}
		_, _, err := ability[zodb.Watcher](t, t.S).ChangesSince(t.ctx, tids[3]+1)
		matches(t, "ChangesSince what is yet to come", err, zodb.ErrUnknownPosition)
	}
	check()
	if t.H.Reopen != nil {
		t.reopen()
		check()
	}
}

func testFreeHistory(t *T) {
	t.historyFree()
	tids := t.revisions(1, 3)
	equal(t, "History", t.historyOfObject(1, 10), tids[2:])
}

// Who reads at one tid sees one state, however often that is overwritten meanwhile.
func testFreeSnapshot(t *T) {
	t.historyFree()
	const n = 20
	var writes []write
	for oid := range zodb.OID(n) {
		writes = append(writes, write{oid + 1, 0, Object(int(oid))})
	}
	at := t.commit(writes...)
	t.together(4, func(i int) error {
		if i == 0 {
			for range 5 {
				for oid := range zodb.OID(n) {
					rec, err := t.S.LoadBefore(t.ctx, oid+1, at+1)
					if err != nil || rec.Serial != at || valueOf(rec.Data) != int(oid) {
						return fmt.Errorf("LoadBefore(%v, %v): value %d of %v, %v", oid+1, at+1, valueOf(rec.Data), rec.Serial, err)
					}
				}
			}
			return nil
		}
		for k := range 20 * n {
			var writes []write
			for _, oid := range []zodb.OID{zodb.OID(3*k+i-1) % n, zodb.OID(3*k+i+6) % n} {
				rec, err := t.S.LoadBefore(t.ctx, oid+1, zodb.MaxTID)
				if err != nil {
					return err
				}
				writes = append(writes, write{oid + 1, rec.Serial, Object(n + k)})
			}
			if _, err := commit(t.ctx, t.S, nil, writes...); err != nil && !isConflict(err) {
				return err
			}
		}
		return nil
	})
}

// The current records as of a tid are those of then, whatever happened since.
func testFreeCurrentAsOf(t *T) {
	t.historyFree()
	first := t.commit(write{1, 0, Object(1)}, write{2, 0, Object(2)}, write{4, 0, Object(4)})
	second := t.remove(4, first)
	third := t.commit(write{1, first, Object(5)}, write{3, 0, Object(3)})
	t.remove(2, first)
	t.put(4, second, Object(6))
	for asOf, want := range map[zodb.TID][]zodb.Current{
		first:  {{OID: 1, Serial: first, Data: Object(1)}, {OID: 2, Serial: first, Data: Object(2)}, {OID: 4, Serial: first, Data: Object(4)}},
		second: {{OID: 1, Serial: first, Data: Object(1)}, {OID: 2, Serial: first, Data: Object(2)}},
		third:  {{OID: 1, Serial: third, Data: Object(5)}, {OID: 2, Serial: first, Data: Object(2)}, {OID: 3, Serial: third, Data: Object(3)}},
	} {
		equal(t, "records as of "+asOf.String(), t.records(asOf, 0, maxOID), want)
	}
}

// No record is missing, and all are of one moment.
func testFreeCurrentWhileWriting(t *T) {
	t.historyFree()
	ri := ability[zodb.RecordIterator](t, t.S)
	t.whileWriting(func() error {
		var values []int
		for c, err := range ri.Current(t.ctx, 0, 0, maxOID) {
			if err != nil {
				return fmt.Errorf("reading Current: %w", err)
			}
			values = append(values, valueOf(c.Data))
		}
		if len(values) != 2 || values[0] != values[1] {
			return fmt.Errorf("the current records have the values %v", values)
		}
		return nil
	})
}

// Of what is restored the last revision of each object stays.
func testFreeRestored(t *T) {
	t.historyFree()
	t.restore(1000, zodb.TxnRecord{OID: 1, Data: Object(1)}, zodb.TxnRecord{OID: 2, Data: Object(2)})
	t.restore(1001, zodb.TxnRecord{OID: 1, Data: Object(1), From: 1000})
	t.restore(1002, zodb.TxnRecord{OID: 2})
	t.current(1, 1001, Object(1))
	t.gone(2, 1002)
	equal(t, "tids", tidsOf(t.historyOf(t.S, 0, 0)), []zodb.TID{1001, 1002})
	equal(t, "records", t.history()[0].Records, []zodb.TxnRecord{{OID: 1, Data: Object(1)}})
}

// After a restart what was overwritten is gone, and is not taken for anything else.
func testFreeReopened(t *T) {
	t.historyFree()
	first := t.commit(write{1, 0, Object(1)}, write{2, 0, Object(2)})
	second := t.put(1, first, Object(3))
	t.reopen()
	t.current(1, second, Object(3))
	t.current(2, first, Object(2))
	equal(t, "Known of what is forgotten", t.absent(1, second).Known, true)
	ri, ok := zodb.As[zodb.RecordIterator](t.S)
	if !ok {
		return
	}
	for c, err := range ri.Current(t.ctx, first, 0, maxOID) {
		if _, missing := errors.AsType[*zodb.NoObjectError](err); err != nil && !missing {
			return // so it is said
		}
		t.Fatalf("Current as of what is forgotten: %v of %v, %v", c.OID, c.Serial, err)
	}
	t.Error("Current as of what is forgotten ends without an error")
}
