// Package delay has an object store that is as slow as one at the other end of a
// network. A server on the loopback answers in half a millisecond, and says nothing
// about how a commit log over a real bucket behaves; behind this wrapper it does.
//
// Latencies are drawn from lognormal distributions, which is how those of S3 are
// spread: most near the median, a few many times as long. For one seed they are always
// the same, in the order in which operations begin.
package delay

import (
	"context"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/zaridb/zari/engine/s3storage/objstore"
)

// Lognormal is how long something takes. The zero Lognormal takes no time.
type Lognormal struct{ Median, P99 time.Duration }

// Options are how slow a store is. The zero value is not slow at all.
type Options struct {
	Seed  uint64
	Put   Lognormal
	Get   Lognormal // and Head
	Other Lognormal // List (once, not for each page) and Delete

	// BytesPerSecond of one request's body; 0: no limit.
	BytesPerSecond float64
}

// S3 is like S3 Standard from a machine in the same region, with objects of some KB.
func S3(seed uint64) Options {
	return Options{
		Seed:           seed,
		Put:            Lognormal{30 * time.Millisecond, 120 * time.Millisecond},
		Get:            Lognormal{15 * time.Millisecond, 80 * time.Millisecond},
		Other:          Lognormal{20 * time.Millisecond, 100 * time.Millisecond},
		BytesPerSecond: 80e6,
	}
}

// Store is a slow store.
type Store struct {
	base objstore.Store
	opts Options

	mu  sync.Mutex
	rnd *rand.Rand
}

var (
	_ objstore.Store    = (*Store)(nil)
	_ objstore.Counting = (*Store)(nil)
)

// New makes a store slow.
func New(base objstore.Store, opts Options) *Store {
	return &Store{base: base, opts: opts, rnd: rand.New(rand.NewPCG(opts.Seed, 0xde1a))}
}

// draw returns a latency.
func (s *Store) draw(l Lognormal, bytes int64) time.Duration {
	s.mu.Lock()
	x := s.rnd.NormFloat64()
	s.mu.Unlock()
	var d time.Duration
	if l.Median > 0 {
		d = l.Median
		if l.P99 > l.Median {
			sigma := math.Log(float64(l.P99)/float64(l.Median)) / 2.3263 // the 99th percentile of a normal distribution
			d = time.Duration(float64(l.Median) * math.Exp(sigma*x))
		}
	}
	if s.opts.BytesPerSecond > 0 {
		d += time.Duration(float64(bytes) / s.opts.BytesPerSecond * float64(time.Second))
	}
	return d
}

// pause waits, or ends with the context.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// around does something in the middle of a latency. If the context ends before, it is
// not done; if after, it is, and the caller has the context's error.
func around[T any](ctx context.Context, d time.Duration, do func() (T, error)) (T, error) {
	var none T
	if err := pause(ctx, d/2); err != nil {
		return none, err
	}
	v, err := do()
	if pauseErr := pause(ctx, d-d/2); pauseErr != nil {
		return v, pauseErr
	}
	return v, err
}

// fail wraps an error of our own.
func fail(op, key string, err error) error {
	if _, is := err.(*objstore.Error); err == nil || is {
		return err
	}
	return &objstore.Error{Op: op, Store: "delayed", Key: key, Err: err}
}

// Put implements objstore.Store.
func (s *Store) Put(ctx context.Context, key string, body []byte, cond objstore.Cond) (string, error) {
	etag, err := around(ctx, s.draw(s.opts.Put, int64(len(body))), func() (string, error) {
		return s.base.Put(ctx, key, body, cond)
	})
	if err != nil {
		return "", fail("Put", key, err)
	}
	return etag, nil
}

// PutFile implements objstore.Store.
func (s *Store) PutFile(ctx context.Context, key, path string) error {
	var size int64
	if st, err := os.Stat(path); err == nil {
		size = st.Size()
	}
	_, err := around(ctx, s.draw(s.opts.Put, size), func() (struct{}, error) {
		return struct{}{}, s.base.PutFile(ctx, key, path)
	})
	return fail("PutFile", key, err)
}

// Get implements objstore.Store.
func (s *Store) Get(ctx context.Context, key string, r objstore.Range) (objstore.Object, error) {
	o, err := around(ctx, s.draw(s.opts.Get, max(r.Len, -r.Off, 0)), func() (objstore.Object, error) {
		return s.base.Get(ctx, key, r)
	})
	if err != nil {
		if o.Body != nil {
			o.Body.Close()
		}
		return objstore.Object{}, fail("Get", key, err)
	}
	return o, nil
}

// Head implements objstore.Store.
func (s *Store) Head(ctx context.Context, key string) (objstore.Info, error) {
	info, err := around(ctx, s.draw(s.opts.Get, 0), func() (objstore.Info, error) { return s.base.Head(ctx, key) })
	if err != nil {
		return objstore.Info{}, fail("Head", key, err)
	}
	return info, nil
}

// Delete implements objstore.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	_, err := around(ctx, s.draw(s.opts.Other, 0), func() (struct{}, error) { return struct{}{}, s.base.Delete(ctx, key) })
	return fail("Delete", key, err)
}

// List implements objstore.Store.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Info, error] {
	return func(yield func(objstore.Info, error) bool) {
		if err := pause(ctx, s.draw(s.opts.Other, 0)); err != nil {
			yield(objstore.Info{}, fail("List", prefix, err))
			return
		}
		s.base.List(ctx, prefix, after)(yield)
	}
}

// Counts implements objstore.Counting, if what is slow does.
func (s *Store) Counts() objstore.Counts {
	if c, ok := s.base.(objstore.Counting); ok {
		return c.Counts()
	}
	return objstore.Counts{}
}

// Close closes what is slow.
func (s *Store) Close() error { return s.base.Close() }
