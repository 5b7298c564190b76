package storagetest

import (
	"slices"
	"testing"

	"github.com/zaridb/zari/zodb"
)

var allCaps = []Cap{
	CapWatcher, CapSyncer, CapIterator, CapRecordIterator, CapHistorian, CapUndoer, CapPacker,
	CapBlobStore, CapRestorer, CapAppender, CapDeleter, CapPrefetcher, CapOutcomer, CapNoMerge,
}

// finders ask a storage for one ability each.
var finders = map[Cap]func(s zodb.Storage) bool{
	CapWatcher:        finds[zodb.Watcher],
	CapSyncer:         finds[zodb.Syncer],
	CapIterator:       finds[zodb.Iterator],
	CapRecordIterator: finds[zodb.RecordIterator],
	CapHistorian:      finds[zodb.Historian],
	CapUndoer:         finds[zodb.Undoer],
	CapPacker:         finds[zodb.Packer],
	CapBlobStore:      finds[zodb.BlobStore],
	CapRestorer:       finds[zodb.Restorer],
	CapAppender:       finds[zodb.Appender],
	CapDeleter:        finds[zodb.Deleter],
	CapPrefetcher:     finds[zodb.Prefetcher],
	CapOutcomer:       finds[zodb.Outcomer],
}

func finds[A any](s zodb.Storage) bool {
	_, ok := zodb.As[A](s)
	return ok
}

// txnFinders tell which ability of transactions an ability of the storage brings.
var txnFinders = map[Cap]func(txn zodb.Txn) bool{
	CapUndoer:    txnFinds[zodb.UndoTxn],
	CapDeleter:   txnFinds[zodb.DeleteTxn],
	CapRestorer:  txnFinds[zodb.RestoreTxn],
	CapBlobStore: txnFinds[zodb.BlobTxn],
	CapNoMerge:   txnFinds[zodb.NoMergeTxn],
}

func txnFinds[A any](txn zodb.Txn) bool {
	_, ok := zodb.As[A](txn)
	return ok
}

// Find returns the abilities that s has, those of its transactions included. It
// is what Harness.Caps should say; composites that work theirs out use it.
func Find(t testing.TB, s zodb.Storage) []Cap {
	t.Helper()
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		t.Fatalf("Begin: %v", err)
	}
	defer txn.Abort()
	var found []Cap
	for _, c := range allCaps {
		find, ok := finders[c]
		if ok && find(s) || !ok && txnFinders[c](txn) {
			found = append(found, c)
		}
	}
	return found
}

// need skips the test if the storage has not, and is not said to have, an
// ability; and fails it if the two differ.
func (t *T) need(caps ...Cap) {
	t.Helper()
	for _, c := range caps {
		listed := slices.Contains(t.H.Caps, c)
		found := slices.Contains(t.found, c)
		switch {
		case listed && !found:
			t.Fatalf("Harness.Caps lists %s, but zodb.As does not find it", c)
		case found && !listed:
			t.Fatalf("zodb.As finds %s, but Harness.Caps does not list it", c)
		case !found:
			t.Skipf("the storage has no %s", c)
		}
	}
}

// has reports whether the storage is said to have an ability.
func (t *T) has(c Cap) bool { return slices.Contains(t.H.Caps, c) }

// keepsHistory reports whether old revisions stay for good, also after a restart.
func (t *T) keepsHistory() bool { return t.has(CapHistorian) && !t.H.HistoryFree }

// ability returns an ability that the test needs.
func ability[A any](t *T, s zodb.Storage) A {
	t.Helper()
	a, ok := zodb.As[A](s)
	if !ok {
		t.Fatalf("zodb.As does not find %T", (*A)(nil))
	}
	return a
}

// txnAbility returns an ability of a transaction.
func txnAbility[A any](t *T, txn zodb.Txn) A {
	t.Helper()
	a, ok := zodb.As[A](txn)
	if !ok {
		t.Fatalf("zodb.As does not find %T in a transaction", (*A)(nil))
	}
	return a
}

var capsGroup = group{name: "caps", tests: []test{
	{name: "Listed", run: testCapsListed},
	{name: "Transactions", run: testCapsTransactions},
	{name: "Unknown", run: testCapsUnknown},
}}

func testCapsListed(t *T) {
	for _, c := range allCaps {
		listed, found := slices.Contains(t.H.Caps, c), slices.Contains(t.found, c)
		if listed != found {
			t.Errorf("%s: listed in Harness.Caps: %v, found by zodb.As: %v", c, listed, found)
		}
	}
	for _, c := range t.H.Caps {
		if !slices.Contains(allCaps, c) {
			t.Errorf("Harness.Caps lists %q, which is no ability", c)
		}
	}
}

// A storage has an ability exactly if its transactions have the one that goes
// with it.
func testCapsTransactions(t *T) {
	txn := t.begin()
	for c, find := range txnFinders {
		storage, ok := finders[c]
		if ok && storage(t.S) != find(txn) {
			t.Errorf("%s: of the storage: %v, of its transactions: %v", c, storage(t.S), find(txn))
		}
	}
}

// An ability that nobody has heard of is not there.
func testCapsUnknown(t *T) {
	type unheardOf interface{ unheardOf() }
	if finds[unheardOf](t.S) {
		t.Errorf("As of an unknown interface: found in the storage")
	}
	if txnFinds[unheardOf](t.begin()) {
		t.Errorf("As of an unknown interface: found in a transaction")
	}
}
