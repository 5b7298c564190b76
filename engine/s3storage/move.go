package s3storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/zodb"
)

// backlog are the slots that are in the front and not in the bucket yet.
type backlog struct {
	arrived chan struct{} // has a token when there is something

	known   time.Duration // for the mover, as Engine.known; moveMu guards it
	trimmed uint64        // up to this slot the front has been trimmed; moveMu guards it

	mu    sync.Mutex
	slots []waiting // by slot, without a gap
	txns  int
	bytes int64
	took  time.Duration // about how long it takes to move one
	err   error         // why no more is moved, for good
}

type waiting struct {
	slot   uint64
	object []byte
	txns   int
	since  time.Duration // when this engine has written it, or found it
}

// Backlog is what was acknowledged in the front and is not in the bucket yet.
type Backlog struct {
	Transactions int
	Bytes        int64         // of slots, those without transactions among them
	Age          time.Duration // of the oldest slot; of one that an earlier writer has left, since it was found
}

// Backlog returns how far the bucket is behind, for operators.
func (e *Engine) Backlog() Backlog { return e.backlog.at(e.opts.Elapsed()) }

func (b *backlog) at(now time.Duration) Backlog {
	b.mu.Lock()
	defer b.mu.Unlock()
	behind := Backlog{Transactions: b.txns, Bytes: b.bytes}
	if len(b.slots) > 0 {
		behind.Age = now - b.slots[0].since
	}
	return behind
}

// begin says that the bucket has all slots up to one.
func (b *backlog) begin(slot uint64, known time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.arrived == nil {
		b.arrived = make(chan struct{}, 1)
	}
	b.slots, b.txns, b.bytes, b.trimmed, b.known = nil, 0, 0, slot, known
}

func (b *backlog) add(w waiting) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slots = append(b.slots, w)
	b.txns += w.txns
	b.bytes += int64(len(w.object))
	select {
	case b.arrived <- struct{}{}:
	default:
	}
}

// has reports whether a slot is not in the bucket yet.
func (b *backlog) has(slot uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.slots) > 0 && slot >= b.slots[0].slot
}

// first returns the next slot to be moved, if it is not after upTo.
func (b *backlog) first(upTo uint64) (waiting, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.slots) == 0 || b.slots[0].slot > upTo {
		return waiting{}, false
	}
	return b.slots[0], true
}

// moved says that the first one is in the bucket.
func (b *backlog) moved(took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.txns -= b.slots[0].txns
	b.bytes -= int64(len(b.slots[0].object))
	b.slots[0] = waiting{}
	b.slots = b.slots[1:]
	b.took += (took - b.took) / 8
}

func (b *backlog) size() (slots int, bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.slots), b.bytes
}

func (b *backlog) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

// failed tells why no more is moved, nil if it is.
func (b *backlog) failed() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// A front takes slots faster than they can be moved. So that the backlog does not grow for
// ever, commits gather the longer the more slots wait, up to as long as moving one
// takes: as many slots then come as go.
const (
	freely  = 256  // slots that may wait before that begins
	gathers = 2048 // and over how many it grows
)

// gather returns how long commits gather for the sake of the backlog.
func (b *backlog) gather() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(len(b.slots)-freely, gathers)
	if n <= 0 {
		return 0
	}
	return b.took * time.Duration(n) / gathers
}

// errBacklog says that the bucket is too far behind.
var errBacklog = errors.New("too much waits to be moved to the bucket, which does not take it")

// room waits while the backlog is full, as long as a commit tries to find out what became of it.
func (e *Engine) room() error {
	if err := e.backlog.failed(); err != nil {
		return fmt.Errorf("%w: %w", zodb.ErrNotPrimary, err)
	}
	for began := e.opts.Elapsed(); ; e.opts.Sleep(e.ctx, 20*time.Millisecond) {
		slots, size := e.backlog.size()
		if size < e.opts.Backlog {
			return nil
		}
		if e.opts.Elapsed()-began >= e.opts.Doubt || e.ctx.Err() != nil {
			return fmt.Errorf("%w: %d slots of %d bytes", errBacklog, slots, size)
		}
	}
}

// mover moves what comes, until Close.
func (e *Engine) mover() {
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-e.backlog.arrived:
		}
		if e.moveUntil(e.ctx) != nil {
			return
		}
	}
}

// moveUntil moves everything, however long the bucket does not answer. An error is for good.
func (e *Engine) moveUntil(ctx context.Context) error {
	for delay := 100 * time.Millisecond; ; delay = min(2*delay, 5*time.Second) {
		err := e.move(ctx, math.MaxUint64)
		if err == nil || ctx.Err() != nil || e.backlog.failed() != nil {
			return err
		}
		slots, size := e.backlog.size()
		e.opts.Logger.Warn("commits could not be moved from the log to the bucket; it will be tried again",
			"storage", e.Name(), "slots", slots, "bytes", size, "error", err)
		e.opts.Sleep(ctx, delay)
	}
}

// moveAll moves everything, and gives up after a while.
func (e *Engine) moveAll(ctx context.Context) error {
	for delay := 10 * time.Millisecond; ; delay *= 4 {
		err := e.move(ctx, math.MaxUint64)
		if err == nil || ctx.Err() != nil || delay > 3*time.Second || e.backlog.failed() != nil {
			return err
		}
		e.opts.Sleep(ctx, delay)
	}
}

// moveRest moves, at the end, what can be moved.
func (e *Engine) moveRest() {
	if e.front == nil || e.opts.Manual || e.backlog.failed() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := e.moveAll(ctx); err != nil {
		slots, size := e.backlog.size()
		e.opts.Logger.Warn("commits are in the log and not in the bucket; the next start moves them",
			"storage", e.Name(), "slots", slots, "bytes", size, "error", err)
	}
}

// move moves slots to the bucket, up to one.
func (e *Engine) move(ctx context.Context, upTo uint64) error {
	if e.front == nil {
		return nil
	}
	e.lock(&e.moveMu)
	defer e.moveMu.Unlock()
	for {
		w, ok := e.backlog.first(upTo)
		if !ok {
			return nil
		}
		began := e.opts.Elapsed()
		if err := e.moveOne(ctx, w, began); err != nil {
			return err
		}
		e.backlog.moved(e.opts.Elapsed() - began)
		e.trimFront(ctx, w.slot)
	}
}

// trimEvery is after how many slots the front is told that they have been moved.
const trimEvery = 64

// trimFront trims the front now and then. A trim that fails is made up for by the next one.
func (e *Engine) trimFront(ctx context.Context, slot uint64) {
	if n, _ := e.backlog.size(); n > 0 && slot-e.backlog.trimmed < trimEvery {
		return
	}
	if err := e.front.Trim(ctx, slot); err != nil && ctx.Err() == nil {
		e.opts.Logger.Warn("the log could not be trimmed", "storage", e.Name(), "error", err)
		return
	}
	e.backlog.trimmed = slot
}

// errForked says that the bucket has another history.
var errForked = errors.New("another server has taken over the database in the bucket without this log")

// moveOne puts a slot in the bucket. As with a commit, what is there tells when the answer does not,
// and the floor when too much time has passed. An error is tried again, unless the backlog
// has failed.
func (e *Engine) moveOne(ctx context.Context, w waiting, began time.Duration) error {
	put := e.inBucket().Put(ctx, w.slot, 0, w.object)
	if put != nil {
		there, err := e.inBucket().Get(ctx, w.slot)
		if err != nil {
			return errors.Join(put, err)
		}
		if !bytes.Equal(there, w.object) {
			return e.forked(w, (&lostError{there}).Error())
		}
	}
	if e.opts.Elapsed()-e.backlog.known >= e.opts.Grace/4 && !plantedTrustMoves {
		floor, _, err := e.readFloor(ctx, e.st.database)
		if err != nil {
			return err
		}
		if floor.Slot > w.slot {
			return e.forked(w, fmt.Sprintf("slots below %d have come, and gone, without it", floor.Slot))
		}
	}
	if put == nil {
		e.backlog.known = began // it was not there then: nobody can have deleted it since
	}
	return nil
}

// forked ends the moving for good.
func (e *Engine) forked(w waiting, why string) error {
	e.mu.RLock()
	last, slot, at := e.st.last, e.st.slot, e.st.front
	e.mu.RUnlock()
	err := fmt.Errorf("%w: slot %d: %s", errForked, w.slot, why)
	e.backlog.fail(err)
	e.opts.Logger.Error("this server is not the writer any more, and what it has committed since is not in the database; "+
		"it stays in its log", "storage", e.Name(), "error", err,
		"first slot", w.slot, "last slot", slot, "last transaction", last, "log", at.ID, "where", at.Where)
	return err
}

// startMover says what can be lost, and moves what comes in the front, if there is one. Only then is
// there a backlog to be shown.
func (e *Engine) startMover() {
	log := e.opts.Logger.With("storage", e.Name(), "log", e.st.front.ID, "where", e.st.front.Where)
	switch e.st.front.Kind {
	case layout.OnDisk:
		log.Warn("commits are durable on a disk of this machine, and moved to the bucket behind: if that disk is lost, so are those that have not been moved")
	case layout.InPostgres:
		log.Info("commits are durable in PostgreSQL, and moved to the bucket behind: if that is lost, so are those that have not been moved")
	}
	if e.front == nil {
		return
	}
	e.opts.Page.Add(e)
	if !e.opts.Manual {
		e.wg.Go(e.mover)
	}
}
