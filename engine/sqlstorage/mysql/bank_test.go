package mysql

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/internal/testmysql"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// The bank's objects: a root that refers to all others, counters, and accounts.
const (
	bankCounters = 4
	bankAccounts = 8
	bankMoney    = 1000 // in each account at first
)

// bank is one database that two servers share.
type bank struct {
	t       *testing.T
	opts    Options
	servers []*store.Store
	shaken  bool // sessions are being killed: an error is no failure, a wrong answer is

	increments, unknown, errs, conflicts atomic.Int64
}

// bankReferences: records are numbers, but for the root's, which names the others.
func bankReferences(data []byte, dst []zodb.OID) ([]zodb.OID, error) {
	if string(data) == "root" {
		for oid := range zodb.OID(bankCounters + bankAccounts) {
			dst = append(dst, oid+1)
		}
	}
	return dst, nil
}

func openBank(t *testing.T, form sqlstorage.Form) *bank {
	t.Helper()
	b := &bank{t: t, opts: options(t, testmysql.Database(t))}
	for range 2 {
		db := open(t, b.opts)
		engine, err := sqlstorage.Open(t.Context(), db, sqlstorage.Options{Form: form, Create: true, Shared: true, References: bankReferences})
		if err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(t.Context(), engine, store.Options{LockWait: 5 * time.Second, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		b.servers = append(b.servers, s)
	}
	states := map[zodb.OID]string{0: "root"}
	for i := range zodb.OID(bankCounters) {
		states[1+i] = "0"
	}
	for i := range zodb.OID(bankAccounts) {
		states[1+bankCounters+i] = strconv.Itoa(bankMoney)
	}
	if err := b.commit(t.Context(), b.servers[0], nil, states); err != nil {
		t.Fatal(err)
	}
	b.sync()
	return b
}

// sync catches all servers up.
func (b *bank) sync() {
	b.t.Helper()
	for _, s := range b.servers {
		syncer, ok := zodb.As[zodb.Syncer](s)
		if !ok {
			b.t.Fatal("a shared store has no Sync")
		}
		if err := syncer.Sync(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
	}
}

// commit stores states made from the serials.
func (b *bank) commit(ctx context.Context, s *store.Store, serials map[zodb.OID]zodb.TID, states map[zodb.OID]string) error {
	x, err := s.Begin(ctx, zodb.TxnMeta{})
	if err != nil {
		return err
	}
	defer x.Abort()
	for oid, state := range states {
		if err := x.Store(ctx, oid, serials[oid], []byte(state)); err != nil {
			return err
		}
	}
	votes, err := x.Vote(ctx)
	if err != nil {
		return err
	}
	if len(votes.Conflicts) > 0 {
		return &zodb.ConflictError{OID: votes.Conflicts[0].OID}
	}
	_, err = x.Finish(ctx, nil)
	return err
}

// change adds to numbers in one transaction, once.
func (b *bank) change(ctx context.Context, s *store.Store, by map[zodb.OID]int) error {
	serials, states := make(map[zodb.OID]zodb.TID), make(map[zodb.OID]string)
	for oid, n := range by {
		rec, err := s.LoadBefore(ctx, oid, zodb.MaxTID)
		if err != nil {
			return err
		}
		have, err := strconv.Atoi(string(rec.Data))
		if err != nil {
			b.t.Errorf("object %v is %q", oid, rec.Data)
		}
		serials[oid], states[oid] = rec.Serial, strconv.Itoa(have+n)
	}
	return b.commit(ctx, s, serials, states)
}

// write increments counters and moves money, n times each.
func (b *bank) write(s *store.Store, n int, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range n {
		b.untilDone(s, map[zodb.OID]int{zodb.OID(1 + rnd.IntN(bankCounters)): 1}, &b.increments)
		two := rnd.Perm(bankAccounts)
		amount := rnd.IntN(10)
		b.untilDone(s, map[zodb.OID]int{zodb.OID(1 + bankCounters + two[0]): -amount, zodb.OID(1 + bankCounters + two[1]): amount}, new(atomic.Int64))
	}
}

// untilDone tries until the change is committed, or may have been.
func (b *bank) untilDone(s *store.Store, by map[zodb.OID]int, done *atomic.Int64) {
	for {
		err := b.change(b.t.Context(), s, by)
		_, conflict := errors.AsType[*zodb.ConflictError](err)
		switch {
		case err == nil:
			done.Add(1)
			return
		case errors.Is(err, zodb.ErrCommitUnknown):
			if done == &b.increments {
				b.unknown.Add(1)
			}
			return
		case conflict:
			b.conflicts.Add(1)
		case !b.shaken:
			b.t.Errorf("commit: %v", err)
			return
		default:
			b.errs.Add(1)
			time.Sleep(time.Millisecond)
		}
		if b.t.Context().Err() != nil {
			return
		}
	}
}

// read looks at all accounts at one time, again and again until done is closed: no
// money is ever lost, and time does not run backwards.
func (b *bank) read(s *store.Store, done chan struct{}) (looks int) {
	var before zodb.TID
	for {
		select {
		case <-done:
			return looks
		default:
		}
		last := s.LastTID()
		if last < before {
			b.t.Errorf("the last transaction is %v, and was %v", last, before)
		}
		before = last
		switch sum, err := b.sum(s, last); {
		case err == nil && sum != bankAccounts*bankMoney:
			b.t.Errorf("at %v the accounts hold %d", last, sum)
		case err == nil:
			looks++
		case !b.shaken && !forgotten(err):
			b.t.Errorf("read: %v", err)
		}
	}
}

// forgotten says that a history-free database does not have what was there at the time.
func forgotten(err error) bool {
	e, ok := errors.AsType[*zodb.NoObjectError](err)
	return ok && e.Known && e.DeletedAt == 0
}

func (b *bank) sum(s *store.Store, at zodb.TID) (sum int, err error) {
	for i := range zodb.OID(bankAccounts) {
		rec, err := s.LoadBefore(b.t.Context(), 1+bankCounters+i, at+1)
		if err != nil {
			return 0, err
		}
		n, err := strconv.Atoi(string(bytes.TrimSpace(rec.Data)))
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// run has two writers and a reader on each server, and something that goes on
// meanwhile.
func (b *bank) run(n int, meanwhile func()) {
	var writers, others sync.WaitGroup
	done := make(chan struct{})
	var looks atomic.Int64
	for i, s := range b.servers {
		for k := range 2 {
			writers.Go(func() { b.write(s, n, uint64(10*i+k)) })
		}
		others.Go(func() { looks.Add(int64(b.read(s, done))) })
	}
	if meanwhile != nil {
		others.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					meanwhile()
				}
			}
		})
	}
	writers.Wait()
	close(done)
	others.Wait()
	b.settle(n, looks.Load())
}

// settle compares what is there with what was done.
func (b *bank) settle(n int, looks int64) {
	t := b.t
	t.Logf("%d increments, %d not known, %d conflicts, %d errors, %d looks at all accounts",
		b.increments.Load(), b.unknown.Load(), b.conflicts.Load(), b.errs.Load(), looks)
	if looks == 0 {
		t.Error("nobody has seen all accounts at once")
	}
	b.sync()
	for i, s := range b.servers {
		sum, err := b.sum(s, s.LastTID())
		if err != nil || sum != bankAccounts*bankMoney {
			t.Errorf("server %d: the accounts hold %d, %v", i, sum, err)
		}
		count := int64(0)
		for oid := range zodb.OID(bankCounters) {
			rec, err := s.LoadBefore(t.Context(), oid+1, zodb.MaxTID)
			if err != nil {
				t.Fatal(err)
			}
			n, _ := strconv.Atoi(string(rec.Data))
			count += int64(n)
		}
		if lost := b.increments.Load() - count; lost > 0 || -lost > b.unknown.Load() {
			t.Errorf("server %d: the counters have %d, %d were committed and of %d it is not known", i, count, b.increments.Load(), b.unknown.Load())
		}
	}
	if want := int64(4 * n); b.increments.Load()+b.unknown.Load() != want {
		t.Errorf("%d increments of %d", b.increments.Load()+b.unknown.Load(), want)
	}
}

// bankRounds is how often each writer does what it does.
func bankRounds() int {
	if testing.Short() {
		return 10
	}
	return 60
}

func TestBank(t *testing.T) {
	eachForm(t, func(t *testing.T, form sqlstorage.Form) { openBank(t, form).run(bankRounds(), nil) })
}

// TestBankShaken kills sessions of both servers, whatever they are doing.
func TestBankShaken(t *testing.T) {
	eachForm(t, func(t *testing.T, form sqlstorage.Form) {
		b := openBank(t, form)
		b.shaken = true
		admin := open(t, b.opts)
		killed := 0
		b.run(bankRounds(), func() {
			time.Sleep(30 * time.Millisecond)
			ids := table(t, admin, `SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID() ORDER BY RAND() LIMIT 1`)
			for _, id := range ids {
				c, err := admin.reads.get(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := c.send(t.Context(), "KILL CONNECTION "+id, nil); err == nil {
					killed++
				}
				admin.reads.put(c)
			}
		})
		t.Logf("%d sessions were killed", killed)
		if killed == 0 {
			t.Error("no session was killed")
		}
	})
}

// TestBankPacked packs all the time, on one server and then on the other.
func TestBankPacked(t *testing.T) {
	eachForm(t, func(t *testing.T, form sqlstorage.Form) {
		b := openBank(t, form)
		packs := 0
		b.run(bankRounds(), func() {
			s := b.servers[packs%2]
			at := time.Now()
			if form == sqlstorage.Preserving {
				at = at.Add(-100 * time.Millisecond) // readers look at what is a moment old
			}
			if err := s.Pack(t.Context(), at, zodb.PackOptions{GC: true}); err != nil {
				t.Errorf("pack %d: %v", packs, err)
			}
			packs++
		})
		t.Logf("%d packs", packs)
		if packs == 0 {
			t.Error("nothing was packed")
		}
	})
}
