package s3storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore"
)

// Collect deletes what has been garbage for the grace period. First of all the log says
// what; that this server may say so proves that it is the writer. Then the floor is raised,
// and only then are objects deleted.
func (e *Engine) Collect(ctx context.Context) error {
	e.lock(&e.keepMu)
	defer e.keepMu.Unlock()
	e.collectAt = e.opts.Elapsed()
	if err := e.finishCollect(ctx); err != nil {
		return err
	}
	if err := e.writeCheckpoint(ctx); err != nil { // deleted is only what no checkpoint needs
		return err
	}
	moves := e.moves()
	c, err := e.findGarbage(ctx)
	if err != nil || c == nil {
		return err
	}
	if err := e.control(ctx, &layout.Log{Kind: layout.Collect, Collect: c}, nil, moves); err != nil {
		return err
	}
	return e.finishCollect(ctx)
}

// collector finds out what may be deleted.
type collector struct {
	*Engine
	now   time.Time            // by the store's clock
	ages  map[uint64]time.Time // when slots were written, by the store's clock
	floor uint64               // as it is
	pins  pins
}

// findGarbage returns what may be deleted, nil if there is nothing.
func (e *Engine) findGarbage(ctx context.Context) (*layout.CollectRecord, error) {
	floor, _, err := e.readFloor(ctx, e.st.database)
	if err != nil {
		return nil, err
	}
	now, err := e.storeTime(ctx)
	if err != nil {
		return nil, err
	}
	needed, err := e.pinned(ctx)
	if err != nil {
		return nil, err
	}
	c := &collector{Engine: e, now: now, ages: make(map[uint64]time.Time), floor: floor.Slot, pins: needed}
	e.mu.RLock()
	garbage, replaced := e.st.garbage, e.st.replaced
	e.mu.RUnlock()
	record := &layout.CollectRecord{Floor: max(floor.Slot, 1)}
	for _, r := range replaced {
		ripe, err := c.ripe(ctx, r.Since)
		if err != nil {
			return nil, err
		}
		if ripe && r.UpTo <= e.checkpoint.slot+1 {
			record.Floor = max(record.Floor, r.UpTo)
		}
	}
	for _, g := range garbage {
		ripe, err := c.ripe(ctx, g.Since)
		if err != nil {
			return nil, err
		}
		if ripe && !c.pins.has(g.Key) {
			record.Keys = append(record.Keys, g.Key)
		}
	}
	orphans, err := c.orphans(ctx)
	record.Keys = append(record.Keys, orphans...)
	if err != nil || record.Floor <= max(floor.Slot, 1) && len(record.Keys) == 0 {
		return nil, err
	}
	return record, nil
}

// storeTime returns what time it is by the store's clock.
func (e *Engine) storeTime(ctx context.Context) (time.Time, error) {
	hint := layout.Pointer{Database: e.st.database, Slot: e.checkpoint.slot, Checkpoint: e.checkpoint.key}
	if err := e.upload(ctx, layout.HintKey, hint.EncodeHint()); err != nil {
		return time.Time{}, err
	}
	info, err := e.objects.Head(ctx, layout.HintKey)
	return info.Modified, err
}

// ripe reports whether what is garbage since a slot may be deleted. A slot that has been
// deleted itself is old enough.
func (c *collector) ripe(ctx context.Context, since uint64) (bool, error) {
	if since > c.checkpoint.slot {
		return false, nil
	}
	if since < c.floor {
		return true, nil
	}
	written, ok := c.ages[since]
	if !ok {
		info, err := c.objects.Head(ctx, layout.LogKey(since))
		if err != nil {
			return false, fmt.Errorf("finding out when slot %d was written: %w", since, err)
		}
		written = info.Modified
		c.ages[since] = written
	}
	return c.now.Sub(written) >= c.opts.Grace || plantedNoGrace, nil
}

// maxOrphans bounds what one Collect names.
const maxOrphans = 10000

// orphans returns old objects that nothing names: what was uploaded and then not used,
// and checkpoints and runs that have been replaced. A list that lacks some only delays that.
func (c *collector) orphans(ctx context.Context) ([]string, error) {
	used := c.used()
	var keys []string
	for _, prefix := range []string{
		layout.CheckpointPrefix, layout.RunPrefix, layout.SegmentPrefix, layout.BlobPrefix, layout.ProbePrefix, layout.LogPrefix,
	} {
		grace := c.opts.Grace
		if prefix == layout.BlobPrefix {
			grace = c.opts.BlobGrace
		}
		for info, err := range c.objects.List(ctx, prefix, "") {
			if err != nil {
				if ctx.Err() != nil {
					return nil, err
				}
				break // the next time is soon enough
			}
			if prefix == layout.LogPrefix && info.Key >= layout.LogKey(c.floor) || len(keys) == maxOrphans {
				break // below the floor lies what came too late
			}
			if !used[info.Key] && !c.pins.has(info.Key) && c.now.Sub(info.Modified) >= grace {
				keys = append(keys, info.Key)
			}
		}
	}
	return keys, nil
}

// used returns the keys that are named by the state, or are garbage whose time
// has not come.
func (c *collector) used() map[string]bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	used := map[string]bool{c.checkpoint.key: true}
	for _, p := range c.st.order {
		used[p.Key()] = true
	}
	for id, b := range c.st.blobs {
		used[layout.BlobKey(id.OID, b.ID)] = true
	}
	for _, g := range c.st.garbage {
		used[g.Key] = true
	}
	for _, r := range c.st.runs {
		used[layout.RunKey(r.ID)] = true
	}
	return used
}

// finishCollect does what the last Collect in the log has announced, this server's or
// another one's.
func (e *Engine) finishCollect(ctx context.Context) error {
	e.mu.RLock()
	c, slot, moves := e.st.collecting, e.st.collectingSlot, e.st.moves
	e.mu.RUnlock()
	if slot == 0 {
		return nil
	}
	// The floor names a checkpoint from which one can go on: one that knows of this.
	if e.checkpoint.slot < slot {
		if err := e.writeCheckpoint(ctx); err != nil {
			return err
		}
	}
	needed, err := e.pinned(ctx) // after what is to be deleted was announced: see pins
	if err != nil {
		return err
	}
	if plantedDeleteFirst {
		for slot := uint64(1); slot < c.Floor; slot++ {
			_ = e.objects.Delete(ctx, layout.LogKey(slot))
		}
	}
	old, err := e.raiseFloor(ctx, c.Floor)
	if err != nil {
		return err
	}
	for slot := max(old, 1); slot < c.Floor; slot++ {
		if err := e.remove(ctx, layout.LogKey(slot)); err != nil {
			return err
		}
	}
	for _, key := range c.Keys {
		if strings.HasPrefix(key, layout.LogPrefix) && key >= layout.LogKey(c.Floor) {
			return inObject(layout.LogKey(slot), fmt.Errorf("it wants %s deleted, which is above its floor", key))
		}
		if needed.has(key) && !plantedPinsBefore {
			continue // it will be swept up when no branch needs it any more
		}
		if err := e.remove(ctx, key); err != nil {
			return err
		}
	}
	return e.control(ctx, &layout.Log{Kind: layout.Collected, Collected: slot}, nil, moves)
}

// raiseFloor raises the floor to a slot, and returns what it was. It never lowers it.
func (e *Engine) raiseFloor(ctx context.Context, slot uint64) (old uint64, err error) {
	var was uint64
	for delay := 10 * time.Millisecond; ; delay *= 2 {
		p, etag, err := e.readFloor(ctx, e.st.database)
		if err != nil {
			return 0, err
		}
		if was == 0 {
			was = max(p.Slot, 1)
		}
		if at, _ := layout.CheckpointSlot(p.Checkpoint); p.Slot >= slot && at >= e.checkpoint.slot {
			return was, nil
		}
		cond := objstore.IfAbsent
		if etag != "" {
			cond = objstore.IfMatch(etag)
		}
		next := layout.Pointer{Database: e.st.database, Slot: max(slot, p.Slot), Checkpoint: e.checkpoint.key}
		_, err = e.objects.Put(ctx, layout.FloorKey, next.EncodeFloor(), cond)
		if err == nil {
			return was, nil
		}
		if delay > 5*time.Second || ctx.Err() != nil || errors.Is(err, objstore.ErrClosed) {
			return 0, fmt.Errorf("raising the floor: %w", err)
		}
		e.opts.Sleep(ctx, delay)
	}
}
