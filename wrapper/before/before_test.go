package before_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/storagetest/bases"
	"github.com/zaridb/zari/wrapper/before"
	"github.com/zaridb/zari/zodb"
)

const objects = 7

// fill commits n transactions of every kind: new objects, changes, deletions, an
// object's coming back, undos. It returns their tids.
func fill(t testing.TB, s zodb.Storage, rnd *rand.Rand, n int) []zodb.TID {
	t.Helper()
	var tids []zodb.TID
	for len(tids) < n {
		txn, err := s.Begin(t.Context(), zodb.TxnMeta{Description: fmt.Append(nil, len(tids))})
		if err != nil {
			t.Fatal(err)
		}
		write(t, s, txn, rnd, tids)
		if _, err := txn.Vote(t.Context()); err != nil {
			txn.Abort() // an undo that is not possible any more
			continue
		}
		tid, err := txn.Finish(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		tids = append(tids, tid)
	}
	return tids
}

func write(t testing.TB, s zodb.Storage, txn zodb.Txn, rnd *rand.Rand, tids []zodb.TID) {
	t.Helper()
	oid := zodb.OID(rnd.IntN(objects))
	serial, exists := newest(t, s, oid)
	var err error
	switch k := rnd.IntN(10); {
	case k == 0 && exists:
		d, _ := zodb.As[zodb.DeleteTxn](txn)
		err = d.Delete(t.Context(), oid, serial)
	case k <= 2 && len(tids) > 0:
		u, _ := zodb.As[zodb.UndoTxn](txn)
		err = u.Undo(t.Context(), tids[max(len(tids)-1-rnd.IntN(3), 0)])
	default:
		err = txn.Store(t.Context(), oid, serial, storagetest.Object(rnd.IntN(1000)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// newest returns the serial of the newest revision, a deletion included.
func newest(t testing.TB, s zodb.Storage, oid zodb.OID) (serial zodb.TID, exists bool) {
	t.Helper()
	rec, err := s.LoadBefore(t.Context(), oid, zodb.MaxTID)
	if e, ok := errors.AsType[*zodb.NoObjectError](err); ok {
		return e.DeletedAt, false
	}
	if err != nil {
		t.Fatal(err)
	}
	return rec.Serial, true
}

// prefix makes a storage in memory of the first transactions of another.
func prefix(t testing.TB, s zodb.Storage, stop zodb.TID) zodb.Storage {
	t.Helper()
	out := bases.Memory(bases.Options{})(t)(t, false)
	if stop == 0 {
		return out
	}
	for txn, err := range ability[zodb.Iterator](t, s).Transactions(t.Context(), 0, stop) {
		if err != nil {
			t.Fatal(err)
		}
		w, err := out.Begin(t.Context(), zodb.TxnMeta{TID: txn.TID, Description: txn.Description})
		if err != nil {
			t.Fatal(err)
		}
		r, _ := zodb.As[zodb.RestoreTxn](w)
		for _, rec := range txn.Records {
			if err := r.Restore(t.Context(), rec.OID, rec.Data, rec.From); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Vote(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Finish(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func ability[A any](t testing.TB, s zodb.Storage) A {
	t.Helper()
	a, ok := zodb.As[A](s)
	if !ok {
		t.Fatalf("no %T", (*A)(nil))
	}
	return a
}

// TestPrefixes compares the views of a database before each of its transactions
// with databases that have no other transactions.
func TestPrefixes(t *testing.T) {
	for name, medium := range media {
		for seed := range uint64(2) {
			t.Run(fmt.Sprint(name, seed), func(t *testing.T) {
				s := medium(t)(t, false)
				defer s.Close()
				tids := fill(t, s, rand.New(rand.NewPCG(seed, 1)), 18)
				for i, tid := range append(slices.Clone(tids), zodb.MaxTID) {
					stop := zodb.TID(0)
					if i > 0 {
						stop = tids[i-1]
					}
					want := prefix(t, s, stop)
					for _, end := range []zodb.TID{stop + 1, tid} {
						v := view(t, s, before.Options{Before: end, Borrowed: true})
						if diff := cmp.Diff(describe(t, want, tids), describe(t, v, tids)); diff != "" {
							t.Errorf("before %v (-a database of %d transactions +the view):\n%s", end, i, diff)
						}
						storagetest.Audit(t, v)
						v.Close()
					}
					want.Close()
				}
			})
		}
	}
}

// describe tells all that there is to see.
func describe(t testing.TB, s zodb.Storage, tids []zodb.TID) (lines []string) {
	t.Helper()
	ctx := t.Context()
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	say("last %v", s.LastTID())
	history := ability[zodb.Historian](t, s)
	for oid := range zodb.OID(objects + 1) {
		for _, tid := range append([]zodb.TID{0, 1, zodb.MaxTID}, tids...) {
			for _, at := range []zodb.TID{tid, tid + 1} {
				rec, err := s.LoadBefore(ctx, oid, at)
				say("load %v before %v: %x, %v, next %v, %s", oid, at, rec.Data, rec.Serial, rec.Next, told(err))
			}
			data, err := history.LoadSerial(ctx, oid, tid)
			say("serial %v of %v: %x, %s", oid, tid, data, told(err))
		}
		for _, size := range []int{-1, 0, 1, 2, 100} {
			revs, err := history.History(ctx, oid, size)
			say("history of %v: %+v, %s", oid, len(revs), told(err))
			for _, r := range revs {
				say("  %v %s %d", r.TID, r.Description, r.Size)
			}
		}
	}
	it, ri := ability[zodb.Iterator](t, s), ability[zodb.RecordIterator](t, s)
	for _, tid := range append([]zodb.TID{0, 1, zodb.MaxTID}, tids...) {
		for txn, err := range it.Transactions(ctx, 0, tid) {
			say("to %v: %v, %d records, %v", tid, txn.TID, len(txn.Records), err)
		}
		for txn, err := range it.Transactions(ctx, tid, 0) {
			say("from %v: %v, %v", tid, txn.TID, err)
		}
		for txn, err := range it.Backward(ctx, tid) {
			say("backward from %v: %v, %v", tid, txn.TID, err)
		}
		for c, err := range ri.Current(ctx, tid, 1, objects) {
			say("as of %v: %v %v %x %v", tid, c.OID, c.Serial, c.Data, err)
		}
		oids, upTo, err := ability[zodb.Watcher](t, s).ChangesSince(ctx, tid)
		slices.Sort(oids)
		say("since %v: %v up to %v, %v", tid, oids, upTo, err)
	}
	log, err := ability[zodb.Undoer](t, s).UndoLog(ctx, 1, 5, nil)
	for _, e := range log {
		say("undo log: %v %s", e.TID, e.Description)
	}
	say("undo log: %v", err)
	return lines
}

// told tells an error with all that is in it but what was asked for.
func told(err error) string {
	if e, ok := errors.AsType[*zodb.NoObjectError](err); ok {
		return fmt.Sprintf("no %v, known %v, deleted at %v", e.OID, e.Known, e.DeletedAt)
	}
	return fmt.Sprint(err)
}

// TestReachingTheEnd watches a view whose end lies in the future when it is made.
func TestReachingTheEnd(t *testing.T) {
	s := media["memory"](t)(t, false)
	defer s.Close()
	rnd := rand.New(rand.NewPCG(3, 3))
	first := fill(t, s, rnd, 3)
	end := first[2] + 1000
	v := view(t, s, before.Options{Before: end, Borrowed: true})
	defer v.Close()
	var seen []zodb.TID
	after, stop := v.Observe(func(c zodb.Change) { seen = append(seen, c.TID) })
	defer stop()
	if after != first[2] || v.LastTID() != first[2] {
		t.Errorf("begins after %v, last %v, want %v", after, v.LastTID(), first[2])
	}
	restore := func(tid zodb.TID) {
		t.Helper()
		txn, err := s.Begin(t.Context(), zodb.TxnMeta{TID: tid})
		if err != nil {
			t.Fatal(err)
		}
		r, _ := zodb.As[zodb.RestoreTxn](txn)
		if err := r.Restore(t.Context(), 1, storagetest.Object(int(tid-first[2])), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := txn.Vote(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := txn.Finish(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, tid := range []zodb.TID{end - 500, end - 1, end, end + 1} {
		restore(tid)
		if want := min(tid, end-1); v.LastTID() != want {
			t.Errorf("after transaction %v the last one is %v, want %v", tid, v.LastTID(), want)
		}
	}
	if want := []zodb.TID{end - 500, end - 1}; !slices.Equal(seen, want) {
		t.Errorf("told of %v, want %v", seen, want)
	}
	if rec, err := v.LoadBefore(t.Context(), 1, zodb.MaxTID); err != nil || rec.Serial != end-1 || rec.Next != 0 {
		t.Errorf("current is %v, next %v, %v", rec.Serial, rec.Next, err)
	}
	late, stopLate := v.Observe(func(zodb.Change) { t.Error("told of something") })
	defer stopLate()
	if late != end-1 {
		t.Errorf("a late watcher begins after %v, want %v", late, end-1)
	}
	restore(end + 2)
}

func TestPacked(t *testing.T) {
	for name, medium := range media {
		s := medium(t)(t, false)
		tids := fill(t, s, rand.New(rand.NewPCG(5, 5)), 20)
		early := view(t, s, before.Options{Before: tids[3], Borrowed: true})
		if err := ability[zodb.Packer](t, early).Pack(t.Context(), time.Now(), zodb.PackOptions{}); !errors.Is(err, zodb.ErrReadOnly) {
			t.Errorf("%s: packing a view: %v", name, err)
		}
		at := tids[10]
		if err := ability[zodb.Packer](t, s).Pack(t.Context(), at.Time(), zodb.PackOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, tid := range []zodb.TID{1, tids[3], tids[8]} {
			if _, err := before.New(t.Context(), s, before.Options{Before: tid, Borrowed: true}); !errors.Is(err, before.ErrPacked) {
				t.Errorf("%s: a view before %v, packed to %v: %v", name, tid, at, err)
			}
		}
		for _, tid := range []zodb.TID{tids[12], tids[19], zodb.MaxTID} {
			v := view(t, s, before.Options{Before: tid, Borrowed: true})
			storagetest.Audit(t, v)
			v.Close()
		}
		early.Close()
		s.Close()
	}
}

func TestClose(t *testing.T) {
	for _, borrowed := range []bool{false, true} {
		s := media["memory"](t)(t, false)
		v := view(t, s, before.Options{Before: 1, Borrowed: borrowed})
		for range 2 {
			if err := v.Close(); err != nil {
				t.Error(err)
			}
		}
		_, err := s.Begin(context.Background(), zodb.TxnMeta{})
		if errors.Is(err, zodb.ErrClosed) == borrowed {
			t.Errorf("borrowed: %v, and after the view is closed the storage says %v", borrowed, err)
		}
		s.Close()
	}
}
