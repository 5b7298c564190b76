package s3storage

import (
	"context"
	"time"

	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/zodb"
)

// checkpointInfo is what is known of the last checkpoint.
type checkpointInfo struct {
	key  string
	slot uint64
	when time.Duration
}

// sinceCheckpoint returns how many slots have come since the last checkpoint.
func (e *Engine) sinceCheckpoint() uint64 {
	e.lock(&e.keepMu)
	defer e.keepMu.Unlock()
	return e.Slot() - e.checkpoint.slot
}

// Checkpoint writes the state of now, so that the next start begins here.
func (e *Engine) Checkpoint(ctx context.Context) error {
	e.lock(&e.keepMu)
	defer e.keepMu.Unlock()
	return e.writeCheckpoint(ctx)
}

// writeCheckpoint writes what has come since the last checkpoint as a run of the index,
// and then the checkpoint. keepMu is held, so nothing moves meanwhile; commits go on.
func (e *Engine) writeCheckpoint(ctx context.Context) error {
	c, after, kept, moves := e.snapshot()
	if c.Slot == e.checkpoint.slot {
		return nil
	}
	runs, err := e.writeRun(ctx, c, after)
	if err != nil {
		return err
	}
	if e.moves() != moves {
		return errMoved
	}
	if err := e.move(ctx, c.Slot); err != nil {
		return err // who begins here goes on in the bucket
	}
	c.Runs = append(c.Runs, runs...)
	key := layout.CheckpointKey(c.Slot, c.ID)
	if err := e.upload(ctx, key, c.Encode()); err != nil {
		return err
	}
	e.took(runs, kept, moves)
	e.checkpoint = checkpointInfo{key: key, slot: c.Slot, when: e.opts.Elapsed()}
	hint := layout.Pointer{Database: c.Database, Slot: c.Slot, Checkpoint: key}
	return e.upload(ctx, layout.HintKey, hint.EncodeHint())
}

// took notes the runs of a checkpoint that was written: the first ones were kept, and these
// are new. If something has moved since they were written they will not be kept again.
func (e *Engine) took(runs []layout.RunInfo, kept, moves int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.st.runs = e.st.runs[:kept:kept]
	for _, info := range runs {
		e.st.runs = append(e.st.runs, run{info, e.st.moves != moves})
	}
}

func (e *Engine) moves() int {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.st.moves
}

// snapshot returns a checkpoint of now whose runs go up to the transaction after, and how
// many those are.
func (e *Engine) snapshot() (c *layout.Checkpoint, after zodb.TID, kept, moves int) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	st := e.st
	c = &layout.Checkpoint{
		Database: st.database, ID: layout.NewID(), Slot: st.slot, Epoch: st.epoch, Hash: st.hash,
		LastTID: st.last, MaxOID: st.maxOID, Meta: st.meta, PackedTo: st.packedTo,
		Replaced: st.replaced, Garbage: st.garbage, Front: st.front,
		Collecting: st.collecting, CollectingSlot: st.collectingSlot,
	}
	for _, p := range st.order {
		if p.Slot == 0 {
			c.Segments = append(c.Segments, layout.Segment{
				ID: p.Segment, First: p.first, Last: p.last, Size: p.size, TableLen: p.tableLen, Txns: p.txns,
			})
			continue
		}
		c.Logs = append(c.Logs, layout.LogInfo{
			Slot: p.Slot, First: p.first, Last: p.last, Size: p.size, Body: p.body, TableLen: p.tableLen, Txns: p.txns,
		})
	}
	for _, r := range st.runs[:keepRuns(st)] {
		c.Runs = append(c.Runs, r.RunInfo)
		after = r.UpTo
	}
	return c, after, len(c.Runs), e.st.moves
}

// keepRuns returns how many runs, from the oldest, stay as they are. What comes after
// them is written anew, in one run: every run is at least twice as large as what is
// newer, so there are few, and each entry is written few times.
func keepRuns(st *state) int {
	n := int64(st.index.Len()) // entries in no run, or in runs that are written anew
	keep := 0
	for keep < len(st.runs) && (!st.runs[keep].stale || plantedStaleRuns) {
		n -= st.runs[keep].Entries
		keep++
	}
	for keep > 0 && st.runs[keep-1].Entries < 2*n {
		keep--
		n += st.runs[keep].Entries
	}
	return keep
}

// writeRun writes the revisions after a tid that the checkpoint covers.
func (e *Engine) writeRun(ctx context.Context, c *layout.Checkpoint, after zodb.TID) ([]layout.RunInfo, error) {
	w := layout.NewRunWriter(c.Database)
	var oid zodb.OID
	var tid zodb.TID
	for {
		n := e.addToRun(w, &oid, &tid, after, c.LastTID)
		if n == 0 {
			break
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	e.addBlobs(w, after, c.LastTID)
	object, info := w.Close()
	if info.Entries == 0 {
		return nil, nil
	}
	info.After, info.UpTo = after, c.LastTID
	return []layout.RunInfo{info}, e.upload(ctx, layout.RunKey(info.ID), object)
}

// addToRun looks at some entries of the index from an oid and tid on, and moves on.
func (e *Engine) addToRun(w *layout.RunWriter, oid *zodb.OID, tid *zodb.TID, after, upTo zodb.TID) int {
	e.mu.RLock()
	defer e.mu.RUnlock()
	entries := e.st.index.Read(*oid, *tid, 16*pageLen, nil)
	for _, x := range entries {
		if x.TID > after && x.TID <= upTo {
			p := e.st.places[x.Loc.Container()]
			w.Add(layout.Entry{OID: x.OID, TID: x.TID, Place: w.Place(p.Place), Off: x.Loc.Off(), Size: uint8(x.Loc.Size())})
		}
		*oid, *tid = x.OID, x.TID+1
	}
	return len(entries)
}

func (e *Engine) addBlobs(w *layout.RunWriter, after, upTo zodb.TID) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for id, b := range e.st.blobs {
		if id.TID > after && id.TID <= upTo {
			w.Blob(layout.RunBlob{OID: id.OID, TID: id.TID, Blob: b})
		}
	}
}
