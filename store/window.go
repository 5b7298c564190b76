package store

import (
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/zaridb/zari/zodb"
)

// window keeps what was overwritten lately, for a medium that forgets it: of each
// object a chain of revisions, oldest first, that open snapshots can still read.
//
// Where this Store alone writes, a revision enters before the medium can forget it, which
// is before it is known whether the transaction that replaces it will be kept: if not it
// leaves again. Where others write too, it enters when that is known: until then it is
// not even certain that it was the newest.
type window struct {
	bytes int64         // bound of what is kept
	age   time.Duration // bound of how long
	clock Clock

	mu     sync.RWMutex
	chains map[zodb.OID][]*replaced
	order  []*replaced // as they entered
	size   int64
}

// replaced is a revision that was overwritten, or is about to be.
type replaced struct {
	oid    zodb.OID
	serial zodb.TID // 0: there was no such object
	next   zodb.TID // who replaced it
	data   []byte   // nil: it was deleted, or did not exist
	since  time.Time
	left   bool // it is no longer in a chain
}

// replacedOverhead is about what a revision takes in memory besides its data.
const replacedOverhead = 160

func (r *replaced) size() int64 { return int64(len(r.data)) + replacedOverhead }

func newWindow(opts *Options) *window {
	return &window{bytes: opts.WindowBytes, age: opts.WindowAge, clock: opts.Clock, chains: make(map[zodb.OID][]*replaced)}
}

// enter adds what transaction next replaces. The objects are locked, so that no chain
// grows at the same time.
func (w *window) enter(list []*replaced, next zodb.TID) {
	if w == nil || len(list) == 0 {
		return
	}
	now := w.clock()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range list {
		r.next, r.since = next, now
		w.chains[r.oid] = append(w.chains[r.oid], r)
		w.size += r.size()
	}
	w.order = append(w.order, list...)
	w.trim(now)
}

// leave takes back what a transaction that is not kept did not replace. It does
// nothing for what never entered.
func (w *window) leave(list []*replaced) {
	if w == nil || len(list) == 0 || list[0].since.IsZero() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range list {
		w.remove(r)
	}
}

// trim drops the oldest until the rest is within bounds. w.mu is held.
func (w *window) trim(now time.Time) {
	n := 0
	for n < len(w.order) {
		r := w.order[n]
		if !r.left && w.size <= w.bytes && now.Sub(r.since) <= w.age {
			break
		}
		w.remove(r)
		n++
	}
	w.order = w.order[n:]
}

// remove takes a revision out of its chain. w.mu is held.
func (w *window) remove(r *replaced) {
	if r.left {
		return
	}
	r.left = true
	w.size -= r.size()
	r.data = nil
	chain := w.chains[r.oid]
	if i := slices.Index(chain, r); i == 0 {
		chain = chain[1:]
	} else {
		chain = slices.Delete(chain, i, i+1)
	}
	if len(chain) == 0 {
		delete(w.chains, r.oid)
		return
	}
	w.chains[r.oid] = chain
}

// before returns the revision of the object that was the newest just before tid, if
// it is here.
func (w *window) before(oid zodb.OID, tid zodb.TID) (replaced, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	chain := w.chains[oid]
	n := sort.Search(len(chain), func(i int) bool { return chain[i].serial >= tid })
	if n == 0 {
		return replaced{}, false
	}
	if r := chain[n-1]; tid <= r.next {
		return *r, true
	}
	return replaced{}, false // what came after it was replaced by somebody else
}
