package client

import (
	"math/rand/v2"
	"testing"

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

// before is what the server answers to loadBefore, nil for nothing.
func (w *world) before(oid zodb.OID, bound zodb.TID) *zodb.Record {
	var rec *zodb.Record
	for _, serial := range w.serials[oid] {
		if serial < bound {
			rec = &zodb.Record{Serial: serial, Data: []byte(serial.String())}
		} else if rec != nil {
			rec.Next = serial
			break
		}
	}
	return rec
}

// check compares what a reader gets with what is true.
func (w *world) check(t *testing.T, what string, oid zodb.OID, bound zodb.TID, got zodb.Record) {
	t.Helper()
	want := w.before(oid, bound)
	if want == nil || got.Serial != want.Serial || string(got.Data) != string(want.Data) {
		t.Fatalf("%s of %v before %v: serial %v, want %+v", what, oid, bound, got.Serial, want)
	}
	if got.Next != 0 && (got.Next != want.Next || got.Next > got.AsOf) {
		t.Fatalf("%s of %v before %v: next %v as of %v, want %v", what, oid, bound, got.Next, got.AsOf, want.Next)
	}
	if got.Next == 0 && want.Next != 0 && want.Next <= got.AsOf {
		t.Fatalf("%s of %v before %v: current as of %v, but replaced at %v", what, oid, bound, got.AsOf, want.Next)
	}
}

// Whatever the server tells before or after its answers, and whatever is missed,
// readers get what is true.
func TestCacheTellsTheTruth(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		w := &world{serials: make(map[zodb.OID][]zodb.TID)}
		c := newCache(int64(rnd.IntN(4)) * 1200)
		type pending struct {
			f   *fetch
			rec *zodb.Record
		}
		var fetches []pending
		for range 400 {
			switch rnd.IntN(8) {
			case 0, 1:
				w.commit(rnd)
			case 2, 3:
				tell(c, w, rnd)
			case 4, 5, 6:
				oid, tid := zodb.OID(rnd.IntN(5)), zodb.MaxTID
				if rnd.IntN(2) == 0 {
					tid = zodb.TID(1 + rnd.IntN(int(w.last)+2))
				}
				rec, f := c.load(oid, tid)
				if f == nil {
					w.check(t, "cached", oid, min(tid, c.visible+1), rec)
					continue
				}
				fetches = append(fetches, pending{f, w.before(oid, f.bound)})
			case 7:
				if len(fetches) == 0 {
					continue
				}
				i := rnd.IntN(len(fetches))
				p := fetches[i]
				fetches = append(fetches[:i], fetches[i+1:]...)
				bound := p.f.bound
				rec := c.end(p.f, p.rec)
				if p.rec != nil {
					w.check(t, "loaded", p.f.oid, bound, rec)
				}
			}
			consistent(t, c)
		}
	}
}

// tell tells of the next change, or of several as one.
func tell(c *cache, w *world, rnd *rand.Rand) {
	n := len(w.changes)
	switch {
	case n == 0:
	case rnd.IntN(6) > 0:
		c.change(w.changes[0])
		w.changes = w.changes[1:]
	default:
		gap := zodb.Change{TID: w.last, Missed: zodb.MissedUnknown}
		if rnd.IntN(2) == 0 {
			gap.Missed = zodb.MissedListed
			for _, k := range w.changes {
				gap.OIDs = append(gap.OIDs, k.OIDs...)
			}
		}
		c.change(gap)
		w.changes = nil
	}
}

// consistent looks at the cache's own books.
func consistent(t *testing.T, c *cache) {
	t.Helper()
	var size int64
	n := 0
	for oid, r := range c.newest {
		for ; r != nil; r = r.older {
			size += int64(len(r.data)) + overhead
			n++
			if r.oid != oid || r.older != nil && r.older.serial >= r.serial {
				t.Fatalf("the chain of %v is out of order", oid)
			}
		}
	}
	for r := c.ring.then; r != &c.ring; r = r.then {
		n--
	}
	if size != c.size || n != 0 || size > c.limit {
		t.Fatalf("%d bytes are noted and %d are there, of %d; the ring differs by %d", c.size, size, c.limit, n)
	}
}
