package s3storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zaridb/zari/engine/s3storage/index"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// BranchOptions say what is branched off.
type BranchOptions struct {
	From, To Options // to be opened; both stores are closed in the end

	// FromURL is where the branch finds the database, given to Options.OpenURL; ToURL is
	// where people find the branch. They hold no secrets.
	FromURL, ToURL string

	At zodb.TID // later transactions are not in the branch; 0: all are
}

// BranchReport says what was made.
type BranchReport struct {
	Database     string   `json:"database"` // ids
	Branch       string   `json:"branch"`
	TID          zodb.TID `json:"-"`
	Slot         uint64   `json:"slot"` // of the database's log; the branch's own begins after it
	Segments     int      `json:"shared_segments"`
	Blobs        int      `json:"shared_blobs"`
	SharedBytes  int64    `json:"shared_bytes"`
	Transactions int      `json:"copied_transactions"` // of the log, and of the segment that At lies in
	CopiedBytes  int64    `json:"copied_bytes"`
}

// Branch makes a database out of what another one contains, or contained. The segments and
// blobs are not copied: they are shared, and pinned where they are. What lies in objects
// of the log is copied to a segment, and the index is written anew.
//
// The branch's log goes on behind the slot of the other one's that it was made at, so it
// looks like a database whose older slots have been collected. It is there once its format
// object is; what was made before that can be removed with DropBranch, and pins nothing
// in an object that anybody would miss.
func Branch(ctx context.Context, o BranchOptions) (BranchReport, error) {
	b := newFiller(o.To)
	defer b.Close()
	if err := b.isUnused(ctx); err != nil {
		return BranchReport{}, errors.Join(fmt.Errorf("%s: %w", o.ToURL, err), o.From.Objects.Close())
	}
	a, err := look(ctx, o.From)
	if err != nil {
		return BranchReport{}, err
	}
	defer a.Close()
	const tries = 3
	for range tries {
		x := &brancher{a: a, b: b, opts: o, id: layout.NewID()}
		if err = x.make(ctx); err == nil {
			return x.report, nil
		}
		if !errors.Is(err, errGone) {
			break
		}
		if err := x.undo(ctx); err != nil {
			return BranchReport{}, err
		}
	}
	return BranchReport{}, fmt.Errorf("branch %s off %s: %w", o.ToURL, o.FromURL, err)
}

// newFiller returns an engine that is no server: it only writes what it is told.
func newFiller(opts Options) *Engine {
	opts.ReadOnly = true
	return newEngine(opts)
}

// isUnused makes sure that nothing lies where a branch is to be.
func (e *Engine) isUnused(ctx context.Context) error {
	_, err := e.read(ctx, layout.FormatKey, objstore.Range{})
	if err == nil {
		return errors.New("there is a database already")
	}
	if !errors.Is(err, objstore.ErrNotExist) {
		return err
	}
	for info, err := range e.objects.List(ctx, "", "") {
		if err == nil && !strings.HasPrefix(info.Key, layout.ProbePrefix) {
			err = fmt.Errorf("%w: %s", errPart, info.Key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// brancher makes one branch.
type brancher struct {
	a, b   *Engine
	opts   BranchOptions
	id     layout.ID
	upTo   zodb.TID
	copied []place // of which the transactions up to upTo are copied
	shares []*layout.Share
	report BranchReport
}

// errGone says that something that the branch needs has been announced to be deleted.
var errGone = errors.New("what the branch needs has been collected meanwhile")

func (x *brancher) make(ctx context.Context) error {
	for _, step := range []func(context.Context) error{x.plan, x.pin, x.stillThere, x.copy, x.root} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// plan works out what is shared and what is copied, and the branch's state without
// the latter.
func (x *brancher) plan(ctx context.Context) (err error) {
	a := x.a
	if x.upTo, err = a.lastUpTo(ctx, x.opts.At); err != nil {
		return err
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	st := newState(x.id)
	st.slot, st.hash, st.epoch, st.last, st.maxOID = a.st.slot, a.st.hash, a.st.epoch, x.upTo, a.st.maxOID
	st.meta, st.packedTo = a.st.meta, a.st.packedTo
	st.meta.UUID = x.id
	numbers := make(map[uint32]uint32)
	var segments, blobIDs []layout.ID
	for _, p := range a.st.order {
		switch {
		case p.first > x.upTo:
		case p.Slot == 0 && p.last <= x.upTo:
			shared := *p
			numbers[p.number] = st.add(&shared).number
			segments = append(segments, p.Segment)
			x.report.SharedBytes += p.size
		default:
			x.copied = append(x.copied, *p)
		}
	}
	a.st.copyIndex(&st.index, numbers)
	for id, b := range a.st.blobs {
		if id.TID <= x.upTo {
			st.blobs[id] = b
			blobIDs = append(blobIDs, b.ID)
			x.report.SharedBytes += b.Size
		}
	}
	x.share(segments, blobIDs)
	x.b.st, x.b.checkpoint = st, checkpointInfo{}
	x.report.Database, x.report.Branch, x.report.TID = a.st.database.String(), x.id.String(), x.upTo
	x.report.Slot, x.report.Segments, x.report.Blobs = st.slot, len(segments), len(blobIDs)
	return nil
}

// lastUpTo returns the last transaction up to at. What has been packed is not there as it
// was.
func (e *Engine) lastUpTo(ctx context.Context, at zodb.TID) (zodb.TID, error) {
	e.mu.RLock()
	last, packed := e.st.last, e.st.packedTo
	e.mu.RUnlock()
	if last == 0 {
		return 0, errors.New("the database is empty")
	}
	if at == 0 || at >= last {
		return last, nil
	}
	if at < packed {
		return 0, fmt.Errorf("the database has been packed to %v, and has not all that was there at %v", packed.Time().UTC().Format(time.DateTime), at.Time().UTC().Format(time.DateTime))
	}
	for t, err := range e.Scan(ctx, at, store.Backward) {
		if err != nil {
			return 0, err
		}
		return t.TID, nil
	}
	return 0, fmt.Errorf("there is no transaction as old as %v", at.Time().UTC().Format(time.DateTime))
}

// copyIndex appends to another index what lies in some places, which have other numbers there.
func (s *state) copyIndex(to *index.Index, numbers map[uint32]uint32) {
	var oid zodb.OID
	var tid zodb.TID
	for {
		entries := s.index.Read(oid, tid, 16*pageLen, nil)
		for _, x := range entries {
			if n, ok := numbers[x.Loc.Container()]; ok {
				to.Append(index.Entry{OID: x.OID, TID: x.TID, Loc: index.At(n, x.Loc.Off(), x.Loc.Size())})
			}
			oid, tid = x.OID, x.TID+1
		}
		if len(entries) == 0 {
			return
		}
	}
}

// share says of each object whose it is.
func (x *brancher) share(segments, blobIDs []layout.ID) {
	own := &layout.Share{Owner: x.a.st.database, OwnerURL: x.opts.FromURL}
	x.shares = []*layout.Share{own}
	if x.a.sharing != nil {
		for _, o := range x.a.sharing.owners {
			s := &layout.Share{Owner: o.Owner, OwnerURL: o.OwnerURL}
			x.shares = append(x.shares, s)
			segments = take(segments, &s.Segments, func(id layout.ID) bool { return o.Has(layout.SegmentKey(id)) })
			blobIDs = take(blobIDs, &s.Blobs, func(id layout.ID) bool { return o.Has(layout.BlobKey(0, id)) })
		}
	}
	own.Segments, own.Blobs = segments, blobIDs
	for _, s := range x.shares {
		s.Branch, s.BranchURL, s.Created = x.id, x.opts.ToURL, time.Now().Unix()
	}
}

// take moves ids to another list, and returns the rest.
func take(ids []layout.ID, to *[]layout.ID, which func(layout.ID) bool) []layout.ID {
	return slices.DeleteFunc(ids, func(id layout.ID) bool {
		if !which(id) {
			return false
		}
		*to = append(*to, id)
		return true
	})
}

// ownerStore returns the store of the i-th share's owner.
func (x *brancher) ownerStore(i int) objstore.Store {
	if x.a.sharing == nil {
		return x.a.objects
	}
	if i == 0 {
		return x.a.sharing.Store
	}
	return x.a.sharing.owners[i-1].objects
}

// pin claims the branch's place, writes down there what it shares, so that this can be
// undone, and then pins it.
func (x *brancher) pin(ctx context.Context) error {
	claim := layout.Pins{Database: x.id, Nonce: layout.NewID(), Closed: true}
	if err := x.b.putOnce(ctx, x.b.objects, layout.PinsKey, claim.Encode()); err != nil {
		return err
	}
	for _, s := range x.shares {
		if err := x.b.putOnce(ctx, x.b.objects, layout.SharedKey(s.Owner), s.Encode()); err != nil {
			return err
		}
	}
	for i, s := range x.shares {
		if err := x.a.pin(ctx, x.ownerStore(i), s); err != nil {
			return fmt.Errorf("%s: %w", s.OwnerURL, err)
		}
	}
	return nil
}

// stillThere makes sure that nothing that was pinned had been announced to be deleted
// before. It cannot be announced any more, or will be spared: see pins. (What lies in another
// database than this one has been pinned for this one before.)
func (x *brancher) stillThere(ctx context.Context) error {
	if _, err := x.a.catchUp(ctx); err != nil {
		return err
	}
	if plantedPinsUnread {
		return nil
	}
	a := x.a
	a.mu.RLock()
	defer a.mu.RUnlock()
	there := make(map[layout.ID]bool)
	for _, p := range a.st.order {
		there[p.Segment] = true
	}
	for _, b := range a.st.blobs {
		there[b.ID] = true
	}
	garbage := make(map[string]bool)
	for _, g := range a.st.garbage {
		garbage[g.Key] = true
	}
	for id, b := range x.b.st.blobs {
		if !there[b.ID] && !garbage[layout.BlobKey(id.OID, b.ID)] {
			return errGone
		}
	}
	for _, p := range x.b.st.order {
		if !there[p.Segment] && !garbage[layout.SegmentKey(p.Segment)] {
			return errGone
		}
	}
	return nil
}

// copy copies transactions that lie in objects which are not shared.
func (x *brancher) copy(ctx context.Context) error {
	w := &segmentBuilder{Engine: x.b}
	for i := range x.copied {
		table, body, err := x.a.whole(ctx, &x.copied[i])
		if err != nil {
			return err
		}
		for _, t := range table.Txns {
			if t.TID > x.upTo {
				break
			}
			n := t.Len()
			if err := w.add(ctx, t, body[:n]); err != nil {
				return err
			}
			x.report.Transactions++
			body = body[n:]
		}
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	x.b.mu.Lock()
	defer x.b.mu.Unlock()
	for i := range w.segments {
		x.b.st.put(x.b.st.add(segmentPlace(&w.segments[i])), w.tables[i])
		x.report.CopiedBytes += w.segments[i].Size
	}
	return nil
}

// root makes a database of it: with the format object it is there.
func (x *brancher) root(ctx context.Context) error {
	b := x.b
	if err := b.writeCheckpoint(ctx); err != nil {
		return err
	}
	if _, err := b.raiseFloor(ctx, b.st.slot+1); err != nil {
		return err
	}
	err := b.changePins(ctx, b.objects, x.id, func(p *layout.Pins) (bool, error) {
		if len(p.Branches) > 0 || p.Nonce == (layout.ID{}) {
			return false, errors.New("it has been dropped while it was made")
		}
		was := p.Closed
		p.Closed = false
		return was, nil
	})
	if err != nil {
		return err
	}
	f := layout.Format{Database: x.id, Created: time.Now().Unix()}
	for _, s := range x.shares {
		f.Owners = append(f.Owners, s.Owner)
	}
	return b.putOnce(ctx, b.objects, layout.FormatKey, f.Encode())
}

// undo removes what pin has written.
func (x *brancher) undo(ctx context.Context) error {
	for i, s := range x.shares {
		if err := x.a.unpin(ctx, x.ownerStore(i), s.Owner, x.id); err != nil {
			return err
		}
		if err := x.b.remove(ctx, layout.SharedKey(s.Owner)); err != nil {
			return err
		}
	}
	return x.b.remove(ctx, layout.PinsKey)
}
