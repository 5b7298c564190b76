package s3storage

import (
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// Scan implements store.Engine. It goes from one object to the next, and reads pieces of
// them that grow, so that who looks at one transaction does not pay for many.
func (e *Engine) Scan(ctx context.Context, from zodb.TID, dir store.Direction) iter.Seq2[*txnlog.Txn, error] {
	return func(yield func(*txnlog.Txn, error) bool) {
		s := scan{Engine: e, pos: from, dir: dir, piece: firstPiece}
		for {
			more, err := s.next(ctx, yield)
			if err != nil {
				yield(nil, err)
				return
			}
			if !more {
				return
			}
		}
	}
}

const (
	firstPiece = 64 << 10
	lastPiece  = 8 << 20

	// wholePlace is up to where an object is read in one piece, table and all.
	wholePlace = 1 << 20
)

// scan is a Scan under way.
type scan struct {
	*Engine
	pos   zodb.TID // the next transaction is not before this one; backward, not after
	dir   store.Direction
	piece int64
	last  *place
}

// next yields what is left in the next place. It reports false when there is nothing
// more, or nobody wants it.
func (s *scan) next(ctx context.Context, yield func(*txnlog.Txn, error) bool) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s.mu.RLock()
	found, packed := s.st.at(s.pos, s.dir), s.st.packedTo
	var p place
	if found != nil {
		p = *found
	}
	s.mu.RUnlock()
	if found == nil {
		return false, nil
	}
	for t, err := range s.txns(ctx, &p) {
		if errors.Is(err, objstore.ErrNotExist) && s.last != found {
			s.last = found
			return true, nil // it has moved meanwhile
		}
		if err != nil {
			return false, err
		}
		if t.TID <= packed {
			pack(t)
		}
		if !yield(t, nil) {
			return false, nil
		}
		if s.dir == store.Forward {
			s.pos = t.TID + 1
		} else {
			s.pos = t.TID - 1
		}
	}
	return s.past(&p), nil
}

// past moves on behind a place, and reports false at the end.
func (s *scan) past(p *place) bool {
	if s.dir == store.Forward {
		s.pos = max(s.pos, p.last+1)
		return true
	}
	s.pos = min(s.pos, p.first-1)
	return p.first > 1
}

// pack marks a transaction as packed. What it was undone from may be gone.
func pack(t *txnlog.Txn) {
	t.Status = 'p'
	for i := range t.Records {
		t.Records[i].From = 0
	}
}

// span is a transaction in a place.
type span struct {
	tid      zodb.TID
	off, len int64
}

// txns yields the transactions of a place from s.pos on.
func (s *scan) txns(ctx context.Context, p *place) iter.Seq2[*txnlog.Txn, error] {
	return func(yield func(*txnlog.Txn, error) bool) {
		table, body, err := s.contents(ctx, p)
		if err != nil {
			yield(nil, err)
			return
		}
		spans := s.spans(table, p.body)
		for len(spans) > 0 {
			n := s.pieceOf(spans, body != nil)
			if !s.decode(ctx, p, spans[:n], body, yield) {
				return
			}
			spans = spans[n:]
			s.piece = min(4*s.piece, lastPiece)
		}
	}
}

// contents returns the table of a place, and its transactions if they are in memory or
// come with it.
func (e *Engine) contents(ctx context.Context, p *place) (*layout.Table, []byte, error) {
	object := p.data
	if object == nil && p.size > wholePlace {
		t, err := e.tableOf(ctx, p)
		return t, nil, err
	}
	if object == nil {
		var err error
		if object, err = e.read(ctx, p.Key(), objstore.Range{}); err != nil {
			return nil, nil, err
		}
	}
	return e.open1(p, object)
}

// open1 reads the object of a place.
func (e *Engine) open1(p *place, object []byte) (*layout.Table, []byte, error) {
	if p.Slot == 0 {
		t, body, err := layout.DecodeSegment(object, e.writerOf(p.Segment), p.Segment)
		return t, body, inObject(p.Key(), err)
	}
	l, err := layout.DecodeLog(object)
	if err == nil && (l.Slot != p.Slot || l.Database != e.st.database || l.Body != p.body) {
		err = errors.New("it is another object")
	}
	if err != nil {
		return nil, nil, inObject(p.Key(), err)
	}
	return &l.Table, l.Txns, nil
}

// spans returns the transactions of a table from s.pos on, in the scan's direction.
func (s *scan) spans(t *layout.Table, base int64) []span {
	var list []span
	for i := range t.Txns {
		x := &t.Txns[i]
		n := int64(x.Len())
		if s.dir == store.Forward && x.TID >= s.pos || s.dir == store.Backward && x.TID <= s.pos {
			list = append(list, span{x.TID, base, n})
		}
		base += n
	}
	if s.dir == store.Backward {
		slices.Reverse(list)
	}
	return list
}

// pieceOf returns how many of the transactions are read together.
func (s *scan) pieceOf(spans []span, inMemory bool) int {
	if inMemory {
		return len(spans)
	}
	sum := int64(0)
	for i := range spans {
		if sum += spans[i].len; i > 0 && sum > s.piece {
			return i
		}
	}
	return len(spans)
}

// decode yields transactions that lie beside each other.
func (s *scan) decode(ctx context.Context, p *place, spans []span, body []byte, yield func(*txnlog.Txn, error) bool) bool {
	first, last := spans[0], spans[len(spans)-1]
	if s.dir == store.Backward {
		first, last = last, first
	}
	base := p.body
	if body == nil {
		var err error
		base = first.off
		if body, err = s.read(ctx, p.Key(), objstore.Range{Off: base, Len: last.off + last.len - base}); err != nil {
			yield(nil, err)
			return false
		}
	}
	for _, x := range spans {
		t, err := decodeAt(p, body, x.off-base, x)
		if !yield(t, err) || err != nil {
			return false
		}
	}
	return true
}

func decodeAt(p *place, body []byte, off int64, x span) (*txnlog.Txn, error) {
	if off+x.len > int64(len(body)) {
		return nil, &zodb.CorruptError{File: p.Key(), Record: "transaction", Offset: x.off, Err: txnlog.ErrShort}
	}
	t, rest, err := txnlog.Decode(body[off : off+x.len])
	if err == nil && (t.TID != x.tid || len(rest) > 0) {
		err = errors.New("the table says something else")
	}
	if err != nil {
		return nil, &zodb.CorruptError{File: p.Key(), Record: "transaction", Offset: x.off, Err: err}
	}
	t.Size = x.len
	return t, nil
}
