package postgres_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/postgres"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

const (
	soon  = 20 * time.Millisecond // to see that a lock is not had
	later = 20 * time.Second      // for what must be had in the end
)

func lock(t testing.TB, db *postgres.DB, form sqlstorage.Form, written, read []int64, wait time.Duration) (sqlstorage.Locked, error) {
	t.Helper()
	l, err := db.Lock(t.Context(), form, written, read, wait)
	if err == nil {
		t.Cleanup(l.Release)
	}
	return l, err
}

func mustLock(t testing.TB, db *postgres.DB, form sqlstorage.Form, written, read []int64) sqlstorage.Locked {
	t.Helper()
	l, err := lock(t, db, form, written, read, later)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// commitOne commits new data of an object whose serial must be prev.
func commitOne(l sqlstorage.Locked, form sqlstorage.Form, oid, prev int64) (tid int64, err error) {
	errStale := &zodb.ConflictError{OID: zodb.OID(oid), Read: zodb.TID(prev)}
	err = l.Commit(context.Background(), func(now time.Time, last int64, serials map[int64]int64) (*sqlstorage.Batch, error) {
		if serials[oid] != prev {
			return nil, errStale
		}
		tid = max(int64(zodb.TIDAt(now)), last+1)
		return batch(form, txn(zodb.TID(tid), data(zodb.OID(oid), zodb.TID(prev), "committed"))), nil
	})
	return tid, err
}

func TestLocks(t *testing.T) {
	eachForm(t, postgres.Options{Shared: true}, func(t *testing.T, db *postgres.DB, form sqlstorage.Form) {
		mustAppend(t, db, batch(form, txn(10, data(1, 0, "a"), data(2, 0, "b"), data(3, 0, "c"))))
		l := mustLock(t, db, form, []int64{2, 7}, []int64{1})
		if s := l.Serials(); s[1] != 10 || s[2] != 10 || s[7] != 0 || len(s) != 3 {
			t.Errorf("Serials() = %v", s)
		}
		for _, c := range []struct {
			written, read []int64
			free          bool
		}{
			{[]int64{2}, nil, false},
			{nil, []int64{2}, false},
			{[]int64{1}, nil, false},
			{nil, []int64{1}, true},
			{[]int64{3}, []int64{1}, true},
			{[]int64{7}, nil, true}, // what does not exist is not locked, as in RelStorage
		} {
			wait := soon
			if c.free { // on a machine that is busy, too
				wait = later
			}
			other, err := lock(t, db, form, c.written, c.read, wait)
			if (err == nil) != c.free || err != nil && !errors.Is(err, sqlstorage.ErrBusy) {
				t.Errorf("Lock(%v, %v) beside it = %v, want free: %v", c.written, c.read, err, c.free)
			}
			if err == nil {
				other.Release()
			}
		}
		if err := l.Extend(t.Context(), []int64{1, 3}, nil); err != nil { // 1 was read
			t.Fatal(err)
		}
		if s := l.Serials(); s[3] != 10 || len(s) != 4 {
			t.Errorf("after Extend Serials() = %v", s)
		}
		got := make(chan error)
		go func() {
			other, err := db.Lock(context.Background(), form, []int64{3, 1}, nil, later)
			if err == nil {
				if s := other.Serials(); s[3] == 10 {
					err = errors.New("it sees the serial of before the commit it waited for")
				}
				other.Release()
			}
			got <- err
		}()
		waitUntil(t, db, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
		if _, err := commitOne(l, form, 3, 10); err != nil {
			t.Fatal(err)
		}
		if err := <-got; err != nil {
			t.Errorf("Lock that waited: %v", err)
		}
	})
}

// waitUntil returns when a count is not 0.
func waitUntil(t testing.TB, db *postgres.DB, sql string) {
	t.Helper()
	dsn := dsnOf(t, db)
	conn := connect(t, dsn)
	for end := time.Now().Add(later); ; time.Sleep(5 * time.Millisecond) {
		var n int64
		if err := conn.QueryRow(t.Context(), sql).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("still 0: %s", sql)
		}
	}
}

func TestExtendNeverWaits(t *testing.T) {
	eachForm(t, postgres.Options{Shared: true}, func(t *testing.T, db *postgres.DB, form sqlstorage.Form) {
		mustAppend(t, db, batch(form, txn(10, data(1, 0, "a"), data(2, 0, "b"))))
		a := mustLock(t, db, form, []int64{1}, nil)
		b := mustLock(t, db, form, []int64{2}, nil)
		for _, c := range []struct{ written, read []int64 }{{[]int64{1}, nil}, {nil, []int64{1}}} {
			err := b.Extend(t.Context(), c.written, c.read)
			if e, ok := errors.AsType[*sqlstorage.LockError](err); !ok || e.OID != 1 || e.Read != (c.read != nil) {
				t.Errorf("Extend(%v, %v) = %v, want a LockError of object 1", c.written, c.read, err)
			}
		}
		a.Release()
	})
}

// A server whose session is killed has lost its locks. What it commits then must not
// go over what others have done, nor over what others are about to do.
func TestCommitAfterTheSessionDied(t *testing.T) {
	eachForm(t, postgres.Options{Shared: true}, func(t *testing.T, db *postgres.DB, form sqlstorage.Form) {
		mustAppend(t, db, batch(form, txn(10, data(1, 0, "a"))))
		kill := func() {
			run(t, dsnOf(t, db), `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
				WHERE pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')`)
		}
		t.Run("nobody else came", func(t *testing.T) {
			l := mustLock(t, db, form, []int64{1}, nil)
			kill()
			if _, err := commitOne(l, form, 1, 10); err != nil {
				t.Errorf("Commit = %v", err)
			}
		})
		last := states(t, db)
		prev := last[len(last)-1].tid
		t.Run("somebody has committed", func(t *testing.T) {
			l := mustLock(t, db, form, []int64{1}, nil)
			kill()
			other := mustLock(t, db, form, []int64{1}, nil)
			tid, err := commitOne(other, form, 1, prev)
			if err != nil {
				t.Fatal(err)
			}
			var conflict *zodb.ConflictError
			if _, err := commitOne(l, form, 1, prev); !errors.As(err, &conflict) {
				t.Errorf("Commit = %v, want a conflict", err)
			}
			prev = tid
		})
		t.Run("somebody is about to", func(t *testing.T) {
			l := mustLock(t, db, form, []int64{1}, nil)
			kill()
			other := mustLock(t, db, form, []int64{1}, nil)
			if _, err := commitOne(l, form, 1, prev); !errors.Is(err, sqlstorage.ErrBusy) {
				t.Errorf("Commit = %v, want ErrBusy: who has the lock has compared serials already", err)
			}
			if _, err := commitOne(other, form, 1, prev); err != nil {
				t.Error(err)
			}
		})
	})
}

func TestVotesAreBounded(t *testing.T) {
	eachForm(t, postgres.Options{Shared: true, Votes: 1}, func(t *testing.T, db *postgres.DB, form sqlstorage.Form) {
		l := mustLock(t, db, form, []int64{1}, nil)
		if _, err := lock(t, db, form, []int64{2}, nil, soon); !errors.Is(err, sqlstorage.ErrBusy) {
			t.Errorf("one more than there may be = %v, want ErrBusy", err)
		}
		l.Release()
		mustLock(t, db, form, []int64{2}, nil)
	})
}

// Who has voted, or waits for a lock, does not hold up Close.
func TestCloseEndsVotes(t *testing.T) {
	eachForm(t, postgres.Options{Shared: true}, func(t *testing.T, db *postgres.DB, form sqlstorage.Form) {
		mustAppend(t, db, batch(form, txn(10, data(1, 0, "a"))))
		l := mustLock(t, db, form, []int64{1}, nil)
		waiter := make(chan error)
		go func() {
			_, err := db.Lock(context.Background(), form, []int64{1}, nil, time.Hour)
			waiter <- err
		}()
		waitUntil(t, db, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
		db.Close()
		if err := <-waiter; err == nil {
			t.Error("a Lock that waited has succeeded")
		}
		if _, err := commitOne(l, form, 1, 10); err == nil {
			t.Error("a commit after Close has succeeded")
		}
		l.Release()
	})
}

func TestCommitFailsWhenMakeDoes(t *testing.T) {
	eachForm(t, postgres.Options{Shared: true}, func(t *testing.T, db *postgres.DB, form sqlstorage.Form) {
		mustAppend(t, db, batch(form, txn(10, data(1, 0, "a"))))
		l := mustLock(t, db, form, []int64{1}, nil)
		want := errors.New("no")
		err := l.Commit(t.Context(), func(time.Time, int64, map[int64]int64) (*sqlstorage.Batch, error) { return nil, want })
		if err != want {
			t.Errorf("Commit = %v, want the error of make as it is", err)
		}
		l.Release() // once more does nothing
		mustLock(t, db, form, []int64{1}, nil)
		if n := query[int64](t, dsnOf(t, db), "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"); n != 1 {
			t.Errorf("%d advisory locks are held, want that of the object", n)
		}
	})
}

func TestWaitHearsOfCommits(t *testing.T) {
	eachForm(t, postgres.Options{Shared: true, Poll: time.Hour}, func(t *testing.T, db *postgres.DB, form sqlstorage.Form) {
		ctx, cancel := context.WithTimeout(t.Context(), later)
		defer cancel()
		wait := func() {
			t.Helper()
			if err := db.Wait(ctx); err != nil {
				t.Fatal(err)
			}
		}
		wait() // it returns when it listens
		for i := range 3 {
			mustAppend(t, db, batch(form, txn(zodb.TID(10+i), data(1, zodb.TID(max(9+i, 10)*min(i, 1)), "x"))))
			wait()
		}
		run(t, dsnOf(t, db), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND pid <> pg_backend_pid()")
		wait() // it has connected again, and may have missed something
		short, cancel := context.WithTimeout(ctx, soon)
		defer cancel()
		for short.Err() == nil {
			db.Wait(short)
		}
		mustAppend(t, db, batch(form, txn(20, data(1, 12, "y"))))
		wait()
	})
}

func TestOverwrittenStatesAreKept(t *testing.T) {
	eachForm(t, postgres.Options{Shared: true}, func(t *testing.T, db *postgres.DB, form sqlstorage.Form) {
		if form == sqlstorage.Preserving {
			t.Skip("nothing is overwritten")
		}
		mustAppend(t, db, batch(form, txn(10, data(1, 0, "a"), data(2, 0, "b"))))
		mustAppend(t, db, batch(form, txn(20, data(1, 10, "a2"))))
		mustAppend(t, db, batch(form, txn(30, data(1, 20, "a3"), txnlog.Record{OID: 2, Prev: 10, Kind: txnlog.Delete})))
		for _, c := range []struct {
			oid, tid     int64
			state        string
			serial, next int64
			ok           bool
		}{
			{1, 30, "a2", 20, 30, true},
			{1, 21, "a2", 20, 30, true},
			{1, 20, "a", 10, 20, true},
			{1, 10, "", 0, 0, false},
			{2, 30, "b", 10, 30, true},
			{3, 30, "", 0, 0, false},
		} {
			state, serial, next, ok, err := db.LoadOverwritten(t.Context(), c.oid, c.tid)
			if err != nil {
				t.Fatal(err)
			}
			if ok != c.ok || ok && (string(state) != c.state || serial != c.serial || next != c.next) {
				t.Errorf("LoadOverwritten(%d, %d) = %q, %d, %d, %v; want %q, %d, %d, %v",
					c.oid, c.tid, state, serial, next, ok, c.state, c.serial, c.next, c.ok)
			}
		}
		// What is old goes with the next commit; then there is a hole, and no answer.
		run(t, dsnOf(t, db), "UPDATE zari_overwritten SET at = at - interval '1 hour' WHERE zoid = 1 AND tid = 20")
		mustAppend(t, db, batch(form, txn(40, data(1, 30, "a4"))))
		if state, _, _, ok, err := db.LoadOverwritten(t.Context(), 1, 30); ok || err != nil {
			t.Errorf("LoadOverwritten where it is forgotten = %q, %v, %v", state, ok, err)
		}
		if state, _, _, ok, err := db.LoadOverwritten(t.Context(), 1, 40); !ok || string(state) != "a3" {
			t.Errorf("LoadOverwritten of what is kept = %q, %v, %v", state, ok, err)
		}
	})
}

func TestLeaseAndPackLock(t *testing.T) {
	eachForm(t, postgres.Options{}, func(t *testing.T, db *postgres.DB, _ sqlstorage.Form) {
		for name, take := range map[string]func(context.Context) (io.Closer, error){"Lease": db.Lease, "PackLock": db.PackLock} {
			first, err := take(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := take(t.Context()); !errors.Is(err, sqlstorage.ErrBusy) {
				t.Errorf("a second %s = %v, want ErrBusy", name, err)
			}
			// A session that breaks is made anew.
			const holder = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
			dsn := dsnOf(t, db)
			pid := query[int](t, dsn, holder)
			run(t, dsn, "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE locktype = 'advisory'")
			waitUntil(t, db, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted")
			if again := query[int](t, dsn, holder); again == pid {
				t.Errorf("%s is held by process %d, which was ended", name, pid)
			}
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			waitUntil(t, db, "SELECT 1 - count(*) FROM pg_locks WHERE locktype = 'advisory'")
			next, err := take(t.Context())
			if err != nil {
				t.Fatalf("%s after it was given up: %v", name, err)
			}
			next.Close()
			waitUntil(t, db, "SELECT 1 - count(*) FROM pg_locks WHERE locktype = 'advisory'")
		}
	})
}
