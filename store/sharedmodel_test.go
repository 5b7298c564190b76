package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/internal/planted"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// This file is a model check of several servers on one database: clients with caches
// move money between accounts and count what they do, while sessions and answers get
// lost, and servers end. What they see is judged by these rules:
//
//   - order: a client is told of commits in the order of their tids, each once, its own
//     included.
//   - snapshot: the accounts have the same sum at whatever tid a client was told of last,
//     with what it has cached since before.
//   - lost-update: each revision was made from the one that it replaced; and all servers
//     count what the clients have counted.
//   - durable: what was acknowledged is there, and what failed is not.
//   - early-none: that a revision is forgotten is said after the client was told of the
//     transaction that has overwritten it.
const (
	modelAccounts = 6
	modelCounter  = zodb.OID(100)
	modelMoney    = 1000 // in each account
)

// world is one run of the model.
type world struct {
	t    *testing.T
	ctx  context.Context
	db   *memstorage.Shared
	free bool

	mu         sync.Mutex
	servers    []*server
	acked      map[zodb.TID]bool
	unknown    int // commits whose fate the client was not told
	violations []string

	steps, conflicts, forgotten atomic.Int64
}

// server is a Store that may be replaced by another one.
type server struct {
	*store.Store
	handle *memstorage.Handle
}

func (w *world) violation(rule, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.violations = append(w.violations, rule+": "+fmt.Sprintf(format, args...))
}

func (w *world) open() *server {
	h := w.db.Open()
	s, err := store.Open(w.ctx, h, store.Options{LockWait: 5 * time.Second})
	if err != nil {
		w.t.Fatal(err)
	}
	return &server{s, h}
}

func (w *world) server(i int) *server {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.servers[i]
}

// modelState is the state of an object: its value, and which revision it was made from.
func modelState(value int, base zodb.TID) []byte { return fmt.Appendf(nil, "%d %d", value, base) }

func modelValue(data []byte) (value int, base zodb.TID) {
	if _, err := fmt.Sscanf(string(data), "%d %d", &value, &base); err != nil {
		return -1, 0
	}
	return value, base
}

// session is a client's connection: it is told of commits in the order in which they are
// published.
type session struct {
	w      *world
	server *server

	mu      sync.Mutex
	view    zodb.TID
	changed map[zodb.OID]bool // since the client looked
	cache   map[zodb.OID]zodb.Record
	stop    func()
	stopped bool
}

func (w *world) connect(s *server) *session {
	c := &session{w: w, server: s, changed: make(map[zodb.OID]bool), cache: make(map[zodb.OID]zodb.Record)}
	c.mu.Lock()
	defer c.mu.Unlock()
	view, unobserve := s.Observe(c.told)
	c.view = view
	c.stop = func() {
		unobserve()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stopped = true
	}
	return c
}

func (c *session) told(change zodb.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if change.TID <= c.view {
		c.w.violation("order", "told of %v after %v", change.TID, c.view)
	}
	c.view = change.TID
	for _, oid := range change.OIDs {
		c.changed[oid] = true
	}
}

// committed is told of the client's own commit, right after all clients were.
func (c *session) committed(tid zodb.TID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if tid != c.view && !c.stopped { // a commit in doubt may outlive the connection
		c.w.violation("order", "the own commit %v was told at the view %v", tid, c.view)
	}
}

// begin moves the client to what it was told last.
func (c *session) begin() zodb.TID {
	c.mu.Lock()
	defer c.mu.Unlock()
	for oid := range c.changed {
		delete(c.cache, oid)
	}
	clear(c.changed)
	return c.view
}

var errForgotten = errors.New("forgotten")

// load reads an object as of a tid that the client was told of.
func (c *session) load(oid zodb.OID, at zodb.TID) (zodb.Record, error) {
	if rec, ok := c.cache[oid]; ok {
		return rec, nil
	}
	rec, err := c.server.LoadBefore(c.w.ctx, oid, at+1)
	if missing, ok := errors.AsType[*zodb.NoObjectError](err); ok && missing.Known && c.w.free {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.view == at {
			c.w.violation("early-none", "%v before %v is said to be gone, and nothing that was told has overwritten it", oid, at+1)
		}
		return rec, errForgotten
	}
	if err != nil {
		return rec, err
	}
	if rec.Serial > at {
		c.w.violation("snapshot", "object %v at %v has the revision %v", oid, at, rec.Serial)
	}
	if rec.Next == 0 && oid%2 == 0 { // as those that a client uses often
		c.cache[oid] = rec
	}
	return rec, nil
}

// look reads all accounts and checks their sum.
func (c *session) look() error {
	at := c.begin()
	sum, seen := 0, ""
	for oid := range zodb.OID(modelAccounts) {
		rec, err := c.load(oid, at)
		if err != nil {
			return err
		}
		value, _ := modelValue(rec.Data)
		sum += value
		seen += fmt.Sprintf(" %v: %d by %v", oid, value, rec.Serial)
	}
	if sum != modelAccounts*modelMoney {
		c.w.violation("snapshot", "the sum at %v is %d:%s", at, sum, seen)
	}
	return nil
}

// move moves money from one account to another and counts that.
func (c *session) move(rnd *rand.Rand) error {
	at := c.begin()
	txn, err := c.server.Begin(c.w.ctx, zodb.TxnMeta{})
	if err != nil {
		return err
	}
	defer txn.Abort()
	from := zodb.OID(rnd.IntN(modelAccounts))
	to := (from + 1 + zodb.OID(rnd.IntN(modelAccounts-1))) % modelAccounts
	amount := rnd.IntN(100)
	for oid, add := range map[zodb.OID]int{from: -amount, to: amount, modelCounter + zodb.OID(rnd.IntN(2)): 1} {
		rec, err := c.load(oid, at)
		if err != nil {
			return err
		}
		value, _ := modelValue(rec.Data)
		txn.Store(c.w.ctx, oid, rec.Serial, modelState(value+add, rec.Serial))
	}
	votes, err := txn.Vote(c.w.ctx)
	if err != nil {
		return err
	}
	if len(votes.Conflicts) > 0 {
		return &zodb.ConflictError{OID: votes.Conflicts[0].OID}
	}
	if rnd.IntN(20) == 0 {
		c.server.handle.LoseSessions()
	}
	if rnd.IntN(4) == 0 {
		time.Sleep(time.Duration(rnd.IntN(2000)) * time.Microsecond)
	}
	tid, err := txn.Finish(c.w.ctx, c.committed)
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	switch {
	case err == nil:
		c.w.acked[tid] = true
	case errors.Is(err, zodb.ErrCommitUnknown):
		c.w.unknown++
	}
	return err
}

// client runs one client on a server that may be replaced.
func (w *world) client(i, steps int, seed uint64, step func(*session, *rand.Rand) error) {
	rnd := rand.New(rand.NewPCG(seed, uint64(i)))
	c := w.connect(w.server(i % len(w.servers)))
	defer func() { c.stop() }()
	for range steps {
		err := step(c, rnd)
		conflict := new(zodb.ConflictError)
		switch {
		case err == nil:
			w.steps.Add(1)
		case errors.As(err, &conflict):
			w.conflicts.Add(1)
		case errors.Is(err, errForgotten):
			w.forgotten.Add(1)
		case errors.Is(err, zodb.ErrClosed):
			c.stop()
			c = w.connect(w.server(i % len(w.servers)))
		}
		if w.ctx.Err() != nil {
			w.t.Errorf("client %d: no end: %v", i, err)
			return
		}
	}
}

// run runs the model, and returns what was wrong.
func runModel(t *testing.T, free bool, seed uint64, steps int, f memstorage.Faults) []string {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute+time.Duration(steps)*time.Second)
	defer cancel()
	f.Seed = seed
	w := &world{t: t, ctx: ctx, free: free, acked: make(map[zodb.TID]bool)}
	w.db = memstorage.NewShared(memstorage.Options{HistoryFree: free}, nil, f)
	for range 3 {
		w.servers = append(w.servers, w.open())
	}
	w.initial()
	var running, all sync.WaitGroup
	var over atomic.Bool
	for i := range 6 {
		running.Go(func() { w.client(i, steps, seed, (*session).move) })
	}
	for i := range 3 {
		all.Go(func() {
			for !over.Load() && ctx.Err() == nil {
				w.client(i, 20, seed, func(c *session, _ *rand.Rand) error { return c.look() })
			}
		})
	}
	all.Go(func() { w.replaceServers(seed, &over) })
	running.Wait()
	over.Store(true)
	all.Wait()
	w.judge()
	t.Logf("seed %d: %d steps, %d acknowledged, %d not known, %d conflicts, %d forgotten", seed, w.steps.Load(), len(w.acked), w.unknown, w.conflicts.Load(), w.forgotten.Load())
	return w.violations
}

func (w *world) initial() {
	for {
		txn, err := w.servers[0].Begin(w.ctx, zodb.TxnMeta{})
		if err != nil {
			w.t.Fatal(err)
		}
		for oid := range zodb.OID(modelAccounts) {
			txn.Store(w.ctx, oid, 0, modelState(modelMoney, 0))
		}
		txn.Store(w.ctx, modelCounter, 0, modelState(0, 0))
		txn.Store(w.ctx, modelCounter+1, 0, modelState(0, 0))
		if _, err := txn.Vote(w.ctx); err == nil {
			if _, err := txn.Finish(w.ctx, nil); err == nil {
				break
			}
		}
		w.sync()
		if w.servers[0].LastTID() != 0 {
			break // the answer was lost
		}
	}
	w.sync()
}

func (w *world) sync() {
	for _, s := range w.servers {
		y, ok := zodb.As[zodb.Syncer](s.Store)
		if !ok {
			w.t.Fatal("a shared store has no Syncer")
		}
		if err := y.Sync(w.ctx); err != nil {
			w.t.Fatal(err)
		}
	}
}

// replaceServers ends one server now and then, whatever it is doing, and starts another.
func (w *world) replaceServers(seed uint64, over *atomic.Bool) {
	rnd := rand.New(rand.NewPCG(seed, 99))
	for !over.Load() && w.ctx.Err() == nil {
		time.Sleep(time.Duration(20+rnd.IntN(40)) * time.Millisecond)
		i := rnd.IntN(len(w.servers))
		old, fresh := w.server(i), w.open()
		w.mu.Lock()
		w.servers[i] = fresh
		w.mu.Unlock()
		old.handle.Close()
		old.Close()
	}
}

// judge looks at what is left in the end.
func (w *world) judge() {
	defer func() {
		for _, s := range w.servers {
			s.Close()
		}
	}()
	w.sync()
	last := w.servers[0].LastTID()
	for _, s := range w.servers {
		if s.LastTID() != last {
			w.violation("order", "servers end at %v and %v", last, s.LastTID())
		}
		c := w.connect(s)
		if err := c.look(); err != nil {
			w.violation("snapshot", "in the end: %v", err)
		}
		count := 0
		for i := range zodb.OID(2) {
			rec, err := c.load(modelCounter+i, last)
			if err != nil {
				w.violation("durable", "a counter in the end: %v", err)
			}
			n, _ := modelValue(rec.Data)
			count += n
		}
		if count < len(w.acked) || count > len(w.acked)+w.unknown {
			w.violation("lost-update", "%d transactions are counted; %d were acknowledged, and of %d that is not known", count, len(w.acked), w.unknown)
		}
		c.stop()
	}
	if !w.free {
		w.judgeHistory()
	}
}

// judgeHistory reads all transactions.
func (w *world) judgeHistory() {
	newest := make(map[zodb.OID]zodb.TID)
	found := make(map[zodb.TID]bool)
	for txn, err := range w.servers[0].Transactions(w.ctx, 0, 0) {
		if err != nil {
			w.t.Fatal(err)
		}
		found[txn.TID] = true
		for _, r := range txn.Records {
			if _, base := modelValue(r.Data); base != newest[r.OID] {
				w.violation("lost-update", "revision %v of %v was made from %v, and replaced %v", txn.TID, r.OID, base, newest[r.OID])
			}
			newest[r.OID] = txn.TID
		}
	}
	for tid := range w.acked {
		if !found[tid] {
			w.violation("durable", "transaction %v was acknowledged and is not there", tid)
		}
	}
	if n := len(found) - 1; n > len(w.acked)+w.unknown { // one made the objects
		w.violation("durable", "there are %d transactions; %d were acknowledged, and of %d that is not known", n, len(w.acked), w.unknown)
	}
}

var modelFaults = memstorage.Faults{Delay: 200 * time.Microsecond, LostSessions: 30, LostReplies: 25, LostCommits: 60, LateCommits: 40}

// TestSharedModel is the model check, of a few runs. ZARI_STEPS makes it longer.
func TestSharedModel(t *testing.T) {
	steps, seeds := 30, uint64(1)
	if s := os.Getenv("ZARI_STEPS"); s != "" {
		fmt.Sscan(s, &steps)
	}
	if os.Getenv("ZARI_PLANTED") != "" {
		seeds = 5
	}
	for _, free := range []bool{false, true} {
		t.Run(fmt.Sprintf("free=%v", free), func(t *testing.T) {
			for seed := range seeds {
				shown := make(map[string]int)
				for _, v := range runModel(t, free, seed, steps, modelFaults) {
					rule, _, _ := strings.Cut(v, ":")
					if shown[rule]++; shown[rule] <= 2 {
						t.Errorf("seed %d: %s", seed, v)
					}
				}
				if t.Failed() {
					return
				}
			}
		})
	}
}

// TestSharedModelFinds proves that the model check finds what it is there to find.
func TestSharedModelFinds(t *testing.T) {
	if testing.Short() || planted.Enabled {
		t.Skip("planted bugs are left to the full run")
	}
	binary := filepath.Join(t.TempDir(), "planted.test")
	if out, err := exec.Command("go", "test", "-c", "-tags", "planted", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("building: %v: %s", err, out)
	}
	rules := map[string]string{
		"":                      "",
		"OwnCommitFirst":        "order: ",
		"SkipSecondCheck":       "lost-update: ",
		"NoneBeforePublication": "early-none: ",
	}
	for _, bug := range append(planted.Shared(), "") {
		t.Run("bug="+bug, func(t *testing.T) {
			rule, ok := rules[bug]
			if !ok {
				t.Fatal("it is not known by what this bug shows")
			}
			cmd := exec.Command(binary, "-test.run", "^TestSharedModel$")
			cmd.Env = append(os.Environ(), "ZARI_PLANTED="+bug)
			out, err := cmd.CombinedOutput()
			switch {
			case bug == "" && err != nil:
				t.Errorf("without a bug: %v\n%s", err, out)
			case bug != "" && (err == nil || !strings.Contains(string(out), rule)):
				t.Errorf("not found: %v\n%s", err, out)
			}
		})
	}
}
