package interop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/zeo/client"
	"github.com/zaridb/zari/zodb"
)

// pythonStorages is how many storages one server of Python's serves: each test of
// the contract has one of its own.
const pythonStorages = 400

// What keeps Python's server from fulfilling the contract.
const (
	oneLock   = "Python's server locks the storage, not the objects"
	noLock    = "Python's server frees the lock while a client merges"
	rewritten = "the protocol carries an extension as a dict: what comes back is an equal dict, pickled anew"
	byClass   = "the protocol does not say which records have blobs: both sides go by their class, and the test's have none"
	noPrev    = "FileStorage refuses to restore a record whose previous revision is not there"
)

var pythonBugs = map[string]string{
	"sync/Interleaved":         oneLock,
	"check_current/Shared":     oneLock,
	"locks/Disjoint":           oneLock,
	"locks/Cancelled":          oneLock,
	"locks/ConflictsKeepLocks": noLock,
	"locks/ConflictsAborted":   noLock,
	"threads/Increments":       noLock,
	"undo/Log":                 rewritten,
	"iterate/Metadata":         rewritten,
	"history/Metadata":         rewritten,
	"restore/Status":           rewritten,
	"restore/FromMissing":      noPrev,
	"restore/AcrossPack":       noPrev,
	"blob/Iterated":            byClass,
	"blob/Undo":                byClass,
	"blob/UndoBelowALaterOne":  "FileStorage compares records, which are alike for all revisions of a blob, and overwrites the later one",
	"blob/Copy":                byClass,
	"blob/Pack":                "the client keeps blobs that the server has packed away, as Python's does",
	"pack/AfterUndo":           "FileStorage cannot pack the undo of a creation: Invalid backpointer transaction id",
	"pack/WhileVoted":          "FileStorage waits with packing until nothing is voted",
	"delete/Absent":            "FileStorage does not delete what is not there",
	"record_iterator/Deleted":  "Python's server does not tell of deletions",
}

// TestContractOverPython holds zeo/client to the contract over Python's server. It
// takes minutes, and is run where ZARI_ROUNDS is set.
func TestContractOverPython(t *testing.T) {
	needPython(t)
	if os.Getenv("ZARI_ROUNDS") == "" {
		t.Skip("set ZARI_ROUNDS to run it: it takes minutes")
	}
	dir := t.TempDir()
	var conf strings.Builder
	addr := freeAddr(t)
	fmt.Fprintf(&conf, "<zeo>\n  address %s\n  client-conflict-resolution true\n</zeo>\n", addr)
	for i := range pythonStorages {
		fmt.Fprintf(&conf, "<filestorage %d>\n  path %s/%d.fs\n  blob-dir %s/%d.blobs\n  pack-gc false\n</filestorage>\n", i, dir, i, dir, i)
	}
	path := filepath.Join(dir, "zeo.conf")
	writeFile(t, path, []byte(conf.String()))
	server := startCommand(t, dir, addr, []string{setup.python, "-m", "ZEO.runzeo", "-C", path})
	defer server.kill()

	var next atomic.Int64
	options := make(map[zodb.Storage]client.Options)
	open := func(t testing.TB, opts client.Options) zodb.Storage {
		t.Helper()
		opts.Addresses, opts.Wait = []string{addr}, true
		opts.BlobDir = filepath.Join(t.TempDir(), "cache")
		s, err := client.Open(context.Background(), opts)
		if err != nil {
			t.Fatal(err)
		}
		options[s] = opts
		return s
	}
	storagetest.Run(t, storagetest.Harness{
		New: func(t testing.TB) zodb.Storage {
			return open(t, client.Options{Storage: fmt.Sprint(next.Add(1))})
		},
		Reopen: func(t testing.TB, s zodb.Storage) zodb.Storage {
			s.Close()
			return open(t, options[s])
		},
		ReadOnly: func(t testing.TB, s zodb.Storage) zodb.Storage {
			s.Close()
			opts := options[s]
			opts.ReadOnly = true
			return open(t, opts)
		},
		Peer: func(t testing.TB, s zodb.Storage) zodb.Storage { return open(t, options[s]) },
		Caps: storagetest.Without(storagetest.AllCaps(),
			storagetest.CapAppender, storagetest.CapPrefetcher, storagetest.CapNoMerge, storagetest.CapOutcomer),
		Patience: 20 * time.Second, // one thread of Python serves everything
		Bugs:     pythonBugs,
	})
}
