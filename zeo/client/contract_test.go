package client_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/engine/filestorage"
	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zeo/client"
	"github.com/zaridb/zari/zeo/server"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// upstream is a server for clients under test, which may be stopped and started.
type upstream struct {
	t       testing.TB
	addr    string
	codec   wire.Codec
	storage zodb.Storage

	mu  sync.Mutex
	srv *server.Server
	end chan error
}

// serve starts a server over a storage, which it closes at the end.
func serve(t testing.TB, s zodb.Storage, codec wire.Codec) *upstream {
	t.Helper()
	u := &upstream{t: t, addr: filepath.Join(t.TempDir(), "zeo"), codec: codec, storage: s}
	u.start()
	t.Cleanup(func() {
		u.stop()
		s.Close()
	})
	return u
}

func (u *upstream) start() {
	u.t.Helper()
	l, err := net.Listen("unix", u.addr)
	if err != nil {
		u.t.Fatal(err)
	}
	_, slow := zodb.As[zodb.Syncer](u.storage)
	srv, err := server.New(server.Options{Storages: map[string]zodb.Storage{"1": u.storage}, Codec: u.codec, SlowLoads: slow})
	if err != nil {
		u.t.Fatal(err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.srv, u.end = srv, make(chan error, 1)
	go func() { u.end <- srv.Serve(l) }()
}

// serveReadOnly serves a storage that clients must not write, and returns the address.
func serveReadOnly(t testing.TB, s zodb.Storage) string {
	t.Helper()
	addr := filepath.Join(t.TempDir(), "zeo")
	l, err := net.Listen("unix", addr)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Options{Storages: map[string]zodb.Storage{"1": s}, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return addr
}

func (u *upstream) stop() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.srv == nil {
		return
	}
	u.srv.Close()
	if err := <-u.end; !errors.Is(err, server.ErrServerClosed) {
		u.t.Errorf("Serve: %v", err)
	}
	u.srv = nil
}

func open(t testing.TB, opts client.Options) *client.Storage {
	t.Helper()
	opts.Wait = true
	s, err := client.Open(t.Context(), opts)
	if err != nil {
		t.Fatalf("client.Open: %v", err)
	}
	return s
}

func memory(t testing.TB) zodb.Storage {
	t.Helper()
	dir, err := blobs.Open(vfs.OS(), filepath.Join(t.TempDir(), "blobs"), "")
	if err != nil {
		t.Fatal(err)
	}
	return stored(t, memstorage.New(memstorage.Options{Blobs: dir}))
}

func file(t testing.TB) zodb.Storage {
	t.Helper()
	dir := t.TempDir()
	engine, err := filestorage.Open(filestorage.Options{Path: filepath.Join(dir, "Data.fs"), BlobDir: filepath.Join(dir, "blobs")})
	if err != nil {
		t.Fatal(err)
	}
	return stored(t, engine)
}

func stored(t testing.TB, engine store.Engine) zodb.Storage {
	t.Helper()
	s, err := store.Open(context.Background(), engine, store.Options{Resolver: storagetest.Counters{}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What the protocol cannot carry.
const (
	rewritten = "the protocol carries an extension as a dict: what comes back is an equal dict, pickled anew"
	byClass   = "the protocol does not say which records have blobs: the client goes by their class, and the test's have none"
)

// clients makes clients of servers, and knows the server of each.
type clients struct {
	mu      sync.Mutex
	options map[zodb.Storage]client.Options
	servers map[string]*upstream // by address
}

func (c *clients) open(t testing.TB, opts client.Options) zodb.Storage {
	t.Helper()
	s := open(t, opts)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.options[s] = opts
	return s
}

func (c *clients) of(s zodb.Storage) client.Options {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.options[s]
}

func (c *clients) restart(addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.servers[addr].stop()
	c.servers[addr].start()
}

func harness(codec wire.Codec, base func(testing.TB) zodb.Storage) storagetest.Harness {
	c := &clients{options: make(map[zodb.Storage]client.Options), servers: make(map[string]*upstream)}
	return storagetest.Harness{
		New: func(t testing.TB) zodb.Storage {
			u := serve(t, base(t), codec)
			c.mu.Lock()
			c.servers[u.addr] = u
			c.mu.Unlock()
			return c.open(t, client.Options{Addresses: []string{u.addr}, BlobDir: filepath.Join(t.TempDir(), "cache")})
		},
		Reopen: func(t testing.TB, s zodb.Storage) zodb.Storage {
			s.Close()
			c.restart(c.of(s).Addresses[0]) // which waits for commits that have begun
			return c.open(t, c.of(s))
		},
		ReadOnly: func(t testing.TB, s zodb.Storage) zodb.Storage {
			s.Close()
			opts := c.of(s)
			opts.ReadOnly = true
			return c.open(t, opts)
		},
		Peer: func(t testing.TB, s zodb.Storage) zodb.Storage {
			opts := c.of(s)
			opts.BlobDir = filepath.Join(t.TempDir(), "cache")
			return c.open(t, opts)
		},
		Caps:  storagetest.Without(storagetest.AllCaps(), storagetest.CapAppender, storagetest.CapPrefetcher, storagetest.CapNoMerge),
		Merge: storagetest.CountersMerge(),
		Bugs: map[string]string{
			"undo/Log":         rewritten,
			"iterate/Metadata": rewritten,
			"history/Metadata": rewritten,
			"restore/Status":   rewritten,
			"blob/Iterated":    byClass,
			"blob/Copy":        byClass,
			"blob/Pack":        "the client keeps blobs that the server has packed away, as Python's does",
		},
	}
}

func TestContractMemory(t *testing.T) { storagetest.Run(t, harness(wire.Pickle, memory)) }

func TestContractFile(t *testing.T) {
	if testing.Short() {
		t.Skip("TestContractMemory has the same tests")
	}
	storagetest.Run(t, harness(wire.Msgpack, file))
}

func BenchmarkContract(b *testing.B) { storagetest.Bench(b, harness(wire.Pickle, memory)) }

// TestLikeMemory runs generated sequences of operations over a server and without
// one: the histories must be equal.
func TestLikeMemory(t *testing.T) {
	direct := storagetest.Harness{New: memory}
	for seed := range uint64(3) {
		storagetest.Metamorphic(t, seed+1, map[string]storagetest.Harness{"memory": direct, "over a server": harness(wire.Pickle, memory)})
	}
}
