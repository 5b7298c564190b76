package s3storage

import (
	"context"
	"errors"
	"time"

	"github.com/zaridb/zari/zodb"
)

// nudge wakes the keeper.
func (e *Engine) nudge() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// keep does what is due, until Close.
func (e *Engine) keep() {
	if e.opts.ReadOnly {
		e.follow()
		return
	}
	ticker := time.NewTicker(min(e.opts.CheckpointEvery, e.opts.CollectEvery))
	defer ticker.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-e.wake:
		case <-ticker.C:
		}
		if e.Halted() != nil {
			return
		}
		if err := e.keepOnce(e.ctx); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, zodb.ErrNotPrimary) {
			e.opts.Logger.Warn("the bucket could not be tidied up; it will be tried again", "storage", e.Name(), "error", err)
			e.opts.Sleep(e.ctx, time.Second)
		}
	}
}

// keepOnce does what is due now. A pack that goes on has precedence.
func (e *Engine) keepOnce(ctx context.Context) error {
	if !e.keepMu.TryLock() {
		return nil
	}
	compact, checkpoint, collect := e.due()
	var errs []error
	if compact {
		errs = append(errs, e.compact(ctx))
	}
	if compact || checkpoint {
		errs = append(errs, e.writeCheckpoint(ctx))
	}
	e.keepMu.Unlock()
	if collect {
		errs = append(errs, e.autoPack(ctx), e.Collect(ctx))
	}
	return errors.Join(errs...)
}

func (e *Engine) due() (compact, checkpoint, collect bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	bytes, slots := int64(0), 0
	for i := len(e.st.order) - 1; i >= 0 && e.st.order[i].Slot != 0; i-- {
		bytes += e.st.order[i].size
		slots++
	}
	compact = bytes >= e.opts.SegmentBytes || slots >= e.opts.CompactSlots
	now, since := e.opts.Elapsed(), e.st.slot-e.checkpoint.slot
	checkpoint = since >= e.opts.CheckpointSlots || since > 0 && now-e.checkpoint.when >= e.opts.CheckpointEvery
	return compact, checkpoint, now-e.collectAt >= e.opts.CollectEvery && e.st.last > 0
}
