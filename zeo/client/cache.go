package client

import (
	"sync"

	"github.com/zaridb/zari/zodb"
)

// cache keeps revisions that were loaded, and knows from when to when each of
// them was the newest. All readers of a Storage share it.
//
// It also holds the storage's position: every change up to visible is taken into
// account, none after it. Loads ask for what was there just after visible, so an
// answer is true however late it comes: a change that was told of meanwhile is
// noted on the fetch that is under way.
type cache struct {
	mu      sync.Mutex
	visible zodb.TID
	limit   int64
	size    int64
	newest  map[zodb.OID]*revision // the chain of an object's revisions, newest first
	ring    revision               // all revisions, the one used last behind it
	fetches map[zodb.OID][]*fetch

	hits, misses int64
}

// revision is one that is kept. It was the newest from serial until next, or still
// is if next is 0.
type revision struct {
	oid          zodb.OID
	serial, next zodb.TID
	data         []byte
	older        *revision
	before, then *revision // in the ring
}

// fetch is a load under way: of the newest revision before bound, asked when asOf
// was the position.
type fetch struct {
	oid         zodb.OID
	bound, asOf zodb.TID
	replaced    zodb.TID // the first change of the object after asOf
	void        bool     // changes may have been missed: the answer is not kept
}

// overhead is what a kept revision takes besides its data.
const overhead = 160

func newCache(limit int64) *cache {
	c := &cache{limit: limit, newest: make(map[zodb.OID]*revision), fetches: make(map[zodb.OID][]*fetch)}
	c.ring.before, c.ring.then = &c.ring, &c.ring
	return c
}

// load returns the newest revision before tid, or, if it is not here, a fetch that
// end must be called with.
func (c *cache) load(oid zodb.OID, tid zodb.TID) (zodb.Record, *fetch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	bound := min(tid, c.visible+1)
	for r := c.newest[oid]; r != nil; r = r.older {
		if r.serial < bound && (r.next == 0 || r.next >= bound) {
			c.hits++
			r.unlink()
			r.link(&c.ring)
			return c.record(r.data, r.serial, r.next, c.visible), nil
		}
	}
	c.misses++
	f := &fetch{oid: oid, bound: bound, asOf: c.visible}
	c.fetches[oid] = append(c.fetches[oid], f)
	return zodb.Record{}, f
}

// record makes a record as of a position: a successor that is not told of yet is
// not there.
func (c *cache) record(data []byte, serial, next, asOf zodb.TID) zodb.Record {
	if next > asOf {
		next = 0
	}
	return zodb.Record{Data: data, Serial: serial, Next: next, AsOf: asOf}
}

// end ends a fetch. rec is what the server answered, nil if there is nothing to
// keep; the result is what to tell the reader.
func (c *cache) end(f *fetch, rec *zodb.Record) zodb.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(f)
	if rec == nil {
		return zodb.Record{}
	}
	if f.void {
		return c.record(rec.Data, rec.Serial, rec.Next, f.asOf)
	}
	if rec.Next == 0 {
		rec.Next = f.replaced
	}
	c.keep(f.oid, rec)
	return c.record(rec.Data, rec.Serial, rec.Next, c.visible)
}

func (c *cache) forget(f *fetch) {
	list := c.fetches[f.oid]
	for i := range list {
		if list[i] == f {
			list[i] = list[len(list)-1]
			list = list[:len(list)-1]
			break
		}
	}
	if len(list) == 0 {
		delete(c.fetches, f.oid)
		return
	}
	c.fetches[f.oid] = list
}

// keep puts a revision in its place in the chain.
func (c *cache) keep(oid zodb.OID, rec *zodb.Record) {
	cost := int64(len(rec.Data)) + overhead
	if cost > c.limit/4 {
		return
	}
	r := &revision{oid: oid, serial: rec.Serial, next: rec.Next, data: rec.Data}
	var above *revision
	at := c.newest[oid]
	for at != nil && at.serial > r.serial {
		above, at = at, at.older
	}
	if at != nil && at.serial == r.serial { // two readers have asked
		return
	}
	r.older = at
	if above == nil {
		c.newest[oid] = r
	} else {
		above.older = r
	}
	r.link(&c.ring)
	c.size += cost
	for c.size > c.limit {
		c.drop(c.ring.then)
	}
}

// drop removes a revision.
func (c *cache) drop(r *revision) {
	r.unlink()
	c.size -= int64(len(r.data)) + overhead
	at := c.newest[r.oid]
	if at == r {
		if r.older == nil {
			delete(c.newest, r.oid)
			return
		}
		c.newest[r.oid] = r.older
		return
	}
	for at.older != r {
		at = at.older
	}
	at.older = r.older
}

// link makes r the one that was used last.
func (r *revision) link(ring *revision) {
	r.before, r.then = ring.before, ring
	ring.before.then, ring.before = r, r
}

func (r *revision) unlink() {
	r.before.then, r.then.before = r.then, r.before
}

// change takes a change into account, which moves the position.
func (c *cache) change(k zodb.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.Missed == zodb.MissedUnknown {
		c.clear()
	}
	for _, oid := range k.OIDs {
		if r := c.newest[oid]; r != nil && r.next == 0 {
			r.next = k.TID
			if k.Missed != zodb.NothingMissed {
				c.drop(r) // it was replaced before, nobody knows when
			}
		}
		for _, f := range c.fetches[oid] {
			if f.replaced == 0 {
				f.replaced = k.TID
			}
			f.void = f.void || k.Missed != zodb.NothingMissed
		}
	}
	c.visible = k.TID
}

// clear drops everything, and what is under way.
func (c *cache) clear() {
	clear(c.newest)
	c.ring.before, c.ring.then = &c.ring, &c.ring
	c.size = 0
	for _, list := range c.fetches {
		for _, f := range list {
			f.void = true
		}
	}
}
