package interop

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/zeo/client"
	"github.com/zaridb/zari/zodb"
)

// pythonStorages is how many storages one server of Python's serves: each test of
// the contract has one of its own.
const pythonStorages = 400

// TestContractOverPython holds zeo/client to the contract over Python's server.
func TestContractOverPython(t *testing.T) {
	needPython(t)
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
	})
}
