package memcached_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/internal/testmemcached"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/storagetest/bases"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/wrapper/memcached"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

func wrap(t testing.TB, base zodb.Storage, o memcached.Options) *memcached.Storage {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second // a busy machine is not a dead server
	}
	s, err := memcached.New(t.Context(), base, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	o := memcached.Options{Servers: []string{testmemcached.Start(t)}, Changed: 2} // many checkpoints
	looking := bases.Options{Resolver: storagetest.Counters{}, References: pickle.References}
	h := bases.Harness(bases.Memory(looking), func(t testing.TB, base zodb.Storage) zodb.Storage { return wrap(t, base, o) })
	h.Merge = storagetest.CountersMerge()
	storagetest.Run(t, h)
}

// counted is a storage that counts the loads that reach it.
type counted struct {
	zodb.Storage
	loads *atomic.Int64
}

func (c counted) As(target any) bool { return zodb.PassOn(c.Storage, target) }
func (c counted) Close() error       { return nil } // the data outlive it

func (c counted) LoadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
	c.loads.Add(1)
	return c.Storage.LoadBefore(ctx, oid, tid)
}

// database is a medium that servers can be opened on, one after the other or together.
type database struct {
	t     *testing.T
	base  *store.Store
	loads atomic.Int64
}

func newDatabase(t *testing.T) *database {
	base, err := store.Open(t.Context(), memstorage.New(memstorage.Options{}), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { base.Close() })
	return &database{t: t, base: base}
}

func (d *database) open(o memcached.Options) *memcached.Storage {
	s := wrap(d.t, counted{d.base, &d.loads}, o)
	d.t.Cleanup(func() { s.Close() })
	return s
}

// put commits a revision of an object.
func (d *database) put(oid zodb.OID, data string) {
	d.t.Helper()
	serial := zodb.TID(0)
	if rec, err := d.base.LoadBefore(d.t.Context(), oid, zodb.MaxTID); err == nil {
		serial = rec.Serial
	}
	txn, err := d.base.Begin(d.t.Context(), zodb.TxnMeta{})
	if err != nil {
		d.t.Fatal(err)
	}
	defer txn.Abort()
	if err := txn.Store(d.t.Context(), oid, serial, []byte(data)); err != nil {
		d.t.Fatal(err)
	}
	if votes, err := txn.Vote(d.t.Context()); err != nil || len(votes.Conflicts) > 0 {
		d.t.Fatal(votes, err)
	}
	if _, err := txn.Finish(d.t.Context(), nil); err != nil {
		d.t.Fatal(err)
	}
}

// get loads the newest revision, and reports whether the medium was asked.
func (d *database) get(s zodb.Storage, oid zodb.OID, want string) (asked bool) {
	d.t.Helper()
	before := d.loads.Load()
	rec, err := s.LoadBefore(d.t.Context(), oid, zodb.MaxTID)
	if err != nil || string(rec.Data) != want || rec.AsOf != s.LastTID() || rec.Next != 0 {
		d.t.Errorf("object %v: %q %+v, %v; want %q as of %v", oid, rec.Data, rec, err, want, s.LastTID())
	}
	return d.loads.Load() != before
}

// kept waits until memcached has the newest revision, which is written beside the loads.
func (d *database) kept(s zodb.Storage, oid zodb.OID, want string) {
	d.t.Helper()
	for range 2000 {
		if !d.get(s, oid, want) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	d.t.Fatalf("object %v does not come to be kept", oid)
}

// A server that starts finds what another one has left, but for what has changed since.
func TestRestart(t *testing.T) {
	d, o := newDatabase(t), memcached.Options{Servers: []string{testmemcached.Start(t)}, Prefix: "site"}
	for oid := range zodb.OID(3) {
		d.put(oid, "old")
	}
	first := d.open(o)
	for oid := range zodb.OID(3) {
		d.kept(first, oid, "old")
	}
	d.put(1, "later")
	d.kept(first, 1, "later")
	first.Close()
	d.put(2, "meanwhile")
	second := d.open(o)
	if d.get(second, 0, "old") {
		t.Error("what has not changed was loaded from the medium")
	}
	if !d.get(second, 2, "meanwhile") {
		t.Error("what has changed was not")
	}
	d.kept(second, 1, "later")
	d.kept(second, 2, "meanwhile")
	d.put(0, "new")
	d.kept(second, 0, "new")
}

// Two servers at the same time share what they keep.
func TestTogether(t *testing.T) {
	d, o := newDatabase(t), memcached.Options{Servers: []string{testmemcached.Start(t), testmemcached.Start(t)}}
	d.put(7, "start")
	one := d.open(o)
	d.kept(one, 7, "start")
	two := d.open(o)
	for n := range 5 {
		data := fmt.Sprint(n)
		d.put(7, data)
		d.kept(one, 7, data)
		if d.get(two, 7, data) {
			t.Error("the other server has to load what is kept")
		}
	}
}

// When the checkpoint moves, what was kept before is found still, once.
func TestCheckpointMoves(t *testing.T) {
	d, o := newDatabase(t), memcached.Options{Servers: []string{testmemcached.Start(t)}, Changed: 3}
	for oid := range zodb.OID(9) {
		d.put(oid, "old")
	}
	s := d.open(o)
	d.kept(s, 0, "old")
	d.kept(s, 1, "old")
	d.put(1, "new")
	for oid := zodb.OID(2); oid < 6; oid++ { // the checkpoint moves
		d.put(oid, "new")
	}
	if d.get(s, 0, "old") {
		t.Error("what was kept before the checkpoint moved is not found")
	}
	d.kept(s, 1, "new")
	for oid := zodb.OID(2); oid < 6; oid++ { // and again
		d.put(oid, "newer")
	}
	d.kept(s, 0, "old")
	d.kept(s, 3, "newer")
}

// Databases with one prefix do not get each other's records. Any prefix will do.
func TestTwoDatabases(t *testing.T) {
	address := testmemcached.Start(t)
	for _, prefix := range []string{"", "two words\r\n\x00", strings.Repeat("long ", 99)} {
		for _, data := range []string{"one", "two"} {
			d := newDatabase(t)
			d.put(1, data)
			d.kept(d.open(memcached.Options{Servers: []string{address}, Prefix: prefix}), 1, data)
		}
	}
}

// What a pack has removed is not found again.
func TestPack(t *testing.T) {
	d, o := newDatabase(t), memcached.Options{Servers: []string{testmemcached.Start(t)}}
	d.put(1, "kept")
	s := d.open(o)
	d.kept(s, 1, "kept")
	p, ok := zodb.As[zodb.Packer](s)
	if !ok {
		t.Fatal("no Packer")
	}
	if err := p.Pack(t.Context(), time.Now(), zodb.PackOptions{NoGC: true}); err != nil {
		t.Fatal(err)
	}
	if !d.get(s, 1, "kept") {
		t.Error("it is answered from memcached")
	}
	d.put(2, "next")
	if !d.get(s, 1, "kept") {
		t.Error("it is answered from memcached, after a commit")
	}
	d.kept(s, 1, "kept")
}

// Entries that are not what they have to be are misses.
func TestDamage(t *testing.T) {
	address := testmemcached.Start(t)
	d, o := newDatabase(t), memcached.Options{Servers: []string{address}, Prefix: "p"}
	d.put(1, "right")
	s := d.open(o)
	d.kept(s, 1, "right")
	key := fmt.Sprintf("p:%x:1:%x", d.base.Info().UUID, uint64(s.LastTID()))
	c := memcache.New(address)
	c.Timeout = 20 * time.Second
	item, err := c.Get(key)
	if err != nil {
		t.Fatal(err)
	}
	right := item.Value
	for _, wrong := range [][]byte{nil, []byte("x"), right[1:], right[:len(right)-1], append([]byte("zrc1"), make([]byte, 60)...), changed(right, 5), changed(right, len(right)/2), changed(right, len(right)-1)} {
		damaged := s.Stats().Damaged
		item.Value = wrong
		if err := c.Set(item); err != nil {
			t.Fatal(err)
		}
		d.get(s, 1, "right")
		if s.Stats().Damaged == damaged {
			t.Errorf("%q is not taken for damaged", wrong)
		}
		d.kept(s, 1, "right")
	}
}

func changed(b []byte, at int) []byte {
	c := append([]byte{}, b...)
	c[at] ^= 1
	return c
}

// A server that is not there, or does not answer, costs a try now and then, and nobody an
// error.
func TestDeadServers(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for name, address := range map[string]string{"silent": silent.Addr().String(), "gone": gone.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			d := newDatabase(t)
			d.put(1, "data")
			var dials, now atomic.Int64
			now.Store(1)
			s := d.open(memcached.Options{
				Servers: []string{address}, Timeout: 10 * time.Millisecond, Pause: time.Second,
				Clock: func() time.Time { return time.Unix(0, now.Load()) },
				Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
					dials.Add(1)
					return new(net.Dialer).DialContext(ctx, network, address)
				},
			})
			began := dials.Load() // it has been asked for the checkpoint
			for range 50 {
				if !d.get(s, 1, "data") {
					t.Error("who has answered?")
				}
			}
			if n := dials.Load(); began != 1 || n != began {
				t.Errorf("%d attempts at the start, and then %d", began, n-began)
			}
			now.Add(int64(2 * time.Second))
			for range 50 {
				d.get(s, 1, "data")
			}
			if n := dials.Load() - began; n != 1 {
				t.Errorf("%d attempts after a while, want 1", n)
			}
			if s.Stats().Failed == 0 {
				t.Error("nobody counts")
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for name, o := range map[string]memcached.Options{
		"no servers": {}, "address": {Servers: []string{"127.0.0.1:x"}},
	} {
		if s, err := memcached.New(t.Context(), newDatabase(t).base, o); err == nil {
			s.Close()
			t.Errorf("%s: no error", name)
		}
	}
	base := deaf{newDatabase(t).base}
	if _, err := memcached.New(t.Context(), base, memcached.Options{Servers: []string{"127.0.0.1:1"}}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("without a Watcher: %v", err)
	}
}

// deaf does not tell of commits.
type deaf struct{ zodb.Storage }
