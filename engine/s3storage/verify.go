package s3storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/engine/s3storage/index"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/zodb"
)

// VerifyOptions say how much is read, and who hears of it.
type VerifyOptions struct {
	Quick    bool // read what a server reads that starts, and the tables of what holds transactions
	Found    func(Problem)
	Progress func(step string, done, total int64)
}

// VerifyReport says what was looked at.
type VerifyReport struct {
	Database     string   `json:"database"`
	Slot         uint64   `json:"slot"`
	TID          zodb.TID `json:"-"`
	Objects      int      `json:"objects"`   // in the bucket
	Revisions    int64    `json:"revisions"` // that the index and the transactions agree about
	Transactions int64    `json:"transactions"`
	Blobs        int      `json:"blobs"`
	Errors       int      `json:"errors"`
	Warnings     int      `json:"warnings"`
	Notes        int      `json:"notes"`
}

// Verify looks whether a database is whole: whether the log is a chain, all that is named is
// there and undamaged, and the index says what the transactions say. Servers may go on
// meanwhile. An error is one of the store, or that there is no database.
func Verify(ctx context.Context, opts Options, o VerifyOptions) (VerifyReport, error) {
	a := newAudit(opts)
	defer a.Close()
	if o.Found != nil {
		a.found = o.Found
	}
	if o.Progress != nil {
		a.progress = o.Progress
	}
	v := &verifier{audit: a, quick: o.Quick}
	err := v.openShared(ctx)
	if err == nil {
		err = v.begin(ctx, v.run)
	}
	err = v.cannotOpen(err)
	r := &v.report
	r.Objects, r.Errors, r.Warnings, r.Notes = len(a.list), a.errors, a.warned, a.noted
	if a.st != nil {
		r.Database, r.Slot, r.TID = a.st.database.String(), a.st.slot, a.st.last
	}
	return v.report, err
}

// verifier is one Verify.
type verifier struct {
	*audit
	quick  bool
	report VerifyReport
	bad    map[uint32]bool // places that cannot be read
}

func (v *verifier) run(ctx context.Context) error {
	v.bad, v.report = make(map[uint32]bool), VerifyReport{}
	if err := v.listAll(ctx); err != nil {
		return err
	}
	if err := v.names(ctx); err != nil {
		return err
	}
	if err := v.start(ctx, true); err != nil {
		return err
	}
	from := max(v.floor.Slot, 1)
	if v.quick {
		from = max(from, v.st.slot) // the one of the checkpoint, too
	}
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return v.walk(ctx, from) }, v.lease, v.places, v.blobFiles, v.branches, v.others, v.confirm,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// cannotOpen reports damage to what must be read first.
func (v *verifier) cannotOpen(err error) error {
	if c, ok := errors.AsType[*zodb.CorruptError](err); ok {
		v.say(Error, c.File, c.Err.Error(), "the database cannot be opened; nothing else was looked at")
		return nil
	}
	return err
}

// lease looks at the lease.
func (v *verifier) lease(ctx context.Context) error {
	object, err := v.read(ctx, layout.LeaseKey, objstore.Range{})
	if errors.Is(err, objstore.ErrNotExist) {
		return nil
	}
	if err == nil {
		_, err = layout.DecodeLease(object)
		err = inObject(layout.LeaseKey, err)
	}
	return v.wrong(Warning, layout.LeaseKey, err, "the next server takes over at once, and writes it anew")
}

// places looks at everything that holds transactions, several at a time, and compares it
// with the index.
func (v *verifier) places(ctx context.Context) error {
	type result struct {
		table *layout.Table
		err   error
	}
	order := v.st.order
	seen := int64(0)
	group := 4 // whole segments are in memory
	if v.quick {
		group = v.opts.Parallel
	}
	for done := 0; done < len(order); {
		part := order[done:min(done+group, len(order))]
		results := make([]result, len(part))
		var g errgroup.Group
		for i, p := range part {
			look := func() error {
				results[i].table, results[i].err = v.place(ctx, p)
				return nil
			}
			if v.opts.Manual {
				_ = look()
			} else {
				g.Go(look)
			}
		}
		_ = g.Wait() // the errors are in results
		for i, p := range part {
			if err := results[i].err; err != nil {
				v.bad[p.number] = true
				if err := v.wrong(Error, p.Key(), unwrapBehind(err), v.held(p)); err != nil {
					return err
				}
				continue
			}
			n, err := v.compare(p, results[i].table)
			seen += n
			if err := v.wrong(Error, p.Key(), err, "the index does not say what the transactions say"); err != nil {
				return err
			}
		}
		done += len(part)
		v.progress("transactions", int64(done), int64(len(order)))
	}
	v.report.Revisions = seen
	if n := int64(v.st.index.Len()); !v.noIndex && !v.foul && len(v.bad) == 0 && n != seen {
		v.say(Error, layout.RunPrefix, fmt.Sprintf("the index has %d revisions, and there are %d", n, seen), "some are found that are not there")
	}
	return nil
}

// place reads the table of a place, or all of it.
func (v *verifier) place(ctx context.Context, p *place) (*layout.Table, error) {
	if info, ok := v.list[p.Key()]; ok && info.Size != p.size {
		return nil, inObject(p.Key(), fmt.Errorf("it has %d bytes, and should have %d", info.Size, p.size))
	}
	if v.quick {
		return v.tableOf(ctx, p)
	}
	there := *p
	there.data = nil // what is in the bucket counts
	t, body, err := v.whole(ctx, &there)
	if err == nil {
		err = inObject(p.Key(), txnsOf(t, body))
	}
	return t, err
}

// held tells what a place holds, for people.
func (v *verifier) held(p *place) string {
	s := fmt.Sprintf("%d transactions from %v to %v cannot be read", p.txns, p.first, p.last)
	if v.noIndex {
		return s
	}
	revisions, current := 0, 0
	var last index.Entry
	var oid zodb.OID
	var tid zodb.TID
	count := func(next zodb.OID) {
		if last.TID != 0 && last.Loc.Container() == p.number && last.Loc.Size() > 0 && last.OID != next {
			current++
		}
	}
	for {
		entries := v.st.index.Read(oid, tid, 16*pageLen, nil)
		for _, x := range entries {
			count(x.OID)
			if x.Loc.Container() == p.number {
				revisions++
			}
			last, oid, tid = x, x.OID, x.TID+1
		}
		if len(entries) == 0 {
			break
		}
	}
	count(last.OID + 1)
	return s + fmt.Sprintf(", with %d revisions; %d of them are what objects are now", revisions, current)
}

// compare compares a table with the index, and returns how many revisions it has.
func (v *verifier) compare(p *place, t *layout.Table) (n int64, err error) {
	v.report.Transactions += int64(len(t.Txns))
	if len(t.Txns) != p.txns || len(t.Txns) > 0 && (t.Txns[0].TID != p.first || t.Txns[len(t.Txns)-1].TID > p.last) {
		return 0, inObject(p.Key(), fmt.Errorf("it has %d transactions, and %s says %d", len(t.Txns), v.base, p.txns))
	}
	t.Each(p.body, func(tid zodb.TID, off int64, r *layout.TableRecord) {
		n++
		if err != nil || v.noIndex || v.foul {
			return
		}
		size := index.Size(0)
		if !r.Delete {
			size = index.SizeOf(r.Len)
		}
		loc, ok := v.st.index.Find(r.OID, tid)
		switch {
		case !ok:
			err = inObject(p.Key(), fmt.Errorf("revision %v of object %v is not in the index", tid, r.OID))
		case loc != index.At(p.number, uint32(off), size):
			err = inObject(p.Key(), fmt.Errorf("revision %v of object %v lies elsewhere than the index says", tid, r.OID))
		case r.Blob != nil && v.st.blobs[blobs.ID{OID: r.OID, TID: tid}] != *r.Blob:
			err = inObject(p.Key(), fmt.Errorf("revision %v of object %v has another blob than the index says", tid, r.OID))
		}
	})
	return n, err
}

// blobFiles looks at the blobs: whether they are there, as large as they should be, and
// unless it is to be quick, their bytes.
func (v *verifier) blobFiles(ctx context.Context) error {
	ids := make([]blobs.ID, 0, len(v.st.blobs))
	for id := range v.st.blobs {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b blobs.ID) int {
		return strings.Compare(fmt.Sprint(a.OID, a.TID), fmt.Sprint(b.OID, b.TID))
	})
	for i, id := range ids {
		b := v.st.blobs[id]
		key := layout.BlobKey(id.OID, b.ID)
		err := v.blob(ctx, key, b)
		if err := v.wrong(Error, key, err, fmt.Sprintf("the blob of object %v, revision %v", id.OID, id.TID)); err != nil {
			return err
		}
		v.progress("blobs", int64(i+1), int64(len(ids)))
	}
	v.report.Blobs = len(ids)
	return nil
}

func (v *verifier) blob(ctx context.Context, key string, b layout.Blob) error {
	info, ok := v.list[key]
	if !ok { // another database's, or the list is old
		var err error
		if info, err = v.objects.Head(ctx, key); err != nil {
			return unwrapBehind(err)
		}
	}
	if info.Size != b.Size {
		return inObject(key, fmt.Errorf("it has %d bytes, and should have %d", info.Size, b.Size))
	}
	got := layout.Blob{ID: b.ID}
	for off := int64(0); off < b.Size && !v.quick; off += partLen {
		part, err := v.read(ctx, key, objstore.Range{Off: off, Len: partLen})
		if err != nil {
			return err
		}
		got.Add(part)
	}
	if !v.quick && got != b {
		return inObject(key, errors.New("the checksum is wrong"))
	}
	return nil
}

// branches looks whether everything is there that branches need.
func (v *verifier) branches(ctx context.Context) error {
	list, _, err := v.readPins(ctx, v.objects, v.st.database)
	if err := v.wrong(Error, layout.PinsKey, err, "nothing is deleted any more, and no branch can be made"); err != nil {
		return err
	}
	for _, id := range list.Branches {
		share, err := v.readShare(ctx, v.objects, layout.PinKey(id))
		if err := v.wrong(Error, layout.PinKey(id), unwrapBehind(err), "nothing is deleted any more"); err != nil {
			return err
		}
		if err != nil {
			continue
		}
		v.setPin(id, share)
		if err := v.pinnedThere(ctx, share); err != nil {
			return err
		}
	}
	return nil
}

// pinnedThere looks whether everything is there that a branch needs.
func (v *verifier) pinnedThere(ctx context.Context, s *layout.Share) error {
	means := "branch " + s.BranchURL + " needs it"
	for _, id := range s.Segments {
		key := layout.SegmentKey(id)
		if _, listed := v.list[key]; listed {
			continue
		}
		if _, err := v.objects.Head(ctx, key); err != nil {
			if err := v.wrong(Error, key, unwrapBehind(err), means); err != nil {
				return err
			}
		}
	}
	listed := make(map[layout.ID]bool)
	for key := range v.list {
		if id, ok := layout.IDIn(key); ok && strings.HasPrefix(key, layout.BlobPrefix) {
			listed[id] = true
		}
	}
	for _, id := range s.Blobs {
		there, err := listed[id], error(nil)
		if !there {
			there, err = v.blobThere(ctx, id)
		}
		if err != nil {
			return err
		}
		if !there {
			v.say(Error, layout.PinKey(s.Branch), fmt.Sprintf("blob %v, which it names, is not there", id), means)
		}
	}
	return nil
}

// blobThere looks for a blob whose oid is not known.
func (v *verifier) blobThere(ctx context.Context, id layout.ID) (bool, error) {
	for info, err := range v.objects.List(ctx, layout.Spread(layout.BlobPrefix, id), "") {
		if err != nil {
			return false, err
		}
		if found, ok := layout.IDIn(info.Key); ok && found == id {
			return true, nil
		}
	}
	return false, nil
}

// others says what else is in the bucket.
func (v *verifier) others(context.Context) error {
	if v.foul {
		v.say(Note, layout.LogPrefix, "the log could not be read to its end", "what nothing names was not looked for")
		return nil
	}
	known := v.known()
	for _, key := range slices.Sorted(maps.Keys(v.list)) {
		switch kind := kindOf(key); {
		case kind == key || known[key] || v.pinnedHere(key): // of some there is one
		case kind == "":
			v.say(Warning, key, "it does not belong to a database", "nobody deletes it")
		case kind == layout.LogPrefix:
			if slot, _ := slotOfKey(key); slot < v.floor.Slot {
				v.say(Note, key, "it lies below the floor", "it came late, or is being deleted; it is swept up")
			}
		default:
			v.say(Note, key, "nothing names it", "it is new, or is swept up once it is old")
		}
	}
	return nil
}

// pinnedHere reports whether a branch needs an object.
func (v *verifier) pinnedHere(key string) bool {
	for _, s := range v.pins {
		if s.Has(key) {
			return true
		}
	}
	return false
}

// known returns the keys that something names.
func (a *audit) known() map[string]bool {
	c := &collector{Engine: a.Engine}
	known := c.used()
	for _, key := range []string{a.base, a.floor.Checkpoint, a.hint.Checkpoint} {
		known[key] = true
	}
	for _, key := range a.st.collecting.Keys {
		known[key] = true
	}
	for _, owner := range a.format.Owners {
		known[layout.SharedKey(owner)] = true
	}
	for branch := range a.pins {
		known[layout.PinKey(branch)] = true
	}
	return known
}

// kindOf returns the prefix of what may lie in a bucket, or the key of what there is one of;
// "" for anything else.
func kindOf(key string) string {
	switch key {
	case layout.FormatKey, layout.FloorKey, layout.HintKey, layout.LeaseKey, layout.PinsKey:
		return key
	}
	for _, prefix := range []string{
		layout.SegmentPrefix, layout.RunPrefix, layout.CheckpointPrefix, layout.BlobPrefix, layout.ProbePrefix,
		layout.PinPrefix, layout.SharedPrefix,
	} {
		if strings.HasPrefix(key, prefix) {
			return prefix
		}
	}
	if _, ok := slotOfKey(key); ok {
		return layout.LogPrefix
	}
	return ""
}

// confirm says what is not there, as far as it is still needed: servers go on meanwhile, and
// what they replace is deleted in the end.
func (v *verifier) confirm(ctx context.Context) error {
	if len(v.missing) == 0 {
		return nil
	}
	needed, err := v.neededNow(ctx)
	if err != nil && !errors.Is(err, zodb.ErrCorrupt) && !errors.Is(err, objstore.ErrNotExist) {
		return err
	}
	for _, p := range v.missing {
		if err != nil || needed(p.Key) {
			v.say(p.Severity, p.Key, p.What, p.Means)
		} else {
			v.say(Note, p.Key, "it was deleted while this looked", "what it held lies elsewhere, and was not looked at")
		}
	}
	return nil
}

// neededNow returns which objects a server needs that starts now.
func (v *verifier) neededNow(ctx context.Context) (func(key string) bool, error) {
	now := &audit{Engine: newFiller(v.opts)}
	now.objects, now.sharing = v.objects, v.sharing
	if err := now.boot(ctx); err != nil {
		return nil, err
	}
	floor, _, err := now.readFloor(ctx, now.st.database)
	if err != nil {
		return nil, err
	}
	pins, err := now.pinned(ctx)
	if err != nil {
		return nil, err
	}
	now.floor = floor
	known := now.known()
	return func(key string) bool {
		slot, isLog := slotOfKey(key)
		return known[key] || pins.has(key) || isLog && slot >= floor.Slot
	}, nil
}
