// Package index finds revisions: a packed, ordered table in memory from oid and tid
// to where the record lies.
//
// # The model
//
// Every revision of every object has an entry of 20 bytes, in leaves of at most 512
// entries in the order of oid and tid. So the newest revision of an object, the one
// before a tid, and the one after it are neighbours. A leaf that is full is split;
// one to which only larger entries come stays full, so a table that is built in
// order wastes nothing.
//
// An Index is not safe for concurrent use.
package index

import (
	"math/bits"
	"slices"
	"sort"

	"github.com/zaridb/zari/zodb"
)

// Loc is where a record lies: the number of a container in the upper 24 bits, the
// offset in it in 32 bits, and its size as a [Size] in 8 bits.
type Loc uint64

// MaxContainer is the largest number of a container.
const MaxContainer = 1<<24 - 1

// At makes a Loc.
func At(container, off uint32, size Size) Loc {
	return Loc(container)<<40 | Loc(off)<<8 | Loc(size)
}

// Container returns the number of the container.
func (l Loc) Container() uint32 { return uint32(l >> 40) }

// Off returns the offset.
func (l Loc) Off() uint32 { return uint32(l >> 8) }

// Size returns the size.
func (l Loc) Size() Size { return Size(l) }

// Size is about how many bytes a record has: never too few, and at most an eighth
// too many. 0 is that of a deletion.
type Size uint8

// SizeOf returns the size of a record of n bytes, which is at least 8.
func SizeOf(n int) Size {
	e := max(bits.Len(uint(n))-4, 0) // n >> e has four bits
	m := (n + 1<<e - 1) >> e         // rounded up: 8 to 16
	if m == 16 {
		m, e = 8, e+1
	}
	return Size(e<<3 + m - 8 + 1)
}

// Bytes returns a number of bytes that the record does not exceed.
func (s Size) Bytes() int64 {
	if s == 0 {
		return 0
	}
	s--
	return int64(8+s&7) << (s >> 3)
}

// leafLen is how many entries a leaf has at most.
const leafLen = 512

// leaf holds entries whose oids have the same upper half.
type leaf struct {
	high uint64 // the upper half of the oids
	oids []uint32
	tids []zodb.TID
	locs []Loc
}

func (l *leaf) oid(i int) zodb.OID { return zodb.OID(l.high | uint64(l.oids[i])) }

func (l *leaf) first() key { return key{l.oid(0), l.tids[0]} }

// key orders the entries.
type key struct {
	oid zodb.OID
	tid zodb.TID
}

func (k key) less(o key) bool { return k.oid < o.oid || k.oid == o.oid && k.tid < o.tid }

// Index finds revisions. The zero Index is empty.
type Index struct {
	leaves  []*leaf
	n       int
	objects int
}

// Len returns the number of revisions.
func (x *Index) Len() int { return x.n }

// Objects returns the number of objects that have revisions.
func (x *Index) Objects() int { return x.objects }

// Memory returns about how many bytes the table takes.
func (x *Index) Memory() int64 {
	n := int64(cap(x.leaves)) * 8
	for _, l := range x.leaves {
		n += 8 + 3*24 + int64(cap(l.oids))*4 + int64(cap(l.tids))*8 + int64(cap(l.locs))*8
	}
	return n
}

// pos is the place of an entry, or of one past the last.
type pos struct{ leaf, i int }

// seek returns the place of the first entry that is not less than k. It may be
// the end of a leaf.
func (x *Index) seek(k key) pos {
	n := sort.Search(len(x.leaves), func(i int) bool { return k.less(x.leaves[i].first()) })
	if n == 0 {
		return pos{}
	}
	l := x.leaves[n-1]
	i := sort.Search(len(l.oids), func(i int) bool { return !(key{l.oid(i), l.tids[i]}).less(k) })
	return pos{n - 1, i}
}

// at returns the entry at p, or the one after it where p is the end of a leaf.
func (x *Index) at(p pos) (Entry, bool) {
	if p.leaf < len(x.leaves) && p.i == len(x.leaves[p.leaf].oids) {
		p = pos{p.leaf + 1, 0}
	}
	if p.leaf >= len(x.leaves) {
		return Entry{}, false
	}
	l := x.leaves[p.leaf]
	return Entry{l.oid(p.i), l.tids[p.i], l.locs[p.i]}, true
}

// before returns the entry before p.
func (x *Index) before(p pos) (Entry, bool) {
	if p.i == 0 {
		if p.leaf == 0 {
			return Entry{}, false
		}
		p.leaf--
		p.i = len(x.leaves[p.leaf].oids)
	}
	l := x.leaves[p.leaf]
	return Entry{l.oid(p.i - 1), l.tids[p.i-1], l.locs[p.i-1]}, true
}

// Entry is a revision and where it lies.
type Entry struct {
	OID zodb.OID
	TID zodb.TID
	Loc Loc
}

// Before returns the newest revision of an object that is older than tid, and the
// tid of the one after it, 0 if there is none. known tells whether there is any
// revision of the object.
func (x *Index) Before(oid zodb.OID, tid zodb.TID) (e Entry, next zodb.TID, known, ok bool) {
	p := x.seek(key{oid, tid})
	if after, found := x.at(p); found && after.OID == oid {
		next, known = after.TID, true
	}
	e, ok = x.before(p)
	if !ok || e.OID != oid {
		return Entry{}, next, known, false
	}
	return e, next, true, true
}

// Newest returns the tid of the newest revision of an object, 0 if there is none.
func (x *Index) Newest(oid zodb.OID) zodb.TID {
	e, _, _, _ := x.Before(oid, zodb.MaxTID+1)
	return e.TID
}

// Find returns where a revision lies.
func (x *Index) Find(oid zodb.OID, tid zodb.TID) (Loc, bool) {
	e, ok := x.at(x.seek(key{oid, tid}))
	if !ok || e.OID != oid || e.TID != tid {
		return 0, false
	}
	return e.Loc, true
}

// Put adds a revision, or says where it lies now.
func (x *Index) Put(oid zodb.OID, tid zodb.TID, loc Loc) {
	k := key{oid, tid}
	p := x.seek(k)
	if e, ok := x.at(p); ok && e.OID == oid && e.TID == tid {
		if p.i == len(x.leaves[p.leaf].oids) {
			p = pos{p.leaf + 1, 0}
		}
		x.leaves[p.leaf].locs[p.i] = loc
		return
	}
	x.count(p, oid)
	x.insert(p, k, loc)
}

// count counts an entry that is going to be at p.
func (x *Index) count(p pos, oid zodb.OID) {
	x.n++
	if e, ok := x.at(p); ok && e.OID == oid {
		return
	}
	if e, ok := x.before(p); ok && e.OID == oid {
		return
	}
	x.objects++
}

func (x *Index) insert(p pos, k key, loc Loc) {
	high := uint64(k.oid) &^ (1<<32 - 1)
	if p.leaf == len(x.leaves) {
		x.leaves = append(x.leaves, newLeaf(high, k, loc))
		return
	}
	l := x.leaves[p.leaf]
	switch {
	case l.high != high && p.i > 0 && p.i < len(l.oids):
		panic("index: an entry between those of another range") // ranges have leaves of their own
	case l.high != high && p.i == 0:
		x.leaves = slices.Insert(x.leaves, p.leaf, newLeaf(high, k, loc))
		return
	case l.high != high || p.i == len(l.oids) && p.i == leafLen:
		if next := p.leaf + 1; next < len(x.leaves) && x.leaves[next].high == high && len(x.leaves[next].oids) < leafLen {
			x.leaves[next].insert(0, k, loc)
			return
		}
		x.leaves = slices.Insert(x.leaves, p.leaf+1, newLeaf(high, k, loc))
		return
	case len(l.oids) == leafLen:
		right := l.split()
		x.leaves = slices.Insert(x.leaves, p.leaf+1, right)
		if p.i > len(l.oids) {
			l, p.i = right, p.i-len(l.oids)
		}
	}
	l.insert(p.i, k, loc)
}

func newLeaf(high uint64, k key, loc Loc) *leaf {
	l := &leaf{high: high}
	l.insert(0, k, loc)
	return l
}

func (l *leaf) insert(i int, k key, loc Loc) {
	l.grow()
	l.oids = slices.Insert(l.oids, i, uint32(k.oid))
	l.tids = slices.Insert(l.tids, i, k.tid)
	l.locs = slices.Insert(l.locs, i, loc)
}

// grow makes room for another entry, by an eighth: there are many leaves.
func (l *leaf) grow() {
	n := len(l.oids)
	if n < cap(l.oids) {
		return
	}
	l.resize(min(max(n+n/8, n+4), leafLen))
}

func (l *leaf) resize(n int) {
	l.oids = append(make([]uint32, 0, n), l.oids...)
	l.tids = append(make([]zodb.TID, 0, n), l.tids...)
	l.locs = append(make([]Loc, 0, n), l.locs...)
}

// split moves the upper half to a new leaf.
func (l *leaf) split() *leaf {
	half := len(l.oids) / 2
	right := &leaf{high: l.high, oids: l.oids[half:], tids: l.tids[half:], locs: l.locs[half:]}
	right.resize(len(right.oids))
	l.oids, l.tids, l.locs = l.oids[:half], l.tids[:half], l.locs[:half]
	l.resize(half + half/8)
	return right
}

// Append adds an entry that comes after all others. It wastes no memory.
func (x *Index) Append(e Entry) {
	high := uint64(e.OID) &^ (1<<32 - 1)
	x.n++
	var l *leaf
	if n := len(x.leaves); n > 0 {
		l = x.leaves[n-1]
	}
	if l == nil || l.oid(len(l.oids)-1) != e.OID {
		x.objects++
	}
	if l == nil || l.high != high || len(l.oids) == leafLen {
		if l != nil && cap(l.oids) > len(l.oids) {
			l.resize(len(l.oids))
		}
		l = &leaf{high: high}
		l.resize(leafLen)
		x.leaves = append(x.leaves, l)
	}
	l.oids = append(l.oids, uint32(e.OID))
	l.tids = append(l.tids, e.TID)
	l.locs = append(l.locs, e.Loc)
}

// Read appends entries from an oid and tid on, at most n, to dst. The next ones begin
// after the last of them.
func (x *Index) Read(oid zodb.OID, tid zodb.TID, n int, dst []Entry) []Entry {
	p := x.seek(key{oid, tid})
	for p.leaf < len(x.leaves) && n > 0 {
		l := x.leaves[p.leaf]
		for ; p.i < len(l.oids) && n > 0; p.i++ {
			dst = append(dst, Entry{l.oid(p.i), l.tids[p.i], l.locs[p.i]})
			n--
		}
		p = pos{p.leaf + 1, 0}
	}
	return dst
}

// DropFrom removes all entries that lie in the given containers.
func (x *Index) DropFrom(containers map[uint32]bool) {
	old := x.leaves
	*x = Index{}
	for i, l := range old {
		old[i] = nil // so that not both tables are there in full
		if !slices.ContainsFunc(l.locs, func(loc Loc) bool { return containers[loc.Container()] }) {
			x.keep(l)
			continue
		}
		for i := range l.oids {
			if !containers[l.locs[i].Container()] {
				x.Append(Entry{l.oid(i), l.tids[i], l.locs[i]})
			}
		}
	}
}

// keep appends a whole leaf.
func (x *Index) keep(l *leaf) {
	x.n += len(l.oids)
	for i := range l.oids {
		if i > 0 && l.oids[i] == l.oids[i-1] {
			continue
		}
		if i == 0 && len(x.leaves) > 0 {
			last := x.leaves[len(x.leaves)-1]
			if last.oid(len(last.oids)-1) == l.oid(0) {
				continue
			}
		}
		x.objects++
	}
	x.leaves = append(x.leaves, l)
}
