package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// engine is memstorage with appends that can be made to fail or to wait.
type engine struct {
	*memstorage.Engine
	mu      sync.Mutex
	batches []int
	append  func(batch []*txnlog.Txn) error // before the real one
	settle  func() error
}

func (e *engine) Append(ctx context.Context, batch []*txnlog.Txn, meta *store.Meta) (int, error) {
	e.mu.Lock()
	fail := e.append
	if len(batch) > 0 {
		e.batches = append(e.batches, len(batch))
	}
	e.mu.Unlock()
	if fail != nil && len(batch) > 0 {
		if err := fail(batch); err != nil {
			return 0, err
		}
	}
	return e.Engine.Append(ctx, batch, meta)
}

func (e *engine) failWith(fn func([]*txnlog.Txn) error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.append = fn
}

func (e *engine) Settle(context.Context) (zodb.TID, error) {
	if e.settle != nil {
		if err := e.settle(); err != nil {
			return 0, err
		}
	}
	head, _ := e.Head()
	return head, nil
}

func open(t *testing.T, opts store.Options) (*store.Store, *engine) {
	t.Helper()
	e := &engine{Engine: memstorage.New(memstorage.Options{})}
	return openOn(t, e, opts), e
}

func openOn(t *testing.T, e store.Engine, opts store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), e, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// voted returns a transaction that has voted to store data as oid.
func voted(t *testing.T, s *store.Store, oid zodb.OID, serial zodb.TID, data string) zodb.Txn {
	t.Helper()
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		t.Fatal(err)
	}
	if err := txn.Store(t.Context(), oid, serial, []byte(data)); err != nil {
		t.Fatal(err)
	}
	if v, err := txn.Vote(t.Context()); err != nil || len(v.Conflicts) > 0 {
		t.Fatalf("vote = %v, %v", v, err)
	}
	return txn
}

func TestOneAppendForAllThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, e := open(t, store.Options{})
		e.append = func([]*txnlog.Txn) error { time.Sleep(time.Second); return nil }
		var wg sync.WaitGroup
		var mu sync.Mutex
		var published []zodb.TID
		for i := range 10 {
			txn := voted(t, s, zodb.OID(i+1), 0, "x")
			wg.Go(func() {
				_, err := txn.Finish(context.Background(), func(tid zodb.TID) {
					mu.Lock()
					defer mu.Unlock()
					published = append(published, tid)
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(e.batches) > 2 {
			t.Errorf("10 transactions took the batches %v", e.batches)
		}
		if len(published) != 10 || !slices.IsSorted(published) {
			t.Errorf("published in the order %v", published)
		}
	})
}

// Whoever has been told of a transaction finds it, also when he asks at once.
func TestWhatWasToldIsThere(t *testing.T) {
	s, _ := open(t, store.Options{})
	txn := voted(t, s, 1, 0, "a")
	_, err := txn.Finish(t.Context(), func(tid zodb.TID) {
		log, err := s.UndoLog(t.Context(), 0, 10, nil)
		if err != nil || len(log) != 1 || log[0].TID != tid {
			t.Errorf("the undo log: %v, %v", log, err)
		}
		history, err := s.History(t.Context(), 1, 10)
		if err != nil || len(history) != 1 || history[0].TID != tid {
			t.Errorf("the history: %v, %v", history, err)
		}
		n := 0
		for range s.Transactions(t.Context(), 0, 0) {
			n++
		}
		for range s.Backward(t.Context(), 0) {
			n++
		}
		for range s.Current(t.Context(), 0, 0, 10) {
			n++
		}
		if n != 3 {
			t.Errorf("%d of transactions, transactions backward and current records, want one of each", n)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFailedAppendLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, e := open(t, store.Options{})
		full := errors.New("disk full")
		e.append = func([]*txnlog.Txn) error { return full }
		txn := voted(t, s, 1, 0, "x")
		if _, err := txn.Finish(t.Context(), nil); !errors.Is(err, full) {
			t.Fatalf("Finish: %v", err)
		}
		if s.LastTID() != 0 {
			t.Errorf("LastTID = %v", s.LastTID())
		}
		e.failWith(nil)
		if _, err := voted(t, s, 1, 0, "y").Finish(t.Context(), nil); err != nil {
			t.Errorf("the next commit: %v", err)
		}
	})
}

func TestCommitInDoubt(t *testing.T) {
	for _, kept := range []bool{true, false} {
		t.Run(fmt.Sprintf("kept=%v", kept), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { commitInDoubt(t, kept) })
		})
	}
}

func commitInDoubt(t *testing.T, kept bool) {
	s, e := open(t, store.Options{})
	e.append = func(batch []*txnlog.Txn) error {
		if kept {
			e.Engine.Append(context.Background(), batch, nil)
		}
		return fmt.Errorf("fsync: %w", zodb.ErrCommitUnknown)
	}
	var deaf atomic.Bool
	deaf.Store(true)
	e.settle = func() error {
		if deaf.Load() {
			return errors.New("no answer")
		}
		return nil
	}
	var changes atomic.Int32
	s.Observe(func(zodb.Change) { changes.Add(1) })
	txn := voted(t, s, 1, 0, "x")
	if _, err := txn.Finish(t.Context(), nil); !errors.Is(err, zodb.ErrCommitUnknown) {
		t.Fatalf("Finish: %v", err)
	}
	next, _ := s.Begin(t.Context(), zodb.TxnMeta{})
	next.Store(t.Context(), 2, 0, []byte("y"))
	if _, err := next.Vote(t.Context()); err == nil {
		t.Fatal("a vote is accepted while a commit is in doubt")
	}
	if _, err := s.LoadBefore(t.Context(), 1, zodb.MaxTID); err == nil {
		t.Fatal("what is in doubt can be seen")
	}
	e.failWith(nil)
	late, _ := s.Begin(t.Context(), zodb.TxnMeta{})
	late.Store(t.Context(), 3, 0, []byte("late"))
	answer := make(chan error, 1)
	go func() {
		_, err := late.Vote(t.Context())
		answer <- err
	}()
	time.Sleep(time.Second)
	deaf.Store(false)
	time.Sleep(time.Minute)
	synctest.Wait()
	if err := <-answer; err != nil {
		t.Errorf("a vote that waited for the medium's word: %v", err)
	}
	late.Abort()
	rec, err := s.LoadBefore(t.Context(), 1, zodb.MaxTID)
	if (err == nil) != kept || kept && string(rec.Data) != "x" {
		t.Errorf("kept is %v, but then LoadBefore = %v, %v", kept, rec, err)
	}
	if (changes.Load() == 1) != kept {
		t.Errorf("kept is %v, and observers were told of %d changes", kept, changes.Load())
	}
	if _, err := voted(t, s, 1, rec.Serial, "z").Finish(t.Context(), nil); err != nil {
		t.Errorf("the next commit of the same object: %v", err)
	}
}

// gate lets transactions through when it is opened.
type gate struct{ open chan struct{} }

func (g gate) Wait(context.Context, zodb.TID) error {
	<-g.open
	return nil
}

func TestNothingIsSeenBeforeTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate{make(chan struct{})}
		s, e := open(t, store.Options{Gate: g})
		done := make(chan error, 2)
		for i := range 2 { // the second is appended while the first waits
			txn := voted(t, s, zodb.OID(i+1), 0, "x")
			go func() {
				_, err := txn.Finish(context.Background(), nil)
				done <- err
			}()
			synctest.Wait()
		}
		if len(e.batches) != 2 {
			t.Fatalf("batches %v are appended, want two", e.batches)
		}
		if s.LastTID() != 0 {
			t.Error("published before the gate is open")
		}
		if _, err := s.LoadBefore(t.Context(), 1, zodb.MaxTID); err == nil {
			t.Error("a load sees what is not published")
		}
		for c, err := range s.Current(t.Context(), 0, 0, 10) {
			t.Errorf("Current yields %v, %v", c, err)
		}
		close(g.open)
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

// refusing is a gate that refuses once.
type refusing struct{ done atomic.Bool }

func (g *refusing) Wait(context.Context, zodb.TID) error {
	if g.done.Swap(true) {
		return nil
	}
	return errors.New("no quorum")
}

// What was appended behind a batch that the gate refused is not shown: with it one
// would see the batch.
func TestNothingIsSeenBehindWhatTheGateRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, e := open(t, store.Options{Gate: new(refusing)})
		appending := make(chan bool)
		e.failWith(func([]*txnlog.Txn) error {
			<-appending
			return nil
		})
		answers := make(chan error, 2)
		for oid := range zodb.OID(2) {
			txn := voted(t, s, oid+1, 0, "x")
			go func() {
				_, err := txn.Finish(t.Context(), nil)
				answers <- err
			}()
			synctest.Wait() // the first one is being appended, and the second waits
		}
		close(appending)
		for range 2 {
			if err := <-answers; !errors.Is(err, zodb.ErrCommitUnknown) {
				t.Errorf("Finish: %v", err)
			}
		}
		synctest.Wait()
		if s.LastTID() != 0 {
			t.Errorf("LastTID = %v", s.LastTID())
		}
		txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
		if err != nil {
			t.Fatal(err)
		}
		defer txn.Abort()
		if _, err := txn.Vote(t.Context()); err == nil {
			t.Error("a vote after it was not refused")
		}
	})
}

// While a transaction is tried again under its token, nobody is told that it is not
// committed.
func TestOutcomeOfATransactionTriedAgain(t *testing.T) {
	s, _ := open(t, store.Options{})
	token := zodb.Token{1}
	for range 2 {
		txn, err := s.Begin(t.Context(), zodb.TxnMeta{Token: token})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Outcome(t.Context(), token); !errors.Is(err, zodb.ErrCommitUnknown) {
			t.Errorf("while it is open: %v", err)
		}
		txn.Abort()
		if tid, err := s.Outcome(t.Context(), token); tid != 0 || err != nil {
			t.Errorf("when it is aborted: %v, %v", tid, err)
		}
	}
}

func TestLargeTransactionsAreSpooled(t *testing.T) {
	s, _ := open(t, store.Options{TxnMemory: 100, SpoolDir: t.TempDir()})
	txn, _ := s.Begin(t.Context(), zodb.TxnMeta{})
	for i := range 50 {
		data := bytes.Repeat([]byte{byte(i)}, 30)
		if err := txn.Store(t.Context(), zodb.OID(i+1), 0, data); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := txn.Vote(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Finish(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		rec, err := s.LoadBefore(t.Context(), zodb.OID(i+1), zodb.MaxTID)
		if err != nil || !bytes.Equal(rec.Data, bytes.Repeat([]byte{byte(i)}, 30)) {
			t.Fatalf("object %d: %v, %v", i+1, rec, err)
		}
	}
}

func TestClockThatGoesBack(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s, _ := open(t, store.Options{Clock: func() time.Time { return now }})
	first, _ := voted(t, s, 1, 0, "x").Finish(t.Context(), nil)
	now = now.Add(-time.Hour)
	second, err := voted(t, s, 2, 0, "y").Finish(t.Context(), nil)
	if err != nil || second != first+1 {
		t.Errorf("after %v comes %v, %v", first, second, err)
	}
}

func TestOidsSurviveACrash(t *testing.T) {
	e := memstorage.New(memstorage.Options{})
	a, err := store.Open(t.Context(), e, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := a.NewOIDs(t.Context(), 5)
	if err != nil {
		t.Fatal(err)
	}
	b, err := store.Open(t.Context(), e, store.Options{}) // as after a crash: a was not closed
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.NewOIDs(t.Context(), 1)
	if err != nil || second[0] <= first[4] {
		t.Errorf("after %v was handed out %v, %v", first, second, err)
	}
	a.Close()
	b.Close()
}

// TestCloseOnADeadMedium closes a store whose medium does not answer any more,
// while somebody waits for oids and somebody votes.
func TestCloseOnADeadMedium(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, e := open(t, store.Options{})
		e.settle = func() error { return errors.New("no answer") }
		e.failWith(func([]*txnlog.Txn) error {
			time.Sleep(time.Second) // others queue behind it meanwhile
			return zodb.ErrCommitUnknown
		})
		first, second := voted(t, s, 1, 0, "x"), voted(t, s, 2, 0, "y")
		go first.Finish(context.Background(), nil)
		synctest.Wait()
		oids, finished := make(chan error, 1), make(chan error, 1)
		go func() {
			for {
				if _, err := s.NewOIDs(context.Background(), 1000); err != nil {
					oids <- err
					return
				}
			}
		}()
		go func() {
			_, err := second.Finish(context.Background(), nil)
			finished <- err
		}()
		if err := <-oids; err == nil {
			t.Error("oids are handed out for ever")
		}
		third, _ := s.Begin(t.Context(), zodb.TxnMeta{})
		third.Store(t.Context(), 900000, 0, []byte("z"))
		if _, err := third.Vote(t.Context()); err == nil {
			t.Error("a vote is accepted while a commit is in doubt")
		}
		s.Close()
		if err := <-finished; !errors.Is(err, zodb.ErrClosed) {
			t.Errorf("a Finish that waited: %v", err)
		}
	})
}

func TestLastTransactionInTheFuture(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	e := memstorage.New(memstorage.Options{})
	s, err := store.Open(t.Context(), e, store.Options{Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	voted(t, s, 1, 0, "x").Finish(t.Context(), nil)
	s.Close()
	for ahead, want := range map[time.Duration]string{0: "", 90 * time.Second: "level=WARN", 48 * time.Hour: "level=ERROR"} {
		var log bytes.Buffer
		s, err := store.Open(t.Context(), e, store.Options{
			Clock:  func() time.Time { return now.Add(-ahead) },
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if want == "" && log.Len() > 0 || want != "" && !(strings.Contains(log.String(), want) && strings.Contains(log.String(), "ahead="+ahead.String())) {
			t.Errorf("%v ahead: the log says %q", ahead, log.String())
		}
	}
}

// TestLargestOID: an oid that a client chose itself does not make others come twice.
func TestLargestOID(t *testing.T) {
	s, e := open(t, store.Options{})
	root, err := s.NewOIDs(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, ^zodb.OID(0)-1, 0, "far out")
	if oids, err := s.NewOIDs(t.Context(), 100); err == nil {
		t.Errorf("after the largest oid, and %v: %v ...", root, oids[:3])
	}
	reopened, err := store.Open(t.Context(), e, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer reopened.Close()
	if oids, err := reopened.NewOIDs(t.Context(), 100); err == nil {
		t.Errorf("opened again, after the largest oid: %v ...", oids[:3])
	}
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	if err := txn.Store(t.Context(), ^zodb.OID(0), 0, []byte("a lock")); err == nil {
		t.Error("an object of the oid that is the lock of the whole storage was taken")
	}
}
