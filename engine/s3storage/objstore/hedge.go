package objstore

import (
	"context"
	"errors"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Reader reads objects, or parts of them, into memory.
type Reader interface {
	Read(ctx context.Context, key string, r Range) ([]byte, Info, error)
}

// Hedger reads from a Store, and asks a second time when an answer takes longer than
// 95 of 100 do: the first of the two answers counts. In a store that is many machines
// the slow one in twenty is slow for a reason of its own, and the second finds another.
//
// How long that is it learns from the last requests, those of a similar size apart.
// At most one in ten requests is asked for twice, so a store that is slow as a whole
// is not made slower.
type Hedger struct {
	store Store
	wg    sync.WaitGroup // requests, losers that have not noticed yet among them
	ctx   context.Context
	stop  context.CancelFunc

	mu     sync.Mutex
	closed bool
	sizes  map[int]*latencies
	credit float64 // in requests

	hedged, won atomic.Int64
}

const (
	hedgeShare  = 0.1 // of requests that may be asked for twice
	hedgeBurst  = 10
	hedgeAtMost = 95 // per cent
	hedgeMin    = time.Millisecond
)

// NewHedger returns a Hedger over a store.
func NewHedger(s Store) *Hedger {
	h := &Hedger{store: s, sizes: make(map[int]*latencies), credit: hedgeBurst}
	h.ctx, h.stop = context.WithCancel(context.Background())
	return h
}

// HedgeStats are what came of the second requests.
type HedgeStats struct {
	Hedged int64 // second requests
	Won    int64 // those that were answered first
}

// Stats returns what came of the second requests.
func (h *Hedger) Stats() HedgeStats { return HedgeStats{h.hedged.Load(), h.won.Load()} }

// Close ends all requests. It does not close the store.
func (h *Hedger) Close() error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.stop()
	h.wg.Wait()
	return nil
}

// begin counts a Read, which ends with wg.Done. It reports false after Close.
func (h *Hedger) begin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.wg.Add(1)
	}
	return !h.closed
}

type readResult struct {
	data   []byte
	info   Info
	err    error
	second bool
}

// settles reports whether a result needs no other one.
func (r readResult) settles() bool {
	return r.err == nil || errors.Is(r.err, ErrNotExist) || errors.Is(r.err, ErrRange)
}

// Read implements Reader.
func (h *Hedger) Read(ctx context.Context, key string, r Range) ([]byte, Info, error) {
	if !h.begin() {
		return nil, Info{}, ErrClosed
	}
	defer h.wg.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()
	results := make(chan readResult, 2)
	ask := func(second bool) {
		h.wg.Go(func() {
			data, info, err := Read(ctx, h.store, key, r)
			results <- readResult{data, info, err, second}
		})
	}
	begin := time.Now()
	limit := h.limit(r)
	timer := time.NewTimer(limit)
	if limit == 0 {
		timer.Stop()
	}
	defer timer.Stop()
	ask(false)
	for asked := 1; ; {
		select {
		case <-timer.C:
			if h.spend() {
				ask(true)
				asked++
			}
		case res := <-results:
			asked--
			if asked > 0 && !res.settles() {
				continue // the other may do better
			}
			if res.second {
				h.won.Add(1)
			}
			if res.err == nil {
				h.took(r, time.Since(begin))
			} else if h.ctx.Err() != nil {
				res.err = ErrClosed
			}
			return res.data, res.info, res.err
		}
	}
}

// latencies are those of the last requests of one size.
type latencies struct {
	ring  [128]time.Duration
	n     int
	limit time.Duration // 0: too few to know
}

// sizeClass puts ranges of similar size together.
func sizeClass(r Range) int { return bits.Len64(uint64(max(r.Len, -r.Off, 0))) / 2 }

// limit is how long to wait before asking again; 0: for ever.
func (h *Hedger) limit(r Range) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.credit = min(h.credit+hedgeShare, hedgeBurst)
	if l := h.sizes[sizeClass(r)]; l != nil {
		return l.limit
	}
	return 0
}

// spend takes the right to a second request.
func (h *Hedger) spend() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.credit < 1 {
		return false
	}
	h.credit--
	h.hedged.Add(1)
	return true
}

// took learns how long an answer took. One that the second request cut short took
// longer than the limit all the same, which is all that counts.
func (h *Hedger) took(r Range, d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.sizes[sizeClass(r)]
	if l == nil {
		l = new(latencies)
		h.sizes[sizeClass(r)] = l
	}
	l.ring[l.n%len(l.ring)] = d
	if l.n++; l.n%16 == 0 && l.n >= 32 {
		sorted := slices.Sorted(slices.Values(l.ring[:min(l.n, len(l.ring))]))
		p95 := sorted[len(sorted)*hedgeAtMost/100]
		l.limit = max(p95+p95/8, hedgeMin) // many answers may come at p95 itself
	}
}
