package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/postgres"
	"github.com/zaridb/zari/internal/testpg"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// client counts in an object of its own. It tries again whatever failed, and knows
// what it was told.
type client struct {
	s      zodb.Storage
	oid    zodb.OID
	count  atomic.Int64 // commits that were acknowledged
	maybe  int64        // and those of which nobody said
	errors []error
}

// step commits one more. The object says how many there are.
func (c *client) step(ctx context.Context) error {
	txn, err := c.s.Begin(ctx, zodb.TxnMeta{})
	if err != nil {
		return err
	}
	defer txn.Abort()
	var serial zodb.TID
	n := 0
	rec, err := c.s.LoadBefore(ctx, c.oid, zodb.MaxTID)
	if _, ok := errors.AsType[*zodb.NoObjectError](err); !ok {
		if err == nil {
			serial = rec.Serial
			_, err = fmt.Sscan(string(rec.Data), &n)
		}
		if err != nil {
			return err
		}
	}
	if err := txn.Store(ctx, c.oid, serial, fmt.Append(nil, n+1)); err != nil {
		return err
	}
	votes, err := txn.Vote(ctx)
	if err != nil {
		return err
	}
	if len(votes.Conflicts) > 0 {
		return errConflict
	}
	_, err = txn.Finish(ctx, func(zodb.TID) {})
	return err
}

var errConflict = errors.New("the object was changed by another transaction")

func (c *client) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := c.step(context.WithoutCancel(ctx))
		if err == nil {
			c.count.Add(1)
			continue
		}
		if err == errConflict && c.maybe > 0 {
			continue // with its own, which was in doubt when the object was read
		}
		c.errors = append(c.errors, err)
		if errors.Is(err, zodb.ErrCommitUnknown) {
			c.maybe++
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// The primary dies under load, and its synchronous standby is promoted: what was
// acknowledged is there.
func TestFailover(t *testing.T) {
	for _, form := range forms {
		t.Run(word(form), func(t *testing.T) { testFailover(t, form) })
	}
}

func testFailover(t *testing.T, form sqlstorage.Form) {
	primary := testpg.Start(t, testpg.Options{})
	if err := primary.Exec("CREATE DATABASE zari"); err != nil {
		t.Fatal(err)
	}
	standby := primary.Standby(t)
	dsn := fmt.Sprintf("host=%s,%s port=%d,%d user=postgres dbname=zari", standby.Dir, primary.Dir, standby.Port, primary.Port)
	db, err := postgres.Open(t.Context(), postgres.Options{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := sqlstorage.Open(t.Context(), db, sqlstorage.Options{Form: form, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), engine, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	clients := make([]*client, 8)
	var wg sync.WaitGroup
	for i := range clients {
		clients[i] = &client{s: s, oid: zodb.OID(i + 1)}
		wg.Go(func() { clients[i].run(ctx) })
	}
	// commits waits until each has committed n more.
	commits := func(n int64) {
		t.Helper()
		for _, c := range clients {
			want := c.count.Load() + n
			for end := time.Now().Add(2 * time.Minute); c.count.Load() < want; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("no commits any more: %v\n%s", c.errors, standby.Log())
				}
			}
		}
	}
	commits(5)
	if err := primary.Halt("QUIT"); err != nil {
		t.Fatal(err)
	}
	if err := standby.Promote(); err != nil {
		t.Fatal(err)
	}
	promoted := time.Now()
	commits(1)
	t.Logf("all clients commit again %v after the promotion", time.Since(promoted).Round(time.Millisecond))
	commits(5)
	stop()
	wg.Wait()
	for _, c := range clients {
		rec, err := s.LoadBefore(t.Context(), c.oid, zodb.MaxTID)
		var n int64
		if err == nil {
			_, err = fmt.Sscan(string(rec.Data), &n)
		}
		if err != nil {
			t.Fatal(err)
		}
		if sure := c.count.Load(); n < sure || n > sure+c.maybe {
			t.Errorf("object %v was committed %d times, acknowledged are %d and unknown %d", c.oid, n, sure, c.maybe)
		}
		if len(c.errors) > 1 {
			t.Errorf("client %v saw %d errors, want one at most: %v", c.oid, len(c.errors), c.errors)
		}
	}
}
