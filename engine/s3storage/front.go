package s3storage

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/zaridb/zari/engine/s3storage/front"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore"
)

// bucketSlots are the slots of the log in the bucket.
type bucketSlots struct{ objects objstore.Store }

var _ front.Slots = bucketSlots{}

// Put implements front.Slots. The bucket forgets what was in a slot that has been
// deleted: see found.
func (b bucketSlots) Put(ctx context.Context, slot, _ uint64, object []byte) error {
	_, err := b.objects.Put(ctx, layout.LogKey(slot), object, objstore.IfAbsent)
	if errors.Is(err, objstore.ErrExists) {
		return fmt.Errorf("%w: %w", front.ErrTaken, err)
	}
	return err
}

// Get implements front.Slots.
func (b bucketSlots) Get(ctx context.Context, slot uint64) ([]byte, error) {
	object, _, err := objstore.Read(ctx, b.objects, layout.LogKey(slot), objstore.Range{})
	if errors.Is(err, objstore.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", front.ErrNone, err)
	}
	return object, err
}

func (e *Engine) inBucket() bucketSlots { return bucketSlots{e.objects} }

// slots returns where the next slot is written.
func (e *Engine) slots() front.Slots {
	if e.front != nil {
		return e.front
	}
	return e.inBucket()
}

// slot returns what is in a slot, and whether that is in the bucket. A front is asked first, for
// what it has no more was in the bucket before.
func (e *Engine) slot(ctx context.Context, slot uint64) (object []byte, inBucket bool, err error) {
	if e.front != nil {
		object, err = e.front.Get(ctx, slot)
		if !errors.Is(err, front.ErrNone) {
			return object, false, err
		}
	}
	object, err = e.inBucket().Get(ctx, slot)
	return object, true, err
}

// entered is the front that this engine has made, and enters with its fence.
type entered struct {
	at  layout.Front
	log front.Log
}

// place returns where fronts of a kind are.
func (e *Engine) place(kind layout.FrontKind) front.Place {
	i := slices.IndexFunc(e.opts.Fronts, func(p front.Place) bool { return p.Kind() == kind })
	if i < 0 {
		return nil
	}
	return e.opts.Fronts[i]
}

func (e *Engine) closeFronts() (err error) {
	if e.entered.log != nil && e.entered.log != e.front {
		err = e.entered.log.Close()
	}
	if e.front != nil {
		err = errors.Join(err, e.front.Close())
	}
	for _, p := range e.opts.Fronts {
		err = errors.Join(err, p.Close())
	}
	return err
}

// join reads the log to its end: in the bucket, where boot has come to the end, and in
// the front where it goes on. writeMu is held.
func (e *Engine) join(ctx context.Context) error {
	for {
		at := e.st.front
		switch {
		case at.Kind == layout.InBucket && e.front == nil:
			return nil
		case at.Kind == layout.InBucket:
			if err := e.leave(ctx); err != nil {
				return err
			}
			continue
		case at.ID == e.opts.Abandon && at.ID != layout.ID{}:
			e.opts.Logger.Warn("the front of the log is given up; commits that are in it and not in the bucket are lost",
				"storage", e.Name(), "log", at.ID, "kind", at.Kind, "where", at.Where, "slot", e.st.slot)
			return nil
		}
		if err := e.openFront(ctx, at); err != nil {
			return err
		}
		if err := e.readFront(ctx, at); err != nil {
			return err
		}
		if e.st.front == at {
			return nil
		}
	}
}

// openFront opens the front that the log goes on in.
func (e *Engine) openFront(ctx context.Context, at layout.Front) error {
	if e.front != nil {
		return nil
	}
	place := e.place(at.Kind)
	if place == nil {
		return &FrontError{Front: at, Err: errors.New("this server was not told how to get there")}
	}
	log, err := place.Open(ctx, at.ID)
	if errors.Is(err, front.ErrNoLog) {
		return &FrontError{Front: at, Err: fmt.Errorf("it is not in %v", place)}
	}
	if err != nil {
		return err
	}
	last, err := log.Last(ctx)
	if err == nil && last < e.st.slot {
		err = &FrontError{Front: at, Err: fmt.Errorf("%w: in %v it ends with slot %d, and the bucket has slot %d", front.ErrBehind, place, last, e.st.slot)}
	}
	if err != nil {
		return errors.Join(err, log.Close())
	}
	e.front = log
	e.backlog.begin(e.st.slot, e.known)
	return nil
}

// FrontError says that the log goes on where this server cannot write.
type FrontError struct {
	Front layout.Front
	Err   error
}

func (e *FrontError) Error() string {
	return fmt.Sprintf("the newest commits of this database are in a log of kind %v (%s), log %v: %v. "+
		"Start it with that log, or, if that is lost for good with the commits that are only there, with log-abandon %v",
		e.Front.Kind, e.Front.Where, e.Front.ID, e.Err, e.Front.ID)
}

func (e *FrontError) Unwrap() error { return e.Err }

// readFront reads slots of the front until there is no more, or until it has been left.
func (e *Engine) readFront(ctx context.Context, at layout.Front) error {
	for e.st.front == at {
		object, inBucket, err := e.slot(ctx, e.st.slot+1)
		if errors.Is(err, front.ErrNone) {
			return nil
		}
		if err != nil {
			return err
		}
		if inBucket {
			e.backlog.begin(e.st.slot+1, e.known) // somebody else moves them
		}
		err = e.take(ctx, object, !inBucket)
		if _, other := errors.AsType[*chainError](err); other && inBucket {
			return fmt.Errorf("%w: %w", errForked, err) // a moment ago
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// next returns what the fence is to say: where the log goes on behind it. A front is entered from
// the bucket, and left to the bucket. writeMu is held.
func (e *Engine) next(ctx context.Context) (layout.Front, error) {
	switch {
	case e.front != nil && e.st.front.Kind == e.opts.Log:
		return e.st.front, nil
	case e.front != nil || e.opts.Log == layout.InBucket:
		return layout.Front{}, nil
	}
	place := e.place(e.opts.Log)
	if place == nil {
		return layout.Front{}, fmt.Errorf("there is no place for a log of kind %v", e.opts.Log)
	}
	if e.entered.log == nil {
		e.entered.at = layout.Front{Kind: e.opts.Log, ID: layout.NewID(), Where: place.String()}
	} else if err := e.entered.log.Close(); err != nil {
		return layout.Front{}, err
	}
	var err error
	e.entered.log, err = place.Create(ctx, e.entered.at.ID, e.st.slot+1, e.st.epoch+1)
	return e.entered.at, err
}

// enter goes on where the fence says that was written, and reports whether that is where this
// engine writes from now on. writeMu is held.
func (e *Engine) enter(next layout.Front) bool {
	if e.front == nil && next.Kind != layout.InBucket {
		e.front = e.entered.log
		e.backlog.begin(e.st.slot, e.known)
	}
	return next.Kind == e.opts.Log && (e.front != nil) == (next.Kind != layout.InBucket)
}

// leave moves the rest of a front that has been left to the bucket, and goes on there. writeMu
// is held.
func (e *Engine) leave(ctx context.Context) error {
	if err := e.moveAll(ctx); err != nil {
		return err
	}
	if err := e.front.Remove(ctx); err != nil {
		e.opts.Logger.Warn("a log that is not used any more could not be removed", "storage", e.Name(), "error", err)
	}
	if err := e.front.Close(); err != nil {
		return err
	}
	e.front = nil
	_, err := e.readOn(ctx)
	return err
}
