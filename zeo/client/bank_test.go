package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zaridb/zari/zeo/client"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

const (
	accounts = 6
	balance  = 100
)

// bank moves money between accounts, through clients whose connections break. The
// sum is always the same.
type bank struct {
	t    *testing.T
	ctx  context.Context
	stop atomic.Bool

	mu      sync.Mutex
	acked   map[string]zodb.TID // transactions by their description
	unknown map[string]bool
	failed  map[string]bool // said not to be committed
	broken  int             // operations that failed because of the connection
}

func newBank(t *testing.T, ctx context.Context) *bank {
	return &bank{t: t, ctx: ctx, acked: make(map[string]zodb.TID), unknown: make(map[string]bool), failed: make(map[string]bool)}
}

func (b *bank) open(s zodb.Storage) {
	b.t.Helper()
	txn, err := s.Begin(b.ctx, zodb.TxnMeta{Description: []byte("opening")})
	if err != nil {
		b.t.Fatal(err)
	}
	for i := range accounts {
		if err := txn.Store(b.ctx, zodb.OID(i), 0, amount(balance)); err != nil {
			b.t.Fatal(err)
		}
	}
	if _, err := txn.Vote(b.ctx); err != nil {
		b.t.Fatal(err)
	}
	if _, err := txn.Finish(b.ctx, nil); err != nil {
		b.t.Fatal(err)
	}
}

func amount(n int) []byte { return []byte(strconv.Itoa(n)) }

// transfer is one transaction. It returns why it did not commit, if that is no
// conflict.
func (b *bank) transfer(s zodb.Storage, name string, rnd *rand.Rand) error {
	from, to := zodb.OID(rnd.IntN(accounts)), zodb.OID(rnd.IntN(accounts))
	if from == to {
		return nil
	}
	at := s.LastTID() + 1
	a, err := s.LoadBefore(b.ctx, from, at)
	if err != nil {
		return err
	}
	z, err := s.LoadBefore(b.ctx, to, at)
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(string(a.Data))
	m, _ := strconv.Atoi(string(z.Data))
	txn, err := s.Begin(b.ctx, zodb.TxnMeta{Description: []byte(name)})
	if err != nil {
		return err
	}
	defer txn.Abort()
	sum := 1 + rnd.IntN(9)
	err = errors.Join(txn.Store(b.ctx, from, a.Serial, amount(n-sum)), txn.Store(b.ctx, to, z.Serial, amount(m+sum)))
	if err == nil {
		var votes zodb.Votes
		votes, err = txn.Vote(b.ctx)
		if err == nil && len(votes.Conflicts) > 0 {
			return nil
		}
	}
	if err != nil {
		b.note(b.failed, name)
		return err
	}
	tid, err := txn.Finish(b.ctx, nil)
	switch {
	case err == nil:
		b.mu.Lock()
		b.acked[name] = tid
		b.mu.Unlock()
	case errors.Is(err, zodb.ErrCommitUnknown):
		b.note(b.unknown, name)
	default:
		b.note(b.failed, name)
	}
	return err
}

func (b *bank) note(in map[string]bool, name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	in[name] = true
}

// write makes transfers until it is told to stop.
func (b *bank) write(s zodb.Storage, name string, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	for i := 0; !b.stop.Load(); i++ {
		if err := b.transfer(s, fmt.Sprintf("%s-%d", name, i), rnd); err != nil {
			b.excuse(err)
		}
	}
}

// excuse fails the test for errors that a broken connection does not explain.
func (b *bank) excuse(err error) {
	_, conflict := errors.AsType[*zodb.ConflictError](err)
	if conflict {
		return
	}
	b.mu.Lock()
	b.broken++
	b.mu.Unlock()
	_, python := errors.AsType[*wire.PyError](err) // what a server says whose own server is not there
	if !errors.Is(err, client.ErrDisconnected) && !errors.Is(err, zodb.ErrCommitUnknown) && !python {
		b.t.Errorf("not because of the connection: %v", err)
	}
}

// read adds up the accounts as of the last transaction, over and over.
func (b *bank) read(s zodb.Storage) {
	var last zodb.TID
	for ; !b.stop.Load(); time.Sleep(500 * time.Microsecond) {
		at := s.LastTID()
		if at < last {
			b.t.Errorf("LastTID went back from %v to %v", last, at)
		}
		last = at
		sum := 0
		for i := range accounts {
			rec, err := s.LoadBefore(b.ctx, zodb.OID(i), at+1)
			if err != nil {
				b.excuse(err)
				sum = -1
				break
			}
			n, _ := strconv.Atoi(string(rec.Data))
			sum += n
		}
		if sum != -1 && sum != accounts*balance {
			b.t.Errorf("as of %v the accounts have %d, want %d", at, sum, accounts*balance)
		}
	}
}

// watch keeps the accounts as ZODB's clients do: it drops what it is told has
// changed, and believes the rest.
func (b *bank) watch(s *client.Storage) (stop func()) {
	var mu sync.Mutex
	known := make(map[zodb.OID]zodb.Record)
	var view zodb.TID
	mu.Lock()
	first, unobserve := s.Observe(func(c zodb.Change) {
		mu.Lock()
		defer mu.Unlock()
		if c.TID < view || c.TID == view && c.Missed == zodb.NothingMissed {
			b.t.Errorf("told of %v after %v", c.TID, view)
		}
		if c.Missed == zodb.MissedUnknown {
			clear(known)
		}
		for _, oid := range c.OIDs {
			delete(known, oid)
		}
		view = c.TID
	})
	view = first
	mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() {
		for ; !b.stop.Load(); time.Sleep(500 * time.Microsecond) {
			b.look(s, &mu, known, func() zodb.TID { return view })
		}
	})
	return func() { unobserve(); wg.Wait() }
}

func (b *bank) look(s *client.Storage, mu *sync.Mutex, known map[zodb.OID]zodb.Record, view func() zodb.TID) {
	for i := range accounts {
		oid := zodb.OID(i)
		mu.Lock()
		_, ok := known[oid]
		at := view()
		mu.Unlock()
		if ok {
			continue
		}
		rec, err := s.LoadBefore(b.ctx, oid, at+1)
		if err != nil {
			b.excuse(err)
			return
		}
		mu.Lock()
		if view() == at {
			known[oid] = rec
		}
		mu.Unlock()
	}
	mu.Lock()
	defer mu.Unlock()
	if len(known) < accounts {
		return
	}
	sum := 0
	for _, rec := range known {
		n, _ := strconv.Atoi(string(rec.Data))
		sum += n
	}
	if sum != accounts*balance {
		b.t.Errorf("at %v the cache has %d, want %d: %v", view(), sum, accounts*balance, known)
	}
}

// audit compares what clients were told of their transactions with what there is.
func (b *bank) audit(s zodb.Storage) {
	b.t.Helper()
	there := make(map[string]zodb.TID)
	it, _ := zodb.As[zodb.Iterator](s)
	for t, err := range it.Transactions(context.Background(), 0, 0) {
		if err != nil {
			b.t.Fatal(err)
		}
		there[string(t.Description)] = t.TID
	}
	for name, tid := range b.acked {
		if there[name] != tid {
			b.t.Errorf("%s was acknowledged as %v, and is %v", name, tid, there[name])
		}
	}
	for name := range b.failed {
		if tid, ok := there[name]; ok {
			b.t.Errorf("%s is said not to be committed, and is: %v", name, tid)
		}
	}
	b.t.Logf("%d commits acknowledged, %d of %d in doubt are there, %d failed, %d operations disturbed",
		len(b.acked), len(there)-1-len(b.acked), len(b.unknown), len(b.failed), b.broken)
	if len(b.acked) == 0 {
		b.t.Error("nothing was committed")
	}
}

// rounds is how often a connection is broken: 12, or what ZARI_ROUNDS says.
func rounds(t *testing.T) int {
	n := 12
	if text := os.Getenv("ZARI_ROUNDS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatalf("ZARI_ROUNDS: %v", err)
		}
	}
	return n
}

// link is a server and what is in front of it.
type link struct {
	*upstream
	*proxy
}

func newLink(t *testing.T, s zodb.Storage, codec wire.Codec) link {
	u := serve(t, s, codec)
	return link{u, newProxy(t, u.addr)}
}

// disturb does one thing to a link.
func (l link) disturb(rnd *rand.Rand) {
	pause := time.Duration(rnd.IntN(60)) * time.Millisecond
	switch rnd.IntN(4) {
	case 0:
		l.cut()
	case 1:
		l.hold(pause)
	case 2:
		l.deafen(pause)
	case 3:
		l.stop()
		time.Sleep(pause)
		l.start()
	}
}

// Connections break, answers get lost and servers restart, at each link of a chain:
// nothing is lost that was acknowledged, nothing is there that was said not to be,
// and whoever looks sees all the money.
func TestBank(t *testing.T) {
	for _, depth := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d servers", depth), func(t *testing.T) { testBank(t, depth) })
	}
}

func testBank(t *testing.T, depth int) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	base := memory(t)
	b := newBank(t, ctx)
	b.open(base)
	var s zodb.Storage = base
	var links []link
	for i := range depth {
		links = append(links, newLink(t, s, []wire.Codec{wire.Pickle, wire.Msgpack}[i%2]))
		if i+1 < depth {
			s = open(t, client.Options{Addresses: []string{links[i].proxy.addr}, MaxRetry: 50 * time.Millisecond})
		}
	}
	var wg sync.WaitGroup
	var closers []func()
	for i := range 2 {
		c := open(t, client.Options{Addresses: []string{links[depth-1].proxy.addr}, MaxRetry: 50 * time.Millisecond, CacheBytes: int64(1-2*i) * 4000})
		for w := range 2 {
			wg.Go(func() { b.write(c, fmt.Sprintf("client %d writer %d", i, w), uint64(10*i+w)) })
		}
		wg.Go(func() { b.read(c) })
		stop := b.watch(c)
		closers = append(closers, func() { stop(); c.Close() })
	}
	rnd := rand.New(rand.NewPCG(uint64(depth), 1))
	for range rounds(t) {
		time.Sleep(time.Duration(20+rnd.IntN(150)) * time.Millisecond)
		links[rnd.IntN(depth)].disturb(rnd)
	}
	time.Sleep(200 * time.Millisecond)
	b.stop.Store(true)
	wg.Wait()
	for _, fn := range closers {
		fn()
	}
	links[depth-1].stop() // and what it has begun
	b.audit(base)
}
