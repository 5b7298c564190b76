package revisions

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/zaridb/zari/zodb"
)

// world is what a server knows, and how much of it was told.
type world struct {
	serials map[zodb.OID][]zodb.TID // of all revisions, oldest first
	changes []zodb.Change           // committed and not told yet
	last    zodb.TID
}

func (w *world) commit(rnd *rand.Rand) {
	w.last += zodb.TID(1 + rnd.IntN(3))
	c := zodb.Change{TID: w.last}
	for oid := range zodb.OID(5) {
		if rnd.IntN(3) == 0 {
			w.serials[oid] = append(w.serials[oid], w.last)
			c.OIDs = append(c.OIDs, oid)
		}
	}
	w.changes = append(w.changes, c)
}

// before is what a source answers that knows everything, an empty one for nothing.
func (w *world) before(oid zodb.OID, bound zodb.TID) (rec zodb.Record) {
	rec.AsOf = w.last
	for _, serial := range w.serials[oid] {
		if serial >= bound {
			if rec.Serial != 0 {
				rec.Next = serial
			}
			break
		}
		rec.Serial, rec.Data = serial, []byte(serial.String())
	}
	return rec
}

// check compares what a reader gets with what is true.
func (w *world) check(t *testing.T, what string, oid zodb.OID, bound zodb.TID, got zodb.Record) {
	t.Helper()
	want := w.before(oid, bound)
	if want.Next > got.AsOf {
		want.Next = 0
	}
	if got.Serial != want.Serial || string(got.Data) != string(want.Data) || got.Next != want.Next {
		t.Fatalf("%s of %v before %v: %+v, want serial %v, next %v", what, oid, bound, got, want.Serial, want.Next)
	}
}

// Whatever is told before or after an answer comes, and whatever is missed, readers get
// what is true.
func TestTellsTheTruth(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		w := &world{serials: make(map[zodb.OID][]zodb.TID)}
		w.commit(rnd)
		c := New(int64(rnd.IntN(4)) * 3000)
		c.Start(1)
		type pending struct {
			f        *fetch
			position zodb.TID
			rec      zodb.Record
		}
		var fetches []pending
		for range 400 {
			switch rnd.IntN(9) {
			case 0, 1:
				w.commit(rnd)
			case 2, 3:
				tell(c, w, rnd)
			case 4, 5, 6:
				oid, tid, position := zodb.OID(rnd.IntN(5)), zodb.MaxTID, c.Position()
				if rnd.IntN(2) == 0 {
					tid = zodb.TID(1 + rnd.IntN(int(w.last)+2))
				}
				bound := min(tid, position+1)
				rec, other, f := c.shardOf(oid).look(oid, bound, position)
				switch {
				case f != nil:
					fetches = append(fetches, pending{f: f, position: position})
				case other == nil:
					w.check(t, "cached", oid, bound, rec)
				case other.bound != bound:
					t.Fatalf("to wait for %+v, who asks for what is before %v", other, bound)
				}
			case 7: // the source looks
				if len(fetches) > 0 {
					p := &fetches[rnd.IntN(len(fetches))]
					p.rec = w.before(p.f.oid, p.f.bound)
				}
			case 8: // and the answer has come
				if len(fetches) == 0 {
					continue
				}
				i := rnd.IntN(len(fetches))
				p := fetches[i]
				if p.rec.AsOf == 0 {
					continue
				}
				fetches = append(fetches[:i], fetches[i+1:]...)
				if p.f.rec, p.f.err = p.rec, nil; p.rec.Serial == 0 {
					p.f.err = errors.New("nothing")
				} else if c.shardOf(p.f.oid).fits(p.rec.Data) {
					p.f.keep = p.rec.Data
				}
				c.shardOf(p.f.oid).end(p.f, p.position)
				if p.f.err == nil {
					w.check(t, "loaded", p.f.oid, p.f.bound, asOf(p.rec, p.position))
				}
			}
			consistent(t, c)
		}
	}
}

// tell tells of the next change, or of several as one.
func tell(c *Cache, w *world, rnd *rand.Rand) {
	n := len(w.changes)
	switch {
	case n == 0:
	case rnd.IntN(6) > 0:
		c.Change(w.changes[0])
		w.changes = w.changes[1:]
	default:
		gap := zodb.Change{TID: w.last, Missed: zodb.MissedUnknown}
		if rnd.IntN(2) == 0 {
			gap.Missed = zodb.MissedListed
			for _, k := range w.changes {
				gap.OIDs = append(gap.OIDs, k.OIDs...)
			}
		}
		c.Change(gap)
		w.changes = nil
	}
}

// consistent looks at the cache's own books.
func consistent(t *testing.T, c *Cache) {
	t.Helper()
	for i := range c.shards {
		s := &c.shards[i]
		var bytes, n int64
		for oid, r := range s.newest {
			for ; r != nil; r = r.older {
				bytes += r.cost()
				n++
				if r.oid != oid || r.older != nil && (r.older.serial >= r.serial || r.older.next == 0) {
					t.Fatalf("the chain of %v is out of order", oid)
				}
			}
		}
		for _, q := range []*queue{&s.short, &s.main} {
			var size, count int64
			for r := q.oldest(); r != &q.ring; r = r.then {
				size += r.cost()
				count++
				if r.inMain != (q == &s.main) {
					t.Fatalf("%v is not in the queue that it says", r.oid)
				}
			}
			if size != q.bytes || count != q.n {
				t.Fatalf("a queue has %d of %d bytes, and notes %d of %d", count, size, q.n, q.bytes)
			}
		}
		if bytes != s.short.bytes+s.main.bytes || n != s.short.n+s.main.n || bytes > max(s.limit, 0) {
			t.Fatalf("%d revisions of %d bytes are there, of at most %d; %d and %d are noted", n, bytes, s.limit, s.short.n+s.main.n, s.short.bytes+s.main.bytes)
		}
	}
}

// source answers with records of a size, and counts the questions.
type source struct {
	size  int
	asked atomic.Int64
	err   error
	hold  chan struct{} // if not nil, answers wait for its end
	asOf  zodb.TID
}

func (s *source) LoadBefore(ctx context.Context, oid zodb.OID, _ zodb.TID) (zodb.Record, error) {
	s.asked.Add(1)
	if s.hold != nil {
		select {
		case <-s.hold:
		case <-ctx.Done():
			return zodb.Record{}, ctx.Err()
		}
	}
	return zodb.Record{Data: make([]byte, s.size), Serial: 1, AsOf: max(s.asOf, 9)}, s.err
}

func started(limit int64) *Cache {
	c := New(limit)
	c.Start(9)
	return c
}

// Many who ask the same at the same time ask the source once; of an error each hears for
// itself, and nobody suffers from another one's having given up.
func TestOneQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, src := started(1<<20), &source{size: 10, hold: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		results := make([]error, 20)
		for i := range results {
			wg.Go(func() {
				which := t.Context()
				if i == 0 || i == 1 {
					which = ctx
				}
				_, results[i] = c.Load(which, 5, zodb.MaxTID, src)
			})
			synctest.Wait()
		}
		if n := src.asked.Load(); n != 1 {
			t.Fatalf("%d questions", n)
		}
		cancel() // the one who asks, and one who waits
		synctest.Wait()
		if !errors.Is(results[0], context.Canceled) || !errors.Is(results[1], context.Canceled) {
			t.Errorf("who has given up: %v, %v", results[0], results[1])
		}
		close(src.hold)
		wg.Wait()
		if err := errors.Join(results[2:]...); err != nil {
			t.Error(err)
		}
		if s := c.Stats(); s.Waits != 19 || s.Revisions != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// What is under way from before a change is not waited for: it may be waiting for the end
// of the publication that the one who asks is part of.
func TestWaitsForNobodyFromBeforeAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, held, src := started(1<<20), &source{hold: make(chan struct{})}, &source{}
		go c.Load(t.Context(), 5, 8, held)
		synctest.Wait()
		c.Change(zodb.Change{TID: 10})
		if _, err := c.Load(t.Context(), 5, 8, src); err != nil || src.asked.Load() != 1 {
			t.Errorf("%d questions, %v", src.asked.Load(), err)
		}
		close(held.hold)
	})
}

// A hit allocates nothing.
func TestHitsAllocateNothing(t *testing.T) {
	c, src := started(1<<20), &source{size: 100}
	ctx := t.Context()
	load := func() {
		if _, err := c.Load(ctx, 1, zodb.MaxTID, src); err != nil {
			t.Fatal(err)
		}
	}
	load()
	if n := testing.AllocsPerRun(100, load); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if src.asked.Load() != 1 {
		t.Error("no hits")
	}
}

// What the cache says that it takes is what it takes.
func TestMemory(t *testing.T) {
	for _, size := range []int{20, 300, 1000, 5000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			const limit = 8 << 20
			before := heap()
			c, src := started(limit), &source{size: size}
			for oid := range zodb.OID(limit / size * 3 / 2) {
				if _, err := c.Load(t.Context(), oid, zodb.MaxTID, src); err != nil {
					t.Fatal(err)
				}
			}
			took, says := heap()-before, c.Stats().Bytes
			if says > limit || says < limit*95/100 || took > says*105/100 || took < says*85/100 {
				t.Errorf("the limit is %d, it says %d, and takes %d", limit, says, took)
			}
			runtime.KeepAlive(c)
		})
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What is used stays while a scan goes through many times as much.
func TestScan(t *testing.T) {
	c, src := started(4<<20), &source{size: 1000}
	load := func(from, n zodb.OID) {
		for oid := range n {
			if _, err := c.Load(t.Context(), from+oid, zodb.MaxTID, src); err != nil {
				t.Fatal(err)
			}
		}
	}
	const used = 2500
	for range 3 {
		load(0, used)
	}
	load(1e6, 20000)
	asked := src.asked.Load()
	load(0, used)
	if again := src.asked.Load() - asked; again > used/20 {
		t.Errorf("%d of %d revisions in use had gone after a scan", again, used)
	}
}

// What is asked for again soon after it has gone stays for longer.
func TestComesBack(t *testing.T) {
	c, src := started(1<<20), &source{size: 1000}
	s := c.shardOf(1)
	s.gone.add(hash(1))
	if _, err := c.Load(t.Context(), 1, zodb.MaxTID, src); err != nil {
		t.Fatal(err)
	}
	if s.main.n != 1 || s.short.n != 0 {
		t.Errorf("%d revisions in the main queue, %d in the short one", s.main.n, s.short.n)
	}
}

// What was replaced long ago is asked for.
func TestLongReplaced(t *testing.T) {
	const hour = 60 << 32
	c, rec := New(1<<20), zodb.Record{Data: []byte("x"), Serial: 1, Next: 5, AsOf: 9}
	c.Start(9)
	src := fixed{&rec}
	ask := func() bool {
		before := c.Stats().Misses
		if got, err := c.Load(t.Context(), 1, 3, src); err != nil || got.Serial != 1 {
			t.Fatalf("%+v, %v", got, err)
		}
		return c.Stats().Misses > before
	}
	for _, step := range []struct {
		position zodb.TID
		asks     bool
	}{{9, true}, {10, false}, {5 + hour, false}, {6 + hour, true}, {7 + hour, true}} {
		c.Change(zodb.Change{TID: step.position})
		rec.AsOf = step.position
		if got := ask(); got != step.asks {
			t.Errorf("at %v the source is asked: %v", step.position, got)
		}
	}
}

type fixed struct{ rec *zodb.Record }

func (f fixed) LoadBefore(context.Context, zodb.OID, zodb.TID) (zodb.Record, error) {
	return *f.rec, nil
}

// A large record does not push out everything else, and is answered nevertheless.
func TestTooLarge(t *testing.T) {
	c, src := started(1<<20), &source{size: 1 << 18}
	for range 2 {
		if rec, err := c.Load(t.Context(), 1, zodb.MaxTID, src); err != nil || len(rec.Data) != 1<<18 {
			t.Fatalf("%d bytes, %v", len(rec.Data), err)
		}
	}
	if s := c.Stats(); s.Revisions != 0 || s.Misses != 2 {
		t.Errorf("%+v", s)
	}
}

// What a panic of the source leaves behind keeps nobody waiting.
func TestPanic(t *testing.T) {
	c := started(1 << 20)
	func() {
		defer func() { recover() }()
		c.Load(t.Context(), 1, zodb.MaxTID, nil)
	}()
	if _, err := c.Load(t.Context(), 1, zodb.MaxTID, &source{}); err != nil {
		t.Error(err)
	}
}

func BenchmarkHit(b *testing.B) {
	c, src := started(64<<20), &source{size: 1000}
	const objects = 20000
	ctx := context.Background()
	for oid := range zodb.OID(objects) {
		c.Load(ctx, oid, zodb.MaxTID, src)
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		oid := zodb.OID(rand.Uint64())
		for pb.Next() {
			oid = oid*5 + 7
			if _, err := c.Load(ctx, oid%objects, zodb.MaxTID, src); err != nil {
				b.Fatal(err)
			}
		}
	})
	if n := src.asked.Load(); n > objects {
		b.Fatalf("%d misses", n-objects)
	}
}
