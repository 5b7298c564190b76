package check

import (
	"context"
	"slices"
	"sync"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// search walks from the roots, level by level, and remembers where it came from.
type search struct {
	*Graph
	parents []*table[uint64] // oid of the parent + 2; 1 for a root
	mu      sync.Mutex
	crossed map[place]int // the database of the parent, where that is another
	wanted  map[place]bool
}

// paths gives the problems the paths that lead to their objects. One of an object that
// no root leads to becomes a warning: no application will come there.
func (g *Graph) paths(ctx context.Context, problems []*Problem) error {
	if len(problems) == 0 {
		return nil
	}
	s := &search{Graph: g, crossed: make(map[place]int), wanted: make(map[place]bool)}
	for _, p := range problems {
		s.wanted[p.from] = true
	}
	var level []place
	for i := range g.dbs {
		s.parents = append(s.parents, newTable[uint64]())
		if g.objects[i].get(0) != 0 {
			s.parents[i].set(0, 1)
			delete(s.wanted, place{i, 0})
			level = append(level, place{i, 0})
		}
	}
	rooted := len(level) > 0
	seen := len(level)
	for len(level) > 0 && len(s.wanted) > 0 {
		next, err := s.level(ctx, level)
		if err != nil {
			return err
		}
		seen += len(next)
		g.report.progress("paths", int64(seen), int64(g.Objects()))
		level = next
	}
	for _, t := range s.parents {
		g.report.hold(t.bytes())
		defer g.report.hold(-t.bytes())
	}
	for _, p := range problems {
		if s.wanted[p.from] {
			p.Warning = p.Warning || rooted
			p.Message += "; no root leads to this object"
			p.idle = rooted && p.ofTree()
			continue
		}
		p.Path = s.path(p.from)
	}
	return nil
}

// level returns the objects that those of a level lead to, and that are new.
func (s *search) level(ctx context.Context, level []place) ([]place, error) {
	var next []place
	w := startWorkers(ctx, func(batch []place) error {
		var mine []place
		for _, at := range batch {
			var err error
			if mine, err = s.expand(ctx, at, mine); err != nil {
				return err
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		next = append(next, mine...)
		return nil
	})
	for len(level) > 0 {
		n := min(batchLen, len(level))
		if !w.give(level[:n]) {
			break
		}
		level = level[n:]
	}
	return next, w.wait(nil)
}

// expand appends the new objects that one refers to.
func (s *search) expand(ctx context.Context, at place, dst []place) ([]place, error) {
	r, err := s.dbs[at.db].Source.Load(ctx, at.oid)
	if err != nil {
		return dst, ctx.Err() // it was reported, or has gone
	}
	refs, err := pickle.AllReferences(r.Data, nil)
	if err != nil {
		return dst, nil
	}
	for _, t := range refs {
		to, ok := s.to(at.db, t)
		if !ok || s.objects[to.db].get(to.oid) == 0 || !s.claim(to, at) {
			continue
		}
		dst = append(dst, to)
	}
	return dst, nil
}

// to returns where a strong reference leads.
func (g *Graph) to(db int, t pickle.Reference) (place, bool) {
	if t.Strength == pickle.Weak {
		return place{}, false
	}
	if t.Database == "" || t.Database == g.dbs[db].Name {
		return place{db, t.OID}, true
	}
	n, ok := g.numbers[t.Database]
	return place{n, t.OID}, ok
}

// claim notes the parent of an object that has none.
func (s *search) claim(at, parent place) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.parents[at.db]
	if t.get(at.oid) != 0 {
		return false
	}
	t.set(at.oid, uint64(parent.oid)+2)
	if parent.db != at.db {
		s.crossed[at] = parent.db
	}
	delete(s.wanted, at)
	return true
}

// path returns the way from a root to an object.
func (s *search) path(at place) []Object {
	var back []Object
	for {
		back = append(back, *s.object(at))
		parent := s.parents[at.db].get(at.oid)
		if parent < 2 {
			break
		}
		up := place{at.db, zodb.OID(parent - 2)}
		if db, ok := s.crossed[at]; ok {
			up.db = db
		}
		at = up
	}
	slices.Reverse(back)
	return back
}
