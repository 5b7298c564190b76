package s3storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zaridb/zari/engine/s3storage/front"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// pending is an object of the log that is being written. Its bytes never change:
// they may arrive at any time.
type pending struct {
	log    *layout.Log
	object []byte
	began  time.Duration // when the first PUT was sent
	tables []*layout.Table
}

// errLost says that the slot has somebody else's object.
var errLost = errors.New("another server has written the next object of the log")

// Append implements store.Engine: the batch is one object of the log, or several if it is large.
func (e *Engine) Append(ctx context.Context, batch []*txnlog.Txn, meta *store.Meta) (durable int, err error) {
	if e.opts.ReadOnly {
		return 0, zodb.ErrReadOnly
	}
	e.lock(&e.writeMu)
	defer e.writeMu.Unlock()
	ctx = context.WithoutCancel(ctx)
	if err := e.fit(ctx); err != nil {
		return 0, err
	}
	for first := true; first || durable < len(batch); first = false {
		part := batch[durable:][:e.together(batch[durable:])]
		l, err := e.commitOf(part, meta)
		if err != nil {
			return durable, err
		}
		e.paced()
		if err := e.write(ctx, l, nil); err != nil {
			return durable, err
		}
		e.keepBlobs(part)
		durable, meta = durable+len(part), nil
	}
	e.nudge()
	return durable, nil
}

// commitOf makes the log object of a batch.
func (e *Engine) commitOf(batch []*txnlog.Txn, meta *store.Meta) (*layout.Log, error) {
	l := &layout.Log{Kind: layout.Commit, Meta: meta, LastTID: e.st.last, MaxOID: e.st.maxOID}
	size := 0
	for _, t := range batch {
		size += encodedLen(t)
	}
	l.Txns = make([]byte, 0, size+txnlog.ChecksumLen*len(batch))
	for _, t := range batch {
		entry, err := layout.TableOf(t, e.stagedBlob)
		if err != nil {
			return nil, err
		}
		l.Table.Txns = append(l.Table.Txns, entry)
		if l.Txns, err = t.Append(l.Txns); err != nil {
			return nil, err
		}
		l.LastTID = t.TID
		for i := range t.Records {
			l.MaxOID = max(l.MaxOID, t.Records[i].OID)
		}
	}
	return l, nil
}

// fit makes sure that the next object can be written: nothing is in doubt, and this
// is still the writer. writeMu is held.
func (e *Engine) fit(ctx context.Context) error {
	if err := e.backlog.failed(); err != nil && e.halted == nil {
		return e.halt(err)
	}
	if e.halted == nil && e.pending != nil {
		if err := e.resolve(ctx); err != nil {
			return fmt.Errorf("an earlier object of the log is in doubt: %v", err) // what comes now is surely not there
		}
	}
	return e.halted
}

// write writes the next object of the log, of which kind, content, last tid and largest oid
// are given. writeMu is held. With an error it is surely not there, now or later, unless
// that matches zodb.ErrCommitUnknown.
func (e *Engine) write(ctx context.Context, l *layout.Log, tables []*layout.Table) error {
	l.Database, l.Slot, l.Prev, l.Nonce = e.st.database, e.st.slot+1, e.st.hash, layout.NewID()
	if l.Kind != layout.Fence {
		l.Epoch = e.st.epoch
	}
	if err := e.st.follows(l); err != nil {
		return fmt.Errorf("what is to be written: %w", err)
	}
	e.pending = &pending{log: l, object: l.Encode(), began: e.opts.Elapsed(), tables: tables}
	return e.resolve(ctx)
}

// errMoved says that an earlier log object, whose fate was not known, has come to be while
// the next one was worked out.
var errMoved = errors.New("something has moved meanwhile; it will be tried again")

// control writes a log object that holds no transactions, if nothing has moved since moves.
func (e *Engine) control(ctx context.Context, l *layout.Log, tables []*layout.Table, moves int) error {
	e.lock(&e.writeMu)
	defer e.writeMu.Unlock()
	if err := e.fit(ctx); err != nil {
		return err
	}
	if e.st.moves != moves {
		return errMoved
	}
	l.LastTID, l.MaxOID = e.st.last, e.st.maxOID
	return e.write(ctx, l, tables)
}

// resolve puts the pending object until it is known what became of it.
func (e *Engine) resolve(ctx context.Context) error {
	p := e.pending
	key := layout.LogKey(p.log.Slot)
	started := e.opts.Elapsed()
	for delay := 5 * time.Millisecond; ; delay = min(2*delay, time.Second) {
		err := e.try(ctx, p)
		switch {
		case err == nil:
			e.settled(p)
			return nil
		case errors.Is(err, errLost):
			e.pending = nil
			return e.halt(err)
		case errors.Is(err, errCollected), errors.Is(err, front.ErrBehind):
			return fmt.Errorf("%w: %w", zodb.ErrCommitUnknown, e.halt(err))
		case e.opts.Elapsed()-started >= e.opts.Doubt || ctx.Err() != nil:
			return fmt.Errorf("%w: %s: %w", zodb.ErrCommitUnknown, key, err)
		}
		e.opts.Logger.Warn("the next object of the log could not be written; trying again", "storage", e.Name(), "key", key, "error", err)
		e.opts.Sleep(ctx, delay)
	}
}

// try puts the object, and where the answer does not tell, reads the slot. nil: it is
// there; errLost: it never will be; any other error: nobody knows yet.
func (e *Engine) try(ctx context.Context, p *pending) error {
	put := e.slots().Put(ctx, p.log.Slot, p.log.Epoch, p.object)
	if put == nil && e.front != nil {
		return nil // its numbers are never used twice
	}
	if errors.Is(put, front.ErrBehind) {
		return put
	}
	if put == nil {
		return e.found(ctx, p, nil)
	}
	if plantedNewBytes {
		p.log.Nonce = layout.NewID()
		p.object = p.log.Encode()
	}
	there, _, err := e.slot(ctx, p.log.Slot)
	if err != nil {
		return errors.Join(put, err)
	}
	if nonce, _ := layout.Nonce(there); nonce == p.log.Nonce && !plantedTrust412 {
		return e.found(ctx, p, nil)
	}
	return e.found(ctx, p, &lostError{there})
}

// lostError is errLost with the object that is in the slot.
type lostError struct{ object []byte }

func (e *lostError) Is(target error) bool { return target == errLost }

func (e *lostError) Error() string {
	l, err := layout.DecodeLog(e.object)
	switch {
	case err != nil:
		return fmt.Sprintf("%v, which cannot be read: %v", errLost, err)
	case l.Fence != nil:
		return fmt.Sprintf("%v: %s has taken over with epoch %d", errLost, l.Fence.Writer, l.Epoch)
	}
	return fmt.Sprintf("%v: a %v of epoch %d", errLost, l.Kind, l.Epoch)
}

// errCollected says that the slot has been deleted since it was written, by whomever.
var errCollected = errors.New("the log has been collected beyond the object that was to be written")

// found returns what a slot has told, if it can be trusted. If so much time has passed
// that the slot may have been written, deleted and written again, the floor tells: it is
// raised before anything is deleted. Then nobody can say what was there first.
func (e *Engine) found(ctx context.Context, p *pending, told error) error {
	if e.opts.Elapsed()-e.known < e.opts.Grace/4 || plantedTrustPuts {
		return told
	}
	floor, _, err := e.readFloor(ctx, e.st.database)
	if err != nil {
		return err
	}
	if floor.Slot > p.log.Slot {
		return fmt.Errorf("%w: slots below %d are gone", errCollected, floor.Slot)
	}
	return told
}

// settled takes an object that is there. It was not there before its first PUT began, so
// nobody can have deleted it until a grace period after that.
func (e *Engine) settled(p *pending) {
	e.pending, e.known = nil, p.began
	e.mu.Lock()
	defer e.mu.Unlock()
	e.apply(p.log, p.object, p.tables, e.front != nil)
}

// halt ends this engine's writing for good.
func (e *Engine) halt(err error) error {
	e.halted = fmt.Errorf("%w: %w", zodb.ErrNotPrimary, err)
	if e.fenced {
		e.opts.Logger.Error("this server is not the writer any more; restart it to take over again", "storage", e.Name(), "error", err)
	}
	return e.halted
}

// Settle implements store.Settler.
func (e *Engine) Settle(ctx context.Context) (zodb.TID, error) {
	e.lock(&e.writeMu)
	defer e.writeMu.Unlock()
	if e.pending != nil && e.halted == nil {
		if err := e.resolve(ctx); err != nil && !errors.Is(err, errLost) {
			return 0, err
		}
	}
	if e.pending != nil {
		return 0, e.halted // it will never be known here
	}
	return e.st.last, nil
}

// Check implements store.Checker: a vote is refused when nothing can be committed, or
// when a blob cannot be stored.
func (e *Engine) Check(t *txnlog.Txn) error {
	if e.writeMu.TryLock() { // while something is being written there is no news
		err := e.halted
		e.writeMu.Unlock()
		if err != nil {
			return err
		}
	}
	if err := e.room(); err != nil {
		return err
	}
	if err := e.checkSize(t); err != nil {
		return err
	}
	return e.stageBlobs(e.ctx, t)
}

// takeOver fences the log off from whoever wrote before.
func (e *Engine) takeOver(ctx context.Context) error {
	e.lock(&e.writeMu)
	defer e.writeMu.Unlock()
	for {
		if err := e.join(ctx); err != nil {
			return err
		}
		next, err := e.next(ctx)
		if err != nil {
			return err
		}
		err = e.write(ctx, &layout.Log{
			Kind: layout.Fence, Epoch: e.st.epoch + 1, LastTID: e.st.last, MaxOID: e.st.maxOID,
			Fence: &layout.FenceRecord{Writer: e.opts.Writer, Time: time.Now().Unix(), Front: next},
		}, nil)
		switch lost, ok := errors.AsType[*lostError](err); {
		case err == nil && e.enter(next):
			e.fenced = true
			return nil
		case err == nil: // a front has been left: once more, where the log goes on
		case !ok:
			return err
		case e.front != nil:
			e.halted = nil // what somebody quicker wrote comes first
		default:
			// The same, and what it has written meanwhile; there is no time to lose, for it
			// may go on.
			e.halted = nil
			if err := e.take(ctx, lost.object, false); err != nil {
				return e.whyNot(ctx, err)
			}
			if _, err := e.readOn(ctx); err != nil {
				return err
			}
		}
	}
}
