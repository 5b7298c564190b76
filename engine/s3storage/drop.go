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

// DropBranch deletes a branch, or what there is of one, and lets the database that it was
// branched off delete what only the branch needed. It can be called again if it fails.
// The branch must have no branches itself, and no server unless force says so.
func DropBranch(ctx context.Context, opts Options, force bool) error {
	e := newFiller(opts)
	defer e.Close()
	branch, err := e.branchHere(ctx)
	if err != nil {
		return err
	}
	if err := e.isIdle(ctx); err != nil && !force {
		return err
	}
	shares, err := e.shares(ctx)
	if err != nil {
		return err
	}
	err = e.changePins(ctx, e.objects, branch, func(p *layout.Pins) (bool, error) {
		if len(p.Branches) > 0 {
			return false, fmt.Errorf("it has branches itself, which need what is here: %v", p.Branches)
		}
		p.Closed = true
		return true, nil
	})
	if err != nil {
		return err
	}
	if err := e.remove(ctx, layout.FormatKey); err != nil { // from here on it is no database
		return err
	}
	if err := e.removeAll(ctx); err != nil {
		return err
	}
	for _, s := range shares {
		if err := e.leaveOwner(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s.OwnerURL, err)
		}
	}
	for _, s := range shares {
		if err := e.remove(ctx, layout.SharedKey(s.Owner)); err != nil {
			return err
		}
	}
	return e.remove(ctx, layout.PinsKey)
}

var errNoBranch = errors.New("this is no branch of another database")

// branchHere returns the id of the branch that lies here, or of what there is of one.
func (e *Engine) branchHere(ctx context.Context) (layout.ID, error) {
	object, err := e.read(ctx, layout.PinsKey, objstore.Range{})
	if errors.Is(err, objstore.ErrNotExist) {
		return layout.ID{}, errNoBranch
	}
	if err != nil {
		return layout.ID{}, err
	}
	p, err := layout.DecodePins(object)
	if err != nil {
		return layout.ID{}, inObject(layout.PinsKey, err)
	}
	object, err = e.read(ctx, layout.FormatKey, objstore.Range{})
	if errors.Is(err, objstore.ErrNotExist) {
		return p.Database, nil
	}
	if err != nil {
		return layout.ID{}, err
	}
	f, err := layout.DecodeFormat(object)
	if err == nil && f.Database != p.Database {
		err = errors.New("it is another database's than the list of branches")
	}
	if err == nil && len(f.Owners) == 0 {
		return layout.ID{}, errNoBranch
	}
	return f.Database, inObject(layout.FormatKey, err)
}

// ForgetBranch lets a database delete what only a branch needs that is not there any more.
func ForgetBranch(ctx context.Context, opts Options, branch layout.ID) error {
	e := newFiller(opts)
	defer e.Close()
	object, err := e.read(ctx, layout.FormatKey, objstore.Range{})
	if err != nil {
		return err
	}
	f, err := layout.DecodeFormat(object)
	if err != nil {
		return inObject(layout.FormatKey, err)
	}
	return e.unpin(ctx, e.objects, f.Database, branch)
}

// shares reads what a branch shares, with whomever.
func (e *Engine) shares(ctx context.Context) (all []*layout.Share, err error) {
	for info, err := range e.objects.List(ctx, layout.SharedPrefix, "") {
		if err != nil {
			return nil, err
		}
		share, err := e.readShare(ctx, e.objects, info.Key)
		if err != nil {
			return nil, err
		}
		all = append(all, share)
	}
	return all, nil
}

// isIdle reports an error if a server writes, as far as its lease tells.
func (e *Engine) isIdle(ctx context.Context) error {
	object, info, err := objstore.Read(ctx, e.objects, layout.LeaseKey, objstore.Range{})
	if errors.Is(err, objstore.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	l, err := layout.DecodeLease(object)
	if err != nil {
		return nil // nobody's
	}
	until := info.Modified.Add(time.Duration(l.Millis) * time.Millisecond)
	if l.Millis > 0 && time.Now().Before(until) {
		return fmt.Errorf("a server writes to it: %s, whose lease lasts until %s", l.Writer, until.UTC().Format(time.DateTime))
	}
	return nil
}

// removeAll deletes everything of a branch but what tells what it has pinned.
func (e *Engine) removeAll(ctx context.Context) error {
	for info, err := range e.objects.List(ctx, "", "") {
		if err != nil {
			return err
		}
		if strings.HasPrefix(info.Key, layout.SharedPrefix) || info.Key == layout.PinsKey {
			continue
		}
		if err := e.remove(ctx, info.Key); err != nil {
			return err
		}
	}
	return nil
}

// leaveOwner takes a branch off those of an owner.
func (e *Engine) leaveOwner(ctx context.Context, s *layout.Share) error {
	if e.opts.OpenURL == nil {
		return errors.New("it cannot be opened here")
	}
	objects, err := e.opts.OpenURL(ctx, s.OwnerURL)
	if err != nil {
		return err
	}
	err = e.isDatabase(ctx, objects, s.Owner)
	if err == nil {
		err = e.unpin(ctx, objects, s.Owner, s.Branch)
	}
	if errors.Is(err, objstore.ErrNotExist) {
		err = nil // it is gone itself
	}
	return errors.Join(err, objects.Close())
}
