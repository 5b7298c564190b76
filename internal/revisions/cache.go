package revisions

import (
	"bytes"
	"context"
	"math/bits"
	"sync/atomic"

	"github.com/zaridb/zari/internal/planted"
	"github.com/zaridb/zari/zodb"
)

// Source is asked for what is not in memory. An answer's Next may be after its AsOf: then
// it is kept, and shown when the position has come so far.
type Source interface {
	LoadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error)
}

// Cache keeps revisions of objects. It is safe for concurrent use, but that there must be
// one Change at a time.
type Cache struct {
	limit  int64
	shards []shard
	bits   int // of a hash that say which shard

	begun    atomic.Uint64 // the last change that was begun
	position atomic.Uint64
}

// Shards are at most maxShards, and have at least shardBytes each if there are several.
const (
	maxShards  = 64
	shardBytes = 4 << 20
)

// New makes a cache of at most limit bytes. One of none, or less, keeps nothing.
func New(limit int64) *Cache {
	n := min(max(limit/shardBytes, 1), maxShards)
	c := &Cache{limit: max(limit, 0), bits: bits.Len64(uint64(n)) - 1}
	c.shards = make([]shard, 1<<c.bits)
	for i := range c.shards {
		c.shards[i].init(c.limit>>c.bits, &c.begun)
	}
	return c
}

// Position returns the last change that was taken into account.
func (c *Cache) Position() zodb.TID { return zodb.TID(c.position.Load()) }

// Load returns the newest revision of oid before tid as of the position. What is not in
// memory it asks src for, at most once at a time for all who ask the same. While the
// position is 0 it keeps nothing.
func (c *Cache) Load(ctx context.Context, oid zodb.OID, tid zodb.TID, src Source) (zodb.Record, error) {
	position := c.Position()
	if position == 0 {
		return src.LoadBefore(ctx, oid, tid)
	}
	s, bound := c.shardOf(oid), min(tid, position+1)
	rec, other, f := s.look(oid, bound, position)
	if other != nil {
		rec, ok, err := other.wait(ctx, position)
		if ok || err != nil {
			return rec, err
		}
		f = s.ask(oid, bound)
	}
	if f == nil {
		return rec, nil
	}
	defer s.end(f, position)
	f.rec, f.err = src.LoadBefore(ctx, oid, bound)
	if f.err != nil {
		return zodb.Record{}, f.err
	}
	if s.fits(f.rec.Data) {
		f.keep = bytes.Clone(f.rec.Data) // an allocation of its own, whose size is known
	}
	return asOf(f.rec, position), nil
}

// Recall is Load if the revision is in memory; otherwise it reports false.
func (c *Cache) Recall(oid zodb.OID, tid zodb.TID) (zodb.Record, bool) {
	position := c.Position()
	s := c.shardOf(oid)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recall(oid, min(tid, position+1), position)
}

func (c *Cache) shardOf(oid zodb.OID) *shard { return &c.shards[hash(oid)>>(64-c.bits)] }

// asOf is a record as one sees it who knows the changes up to a position.
func asOf(rec zodb.Record, position zodb.TID) zodb.Record {
	if rec.Next > position {
		rec.Next = 0
	}
	rec.AsOf = position
	return rec
}

// Change takes a change into account, which moves the position.
func (c *Cache) Change(k zodb.Change) {
	c.begun.Store(uint64(k.TID))
	if planted.CacheMovesFirst {
		c.position.Store(uint64(k.TID))
		planted.Stall()
	}
	if k.Missed == zodb.MissedUnknown {
		c.Clear()
	}
	for _, oid := range k.OIDs {
		c.shardOf(oid).change(oid, k.TID, k.Missed)
	}
	c.position.Store(uint64(k.TID))
}

// Start sets the position where changes begin. Nothing may have been loaded before.
func (c *Cache) Start(position zodb.TID) {
	c.begun.Store(uint64(position))
	c.position.Store(uint64(position))
}

// Clear drops everything, and what is under way.
func (c *Cache) Clear() {
	for i := range c.shards {
		c.shards[i].clear()
	}
}

// Stats are counts since the cache was made, and how much it holds.
type Stats struct {
	Hits      int64 // loads that were answered from memory
	Misses    int64 // loads that asked the source
	Waits     int64 // loads that waited for the answer to the same question of another one
	Evictions int64 // revisions that had to go because there was no room
	Revisions int64 // that are kept
	Bytes     int64 // that they take
	Limit     int64 // of Bytes
}

// Stats returns counts for operators.
func (c *Cache) Stats() Stats {
	total := Stats{Limit: c.limit}
	for i := range c.shards {
		c.shards[i].add(&total)
	}
	return total
}

// hash spreads oids, which are dense, over the whole range.
func hash(oid zodb.OID) uint64 {
	h := uint64(oid) * 0x9e3779b97f4a7c15
	h ^= h >> 29
	return h * 0xbf58476d1ce4e5b9
}
