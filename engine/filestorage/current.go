package filestorage

import (
	"context"
	"errors"
	"iter"

	"github.com/zaridb/zari/zodb"
)

// currentBatch is how many positions are looked up at a time.
const currentBatch = 256

type position struct {
	oid zodb.OID
	pos int64
}

// Current goes through the index. It reads from the file that is there when it
// begins, also if a pack replaces it meanwhile.
func (s *Storage) Current(ctx context.Context, asOf zodb.TID, from, to zodb.OID) iter.Seq2[zodb.Current, error] {
	return func(yield func(zodb.Current, error) bool) {
		v, err := s.view()
		if err != nil {
			yield(zodb.Current{}, err)
			return
		}
		defer v.release()
		before := min(asOf, zodb.MaxTID-1) + 1
		batch := make([]position, 0, currentBatch)
		for {
			batch, v.end = s.positions(v.generation, from, to, batch[:0])
			if !v.yieldCurrent(ctx, batch, before, yield) || len(batch) < currentBatch {
				return
			}
			last := batch[len(batch)-1].oid
			if last == to {
				return
			}
			from = last + 1
		}
	}
}

// positions looks up the next objects, and the end of the file they lie in.
func (s *Storage) positions(g *generation, from, to zodb.OID, batch []position) ([]position, int64) {
	s.mu.RLock()
	unlock := s.mu.RUnlock
	if !g.index.sorted {
		s.mu.RUnlock()
		s.mu.Lock()
		unlock = s.mu.Unlock
		g.index.sort()
	}
	defer unlock()
	g.index.ascend(from, to, func(oid zodb.OID, pos int64) bool {
		batch = append(batch, position{oid, pos})
		return len(batch) < cap(batch)
	})
	return batch, g.end
}

func (v *view) yieldCurrent(ctx context.Context, batch []position, before zodb.TID, yield func(zodb.Current, error) bool) bool {
	for _, p := range batch {
		if err := ctx.Err(); err != nil {
			yield(zodb.Current{}, err)
			return false
		}
		rec, err := v.loadBefore(p.oid, before, p.pos)
		if _, ok := errors.AsType[*zodb.NoObjectError](err); ok {
			continue
		}
		if err != nil {
			yield(zodb.Current{}, err)
			return false
		}
		if !yield(zodb.Current{OID: p.oid, Serial: rec.Serial, Data: rec.Data}, nil) {
			return false
		}
	}
	return true
}
