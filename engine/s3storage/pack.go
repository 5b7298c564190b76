package s3storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// Pack implements store.Packer: segments that hold what is to be dropped are written
// anew without it, and one object of the log puts the new ones in the place of the old.
// A crash before that leaves everything as it was. Commits go on meanwhile.
func (e *Engine) Pack(ctx context.Context, at zodb.TID, opts zodb.PackOptions) error {
	return e.pack(ctx, at, opts, 0)
}

// pack is Pack. It does nothing if less than a share of all bytes would be gained.
func (e *Engine) pack(ctx context.Context, at zodb.TID, opts zodb.PackOptions, share float64) error {
	opts.GC = (opts.GC || e.opts.PackGC && !opts.NoGC) && !opts.Overlay
	switch {
	case e.opts.ReadOnly && !opts.DryRun:
		return zodb.ErrReadOnly
	case at == 0:
		return errors.New("pack: no time was given")
	case opts.GC && e.opts.References == nil:
		return fmt.Errorf("pack: this storage cannot tell which objects are reachable; pack without garbage collection: %w", errors.ErrUnsupported)
	case !e.packMu.TryLock():
		return errors.New("pack: the storage is being packed already")
	}
	defer e.packMu.Unlock()
	e.lock(&e.keepMu)
	defer e.keepMu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	if opts.Report == nil {
		opts.Report = new(zodb.PackReport)
	}
	if !e.opts.ReadOnly {
		if err := e.compact(ctx); err != nil { // so that all there is lies in segments
			return fmt.Errorf("pack: %w", err)
		}
	}
	p := e.newPacker(ctx, at, opts)
	if err := p.run(share); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	return nil
}

// autoPack drops the history that is not to be kept, once that is worth it.
func (e *Engine) autoPack(ctx context.Context) error {
	if e.opts.KeepHistory == 0 {
		return nil
	}
	return e.pack(ctx, zodb.TIDAt(time.Now().Add(-e.opts.KeepHistory)), zodb.PackOptions{NoGC: true}, 0.1)
}

// packer is one pack.
type packer struct {
	*Engine
	ctx    context.Context
	opts   zodb.PackOptions
	at     zodb.TID
	pinned zodb.TID // the last transaction when it began
	places []place  // that hold transactions up to then, by tid
	live   *marker  // nil: no garbage is collected
	total  int64    // bytes to be read
	done   int64
	began  time.Time
	moves  int // when it began

	record layout.ReplaceRecord
	tables []*layout.Table
	blobs  map[layout.BlobName]zodb.TID // of dropped revisions
}

func (e *Engine) newPacker(ctx context.Context, at zodb.TID, opts zodb.PackOptions) *packer {
	e.mu.RLock()
	defer e.mu.RUnlock()
	p := &packer{Engine: e, ctx: ctx, opts: opts, at: min(at, e.st.last), pinned: e.st.last, began: time.Now(), moves: e.st.moves}
	for _, place := range e.st.order {
		p.places = append(p.places, *place)
		p.total += place.size
	}
	objects := int64(e.st.index.Objects())
	*opts.Report = zodb.PackReport{ObjectsBefore: objects, ObjectsAfter: objects, BytesBefore: e.st.bytes, BytesAfter: e.st.bytes}
	if opts.GC {
		p.total *= 2
	}
	return p
}

// step is told of bytes that were read; it waits where a rate is given.
func (p *packer) step(n int64) error {
	p.done += n
	if p.opts.Progress != nil {
		p.opts.Progress(min(p.done, p.total), p.total)
	}
	if p.opts.Rate > 0 {
		due := time.Duration(float64(p.done) / float64(p.opts.Rate) * float64(time.Second))
		p.Engine.opts.Sleep(p.ctx, due-time.Since(p.began))
	}
	return p.ctx.Err()
}

func (p *packer) run(share float64) error {
	if p.opts.GC {
		if err := p.mark(); err != nil {
			return err
		}
	}
	for {
		again, err := p.rewrite(share)
		if err != nil || !again {
			return err
		}
	}
}

// rewrite writes the segments anew from which something is dropped. It reports true if
// meanwhile something came to be reachable that it has dropped.
func (p *packer) rewrite(share float64) (again bool, err error) {
	plan := p.plan()
	report := p.opts.Report
	report.ObjectsAfter, report.Revisions = report.ObjectsBefore-plan.objects, plan.revisions
	report.BytesAfter = report.BytesBefore - plan.bytes
	if plan.revisions == 0 && p.packedAlready() || float64(plan.bytes) < share*float64(report.BytesBefore) {
		report.Unchanged = true
		return false, nil
	}
	if p.opts.DryRun {
		return false, nil
	}
	p.record = layout.ReplaceRecord{UpTo: 1, PackedTo: p.at, Drops: true}
	p.tables, p.blobs = nil, make(map[layout.BlobName]zodb.TID)
	b := &segmentBuilder{Engine: p.Engine}
	for i := range p.places {
		if err := p.rewritePlace(b, &p.places[i], plan.dropped[i] > 0); err != nil {
			return false, err
		}
	}
	if err := b.flush(p.ctx); err != nil {
		return false, err
	}
	p.record.New, p.tables = b.segments, b.tables
	for name := range p.blobs {
		p.record.Blobs = append(p.record.Blobs, name)
	}
	report.Blobs = int64(len(p.record.Blobs))
	return p.commit()
}

func (p *packer) packedAlready() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.st.packedTo >= p.at
}

// commit puts the new segments in place.
func (p *packer) commit() (again bool, err error) {
	p.lock(&p.writeMu)
	defer p.writeMu.Unlock()
	if err := p.fit(p.ctx); err != nil {
		return false, err
	}
	if p.st.moves != p.moves {
		return false, errMoved
	}
	if p.live != nil && !plantedNoCatchUp {
		grown, err := p.live.catchUp()
		if err != nil || grown {
			return grown, err
		}
	}
	l := &layout.Log{Kind: layout.Replace, Replace: &p.record, LastTID: p.st.last, MaxOID: p.st.maxOID}
	if err := p.write(p.ctx, l, p.tables); err != nil {
		return false, err
	}
	for name, tid := range p.blobs {
		p.cache.drop(p.Engine.blobs, blobs.ID{OID: name.OID, TID: tid})
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	p.opts.Report.ObjectsAfter, p.opts.Report.BytesAfter = int64(p.st.index.Objects()), p.st.bytes
	return false, nil
}

// plan is how much would be dropped.
type plan struct {
	dropped   []int64 // revisions, of each place
	revisions int64
	bytes     int64
	objects   int64
}

func (p *packer) plan() plan {
	plan := plan{dropped: make([]int64, len(p.places))}
	numbers := make(map[uint32]int, len(p.places))
	for i := range p.places {
		numbers[p.places[i].number] = i
	}
	var oid zodb.OID
	var tid zodb.TID
	kept, seen := true, zodb.OID(0)
	for {
		p.mu.RLock()
		entries := p.st.index.Read(oid, tid, pageLen, nil)
		for _, x := range entries {
			if x.OID != seen || oid == 0 && tid == 0 {
				if !kept {
					plan.objects++
				}
				seen, kept = x.OID, false
			}
			oid, tid = x.OID, x.TID+1
			if x.TID > p.pinned || p.keeps(x.OID, x.TID) {
				kept = true
				continue
			}
			if i, ok := numbers[x.Loc.Container()]; ok {
				plan.dropped[i]++
			}
			plan.revisions++
			plan.bytes += x.Loc.Size().Bytes()
		}
		p.mu.RUnlock()
		if len(entries) < pageLen {
			break
		}
	}
	if !kept {
		plan.objects++
	}
	return plan
}

// keeps reports whether a revision stays: it was written after the pack time, or is
// what one sees then. A deletion is nothing, unless it hides what lies below. p.mu is held
// at least for reading.
func (p *packer) keeps(oid zodb.OID, tid zodb.TID) bool {
	if tid > p.at {
		return true
	}
	current, _, _, ok := p.st.index.Before(oid, p.at+1)
	switch {
	case !ok || current.TID != tid:
		return false
	case current.Loc.Size() == 0 && !p.opts.Overlay:
		return false
	}
	return p.live == nil || p.live.has(oid)
}

// rewritePlace copies what stays of a place; or leaves it as it is.
func (p *packer) rewritePlace(b *segmentBuilder, from *place, drops bool) error {
	if err := p.step(from.size); err != nil {
		return err
	}
	if !drops && plantedReachOver {
		return nil
	}
	if !drops {
		return b.flush(p.ctx) // segments must not reach over one that stays
	}
	if from.Slot != 0 {
		return nil // came later: the pinned ones are segments
	}
	table, body, err := p.whole(p.ctx, from)
	if err != nil {
		return err
	}
	p.record.Gone = append(p.record.Gone, from.Segment)
	for i := range table.Txns {
		n := table.Txns[i].Len()
		if err := p.rewriteTxn(b, &table.Txns[i], body[:n]); err != nil {
			return err
		}
		body = body[n:]
	}
	return nil
}

func (p *packer) rewriteTxn(b *segmentBuilder, entry *layout.TableTxn, encoded []byte) error {
	if entry.TID > p.at {
		return b.add(p.ctx, *entry, encoded)
	}
	t, _, err := txnlog.Decode(encoded)
	if err != nil {
		return err
	}
	kept := *t
	kept.Records = nil
	blob := make(map[zodb.OID]layout.Blob)
	p.mu.RLock()
	for i := range t.Records {
		r, b := &t.Records[i], entry.Records[i].Blob
		if !p.keeps(r.OID, t.TID) {
			if b != nil {
				p.blobs[layout.BlobName{OID: r.OID, ID: b.ID}] = t.TID
			}
			continue
		}
		if b != nil {
			blob[r.OID] = *b
		}
		kept.Records = append(kept.Records, *r)
	}
	p.mu.RUnlock()
	if len(kept.Records) == 0 {
		return nil
	}
	if len(kept.Records) == len(t.Records) {
		return b.add(p.ctx, *entry, encoded)
	}
	if encoded, err = kept.Append(nil); err != nil {
		return err
	}
	rewritten, err := layout.TableOf(&kept, func(r *txnlog.Record) (layout.Blob, error) { return blob[r.OID], nil })
	if err != nil {
		return err
	}
	return b.add(p.ctx, rewritten, encoded)
}
