package storagetest

import (
	"fmt"
	"sync"

	"github.com/zaridb/zari/zodb"
)

var oidsGroup = group{name: "oids", tests: []test{
	{name: "Fresh", run: testOIDsFresh},
	{name: "Concurrent", run: testOIDsConcurrent},
	{name: "NotStored", run: testOIDsNotStored},
	{name: "NotStoredByRestore", needs: []Cap{CapRestorer}, run: testOIDsNotRestored},
	{name: "AfterReopen", run: testOIDsAfterReopen},
	{name: "Aborted", run: testOIDsAborted},
}}

// oidSet finds oids that are handed out twice.
type oidSet struct {
	mu   sync.Mutex
	seen map[zodb.OID]bool
}

// take asks for n oids and checks them.
func (o *oidSet) take(t *T, s zodb.Storage, n int) ([]zodb.OID, error) {
	oids, err := s.NewOIDs(t.ctx, n)
	if err != nil {
		return nil, fmt.Errorf("NewOIDs(%d): %w", n, err)
	}
	if len(oids) < 1 || len(oids) > n {
		return nil, fmt.Errorf("NewOIDs(%d) returned %d", n, len(oids))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen == nil {
		o.seen = map[zodb.OID]bool{0: true} // the root is nobody's new object
	}
	for i, oid := range oids {
		if i > 0 && oid <= oids[i-1] {
			return nil, fmt.Errorf("NewOIDs(%d): %v after %v", n, oid, oids[i-1])
		}
		if o.seen[oid] {
			return nil, fmt.Errorf("NewOIDs(%d): %v was handed out, or is stored, already", n, oid)
		}
		o.seen[oid] = true
	}
	return oids, nil
}

// must is take for the test's own goroutine.
func (o *oidSet) must(t *T, n int) []zodb.OID {
	t.Helper()
	oids, err := o.take(t, t.S, n)
	if err != nil {
		t.Fatal(err)
	}
	return oids
}

func testOIDsFresh(t *T) {
	var set oidSet
	for _, n := range []int{1, 2, 100, 1, 1000, 7} {
		set.must(t, n)
	}
}

func testOIDsConcurrent(t *T) {
	var set oidSet
	t.together(8, func(int) error {
		for range 50 {
			if _, err := set.take(t, t.S, 10); err != nil {
				return err
			}
		}
		return nil
	})
}

// Clients store oids that they got elsewhere, or before a failover.
func testOIDsNotStored(t *T) {
	var set oidSet
	oids := set.must(t, 1)
	for _, ahead := range []zodb.OID{1, 10, 1000, 1 << 33} {
		oid := oids[0] + ahead
		t.put(oid, 0, Object(1))
		set.seen[oid] = true
		for range 30 {
			set.must(t, 1)
		}
	}
}

func testOIDsNotRestored(t *T) {
	var set oidSet
	oids := set.must(t, 1)
	for ahead := range zodb.OID(20) {
		set.seen[oids[0]+10+ahead] = true
		t.restore(zodb.TID(1000+ahead), zodb.TxnRecord{OID: oids[0] + 10 + ahead, Data: Object(1)})
	}
	for range 60 {
		set.must(t, 1)
	}
}

func testOIDsAfterReopen(t *T) {
	var set oidSet
	for range 3 {
		set.must(t, 10)
		t.put(set.must(t, 1)[0], 0, Object(1))
		set.must(t, 5) // handed out, not stored: a client may store them later
		t.reopen()
	}
	set.must(t, 10)
}

func testOIDsAborted(t *T) {
	var set oidSet
	for i := range 5 {
		txn := t.writing(write{set.must(t, 1)[0], 0, Object(i)})
		t.vote(txn)
		txn.Abort()
	}
	set.must(t, 10)
}
