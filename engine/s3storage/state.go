package s3storage

import (
	"fmt"
	"slices"
	"sort"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/engine/s3storage/index"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// state is what follows from the log up to a slot.
type state struct {
	database layout.ID
	slot     uint64
	hash     layout.Hash
	epoch    uint64
	last     zodb.TID
	maxOID   zodb.OID
	meta     store.Meta
	packedTo zodb.TID
	front    layout.Front // where the next slot is written

	index  index.Index
	places []*place // by the number that the index knows them by; nil: the number is free
	free   []uint32
	order  []*place // by tid
	blobs  map[blobs.ID]layout.Blob
	bytes  int64

	replaced       []layout.Replaced
	garbage        []layout.Garbage
	collecting     layout.CollectRecord
	collectingSlot uint64

	runs  []run // of the last checkpoint, by tid
	moves int   // how often something has moved or been announced: what was worked out before is void
}

// place is an object that holds transactions: of the log, or a segment. All but data is
// never changed.
type place struct {
	layout.Place
	number      uint32
	first, last zodb.TID
	size        int64
	body        int64 // where the transactions begin
	table       int64 // where they end, and the table begins
	tableLen    int
	txns        int
	data        []byte // the object, if it is kept in memory
	cached      string // its key in the cache of blocks
}

// run is a run of the index in the bucket.
type run struct {
	layout.RunInfo
	stale bool // its places are not the ones of now, or it is being deleted
}

func newState(database layout.ID) *state {
	return &state{
		database: database, meta: store.Meta{UUID: database}, blobs: make(map[blobs.ID]layout.Blob),
	}
}

// chainError says that a log object does not follow on what was read before.
type chainError struct {
	slot   uint64
	reason string
}

func (e *chainError) Error() string {
	return fmt.Sprintf("%s does not follow on the object before it: %s", layout.LogKey(e.slot), e.reason)
}

func (e *chainError) Is(target error) bool { return target == zodb.ErrCorrupt }

// follows reports why l cannot be the next object, nil if it can.
func (s *state) follows(l *layout.Log) error {
	fail := func(format string, args ...any) error {
		return &chainError{l.Slot, fmt.Sprintf(format, args...)}
	}
	switch {
	case l.Database != s.database:
		return fail("it belongs to database %v, and this is %v", l.Database, s.database)
	case l.Slot != s.slot+1:
		return fail("it says that it is slot %d", l.Slot)
	case l.Prev != s.hash:
		return fail("it was written after another object than the one in slot %d", s.slot)
	case l.Kind == layout.Fence && l.Epoch <= s.epoch:
		return fail("it is a fence of epoch %d in epoch %d", l.Epoch, s.epoch)
	case l.Kind != layout.Fence && l.Epoch != s.epoch:
		return fail("its writer had epoch %d, and this is epoch %d", l.Epoch, s.epoch)
	case l.LastTID < s.last || l.MaxOID < s.maxOID:
		return fail("it goes back in time")
	}
	for _, t := range l.Table.Txns {
		if t.TID <= s.last || t.TID > l.LastTID {
			return fail("its transaction %v is not between %v and %v", t.TID, s.last, l.LastTID)
		}
	}
	return nil
}

// apply takes the next object, which follows. tables are those of a Replace's new
// segments.
func (s *state) apply(l *layout.Log, object []byte, tables []*layout.Table) {
	s.slot, s.hash, s.epoch = l.Slot, layout.HashOf(object), l.Epoch
	s.last, s.maxOID = l.LastTID, l.MaxOID
	switch l.Kind {
	case layout.Commit:
		s.commit(l, object)
	case layout.Fence:
		s.front = l.Fence.Front
	case layout.Replace:
		s.moves++
		s.replace(l, tables)
	case layout.Collect:
		s.moves++
		s.collect(l)
	case layout.Collected:
		s.moves++
		s.collected()
	}
}

func (s *state) commit(l *layout.Log, object []byte) {
	if l.Meta != nil {
		s.meta = *l.Meta
	}
	if len(l.Table.Txns) == 0 {
		return
	}
	p := s.add(logPlace(&layout.LogInfo{
		Slot: l.Slot, First: l.Table.Txns[0].TID, Last: l.LastTID, Size: int64(len(object)),
		Body: l.Body, TableLen: l.TableLen, Txns: len(l.Table.Txns),
	}))
	p.data = object
	s.put(p, &l.Table)
}

func logPlace(i *layout.LogInfo) *place {
	return &place{
		Place: layout.Place{Slot: i.Slot}, first: i.First, last: i.Last, size: i.Size, body: i.Body,
		table: layout.TableAt(i.Size, i.TableLen), tableLen: i.TableLen, txns: i.Txns,
	}
}

func segmentPlace(i *layout.Segment) *place {
	return &place{
		Place: layout.Place{Segment: i.ID}, first: i.First, last: i.Last, size: i.Size, body: layout.SegmentBody,
		table: i.TableAt(), tableLen: i.TableLen, txns: i.Txns,
	}
}

// add gives a place its number.
func (s *state) add(p *place) *place {
	p.cached = p.cacheKey()
	if n := len(s.free); n > 0 {
		p.number = s.free[n-1]
		s.free = s.free[:n-1]
		s.places[p.number] = p
	} else {
		p.number = uint32(len(s.places))
		s.places = append(s.places, p)
	}
	i := sort.Search(len(s.order), func(i int) bool { return s.order[i].first > p.first })
	s.order = slices.Insert(s.order, i, p)
	s.bytes += p.size
	return p
}

// put says of all records of a table that they lie in a place.
func (s *state) put(p *place, t *layout.Table) {
	t.Each(p.body, func(tid zodb.TID, off int64, r *layout.TableRecord) {
		size := index.Size(0)
		if !r.Delete {
			size = index.SizeOf(r.Len)
		}
		s.index.Put(r.OID, tid, index.At(p.number, uint32(off), size))
		if r.Blob != nil {
			s.blobs[blobs.ID{OID: r.OID, TID: tid}] = *r.Blob
		}
	})
}

// replace takes what a Replace says.
func (s *state) replace(l *layout.Log, tables []*layout.Table) {
	r := l.Replace
	s.packedTo = max(s.packedTo, r.PackedTo)
	gone := s.remove(r)
	for i := range r.New {
		s.put(s.add(segmentPlace(&r.New[i])), tables[i])
	}
	if r.Drops {
		s.index.DropFrom(gone)
	}
	for n := range gone {
		s.places[n] = nil
		s.free = append(s.free, n)
	}
	if n := len(s.replaced); r.UpTo > 1 && (n == 0 || s.replaced[n-1].UpTo < r.UpTo) {
		s.replaced = append(s.replaced, layout.Replaced{UpTo: r.UpTo, Since: l.Slot})
	}
	for _, id := range r.Gone {
		s.garbage = append(s.garbage, layout.Garbage{Key: layout.SegmentKey(id), Since: l.Slot})
	}
	if len(r.Blobs) > 0 {
		s.dropBlobs(r.Blobs, l.Slot)
	}
}

// remove takes the places out of the order that a Replace empties, and returns their
// numbers.
func (s *state) remove(r *layout.ReplaceRecord) map[uint32]bool {
	segments := make(map[layout.ID]bool, len(r.Gone))
	for _, id := range r.Gone {
		segments[id] = true
	}
	gone := make(map[uint32]bool)
	var order []*place
	for _, p := range s.order {
		if p.Slot != 0 && p.Slot >= r.UpTo || p.Slot == 0 && !segments[p.Segment] {
			order = append(order, p)
			continue
		}
		gone[p.number] = true
		s.bytes -= p.size
		for i := range s.runs {
			if run := &s.runs[i]; p.last > run.After && p.first <= run.UpTo {
				run.stale = true
			}
		}
	}
	s.order = order
	return gone
}

func (s *state) dropBlobs(names []layout.BlobName, slot uint64) {
	dropped := make(map[layout.ID]bool, len(names))
	for _, b := range names {
		dropped[b.ID] = true
		s.garbage = append(s.garbage, layout.Garbage{Key: b.Key(), Since: slot})
	}
	for id, b := range s.blobs {
		if dropped[b.ID] {
			delete(s.blobs, id)
		}
	}
}

// collect takes what a Collect says: what it names will be gone.
func (s *state) collect(l *layout.Log) {
	s.collecting, s.collectingSlot = *l.Collect, l.Slot
	keys := make(map[string]bool, len(l.Collect.Keys))
	for _, key := range l.Collect.Keys {
		keys[key] = true
	}
	s.garbage = slices.DeleteFunc(slices.Clone(s.garbage), func(g layout.Garbage) bool { return keys[g.Key] })
	s.replaced = slices.DeleteFunc(slices.Clone(s.replaced), func(r layout.Replaced) bool { return r.UpTo <= l.Collect.Floor })
	for i := range s.runs {
		if keys[layout.RunKey(s.runs[i].ID)] {
			s.runs[i].stale = true
		}
	}
}

func (s *state) collected() { s.collecting, s.collectingSlot = layout.CollectRecord{}, 0 }

// at returns the place that holds the first transaction >= tid, or, backward, the last one
// <= tid; nil if there is none.
func (s *state) at(tid zodb.TID, dir store.Direction) *place {
	if dir == store.Backward {
		i := sort.Search(len(s.order), func(i int) bool { return s.order[i].first > tid })
		if i == 0 {
			return nil
		}
		return s.order[i-1]
	}
	i := sort.Search(len(s.order), func(i int) bool { return s.order[i].last >= tid })
	if i == len(s.order) {
		return nil
	}
	return s.order[i]
}
