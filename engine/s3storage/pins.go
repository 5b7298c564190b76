package s3storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore"
)

// pins are what branches of a database need: it stays, whatever becomes of it here.
//
// Whoever makes a branch first adds it to the object "pins", and then reads the log to
// its end; whoever deletes first announces in the log what, and then reads "pins". So one of
// the two sees the other: either what the branch needs is pinned before it is deleted, or
// the branch finds that it is going to be, and begins again.
type pins []*layout.Share

func (p pins) has(key string) bool {
	return slices.ContainsFunc(p, func(s *layout.Share) bool { return s.Has(key) })
}

// readPins reads which branches there are, and the etag of that; both are zero if there
// has never been one.
func (e *Engine) readPins(ctx context.Context, objects objstore.Store, database layout.ID) (layout.Pins, string, error) {
	for delay := 10 * time.Millisecond; ; delay *= 4 {
		object, info, err := objstore.Read(ctx, objects, layout.PinsKey, objstore.Range{})
		if errors.Is(err, objstore.ErrNotExist) {
			return layout.Pins{Database: database}, "", nil
		}
		if err == nil {
			p, err := layout.DecodePins(object)
			if err == nil && p.Database != database {
				err = errors.New("it is another database's")
			}
			return p, info.ETag, inObject(layout.PinsKey, err)
		}
		if ctx.Err() != nil || delay > time.Second {
			return layout.Pins{}, "", err
		}
		e.opts.Sleep(ctx, delay)
	}
}

// pinned reads what the branches need. With an error nothing may be deleted.
func (e *Engine) pinned(ctx context.Context) (pins, error) {
	list, _, err := e.readPins(ctx, e.objects, e.st.database)
	if err != nil {
		return nil, err
	}
	var all pins
	for _, branch := range list.Branches {
		share := e.pins[branch]
		if share == nil {
			if share, err = e.readShare(ctx, e.objects, layout.PinKey(branch)); err != nil {
				return nil, fmt.Errorf("nothing is deleted, for it is not known what branch %v needs (if there is none: zari branch --forget %v): %w", branch, branch, err)
			}
			e.setPin(branch, share) // it never changes
		}
		all = append(all, share)
	}
	return all, nil
}

func (e *Engine) setPin(branch layout.ID, s *layout.Share) {
	if e.pins == nil {
		e.pins = make(map[layout.ID]*layout.Share)
	}
	e.pins[branch] = s
}

// errClosed says that a database is being dropped.
var errClosed = errors.New("the database is being dropped")

// changePins changes which branches a database has, until that is done for sure. change may
// be called several times, and reports whether there is anything to change.
func (e *Engine) changePins(ctx context.Context, objects objstore.Store, database layout.ID, change func(*layout.Pins) (bool, error)) error {
	for delay := 10 * time.Millisecond; ; delay *= 2 {
		p, etag, err := e.readPins(ctx, objects, database)
		if err != nil {
			return err
		}
		if todo, err := change(&p); err != nil || !todo {
			return err
		}
		cond := objstore.IfAbsent
		if etag != "" {
			cond = objstore.IfMatch(etag)
		}
		p.Nonce = layout.NewID()
		if _, err = objects.Put(ctx, layout.PinsKey, p.Encode(), cond); err == nil {
			return nil
		}
		if delay > 5*time.Second || ctx.Err() != nil || errors.Is(err, objstore.ErrClosed) {
			return err
		}
		e.opts.Sleep(ctx, delay)
	}
}

// pin adds a branch to those of the owner of what it shares.
func (e *Engine) pin(ctx context.Context, objects objstore.Store, s *layout.Share) error {
	if err := e.putOnce(ctx, objects, layout.PinKey(s.Branch), s.Encode()); err != nil {
		return err
	}
	return e.changePins(ctx, objects, s.Owner, func(p *layout.Pins) (bool, error) {
		if p.Closed {
			return false, errClosed
		}
		if slices.Contains(p.Branches, s.Branch) {
			return false, nil
		}
		p.Branches = append(p.Branches, s.Branch)
		return true, nil
	})
}

// unpin is the end of a branch for a database of which it is one. What only the branch needs
// is swept up from then on. It always writes: what pin has sent, and nobody knows what
// became of, must not come to be after this.
func (e *Engine) unpin(ctx context.Context, objects objstore.Store, database, branch layout.ID) error {
	err := e.changePins(ctx, objects, database, func(p *layout.Pins) (bool, error) {
		p.Branches = slices.DeleteFunc(p.Branches, func(id layout.ID) bool { return id == branch })
		return true, nil
	})
	if err != nil {
		return err
	}
	return e.removeFrom(ctx, objects, layout.PinKey(branch))
}

// putOnce writes an object that nobody else writes with other bytes, unless there is one.
func (e *Engine) putOnce(ctx context.Context, objects objstore.Store, key string, object []byte) error {
	for delay := 10 * time.Millisecond; ; delay *= 4 {
		_, put := objects.Put(ctx, key, object, objstore.IfAbsent)
		if put == nil {
			return nil
		}
		there, _, err := objstore.Read(ctx, objects, key, objstore.Range{})
		switch {
		case err == nil && slices.Equal(there, object):
			return nil // an answer was lost
		case err == nil:
			return fmt.Errorf("%s: %w", key, put)
		case delay > 3*time.Second || ctx.Err() != nil:
			return put
		}
		e.opts.Sleep(ctx, delay)
	}
}
