package sqlite_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

const (
	counters4    = 4         // the first objects are counters, the rest accounts
	startingWith = 1_000_000 // each of them
)

// amount is where a record that Python made has its number: after the key "value", an
// opcode that memoizes the key, and the opcode BININT.
func amount(data []byte) ([]byte, error) {
	i := bytes.Index(data, []byte("X\x05\x00\x00\x00valueq"))
	if i < 0 || len(data) < i+17 || data[i+12] != 'J' {
		return nil, fmt.Errorf("there is no value in %q", data)
	}
	return data[i+13 : i+17], nil
}

// worker changes counters and accounts through a Store.
type worker struct {
	store     *store.Store
	oids      []zodb.OID
	conflicts int
}

// add adds to objects in one transaction, again and again until there is no conflict.
func (w *worker) add(ctx context.Context, changes map[zodb.OID]int32) error {
	for {
		err := w.try(ctx, changes)
		if _, ok := errors.AsType[*zodb.ConflictError](err); !ok {
			return err
		}
		w.conflicts++
	}
}

func (w *worker) try(ctx context.Context, changes map[zodb.OID]int32) error {
	at := w.store.LastTID()
	if err := w.balanced(ctx, at); err != nil {
		return err
	}
	txn, err := w.store.Begin(ctx, zodb.TxnMeta{Description: []byte("zari")})
	if err != nil {
		return err
	}
	defer txn.Abort()
	for oid, n := range changes {
		rec, err := w.load(ctx, oid, at)
		if err != nil {
			return err
		}
		data := bytes.Clone(rec.Data)
		v, err := amount(data)
		if err != nil {
			return err
		}
		binary.LittleEndian.PutUint32(v, binary.LittleEndian.Uint32(v)+uint32(n))
		if err := txn.Store(ctx, oid, rec.Serial, data); err != nil {
			return err
		}
	}
	votes, err := txn.Vote(ctx)
	if err != nil {
		return err
	}
	if len(votes.Conflicts) > 0 {
		return &zodb.ConflictError{OID: votes.Conflicts[0].OID}
	}
	_, err = txn.Finish(ctx, nil)
	return err
}

// load loads from a snapshot. In a history-free database it may be forgotten, which a
// client takes for a conflict.
func (w *worker) load(ctx context.Context, oid zodb.OID, at zodb.TID) (zodb.Record, error) {
	rec, err := w.store.LoadBefore(ctx, oid, at+1)
	if missing, ok := errors.AsType[*zodb.NoObjectError](err); ok && missing.Known {
		err = &zodb.ConflictError{OID: oid, Reason: "forgotten"}
	}
	return rec, err
}

// balanced checks that no money is lost in a snapshot.
func (w *worker) balanced(ctx context.Context, at zodb.TID) error {
	total := 0
	for _, oid := range w.oids[counters4:] {
		rec, err := w.load(ctx, oid, at)
		if err != nil {
			return err
		}
		v, err := amount(rec.Data)
		if err != nil {
			return err
		}
		total += int(binary.LittleEndian.Uint32(v))
	}
	if total != counters4*startingWith {
		return fmt.Errorf("the accounts hold %d together at %v", total, at)
	}
	return nil
}

// mix increments counters and moves money n times each.
func (w *worker) mix(ctx context.Context, n int, seed uint64) error {
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range n {
		if err := w.add(ctx, map[zodb.OID]int32{w.oids[rnd.IntN(counters4)]: 1}); err != nil {
			return err
		}
		two := rnd.Perm(len(w.oids) - counters4)[:2]
		if err := w.add(ctx, map[zodb.OID]int32{w.oids[counters4+two[0]]: -1, w.oids[counters4+two[1]]: 1}); err != nil {
			return err
		}
	}
	return nil
}

// values returns what the objects are.
func values(t testing.TB, s *store.Store, oids []zodb.OID, before zodb.TID) (list []int) {
	t.Helper()
	for _, oid := range oids {
		rec, err := s.LoadBefore(t.Context(), oid, before)
		if err != nil {
			t.Fatal(err)
		}
		v, err := amount(rec.Data)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, int(binary.LittleEndian.Uint32(v)))
	}
	return list
}

func sum(list []int) (n int) {
	for _, v := range list {
		n += v
	}
	return n
}

// watched are the tids of the changes that a Store told of, in that order.
type watched struct {
	mu   sync.Mutex
	tids []zodb.TID
}

func (w *watched) observe(c zodb.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tids = append(w.tids, c.TID)
}

// TestSharedWithRelStorage has RelStorage processes and Zari servers change the same
// objects at the same time.
func TestSharedWithRelStorage(t *testing.T) {
	for _, form := range forms {
		t.Run(form.String(), func(t *testing.T) {
			dir := t.TempDir()
			oids := result[[]zodb.OID](t, relstorage(t, dir, form, "setup")[0])
			const processes, servers, n = 2, 2, 100
			var work errgroup.Group
			seen := make([]watched, servers)
			stores := make([]*store.Store, servers)
			for i := range servers {
				stores[i], _ = openStore(t, dir, sqlstorage.Options{Form: form, Shared: true})
				_, stop := stores[i].Observe(seen[i].observe)
				defer stop()
				for j := range 2 {
					w := &worker{store: stores[i], oids: oids}
					work.Go(func() error {
						err := w.mix(t.Context(), n, uint64(10*i+j))
						t.Logf("server %d.%d: %d conflicts", i, j, w.conflicts)
						return err
					})
				}
			}
			for i := range processes {
				work.Go(func() error {
					out := relstorage(t, dir, form, fmt.Sprintf("mix,%d,%d", n, i))
					t.Logf("process %d: %s", i, out[0])
					got := result[map[string]int](t, out[0])
					if got["broken"]+got["back"] > 0 {
						return fmt.Errorf("RelStorage saw %v", got)
					}
					return nil
				})
			}
			if err := work.Wait(); err != nil {
				t.Error(err)
			}
			for _, s := range stores {
				syncer, ok := zodb.As[zodb.Syncer](s)
				if !ok {
					t.Fatal("a shared store cannot be synced")
				}
				if err := syncer.Sync(t.Context()); err != nil {
					t.Error(err)
				}
			}
			final := values(t, stores[0], oids, zodb.MaxTID)
			if got, want := sum(final[:counters4]), counters4*startingWith+n*(processes+2*servers); got != want {
				t.Errorf("the counters are %d together, %d increments were made", got-counters4*startingWith, want-counters4*startingWith)
			}
			if got := sum(final[counters4:]); got != counters4*startingWith {
				t.Errorf("the accounts hold %d together", got)
			}
			checkRows(t, dir, form)
			checkFollowed(t, dir, form, stores[0], oids, seen)
		})
	}
}

// checkFollowed checks that nothing was missed, and that the accounts balance in every
// snapshot.
func checkFollowed(t *testing.T, dir string, form sqlstorage.Form, s *store.Store, oids []zodb.OID, seen []watched) {
	t.Helper()
	if form == sqlstorage.Free {
		return
	}
	all := rows(t, dir, `SELECT '' || tid FROM "transaction" WHERE tid > 0 ORDER BY tid`)
	for i := range seen {
		var got []string
		for _, tid := range seen[i].tids {
			got = append(got, fmt.Sprint(uint64(tid)))
		}
		if from := slices.Index(all, got[0]); from < 0 || !slices.Equal(all[from:], got) {
			t.Errorf("server %d was told of %d transactions, not all of %d", i, len(got), len(all))
		}
	}
	for _, tid := range seen[0].tids {
		if got := sum(values(t, s, oids, tid+1)[counters4:]); got != counters4*startingWith {
			t.Errorf("the accounts hold %d at %v", got, tid)
		}
	}
}

// Locks end with the transaction, however it ends, and bound how long others wait.
func TestSharedLocks(t *testing.T) {
	dir := t.TempDir()
	one := openEngine(t, openDB(t, dir), sqlstorage.Options{Shared: true, Blobs: &sqlstorage.BlobOptions{Dir: filepath.Join(dir, "blobs")}})
	two := openEngine(t, openDB(t, dir), sqlstorage.Options{Shared: true})
	lock, err := one.Lock(t.Context(), []zodb.OID{1}, nil, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for name, e := range map[string]*sqlstorage.Engine{"same": one, "other": two} {
		if _, err := e.Lock(t.Context(), []zodb.OID{1}, nil, 30*time.Millisecond); !isConflict(err) {
			t.Errorf("a second lock in the %s engine: %v", name, err)
		}
	}
	if n, err := lock.Commit(t.Context(), []*txnlog.Txn{{Status: ' ', Records: []txnlog.Record{{OID: 1, Data: storagetest.Object(1)}}}}); n != 1 || err != nil {
		t.Errorf("Commit: %d, %v", n, err)
	}
	lock.Release()
	lock, err = two.Lock(t.Context(), []zodb.OID{1}, []zodb.OID{2}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if s := lock.Serials(); s[1] == 0 || s[2] != 0 || len(s) != 2 {
		t.Errorf("serials: %v", s)
	}
	head, _ := one.Head()
	if n, err := lock.Commit(t.Context(), []*txnlog.Txn{{TID: head, Status: ' '}}); n != 0 || err == nil {
		t.Errorf("a tid that is not new: %d, %v", n, err)
	}
	if lock, err = one.Lock(t.Context(), []zodb.OID{1}, nil, time.Second); err != nil {
		t.Fatal(err)
	}
	if err := one.Close(); err != nil { // with the lock held
		t.Error(err)
	}
	lock.Release()
	if lock, err = two.Lock(t.Context(), []zodb.OID{1}, nil, time.Second); err != nil {
		t.Fatalf("after the engine that had the lock was closed: %v", err)
	}
	lock.Release()
}

func isConflict(err error) bool {
	_, ok := errors.AsType[*zodb.ConflictError](err)
	return ok
}

// An exclusive server and shared ones exclude each other.
func TestSharedAndExclusive(t *testing.T) {
	dir := t.TempDir()
	openEngine(t, openDB(t, dir), sqlstorage.Options{})
	if _, err := sqlstorage.Open(t.Context(), openDB(t, dir), sqlstorage.Options{Shared: true}); !errors.Is(err, sqlstorage.ErrBusy) {
		t.Errorf("a shared server beside an exclusive one: %v", err)
	}
}
