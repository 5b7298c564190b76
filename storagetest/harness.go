package storagetest

import (
	"slices"
	"testing"
	"time"

	"github.com/zaridb/zari/zodb"
)

// Harness says how to make the storage under test. Only New is required. What a
// missing function makes impossible is skipped, by name.
type Harness struct {
	// New makes an empty storage. What is to be removed afterwards (files,
	// servers) it registers with t.Cleanup; the suite closes the storage itself.
	New func(t testing.TB) zodb.Storage

	// Reopen closes s, if it is not closed yet, and opens the same data.
	Reopen func(t testing.TB, s zodb.Storage) zodb.Storage

	// ReadOnly closes s, if it is not closed yet, and opens the same data such
	// that they cannot be written.
	ReadOnly func(t testing.TB, s zodb.Storage) zodb.Storage

	// Crash loses whatever s did not make durable, as a power failure does, and
	// opens the data again. It is called while transactions of s are under way;
	// they may fail, or hang until their context ends. seed chooses what is lost.
	Crash func(t testing.TB, s zodb.Storage, seed uint64) zodb.Storage

	// Peer opens a second handle on the data of s: another client of the same
	// server, another process on the same database.
	Peer func(t testing.TB, s zodb.Storage) zodb.Storage

	// Over makes an empty storage as New does, but passes each storage that it is
	// built on through wrap. Wrappers and composites set it: the fault group puts
	// failures there.
	Over func(t testing.TB, wrap func(zodb.Storage) zodb.Storage) zodb.Storage

	// Caps is exactly what zodb.As finds in the storage.
	Caps []Cap

	// HistoryFree says that the storage forgets what is overwritten: transactions lose
	// their metadata, and records that were overwritten. Revisions that were overwritten
	// lately can still be loaded, as long as the storage is open.
	HistoryFree bool

	// Merge is a conflict that the storage merges, nil if it merges none.
	Merge *Merge

	// Now is the clock that tids come from. Default time.Now.
	Now func() time.Time

	// Patience bounds every wait for something that must happen. Default 10 s.
	Patience time.Duration

	// Grace is how long a test looks on to see that something does not happen.
	// Default 15 ms.
	Grace time.Duration

	// Seed makes the random choices. Default 1.
	Seed uint64

	// Cannot maps a test ("locks/Disjoint") to the reason why the medium cannot pass
	// it. It is skipped: it would only wait in vain.
	Cannot map[string]string

	// Bugs maps a test ("undo/NotUndoable") to where its bug is reported. The
	// test must fail: once it passes, the entry must go.
	Bugs map[string]string
}

// Merge is a conflict that a storage merges by itself: A and B were both made
// from Base, and Merged is what comes out, whichever was committed first.
type Merge struct {
	Base, A, B, Merged []byte
}

// Cap names an optional ability of a storage.
type Cap string

// The abilities: the interfaces of package zodb by name. CapNoMerge is the one
// that only transactions have.
const (
	CapWatcher        Cap = "Watcher"
	CapSyncer         Cap = "Syncer"
	CapIterator       Cap = "Iterator"
	CapRecordIterator Cap = "RecordIterator"
	CapHistorian      Cap = "Historian"
	CapUndoer         Cap = "Undoer"
	CapPacker         Cap = "Packer"
	CapBlobStore      Cap = "BlobStore"
	CapRestorer       Cap = "Restorer"
	CapAppender       Cap = "Appender"
	CapDeleter        Cap = "Deleter"
	CapPrefetcher     Cap = "Prefetcher"
	CapOutcomer       Cap = "Outcomer"
	CapNoMerge        Cap = "NoMergeTxn"
)

// AllCaps returns every ability there is, for storages that have most of them.
func AllCaps() []Cap {
	return slices.Clone(allCaps)
}

// Without returns caps without some of them.
func Without(caps []Cap, not ...Cap) []Cap {
	return slices.DeleteFunc(slices.Clone(caps), func(c Cap) bool { return slices.Contains(not, c) })
}

func (h Harness) withDefaults() Harness {
	if h.Now == nil {
		h.Now = time.Now
	}
	if h.Patience == 0 {
		h.Patience = 10 * time.Second
	}
	if h.Grace == 0 {
		h.Grace = 15 * time.Millisecond
	}
	if h.Seed == 0 {
		h.Seed = 1
	}
	return h
}
