package revisions

import "math/bits"

// queue is a ring of revisions. The one that came last stands before its ring.
type queue struct {
	ring  revision
	n     int64
	bytes int64
}

func (q *queue) init() {
	q.ring.before, q.ring.then = &q.ring, &q.ring
	q.n, q.bytes = 0, 0
}

func (q *queue) oldest() *revision { return q.ring.then }

func (q *queue) push(r *revision) {
	r.before, r.then = q.ring.before, &q.ring
	r.before.then, q.ring.before = r, r
	q.n++
	q.bytes += r.cost()
}

func (q *queue) remove(r *revision) {
	r.before.then, r.then.before = r.then, r.before
	r.before, r.then = nil, nil
	q.n--
	q.bytes -= r.cost()
}

// ghosts remembers, for a while, hashes of what is no longer kept: each in the one place
// that it may have, where a later one takes its place. A length of a power of two.
type ghosts []uint32

// ghostFor is of how many bytes of a cache one ghost is remembered.
const ghostFor = 512

func newGhosts(limit int64) ghosts {
	n := limit / ghostFor
	if n == 0 {
		return nil
	}
	return make(ghosts, 1<<(bits.Len64(uint64(n))-1))
}

func (g ghosts) bytes() int64 { return 4 * int64(len(g)) }

// place returns where a hash is remembered, and as what. The upper bits of a hash are the
// same within a shard.
func (g ghosts) place(hash uint64) (*uint32, uint32) {
	return &g[hash&uint64(len(g)-1)], uint32(hash>>24) | 1
}

func (g ghosts) add(hash uint64) {
	if len(g) > 0 {
		at, mark := g.place(hash)
		*at = mark
	}
}

func (g ghosts) has(hash uint64) bool {
	if len(g) == 0 {
		return false
	}
	at, mark := g.place(hash)
	return *at == mark
}
