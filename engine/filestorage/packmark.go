package filestorage

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/zodb"
)

// reach is a set of objects of an index, which must not get or lose any meanwhile:
// bits beside each of its leaves. It is what a garbage collection has reached, and
// what it has still to look at; a leaf of the index with its bits is the unit of
// work. So it needs a quarter of a byte for an object, however the objects hang
// together, and objects of neighbouring numbers, which mostly lie together in the
// file, are read together.
type reach struct {
	pages map[uint64]*page // by the key of the leaf

	mu    sync.Mutex
	queue []*page // with todo
}

// page is a leaf. Bit i is for the object in slot i, or for the i-th one where the
// leaf is a list.
type page struct {
	key    uint64
	leaf   *leaf
	seen   []uint64
	todo   []uint64 // seen, and not yet looked at
	queued atomic.Bool
}

func newReach(x *index) *reach {
	r := &reach{pages: make(map[uint64]*page, len(x.leaves))}
	for key, l := range x.leaves {
		n := (l.places() + 63) / 64
		words := make([]uint64, 2*n)
		r.pages[key] = &page{key: key, leaf: l, seen: words[:n], todo: words[n:]}
	}
	return r
}

// memory returns about how many bytes the set takes.
func (r *reach) memory() int64 {
	if r == nil {
		return 0
	}
	n := int64(0)
	for _, pg := range r.pages {
		n += 128 + 16*int64(len(pg.seen))
	}
	return n
}

func (r *reach) has(oid zodb.OID) bool {
	pg := r.pages[uint64(oid)>>leafBits]
	if pg == nil {
		return false
	}
	i, pos := pg.leaf.find(uint64(oid) & leafMask)
	return pos != 0 && atomic.LoadUint64(&pg.seen[i/64])&(1<<(i%64)) != 0
}

// add puts an object into the set, and on the list of what is to be looked at if it
// was not there. It reports false if the index does not have it.
func (r *reach) add(oid zodb.OID) bool {
	pg := r.pages[uint64(oid)>>leafBits]
	if pg == nil {
		return false
	}
	i, pos := pg.leaf.find(uint64(oid) & leafMask)
	if pos == 0 {
		return false
	}
	bit := uint64(1) << (i % 64)
	if atomic.LoadUint64(&pg.seen[i/64])&bit != 0 || atomic.OrUint64(&pg.seen[i/64], bit)&bit != 0 {
		return true
	}
	atomic.OrUint64(&pg.todo[i/64], bit)
	if pg.queued.CompareAndSwap(false, true) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.queue = append(r.queue, pg)
	}
	return true
}

// take returns the pages that have something to be looked at.
func (r *reach) take() []*page {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.queue
	r.queue = nil
	return q
}

// marker finds out what is reachable at the pack time.
type marker struct {
	*packer
	*reach
	// strict makes a reference to nothing an error: then the data are damaged, and
	// it is no time to throw anything away.
	strict bool
	done   atomic.Int64 // objects
	bytes  atomic.Int64 // that their records will take
}

// findReachable finds what is reachable: from the root as of the pack time, and
// from everything written after it. Python's pack looks only at back pointers of
// what was written later; so it loses an object that was unreachable for a while
// around the pack time and then put to use again.
func (p *packer) findReachable() error {
	p.pace.stage()
	m := &marker{packer: p, reach: newReach(p.index), strict: true}
	p.reach = m.reach
	if !m.add(0) && p.index.n > 0 {
		return fmt.Errorf("there is no root object to start from: %w", &zodb.NoObjectError{})
	}
	if err := m.follow(); err != nil {
		return err
	}
	m.strict = false
	if err := m.later(); err != nil {
		return err
	}
	p.marked = p.src.end
	p.need = m.bytes.Load() + p.src.end - p.packPos
	p.noteMemory()
	return m.follow()
}

// follow adds all that can be reached from what is to be looked at. It goes in
// rounds; one of a single page, as in a long chain of objects, costs no goroutine.
func (m *marker) follow() error {
	var inline refReader
	for {
		batch := m.take()
		switch len(batch) {
		case 0:
			return nil
		case 1:
			if err := m.lookAt(m.ctx, batch[0], &inline); err != nil {
				return err
			}
		default:
			if err := m.lookAtAll(batch); err != nil {
				return err
			}
		}
	}
}

func (m *marker) lookAtAll(batch []*page) error {
	var next atomic.Int64
	group, ctx := errgroup.WithContext(m.ctx)
	for range min(len(batch), runtime.GOMAXPROCS(0)) {
		group.Go(func() error {
			var r refReader
			for {
				i := int(next.Add(1)) - 1
				if i >= len(batch) {
					return nil
				}
				if err := m.lookAt(ctx, batch[i], &r); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

// lookAt adds what the objects of a page refer to.
func (m *marker) lookAt(ctx context.Context, pg *page, r *refReader) error {
	pg.queued.Store(false) // from now on who adds to the page puts it on the list again
	var moved int64
	for w := range pg.todo {
		for word := atomic.SwapUint64(&pg.todo[w], 0); word != 0; word &= word - 1 {
			slot, pos := pg.leaf.entry(w*64 + bits.TrailingZeros64(word))
			oid := zodb.OID(pg.key<<leafBits | slot)
			n, err := m.addRefs(r, oid, pos)
			if err != nil {
				return err
			}
			moved += n
			m.done.Add(1)
		}
	}
	m.bytes.Add(moved)
	if err := ctx.Err(); err != nil {
		return err
	}
	return m.pace.step(m.pace.size*m.done.Load()/int64(max(1, m.index.n)), moved)
}

// addRefs adds what the record at pos refers to. It returns the record's length
// with its data.
func (m *marker) addRefs(r *refReader, oid zodb.OID, pos int64) (int64, error) {
	data, err := r.read(m.src, oid, pos)
	if err != nil || data == nil {
		return datafs.DataHeaderSize + datafs.BackSize, err
	}
	return datafs.DataHeaderSize + int64(len(data)), m.addAll(r, oid, pos, data)
}

func (m *marker) addAll(r *refReader, oid zodb.OID, pos int64, data []byte) error {
	refs, err := r.find(m.Storage, oid, pos, data)
	if err != nil {
		return err
	}
	for _, ref := range refs {
		if !m.add(ref) && m.strict {
			return fmt.Errorf("object %v refers to an object that is missing: %w", oid, &zodb.NoObjectError{OID: ref})
		}
	}
	return nil
}

// later adds what transactions after the pack time refer to, by references and by
// back pointers.
func (m *marker) later() error {
	sc := m.scanner(m.packPos, m.src.end)
	var r refReader
	for sc.Txn() {
		if err := m.pace.step(m.pace.size, sc.Head.Size()); err != nil {
			return err
		}
		for sc.Record() {
			if back := sc.Rec.Back; back != 0 && back < m.packPos {
				m.extra = append(m.extra, back)
			}
			if err := m.addLater(sc, &r); err != nil {
				return err
			}
		}
	}
	slices.Sort(m.extra)
	m.extra = slices.Clip(slices.Compact(m.extra))
	return sc.Err()
}

func (m *marker) addLater(sc *datafs.Scanner, r *refReader) error {
	if sc.Rec.DataLen == 0 {
		_, err := m.addRefs(r, sc.Rec.OID, sc.Pos)
		return err
	}
	at := sc.Pos + datafs.DataHeaderSize
	data, err := sc.Window.At(at, int(sc.Rec.DataLen))
	if err != nil {
		return datafs.ReadError(m.path, "data record", sc.Pos, err)
	}
	return m.addAll(r, sc.Rec.OID, sc.Pos, data)
}

// refReader reads records to find what they refer to. Its buffers are used again.
type refReader struct {
	buf  []byte // what was read last,
	base int64  // from here in the file
	refs []zodb.OID
}

// refsAhead is how much is read at a time where one record follows another.
const refsAhead = 1 << 16

// read returns the data of oid's record at pos, nil for none, until the next call.
func (r *refReader) read(v *view, oid zodb.OID, pos int64) ([]byte, error) {
	for {
		b, err := r.at(v, pos, datafs.DataHeaderSize+datafs.BackSize)
		if err != nil {
			return nil, err
		}
		h, err := v.decode(pos, oid, b)
		if err != nil {
			return nil, err
		}
		if h.DataLen > 0 {
			b, err = r.at(v, pos, int(h.Len()))
			return b[min(len(b), datafs.DataHeaderSize):], err
		}
		if h.Back == 0 {
			return nil, nil
		}
		pos = h.Back // smaller, or decode would have said so
	}
}

// at returns n bytes at pos; less only if the file ends, by at most what may follow
// the head of a record. Nothing before the end of a view ever changes.
func (r *refReader) at(v *view, pos int64, n int) ([]byte, error) {
	if pos < datafs.MagicSize || v.end-pos <= datafs.DataHeaderSize {
		return nil, v.corrupt(pos, errors.New("it lies outside of the file"))
	}
	n = int(min(int64(n), v.end-pos))
	from := pos - r.base
	if from >= 0 && from+int64(n) <= int64(len(r.buf)) {
		return r.buf[from : from+int64(n)], nil
	}
	size := readAhead
	if from >= 0 && from < int64(len(r.buf))+refsAhead {
		size = refsAhead // not far from the last one: the next may be there too
	}
	size = int(min(int64(max(size, n)), v.end-pos))
	r.buf = slices.Grow(r.buf[:0], size)[:size]
	r.base = pos
	if got, err := v.file.ReadAt(r.buf, pos); got < size {
		r.buf = r.buf[:0]
		return nil, v.readError(pos, err)
	}
	return r.buf[:n], nil
}

// find returns what data refer to, until the next call.
func (r *refReader) find(s *Storage, oid zodb.OID, pos int64, data []byte) (refs []zodb.OID, err error) {
	if r.refs, err = s.opts.References(data, r.refs[:0]); err != nil {
		return nil, fmt.Errorf("references of object %v at offset %d: %w", oid, pos, err)
	}
	return r.refs, nil
}
