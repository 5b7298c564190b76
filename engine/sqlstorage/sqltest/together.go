// Package sqltest has tests that every dialect of package sqlstorage must pass.
package sqltest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// Empty makes an empty database, and returns what opens it, again and again.
type Empty func(t *testing.T) (open func(shared bool) (sqlstorage.Dialect, error))

// servers is how many begin at the same moment.
const servers = 4

// StartTogether has several servers open an empty database at the same moment. Those that
// share it all find the tables made, whole and once; of those that do not one has the
// database in the end, and another one once that is gone.
func StartTogether(t *testing.T, empty Empty) {
	for _, form := range []sqlstorage.Form{sqlstorage.Preserving, sqlstorage.Free} {
		t.Run(form.String()+"/shared", func(t *testing.T) { startShared(t, form, empty(t)) })
		t.Run(form.String()+"/exclusive", func(t *testing.T) { startExclusive(t, form, empty(t)) })
	}
}

func startShared(t *testing.T, form sqlstorage.Form, open func(bool) (sqlstorage.Dialect, error)) {
	engines, errs := start(t, sqlstorage.Options{Form: form, Shared: true, Create: true}, open)
	for _, err := range errs {
		t.Errorf("a server that shares does not start: %v", err)
	}
	var last zodb.TID
	for i, e := range engines {
		commitShared(t, e, zodb.OID(i+1))
		tid, _ := e.Head()
		if tid <= last {
			t.Errorf("transaction %v comes after %v", tid, last)
		}
		last = tid
	}
}

// commitShared writes one object through the locks of the database.
func commitShared(t *testing.T, e *sqlstorage.Engine, oid zodb.OID) {
	t.Helper()
	lock, err := e.Lock(t.Context(), []zodb.OID{oid}, nil, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	if n, err := lock.Commit(t.Context(), []*txnlog.Txn{oneObject(0, oid)}); n != 1 || err != nil {
		t.Fatalf("Commit = %d, %v", n, err)
	}
}

func oneObject(tid zodb.TID, oid zodb.OID) *txnlog.Txn {
	return &txnlog.Txn{TID: tid, Status: ' ', Records: []txnlog.Record{{OID: oid, Data: []byte("state")}}}
}

func startExclusive(t *testing.T, form sqlstorage.Form, open func(bool) (sqlstorage.Dialect, error)) {
	engines, errs := start(t, sqlstorage.Options{Form: form, Create: true}, open)
	for _, err := range errs {
		if !errors.Is(err, sqlstorage.ErrBusy) {
			t.Errorf("a server that was too late says: %v", err)
		}
	}
	if len(engines) != 1 {
		t.Fatalf("%d of %d servers have the database for themselves", len(engines), servers)
	}
	if n, err := engines[0].Append(t.Context(), []*txnlog.Txn{oneObject(1, 1)}, nil); n != 1 || err != nil {
		t.Errorf("Append = %d, %v", n, err)
	}
	// As after a kill: the next server starts while the session of the last one still lives.
	gone := make(chan error)
	go func() {
		time.Sleep(200 * time.Millisecond)
		gone <- engines[0].Close()
	}()
	next, err := openEngine(t, sqlstorage.Options{Form: form}, open)
	if err := errors.Join(err, <-gone); err != nil {
		t.Fatalf("the next server: %v", err)
	}
	if tid, _ := next.Head(); tid != 1 {
		t.Errorf("the next server begins at %v", tid)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
}

// start opens a database several times at once.
func start(t *testing.T, o sqlstorage.Options, open func(bool) (sqlstorage.Dialect, error)) (engines []*sqlstorage.Engine, errs []error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range servers {
		wg.Go(func() {
			e, err := openEngine(t, o, open)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			engines = append(engines, e)
			t.Cleanup(func() { e.Close() })
		})
	}
	wg.Wait()
	return engines, errs
}

func openEngine(t *testing.T, o sqlstorage.Options, open func(bool) (sqlstorage.Dialect, error)) (*sqlstorage.Engine, error) {
	d, err := open(o.Shared)
	if err != nil {
		return nil, err
	}
	return sqlstorage.Open(t.Context(), d, o)
}
