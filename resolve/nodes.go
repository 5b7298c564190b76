package resolve

import (
	"slices"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// Merge merges two writes of one node of a tree, if both only split buckets below it,
// and different ones: each has added children behind old ones, and left all else as
// it was. Python merges no node.
//
// Only nodes above buckets are merged. The range of an old child changes only when that
// child is split, which writes it: so the child's own conflict tells whoever writes
// there.
func (s *splits) Merge(base, committed, wanted []byte) (merged []byte, ok bool) {
	name, err := recordClass(wanted)
	if err != nil || bucketOf(proper(name)) == (pickle.Class{}) {
		return nil, false
	}
	merged, err = s.merge(base, committed, wanted)
	if err != nil {
		return nil, false // Resolver.Resolve counts it
	}
	s.resolver.stats.count(label(name), stores, NoReason)
	return merged, true
}

func (s *splits) merge(base, committed, wanted []byte) ([]byte, error) {
	if err := s.fit(); err != nil {
		return nil, err
	}
	var n [3]*node
	for i, data := range [][]byte{base, committed, wanted} {
		var err error
		if n[i], err = readNode(data); err != nil {
			return nil, err
		}
		if n[i].class != n[0].class || !n[i].bottom || !sameObject(n[i].first, n[0].first) {
			return nil, refuse(Rule)
		}
	}
	theirs, err := s.added(n[0], n[1])
	if err != nil {
		return nil, err
	}
	ours, err := s.added(n[0], n[2])
	if err != nil {
		return nil, err
	}
	for _, child := range n[2].children {
		if !slices.Contains(n[0].children, child) && !s.isNew(child) {
			return nil, refuse(Rule)
		}
	}
	items, err := together(n[0].items, theirs, ours)
	if err != nil {
		return nil, err
	}
	out := &node{class: n[0].class}
	state := pickle.Tuple{items, n[2].first}
	if err := out.fill(state); err != nil {
		return nil, err
	}
	if err := s.ordered(out); err != nil {
		return nil, err
	}
	return pickle.EncodeRecord(n[2].meta, state)
}

// added returns, for each child of old, the keys and children that n has behind it, and
// demands that n has nothing else that old has not.
func (s *splits) added(old, n *node) ([]pickle.Tuple, error) {
	if n.children[0] != old.children[0] {
		return nil, refuse(Rule)
	}
	added := make([]pickle.Tuple, len(old.children))
	at := 0
	for i, child := range n.children[1:] {
		if at+1 < len(old.children) && child == old.children[at+1] {
			if equal, err := s.cmp.equal(n.keys[i], old.keys[at]); err != nil || !equal {
				return nil, refuse(Rule)
			}
			at++
			continue
		}
		added[at] = append(added[at], n.items[2*i+1:2*i+3]...)
	}
	if at+1 != len(old.children) {
		return nil, refuse(Rule) // some have gone
	}
	return added, nil
}

// together puts what both have added behind the old children.
func together(old pickle.Tuple, theirs, ours []pickle.Tuple) (pickle.Tuple, error) {
	var items pickle.Tuple
	for i := range theirs {
		if len(theirs[i]) > 0 && len(ours[i]) > 0 {
			return nil, refuse(ManyBuckets) // both have split this child
		}
		if i > 0 {
			items = append(items, old[2*i-1])
		}
		items = append(items, old[2*i])
		items = append(items, theirs[i]...)
		items = append(items, ours[i]...)
	}
	return items, nil
}

// ordered demands that the keys of a node grow, and that no child is there twice.
func (s *splits) ordered(n *node) error {
	for i := 1; i < len(n.keys); i++ {
		c, err := s.cmp.compare(n.keys[i-1], n.keys[i])
		if err != nil {
			return err
		}
		if c >= 0 {
			return refuse(Rule)
		}
	}
	seen := make(map[zodb.OID]bool, len(n.children))
	for _, child := range n.children {
		if seen[child] {
			return refuse(Rule)
		}
		seen[child] = true
	}
	return nil
}
