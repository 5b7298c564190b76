package s3storage

import (
	"context"

	"github.com/zaridb/zari/engine/s3storage/layout"
)

// Compact moves the transactions of the log to segments, together with those of small
// segments right before them. The objects they were in become garbage.
func (e *Engine) Compact(ctx context.Context) error {
	e.lock(&e.keepMu)
	defer e.keepMu.Unlock()
	return e.compact(ctx)
}

func (e *Engine) compact(ctx context.Context) error {
	sources, moves := e.toCompact()
	if len(sources) == 0 || sources[len(sources)-1].Slot == 0 {
		return nil
	}
	b := &segmentBuilder{Engine: e, newest: true}
	for _, p := range sources {
		if err := b.copy(ctx, p); err != nil {
			return err
		}
	}
	if err := b.flush(ctx); err != nil {
		return err
	}
	r := &layout.ReplaceRecord{UpTo: sources[len(sources)-1].Slot + 1, New: b.segments}
	for _, p := range sources {
		if p.Slot == 0 {
			r.Gone = append(r.Gone, p.Segment)
		}
	}
	return e.control(ctx, &layout.Log{Kind: layout.Replace, Replace: r}, b.tables, moves)
}

// toCompact returns the objects to be moved, by tid: all of the log, and the segments before
// it that are not larger than what comes after them. So a transaction is moved as often as
// its segment can double.
func (e *Engine) toCompact() (sources []place, moves int) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	order := e.st.order
	i, sum := len(order), int64(0)
	for i > 0 && (order[i-1].Slot != 0 || order[i-1].size <= sum && sum+order[i-1].size <= e.opts.SegmentBytes) {
		i--
		sum += order[i].size
	}
	for _, p := range order[i:] {
		sources = append(sources, *p)
	}
	return sources, e.st.moves
}

// segmentBuilder writes transactions to new segments.
type segmentBuilder struct {
	*Engine
	w        *layout.SegmentWriter
	newest   bool // what is written is kept in the cache
	segments []layout.Segment
	tables   []*layout.Table
}

// copy adds all transactions of a place.
func (b *segmentBuilder) copy(ctx context.Context, p place) error {
	table, body, err := b.whole(ctx, &p)
	if err != nil {
		return err
	}
	for _, t := range table.Txns {
		n := t.Len()
		if err := b.add(ctx, t, body[:n]); err != nil {
			return err
		}
		body = body[n:]
	}
	return nil
}

// whole returns all of a place.
func (e *Engine) whole(ctx context.Context, p *place) (*layout.Table, []byte, error) {
	object := p.data
	if object == nil {
		var err error
		if object, err = e.readParts(ctx, p.Key(), p.size); err != nil {
			return nil, nil, err
		}
	}
	return e.open1(p, object)
}

// add adds a transaction; a segment that would become too large is ended before.
func (b *segmentBuilder) add(ctx context.Context, t layout.TableTxn, encoded []byte) error {
	if b.w != nil && b.w.Len()+int64(len(encoded)) > b.opts.SegmentBytes {
		if err := b.flush(ctx); err != nil {
			return err
		}
	}
	if b.w == nil {
		b.w = layout.NewSegmentWriter(b.st.database, int64(len(encoded)))
	}
	b.w.Add(t, encoded)
	return nil
}

// flush ends the segment that is being written, and uploads it.
func (b *segmentBuilder) flush(ctx context.Context) error {
	if b.w == nil {
		return nil
	}
	object, info := b.w.Close()
	b.segments = append(b.segments, info)
	b.tables = append(b.tables, &b.w.Table)
	b.w = nil
	if err := b.upload(ctx, layout.SegmentKey(info.ID), object); err != nil {
		return err
	}
	if b.newest {
		b.keepBlocks(&info, object)
	}
	return nil
}
