package s3storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore"
)

// sharing is the store of a branch. Segments and blobs that it shares lie where they
// were written; they are only read there. Everything else is its own.
type sharing struct {
	objstore.Store // its own
	owners         []owner
}

// owner is a database that a branch shares objects with.
type owner struct {
	*layout.Share
	objects objstore.Store
}

// of returns the store in which an object lies.
func (s *sharing) of(key string) objstore.Store {
	for i := range s.owners {
		if s.owners[i].Has(key) {
			return s.owners[i].objects
		}
	}
	return s.Store
}

func (s *sharing) Get(ctx context.Context, key string, r objstore.Range) (objstore.Object, error) {
	return s.of(key).Get(ctx, key, r)
}

func (s *sharing) Head(ctx context.Context, key string) (objstore.Info, error) {
	return s.of(key).Head(ctx, key)
}

func (s *sharing) String() string { return fmt.Sprint(s.Store) }

func (s *sharing) Close() error {
	errs := []error{s.Store.Close()}
	for _, o := range s.owners {
		errs = append(errs, o.objects.Close())
	}
	return errors.Join(errs...)
}

// openShared finds out whether the database is a branch, and opens what it shares.
func (e *Engine) openShared(ctx context.Context) error {
	object, err := e.read(ctx, layout.FormatKey, objstore.Range{})
	if errors.Is(err, objstore.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	f, err := layout.DecodeFormat(object)
	if err != nil {
		return inObject(layout.FormatKey, err)
	}
	s := &sharing{Store: e.objects}
	for _, id := range f.Owners {
		o, err := e.openOwner(ctx, f.Database, id)
		if err != nil {
			return errors.Join(fmt.Errorf("this is a branch of another database: %w", err), closeOwners(s.owners))
		}
		s.owners = append(s.owners, *o)
	}
	if len(s.owners) > 0 {
		e.objects, e.sharing = s, s
	}
	return nil
}

func closeOwners(owners []owner) error {
	var errs []error
	for _, o := range owners {
		errs = append(errs, o.objects.Close())
	}
	return errors.Join(errs...)
}

// openOwner opens the store of a database of which this one is a branch.
func (e *Engine) openOwner(ctx context.Context, branch, id layout.ID) (*owner, error) {
	share, err := e.readShare(ctx, e.objects, layout.SharedKey(id))
	if errors.Is(err, objstore.ErrNotExist) {
		err = inObject(layout.SharedKey(id), errors.New("it is not there"))
	}
	if err == nil && (share.Owner != id || share.Branch != branch) {
		err = inObject(layout.SharedKey(id), errors.New("it is another database's"))
	}
	if err != nil {
		return nil, err
	}
	if e.opts.OpenURL == nil {
		return nil, fmt.Errorf("%s cannot be opened here", share.OwnerURL)
	}
	objects, err := e.opts.OpenURL(ctx, share.OwnerURL)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", share.OwnerURL, err)
	}
	if err := e.isDatabase(ctx, objects, id); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", share.OwnerURL, err), objects.Close())
	}
	e.opts.Page.Add(objects)
	return &owner{share, objects}, nil
}

// readShare reads what a branch and an owner share.
func (e *Engine) readShare(ctx context.Context, objects objstore.Store, key string) (*layout.Share, error) {
	object, err := e.readFrom(ctx, objects, key, objstore.Range{})
	if err != nil {
		return nil, err
	}
	share, err := layout.DecodeShare(object)
	return share, inObject(key, err)
}

// isDatabase makes sure that a store has the database that it should have.
func (e *Engine) isDatabase(ctx context.Context, objects objstore.Store, id layout.ID) error {
	object, err := e.readFrom(ctx, objects, layout.FormatKey, objstore.Range{})
	if err != nil {
		return err
	}
	f, err := layout.DecodeFormat(object)
	if err == nil && f.Database != id {
		err = fmt.Errorf("the database there is %v, and not %v", f.Database, id)
	}
	return inObject(layout.FormatKey, err)
}

// writerOf returns the database that has written a segment.
func (e *Engine) writerOf(segment layout.ID) layout.ID {
	if e.sharing != nil {
		key := layout.SegmentKey(segment)
		for i := range e.sharing.owners {
			if o := &e.sharing.owners[i]; o.Has(key) {
				return o.Owner
			}
		}
	}
	return e.st.database
}
