package sqlstorage

import (
	"cmp"
	"slices"
)

// edge says that an object refers to another one.
type edge struct{ from, to int64 }

// graph finds out which objects can be reached. All edges are added before anything
// is marked.
type graph struct {
	edges []edge
	live  oidSet
	todo  []int64
}

func (g *graph) add(from, to int64) { g.edges = append(g.edges, edge{from, to}) }

// sort is called when all edges are there.
func (g *graph) sort() {
	slices.SortFunc(g.edges, func(a, b edge) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	})
}

// mark marks an object, and everything that can be reached from it.
func (g *graph) mark(oid int64) {
	g.push(oid)
	for len(g.todo) > 0 {
		oid := g.todo[len(g.todo)-1]
		g.todo = g.todo[:len(g.todo)-1]
		i, _ := slices.BinarySearchFunc(g.edges, oid, func(e edge, oid int64) int { return cmp.Compare(e.from, oid) })
		for ; i < len(g.edges) && g.edges[i].from == oid; i++ {
			g.push(g.edges[i].to)
		}
	}
}

func (g *graph) push(oid int64) {
	if g.live.add(oid) {
		g.todo = append(g.todo, oid)
	}
}

// oidSet is a set of oids that takes little room where they lie close together.
type oidSet map[int64]*[1024]uint64 // by oid>>16

// add reports whether the oid is new in the set.
func (s *oidSet) add(oid int64) bool {
	if *s == nil {
		*s = make(oidSet)
	}
	block := (*s)[oid>>16]
	if block == nil {
		block = new([1024]uint64)
		(*s)[oid>>16] = block
	}
	word, bit := &block[oid>>6&1023], uint64(1)<<(oid&63)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}

func (s oidSet) has(oid int64) bool {
	block := s[oid>>16]
	return block != nil && block[oid>>6&1023]&(1<<(oid&63)) != 0
}
