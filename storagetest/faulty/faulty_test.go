package faulty_test

import (
	"context"
	"errors"
	"testing"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/storagetest/faulty"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

var errFault = errors.New("fault")

func wrapped(t *testing.T) (*faulty.Faults, zodb.Storage) {
	t.Helper()
	inner, err := store.Open(t.Context(), memstorage.New(memstorage.Options{}), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	faults := faulty.New()
	s := faults.Wrap(inner)
	t.Cleanup(func() { s.Close() })
	return faults, s
}

func commit(t *testing.T, s zodb.Storage, oid zodb.OID) (zodb.TID, error) {
	t.Helper()
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		return 0, err
	}
	defer txn.Abort()
	if err := txn.Store(t.Context(), oid, 0, []byte("data")); err != nil {
		return 0, err
	}
	if _, err := txn.Vote(t.Context()); err != nil {
		return 0, err
	}
	return txn.Finish(t.Context(), nil)
}

func exists(t *testing.T, s zodb.Storage, oid zodb.OID) bool {
	t.Helper()
	_, err := s.LoadBefore(t.Context(), oid, zodb.MaxTID)
	if _, ok := errors.AsType[*zodb.NoObjectError](err); err != nil && !ok {
		t.Fatalf("LoadBefore: %v", err)
	}
	return err == nil
}

// Every operation of a commit can fail, and then nothing is committed or locked.
func TestErrors(t *testing.T) {
	faults, s := wrapped(t)
	for _, op := range []string{"Begin", "Txn.Store", "Txn.Vote", "Txn.Finish"} {
		faults.Set(faulty.On(faulty.Fault{Err: errFault}, op))
		if _, err := commit(t, s, 1); !errors.Is(err, errFault) {
			t.Errorf("with a fault of %s: %v", op, err)
		}
		if _, hits := faults.Calls(); hits != 1 {
			t.Errorf("with a fault of %s: %d faults", op, hits)
		}
		faults.Set(nil)
		if exists(t, s, 1) {
			t.Errorf("with a fault of %s the transaction is committed", op)
		}
	}
	if _, err := commit(t, s, 1); err != nil || !exists(t, s, 1) {
		t.Errorf("without a fault: %v", err)
	}
}

// A lost answer of Finish hides a commit; one of Vote leaves no locks.
func TestLost(t *testing.T) {
	faults, s := wrapped(t)
	faults.Set(faulty.On(faulty.Fault{Lost: true}, "Txn.Finish"))
	if _, err := commit(t, s, 1); !errors.Is(err, zodb.ErrCommitUnknown) {
		t.Errorf("with the answer of Finish lost: %v", err)
	}
	faults.Set(faulty.On(faulty.Fault{Lost: true, Err: errFault}, "Txn.Vote"))
	if _, err := commit(t, s, 2); !errors.Is(err, errFault) {
		t.Errorf("with the answer of Vote lost: %v", err)
	}
	faults.Set(nil)
	if !exists(t, s, 1) || exists(t, s, 2) {
		t.Errorf("committed: %v, %v; want the first only", exists(t, s, 1), exists(t, s, 2))
	}
	if _, err := commit(t, s, 2); err != nil {
		t.Errorf("after a lost vote: %v", err)
	}
}

func TestDelay(t *testing.T) {
	faults, s := wrapped(t)
	delays := 0
	faults.Set(faulty.On(faulty.Fault{Delay: func(context.Context) error { delays++; return nil }}, "LoadBefore", "Txn.Finish"))
	if _, err := commit(t, s, 1); err != nil || !exists(t, s, 1) {
		t.Errorf("a commit with delays: %v", err)
	}
	if delays != 2 {
		t.Errorf("%d delays, want 2", delays)
	}
	ctx, cancel := context.WithCancel(t.Context())
	faults.Set(faulty.From(0, faulty.Fault{Delay: func(ctx context.Context) error { cancel(); <-ctx.Done(); return ctx.Err() }}))
	if _, err := s.LoadBefore(ctx, 1, zodb.MaxTID); !errors.Is(err, context.Canceled) {
		t.Errorf("a load that is cancelled while it is delayed: %v", err)
	}
}

func TestRules(t *testing.T) {
	fault := faulty.Fault{Err: errFault}
	hits := func(rule faulty.Rule) (at []int) {
		for n := range 6 {
			op := "LoadBefore"
			if n%2 == 1 {
				op = "NewOIDs"
			}
			if rule(faulty.Call{Op: op, N: n, OID: zodb.OID(n)}).Err != nil {
				at = append(at, n)
			}
		}
		return at
	}
	for name, c := range map[string]struct {
		rule faulty.Rule
		want []int
	}{
		"Nth":   {faulty.Nth(2, fault), []int{2}},
		"From":  {faulty.From(4, fault), []int{4, 5}},
		"On":    {faulty.On(fault, "NewOIDs"), []int{1, 3, 5}},
		"If":    {faulty.If(fault, func(c faulty.Call) bool { return c.OID == 3 }), []int{3}},
		"First": {faulty.First(faulty.Nth(1, fault), faulty.Nth(4, fault)), []int{1, 4}},
	} {
		got := hits(c.rule)
		if len(got) != len(c.want) {
			t.Errorf("%s: faults at %v, want %v", name, got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: faults at %v, want %v", name, got, c.want)
			}
		}
	}
	one, two := hits(faulty.Randomly(5, 2, fault)), hits(faulty.Randomly(5, 2, fault))
	if len(one) == 0 || len(one) == 6 || len(one) != len(two) {
		t.Errorf("Randomly: faults at %v, and with the same seed at %v", one, two)
	}
}

// A stream ends with the fault of one of its items.
func TestStream(t *testing.T) {
	faults, s := wrapped(t)
	for oid := range zodb.OID(5) {
		if _, err := commit(t, s, oid); err != nil {
			t.Fatal(err)
		}
	}
	faults.Set(faulty.Nth(3, faulty.Fault{Err: errFault}))
	it, ok := zodb.As[zodb.Iterator](s)
	if !ok {
		t.Fatal("no Iterator")
	}
	n := 0
	var last error
	for _, err := range it.Transactions(t.Context(), 0, 0) {
		if last = err; err == nil {
			n++
		}
	}
	if n != 3 || !errors.Is(last, errFault) {
		t.Errorf("%d transactions, then %v; want 3, then the fault", n, last)
	}
}
