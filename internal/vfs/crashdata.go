package vfs

import (
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
)

// sectorSize is the unit that a disk writes whole or not at all.
const sectorSize = 512

// durable is what the medium holds of a node, and what it may hold.
type durable struct {
	mode     fs.FileMode
	children map[string]*node // of a directory
	image    []byte           // of a file: zeros are left out at the end
	size     int64
	sizes    []sizeVersion             // since the last sync
	sectors  map[int64][]sectorVersion // since the last sync, by number
}

type sizeVersion struct {
	seq  uint64
	size int64
}

// sectorVersion is a content that a sector had.
type sectorVersion struct {
	seq  uint64
	data []byte // nil for zeros
	cut  bool   // it comes of a truncation, which is no data to be written
}

// wrote notes that bytes of a file were written.
func (l *changeLog) wrote(n *node, from, to int64) {
	l.seq++
	l.noteSize(n)
	l.noteSectors(n, from, to, false)
}

// resized notes that a file was truncated or extended.
func (l *changeLog) resized(n *node, from, to int64) {
	l.seq++
	l.noteSize(n)
	if to < from {
		l.noteSectors(n, to, from, true)
	}
}

func (l *changeLog) noteSize(n *node) {
	d := &n.disk
	last := d.size
	if len(d.sizes) > 0 {
		last = d.sizes[len(d.sizes)-1].size
	}
	if size := int64(len(n.data)); size != last {
		d.sizes = append(d.sizes, sizeVersion{l.seq, size})
	}
}

// noteSectors keeps a copy of all sectors that the range touches.
func (l *changeLog) noteSectors(n *node, from, to int64, cut bool) {
	d := &n.disk
	if d.sectors == nil {
		d.sectors = make(map[int64][]sectorVersion)
	}
	first, last := from/sectorSize, (to-1)/sectorSize
	lo := min(first*sectorSize, int64(len(n.data)))
	hi := min((last+1)*sectorSize, int64(len(n.data)))
	content := slices.Clone(n.data[lo:hi])
	for i := first; i <= last; i++ {
		size := min(sectorSize, len(content))
		d.sectors[i] = append(d.sectors[i], sectorVersion{l.seq, content[:size:size], cut})
		content = content[size:]
	}
}

// write puts one or more whole sectors, or the end of a file, on the medium.
func (d *durable) write(sector int64, data []byte) {
	off := sector * sectorSize
	if end := off + int64(len(data)); end > int64(len(d.image)) {
		d.image = append(d.image, make([]byte, end-int64(len(d.image)))...)
	}
	if off > int64(len(d.image)) {
		return // zeros where there is nothing
	}
	rest := d.image[off:]
	n := copy(rest, data)
	clear(rest[n:min(len(rest), max(n, sectorSize))])
}

// settleAll makes durable the last of everything that is still pending.
func (d *durable) settleAll(size int64) {
	for i, versions := range d.sectors {
		d.write(i, versions[len(versions)-1].data)
	}
	clear(d.sectors)
	d.sizes = d.sizes[:0]
	d.size = size
}

// FailSync does what Linux does when the disk refuses to write: some of the data
// are on it and some are not, all count as written, and nobody will try again.
// Sizes are not data; they stay to be synced. The cached content may be
// dropped, so that reads find what is on the disk.
func (f *memFile) FailSync() {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	l := f.t.log
	if l == nil || l.off || f.n.mode.IsDir() {
		return
	}
	o := newOutcome(l.rng.Uint64(), l.ordered)
	o.failSync(&f.n.disk)
	if o.rng.IntN(2) == 0 {
		o.dropped = o.settled
	}
	for _, i := range o.dropped {
		f.n.reread(i)
	}
}

// reread fills a sector of the cache from the medium.
func (n *node) reread(sector int64) {
	off := sector * sectorSize
	if off >= int64(len(n.data)) {
		return
	}
	cache := n.data[off:min(off+sectorSize, int64(len(n.data)))]
	copied := 0
	if off < int64(len(n.disk.image)) {
		copied = copy(cache, n.disk.image[off:])
	}
	clear(cache[copied:])
}

// outcome decides what is left to chance.
type outcome struct {
	rng     *rand.Rand
	ordered bool
	luck    float64 // how probably the newest is kept
	settled []int64 // sectors that failSync has settled
	dropped []int64
}

// newOutcome is all bad or all good luck now and then: the extremes find most.
func newOutcome(seed uint64, ordered bool) *outcome {
	o := &outcome{rng: rand.New(rand.NewPCG(seed, 1)), ordered: ordered}
	o.luck = []float64{0, 0.1, 0.5, 0.5, 0.9, 1}[o.rng.IntN(6)]
	return o
}

// pick chooses one of n versions, the oldest of which is 0.
func (o *outcome) pick(n int) int {
	switch {
	case o.luck == 0 || n == 1:
		return 0
	case o.luck == 1 || o.rng.Float64() < o.luck:
		return n - 1
	case o.rng.IntN(2) == 0:
		return 0
	}
	return o.rng.IntN(n)
}

// file returns what a power cut leaves of a node.
func (o *outcome) file(n *node) ([]byte, fs.FileMode) {
	d := n.disk // a copy, whose image must be copied before it is written
	mode := d.mode
	if d.mode != n.mode && o.pick(2) == 1 {
		mode = n.mode
	}
	if mode.IsDir() || len(d.sectors)+len(d.sizes) == 0 {
		return d.content(), mode
	}
	grown, seq := d.size, uint64(0)
	if i := o.pick(len(d.sizes) + 1); i > 0 {
		d.size, seq = d.sizes[i-1].size, d.sizes[i-1].seq
	}
	d.image = slices.Clone(d.image)
	for _, i := range slices.Sorted(maps.Keys(d.sectors)) {
		versions := d.sectors[i]
		oldest := o.oldest(versions, seq, (i+1)*sectorSize > grown)
		if v := oldest + o.pick(len(versions)+1-oldest); v > 0 {
			d.write(i, versions[v-1].data)
		}
	}
	return d.content(), mode
}

// oldest returns the first of 0 (what is on the medium), 1 (versions[0]) ... that
// a sector may hold if the file has the size that it got with change seq: a
// truncation that is kept leaves nothing of what was before it, and an ordered
// file system has written what a file has grown by.
func (o *outcome) oldest(versions []sectorVersion, seq uint64, grown bool) int {
	first := 0
	for i, v := range versions {
		if v.seq <= seq && (v.cut || o.ordered && grown) {
			first = i + 1
		}
	}
	return first
}

// failSync settles the data, each sector on one of the contents it had. A
// truncation stays pending unless something newer was written.
func (o *outcome) failSync(d *durable) {
	for _, i := range slices.Sorted(maps.Keys(d.sectors)) {
		versions := d.sectors[i]
		v := o.pick(len(versions) + 1)
		if v > 0 {
			d.write(i, versions[v-1].data)
		}
		delete(d.sectors, i)
		cut := lastCut(versions)
		if cut >= v {
			d.sectors[i] = []sectorVersion{versions[cut]}
			continue
		}
		o.settled = append(o.settled, i)
	}
}

// lastCut returns the index of the last truncation, -1 if there is none.
func lastCut(versions []sectorVersion) int {
	for i, v := range slices.Backward(versions) {
		if v.cut {
			return i
		}
	}
	return -1
}

// content returns the bytes that the file has on the medium.
func (d *durable) content() []byte {
	data := make([]byte, d.size)
	copy(data, d.image)
	return data
}
