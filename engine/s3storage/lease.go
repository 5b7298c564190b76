package s3storage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore"
)

// lease is this server's part in the object that tells who writes. It decides nothing: a
// second server that does not find it fences the first one off just the same.
type lease struct {
	mu   sync.Mutex
	etag string // of the lease as it was last written here; "" if it was not
}

// takeLease waits until the writer that is there is not heard of any more, and then
// takes the lease, and renews it until Close.
func (e *Engine) takeLease(ctx context.Context) error {
	if e.opts.Lease == 0 {
		return nil
	}
	etag, err := e.awaitLease(ctx)
	if err != nil {
		return err
	}
	if err := e.putLease(ctx, etag, e.opts.Lease); err != nil {
		return fmt.Errorf("taking the lease: %w", err)
	}
	if !e.opts.Manual {
		e.wg.Go(e.renew)
	}
	return nil
}

// awaitLease returns the etag of the lease once it is given up, or has not been renewed for
// as long as it lasts. Clocks are not compared: what counts is that it does not change.
func (e *Engine) awaitLease(ctx context.Context) (etag string, err error) {
	var seen layout.Lease
	var since time.Duration
	for {
		object, info, err := objstore.Read(ctx, e.objects, layout.LeaseKey, objstore.Range{})
		if errors.Is(err, objstore.ErrNotExist) {
			return "", nil
		}
		if err == nil {
			l, err := layout.DecodeLease(object)
			if err != nil {
				return info.ETag, nil // it can be replaced
			}
			now := e.opts.Elapsed()
			if l.Nonce != seen.Nonce {
				seen, since = l, now
				e.opts.Logger.Info("another server writes; waiting until it is not heard of", "storage", e.Name(), "writer", l.Writer)
			}
			if lasts := time.Duration(l.Millis) * time.Millisecond; now-since >= lasts {
				return info.ETag, nil
			}
		}
		if ctx.Err() != nil {
			return "", errors.Join(ctx.Err(), err)
		}
		e.opts.Sleep(ctx, e.opts.Lease/10)
	}
}

// putLease writes the lease in the place of the one with the etag.
func (e *Engine) putLease(ctx context.Context, etag string, lasts time.Duration) error {
	l := layout.Lease{Nonce: layout.NewID(), Owner: e.owner, Millis: uint64(lasts.Milliseconds()), Writer: e.opts.Writer}
	cond := objstore.IfAbsent
	if etag != "" {
		cond = objstore.IfMatch(etag)
	}
	etag, err := e.objects.Put(ctx, layout.LeaseKey, l.Encode(), cond)
	if err != nil {
		return err
	}
	e.lease.mu.Lock()
	defer e.lease.mu.Unlock()
	e.lease.etag = etag
	return nil
}

func (e *Engine) renew() {
	for {
		e.opts.Sleep(e.ctx, e.opts.Lease/3)
		if e.ctx.Err() != nil || e.Halted() != nil {
			return
		}
		e.lease.mu.Lock()
		etag := e.lease.etag
		e.lease.mu.Unlock()
		ctx, cancel := context.WithTimeout(e.ctx, e.opts.Lease/3)
		err := e.putLease(ctx, etag, e.opts.Lease)
		if errors.Is(err, objstore.ErrExists) {
			err = e.leaseLost(ctx)
		}
		cancel()
		if err != nil && e.ctx.Err() == nil {
			e.opts.Logger.Warn("the lease could not be renewed; another server may take over", "storage", e.Name(), "error", err)
		}
	}
}

// leaseLost looks at a lease that has changed. If it is still this server's, the answer to
// an earlier renewal was lost. If another one has it, that is going to take over, and need
// not fight for a slot of the log.
func (e *Engine) leaseLost(ctx context.Context) error {
	object, info, err := objstore.Read(ctx, e.objects, layout.LeaseKey, objstore.Range{})
	if err != nil {
		return err
	}
	l, err := layout.DecodeLease(object)
	if err == nil && l.Owner != e.owner {
		e.writeMu.Lock()
		defer e.writeMu.Unlock()
		if e.pending != nil || e.halted != nil {
			return nil // it will be settled first
		}
		return e.halt(fmt.Errorf("%s has taken the lease", l.Writer))
	}
	e.lease.mu.Lock()
	defer e.lease.mu.Unlock()
	e.lease.etag = info.ETag
	return nil
}

// giveUpLease tells that nobody need wait.
func (e *Engine) giveUpLease() {
	e.lease.mu.Lock()
	etag := e.lease.etag
	e.lease.mu.Unlock()
	if etag == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := e.putLease(ctx, etag, 0); err != nil {
		e.opts.Logger.Warn("the lease could not be given up; the next server waits until it is over", "storage", e.Name(), "error", err)
	}
}
