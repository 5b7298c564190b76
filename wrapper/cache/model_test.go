package cache_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/internal/planted"
	"github.com/zaridb/zari/internal/testmemcached"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/wrapper/cache"
	"github.com/zaridb/zari/wrapper/memcached"
	"github.com/zaridb/zari/zodb"
)

// This file is a model check of caches over one database that several servers write to,
// and whose answers are slow: readers ask for current and for older revisions, observers
// ask for what they are told of, and each answer is compared afterwards with all that was
// committed.

const modelObjects = 5

// slow is a storage whose answers are under way for a while, on both ways.
type slow struct{ zodb.Storage }

func (s slow) As(target any) bool { return zodb.PassOn(s.Storage, target) }

func (s slow) LoadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
	dawdle()
	rec, err := s.Storage.LoadBefore(ctx, oid, tid)
	dawdle()
	return rec, err
}

func dawdle() {
	if rand.IntN(2) == 0 {
		time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
	}
}

// commitment is a revision that was committed.
type commitment struct {
	serial  zodb.TID
	data    string
	deleted bool
}

// answer is what a reader got.
type answer struct {
	oid  zodb.OID
	tid  zodb.TID // that was asked for
	last zodb.TID // LastTID before the question
	rec  zodb.Record
	err  error
}

// world is one run of the model.
type world struct {
	t       *testing.T
	ctx     context.Context
	free    bool
	servers []zodb.Storage
	steps   atomic.Int64

	mu      sync.Mutex
	history map[zodb.OID][]commitment
	answers []answer
}

// newWorld makes a world whose servers also share memcached, if there is an address.
func newWorld(t *testing.T, seed uint64, free bool, memcachedAt string) *world {
	w := &world{t: t, ctx: t.Context(), free: free, history: make(map[zodb.OID][]commitment)}
	db := memstorage.NewShared(memstorage.Options{HistoryFree: free}, nil, memstorage.Faults{Seed: seed})
	for i := range 2 {
		s, err := store.Open(w.ctx, db.Open(), store.Options{LockWait: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		var base zodb.Storage = slow{s}
		if memcachedAt != "" {
			o := memcached.Options{Servers: []string{memcachedAt}, Changed: 3, Timeout: 20 * time.Second}
			if base, err = memcached.New(w.ctx, base, o); err != nil {
				t.Fatal(err)
			}
		}
		c, err := cache.New(base, cache.Options{Bytes: []int64{1 << 20, 4 << 10}[i]})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		w.servers = append(w.servers, c)
	}
	return w
}

// load asks for a revision, and notes the answer.
func (w *world) load(s zodb.Storage, oid zodb.OID, tid zodb.TID) {
	a := answer{oid: oid, tid: tid, last: s.LastTID()}
	a.rec, a.err = s.LoadBefore(w.ctx, oid, tid)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers = append(w.answers, a)
	w.steps.Add(1)
}

// write commits new states of one or two objects, or deletes one.
func (w *world) write(s zodb.Storage, rnd *rand.Rand) {
	txn, err := s.Begin(w.ctx, zodb.TxnMeta{})
	if err != nil {
		w.t.Error(err)
		return
	}
	defer txn.Abort()
	made := make(map[zodb.OID]commitment)
	for range 1 + rnd.IntN(2) {
		oid := zodb.OID(rnd.IntN(modelObjects))
		serial, err := newest(w.ctx, s, oid)
		if err != nil {
			w.t.Error(err)
			return
		}
		data := fmt.Sprintf("object %d, %x", oid, rnd.Uint64())
		if d, ok := zodb.As[zodb.DeleteTxn](txn); ok && rnd.IntN(10) == 0 && serial != 0 {
			err, made[oid] = d.Delete(w.ctx, oid, serial), commitment{deleted: true}
		} else {
			err, made[oid] = txn.Store(w.ctx, oid, serial, []byte(data)), commitment{data: data}
		}
		if err != nil {
			w.t.Error(err)
			return
		}
	}
	votes, err := txn.Vote(w.ctx)
	if _, conflict := errors.AsType[*zodb.ConflictError](err); conflict || len(votes.Conflicts) > 0 {
		return
	}
	if err == nil {
		var tid zodb.TID
		tid, err = txn.Finish(w.ctx, nil)
		w.mu.Lock()
		defer w.mu.Unlock()
		for oid, c := range made {
			c.serial = tid
			w.history[oid] = append(w.history[oid], c)
		}
	}
	if err != nil {
		w.t.Error(err)
	}
}

// newest returns the serial of the newest revision, a deletion included.
func newest(ctx context.Context, s zodb.Storage, oid zodb.OID) (zodb.TID, error) {
	rec, err := s.LoadBefore(ctx, oid, zodb.MaxTID)
	if missing, ok := errors.AsType[*zodb.NoObjectError](err); ok {
		return missing.DeletedAt, nil
	}
	return rec.Serial, err
}

// run lets writers, readers and an observer at each server work for a number of commits.
func (w *world) run(seed uint64, commits int) {
	var wg sync.WaitGroup
	var over atomic.Bool
	var writing sync.WaitGroup
	for i, s := range w.servers {
		views := make(chan zodb.TID, 64)
		_, stop := zodbWatcher(w.t, s).Observe(func(c zodb.Change) {
			select {
			case views <- c.TID: // readers who ask at once for what they were told of
			default:
			}
			if len(c.OIDs) > 0 {
				w.load(s, c.OIDs[0], c.TID+1)
			}
		})
		defer stop()
		writing.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(i)))
			for range commits {
				w.write(s, rnd)
			}
		})
		for r := range 6 {
			rnd := rand.New(rand.NewPCG(seed, uint64(100+10*i+r)))
			wg.Go(func() {
				view := s.LastTID()
				for !over.Load() {
					dawdle()
					select {
					case view = <-views:
					default:
					}
					tid := zodb.MaxTID
					if rnd.IntN(3) > 0 {
						tid = view + 1
					}
					w.load(s, zodb.OID(rnd.IntN(modelObjects)), tid)
				}
			})
		}
	}
	writing.Wait()
	over.Store(true)
	wg.Wait()
}

func zodbWatcher(t *testing.T, s zodb.Storage) zodb.Watcher {
	t.Helper()
	watcher, ok := zodb.As[zodb.Watcher](s)
	if !ok {
		t.Fatal("no Watcher")
	}
	return watcher
}

// judge compares all answers with what was committed.
func (w *world) judge() {
	for _, list := range w.history {
		slices.SortFunc(list, func(a, b commitment) int { return int(int64(a.serial) - int64(b.serial)) })
	}
	wrong := 0
	for _, a := range w.answers {
		if why := w.wrong(a); why != "" {
			if wrong++; wrong <= 5 {
				w.t.Errorf("%v before %v, when %v was the last: %v %+v: %s", a.oid, a.tid, a.last, a.err, a.rec, why)
			}
		}
	}
	if wrong > 5 {
		w.t.Errorf("and %d wrong answers more", wrong-5)
	}
}

// wrong tells what is wrong with an answer, "" if nothing is.
func (w *world) wrong(a answer) string {
	missing, absent := errors.AsType[*zodb.NoObjectError](a.err)
	if a.err != nil && !absent {
		return "an error"
	}
	list := w.history[a.oid]
	asOf := a.rec.AsOf
	if absent {
		asOf = a.last // at least
	}
	n := len(list)
	for n > 0 && (list[n-1].serial >= a.tid || list[n-1].serial > asOf) {
		n--
	}
	switch {
	case absent && w.free && missing.Known: // forgotten
		return ""
	case absent && missing.DeletedAt != 0: // perhaps after what was the last
		i := slices.IndexFunc(list, func(c commitment) bool { return c.serial == missing.DeletedAt && c.deleted })
		if i < 0 || i < n-1 || missing.DeletedAt >= a.tid {
			return "it was not deleted then"
		}
		return ""
	case absent && n > 0 && !list[n-1].deleted:
		return "there is one"
	case absent:
		return ""
	case asOf < a.last && a.tid > a.last:
		return "older than what had been published"
	case n == 0 || list[n-1].deleted:
		return "there is none"
	case list[n-1].serial != a.rec.Serial || list[n-1].data != string(a.rec.Data):
		return fmt.Sprintf("it is the revision %v", list[n-1].serial)
	}
	var next zodb.TID
	if n < len(list) && list[n].serial <= asOf {
		next = list[n].serial
	}
	if a.rec.Next != next {
		return fmt.Sprintf("it was replaced at %v", next)
	}
	return ""
}

func TestModel(t *testing.T) {
	for _, free := range []bool{false, true} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("free=%v,%d", free, seed), func(t *testing.T) { testModel(t, seed, free, "") })
		}
	}
}

// With memcached the servers get what the other one has kept, while the checkpoint moves all
// the time.
func TestModelWithMemcached(t *testing.T) {
	address := testmemcached.Start(t)
	for _, free := range []bool{false, true} {
		t.Run(fmt.Sprintf("free=%v", free), func(t *testing.T) { testModel(t, 1, free, address) })
	}
}

func testModel(t *testing.T, seed uint64, free bool, memcachedAt string) {
	w := newWorld(t, seed, free, memcachedAt)
	w.run(seed, 60)
	w.judge()
	if len(w.answers) < 100 || len(w.history) < modelObjects {
		t.Errorf("only %d answers, %d objects", len(w.answers), len(w.history))
	}
}

// TestModelFinds proves that the model check finds what it is there to find.
func TestModelFinds(t *testing.T) {
	if testing.Short() || planted.Enabled {
		t.Skip("planted bugs are left to the full run")
	}
	binary := filepath.Join(t.TempDir(), "planted.test")
	if out, err := exec.Command("go", "test", "-c", "-tags", "planted", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("building: %v: %s", err, out)
	}
	for _, bug := range append(planted.Cached(), "") {
		t.Run("bug="+bug, func(t *testing.T) {
			cmd := exec.Command(binary, "-test.run", "^TestModel$", "-test.timeout", "1m")
			cmd.Env = append(os.Environ(), "ZARI_PLANTED="+bug)
			out, err := cmd.CombinedOutput()
			if bug == "" && err != nil {
				t.Errorf("without a bug: %v\n%s", err, out)
			}
			if bug != "" && (err == nil || !strings.Contains(string(out), " before ")) {
				t.Errorf("not found: %v\n%s", err, out)
			}
		})
	}
}
