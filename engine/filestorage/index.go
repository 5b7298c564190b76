package filestorage

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/zodb"
)

// index maps the oids of a data file to the positions of their newest records.
//
// It is a table of leaves, each for 4096 neighbouring oids. A leaf with few
// objects is a sorted list of 8 bytes each; one with many is an array of
// positions of 6 bytes. So densely numbered objects take 6 bytes each, and
// objects numbered at random a leaf each, some 70 bytes.
//
// It has no lock of its own.
type index struct {
	leaves map[uint64]*leaf // by oid >> leafBits
	keys   []uint64         // of leaves; see sort
	sorted bool
	n      int
	max    zodb.OID

	// expect, if not nil, is asked how many objects a new leaf will have, about: so
	// it need not be made anew as it grows.
	expect func(key uint64) int
}

const (
	leafBits = 12
	leafLen  = 1 << leafBits
	leafMask = leafLen - 1
	// maxSparse is where a leaf becomes an array. Insertion into the list costs
	// moving half of it, so it is well below the point where both are as large.
	maxSparse = 512

	posBytes = 6
	posMask  = datafs.MaxPos
)

// leaf is a list or an array.
type leaf struct {
	sparse []uint64 // low bits of the oid << 48 | position, ascending
	dense  []byte   // leafLen positions of posBytes each, 0 for none; nil while sparse
}

func newIndex() *index { return &index{leaves: make(map[uint64]*leaf), sorted: true} }

// get returns the position of oid's newest record, 0 if it has none.
func (x *index) get(oid zodb.OID) int64 {
	l := x.leaves[uint64(oid)>>leafBits]
	if l == nil {
		return 0
	}
	slot := uint64(oid) & leafMask
	if l.dense != nil {
		return l.at(slot)
	}
	i, ok := l.search(slot)
	if !ok {
		return 0
	}
	return int64(l.sparse[i] & posMask)
}

// set puts the position of oid's newest record, which is not 0. It returns the
// position that was there, 0 for none.
func (x *index) set(oid zodb.OID, pos int64) int64 {
	old := x.leaf(uint64(oid)>>leafBits).set(uint64(oid)&leafMask, pos)
	if old == 0 {
		x.n++
	}
	x.max = max(x.max, oid)
	return old
}

// remove takes oid out. It leaves max as it is: a number once given is not given
// again.
func (x *index) remove(oid zodb.OID) {
	l := x.leaves[uint64(oid)>>leafBits]
	if l == nil || x.get(oid) == 0 {
		return
	}
	slot := uint64(oid) & leafMask
	if l.dense != nil {
		l.put(slot, 0)
	} else {
		i, _ := l.search(slot)
		l.sparse = slices.Delete(l.sparse, i, i+1)
	}
	x.n--
}

// leaf returns the leaf with that key, made if need be.
func (x *index) leaf(key uint64) *leaf {
	l := x.leaves[key]
	if l == nil {
		l = x.newLeaf(key)
		x.leaves[key] = l
		x.sorted = x.sorted && (len(x.keys) == 0 || key > x.keys[len(x.keys)-1])
		x.keys = append(x.keys, key)
	}
	return l
}

func (x *index) newLeaf(key uint64) *leaf {
	l := new(leaf)
	if x.expect == nil {
		return l
	}
	if n := x.expect(key); n > maxSparse {
		l.spread()
	} else {
		l.sparse = make([]uint64, 0, n)
	}
	return l
}

func (l *leaf) search(slot uint64) (int, bool) {
	return slices.BinarySearchFunc(l.sparse, slot, func(e, slot uint64) int { return cmp.Compare(e>>48, slot) })
}

// set returns what was in the slot.
func (l *leaf) set(slot uint64, pos int64) int64 {
	if l.dense != nil {
		old := l.at(slot)
		l.put(slot, pos)
		return old
	}
	i, ok := l.search(slot)
	if ok {
		old := int64(l.sparse[i] & posMask)
		l.sparse[i] = slot<<48 | uint64(pos)
		return old
	}
	if len(l.sparse) >= maxSparse {
		l.spread()
		l.put(slot, pos)
		return 0
	}
	l.sparse = slices.Insert(l.sparse, i, slot<<48|uint64(pos))
	return 0
}

// places returns how many numbers find may return.
func (l *leaf) places() int {
	if l.dense != nil {
		return leafLen
	}
	return len(l.sparse)
}

// len returns how many objects the leaf has.
func (l *leaf) len() int {
	if l.dense == nil {
		return len(l.sparse)
	}
	n := 0
	for slot := range uint64(leafLen) {
		if l.at(slot) != 0 {
			n++
		}
	}
	return n
}

// find returns the place of a slot in the leaf and its position, 0 if it has none.
// Places change when a slot gets its first position or loses it.
func (l *leaf) find(slot uint64) (place int, pos int64) {
	if l.dense != nil {
		return int(slot), l.at(slot)
	}
	i, ok := l.search(slot)
	if !ok {
		return 0, 0
	}
	return i, int64(l.sparse[i] & posMask)
}

// entry returns the slot at a place, and its position.
func (l *leaf) entry(place int) (slot uint64, pos int64) {
	if l.dense != nil {
		return uint64(place), l.at(uint64(place))
	}
	return l.sparse[place] >> 48, int64(l.sparse[place] & posMask)
}

// keep takes out all slots but those whose place has its bit set, and returns how
// many are left. A leaf with few becomes a list again.
func (l *leaf) keep(bits []uint64) int {
	has := func(place int) bool { return bits[place/64]&(1<<(place%64)) != 0 }
	var list []uint64
	n := 0
	for place := range l.places() {
		slot, pos := l.entry(place)
		switch {
		case pos == 0:
		case has(place):
			n++
			if n <= maxSparse/2 || l.dense == nil {
				list = append(list, slot<<48|uint64(pos))
			}
		case l.dense != nil:
			l.put(slot, 0)
		}
	}
	if l.dense == nil || n <= maxSparse/2 {
		l.dense, l.sparse = nil, slices.Clip(list)
	}
	return n
}

// keep takes out all objects that are not in the set.
func (x *index) keep(r *reach) {
	keys := x.keys[:0]
	x.n = 0
	for _, key := range x.keys {
		n := x.leaves[key].keep(r.pages[key].seen)
		if n == 0 {
			delete(x.leaves, key)
			continue
		}
		x.n += n
		keys = append(keys, key)
	}
	x.keys = keys
}

// memory returns about how many bytes the index takes.
func (x *index) memory() int64 {
	n := int64(0)
	for _, l := range x.leaves {
		n += 96 + int64(8*cap(l.sparse)+cap(l.dense))
	}
	return n
}

// spread turns the list into an array.
func (l *leaf) spread() {
	l.dense = make([]byte, leafLen*posBytes)
	for _, e := range l.sparse {
		l.put(e>>48, int64(e&posMask))
	}
	l.sparse = nil
}

func (l *leaf) at(slot uint64) int64 {
	b := l.dense[slot*posBytes : slot*posBytes+posBytes]
	return int64(binary.BigEndian.Uint16(b))<<32 | int64(binary.BigEndian.Uint32(b[2:]))
}

func (l *leaf) put(slot uint64, pos int64) {
	b := l.dense[slot*posBytes : slot*posBytes+posBytes]
	binary.BigEndian.PutUint16(b, uint16(pos>>32))
	binary.BigEndian.PutUint32(b[2:], uint32(pos))
}

// sort puts the keys in order, so that ascend may be used. It changes the index.
func (x *index) sort() {
	if !x.sorted {
		slices.Sort(x.keys)
		x.sorted = true
	}
}

// ascend calls fn for the objects from <= oid <= to in order, until it returns
// false. The index must be sorted.
func (x *index) ascend(from, to zodb.OID, fn func(zodb.OID, int64) bool) {
	i, _ := slices.BinarySearch(x.keys, uint64(from)>>leafBits)
	for _, key := range x.keys[i:] {
		if key > uint64(to)>>leafBits {
			return
		}
		ok := x.leaves[key].ascend(func(slot uint64, pos int64) bool {
			oid := zodb.OID(key<<leafBits | slot)
			return oid < from || (oid <= to && fn(oid, pos))
		})
		if !ok {
			return
		}
	}
}

func (l *leaf) ascend(fn func(slot uint64, pos int64) bool) bool {
	if l.dense == nil {
		for _, e := range l.sparse {
			if !fn(e>>48, int64(e&posMask)) {
				return false
			}
		}
		return true
	}
	for slot := range uint64(leafLen) {
		if pos := l.at(slot); pos != 0 && !fn(slot, pos) {
			return false
		}
	}
	return true
}

// addBucket puts all entries of a bucket of an index file.
func (x *index) addBucket(b *datafs.Bucket) {
	for i := range b.Len() {
		suffix, pos := b.At(i)
		x.set(zodb.OID(b.Prefix<<16|uint64(suffix)), pos)
	}
}

// buckets calls fn with the index in the form of an index file. The bucket is
// reused. The index must be sorted.
func (x *index) buckets(fn func(*datafs.Bucket) error) error {
	var b datafs.Bucket
	for _, key := range x.keys {
		prefix := key >> (16 - leafBits)
		if prefix != b.Prefix && b.Len() > 0 {
			if err := fn(&b); err != nil {
				return err
			}
			b.Reset(prefix)
		}
		b.Prefix = prefix
		high := key << leafBits & 0xffff
		x.leaves[key].ascend(func(slot uint64, pos int64) bool {
			b.Add(uint16(high|slot), pos)
			return true
		})
	}
	if b.Len() == 0 {
		return nil
	}
	return fn(&b)
}
