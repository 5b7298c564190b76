package mysql

import (
	"errors"
	"testing"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/internal/testmysql"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// behindProxy opens an engine whose connections the proxy breaks at COMMIT.
func behindProxy(t *testing.T, o sqlstorage.Options) (*sqlstorage.Engine, *proxy, *DB) {
	t.Helper()
	opts := options(t, testmysql.Database(t))
	p := newProxy(t, opts.Addresses[0], ";COMMIT;")
	far := opts
	far.Addresses = []string{p.path}
	o.Create = true
	e, err := sqlstorage.Open(t.Context(), open(t, far), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e, p, open(t, opts)
}

// eachLoss runs a test for each form and for both places where a COMMIT can get lost: its
// answer, after it was done, or itself.
func eachLoss(t *testing.T, test func(t *testing.T, form sqlstorage.Form, done bool)) {
	eachForm(t, func(t *testing.T, form sqlstorage.Form) {
		t.Run("done", func(t *testing.T) { test(t, form, true) })
		t.Run("not_done", func(t *testing.T) { test(t, form, false) })
	})
}

// lose has every COMMIT get lost while fn runs.
func (p *proxy) lose(done bool, fn func()) {
	flag := &p.before
	if done {
		flag = &p.after
	}
	flag.Store(true)
	fn()
	flag.Store(false)
}

// TestSettle asks what became of a commit whose answer was lost: the last transaction is
// the one in doubt or the one before, and the next one is written after that.
func TestSettle(t *testing.T) {
	eachLoss(t, func(t *testing.T, form sqlstorage.Form, done bool) {
		e, p, near := behindProxy(t, sqlstorage.Options{Form: form})
		write := func(tid, prev zodb.TID) error {
			_, err := e.Append(t.Context(), []*txnlog.Txn{txn(tid, data(1, prev, "state"))}, nil)
			return err
		}
		if err := write(10, 0); err != nil {
			t.Fatal(err)
		}
		p.lose(done, func() {
			if err := write(20, 10); !errors.Is(err, zodb.ErrCommitUnknown) {
				t.Fatalf("Append without an answer: %v", err)
			}
		})
		last := zodb.TID(10)
		if done {
			last = 20
		}
		if head, err := e.Settle(t.Context()); head != last || err != nil {
			t.Errorf("Settle = %v, %v, want %v", head, err, last)
		}
		if err := write(30, last); err != nil {
			t.Errorf("Append after that: %v", err)
		}
		want(t, near, "SELECT MAX(tid) FROM object_state WHERE zoid=1", "30")
	})
}

// TestSettleShared does so for a transaction with locks of its own, of which Settle says
// whether it was written.
func TestSettleShared(t *testing.T) {
	eachLoss(t, func(t *testing.T, form sqlstorage.Form, done bool) {
		e, p, near := behindProxy(t, sqlstorage.Options{Form: form, Shared: true})
		lock, err := e.Lock(t.Context(), []zodb.OID{1}, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer lock.Release()
		p.lose(done, func() {
			if _, err := lock.Commit(t.Context(), []*txnlog.Txn{txn(0, data(1, 0, "state"))}); !errors.Is(err, zodb.ErrCommitUnknown) {
				t.Fatalf("Commit without an answer: %v", err)
			}
		})
		n, err := lock.Settle(t.Context())
		if n != btoi(done) || err != nil {
			t.Errorf("Settle = %d, %v; done: %v", n, err, done)
		}
		want(t, near, "SELECT COUNT(*) FROM object_state WHERE zoid=1", []string{"0", "1"}[n])
		again, err := e.Lock(t.Context(), []zodb.OID{1}, nil, 0)
		if err != nil {
			t.Fatalf("the locks are not free: %v", err)
		}
		again.Release()
	})
}
