package resolve

import (
	"slices"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// mergeByChild merges three states of a node as one would merge dicts: what one side
// has added or deleted. It is wrong.
func mergeByChild(base, committed, wanted []byte) ([]byte, error) {
	var n [3]*node
	for i, data := range [][]byte{base, committed, wanted} {
		var err error
		if n[i], err = readNode(data); err != nil {
			return nil, err
		}
	}
	has := func(n *node, oid zodb.OID) bool { return slices.Contains(n.children, oid) }
	var items pickle.Tuple
	add := func(from *node, i int) {
		if len(items) > 0 {
			key := any(nil)
			if i > 0 {
				key = from.keys[i-1]
			}
			items = append(items, key)
		}
		items = append(items, from.items[2*i])
	}
	for i, child := range n[1].children {
		if has(n[2], child) || !has(n[0], child) {
			add(n[1], i)
		}
		if j := slices.Index(n[2].children, child); j >= 0 {
			for j++; j < len(n[2].children) && !has(n[0], n[2].children[j]); j++ {
				add(n[2], j)
			}
		}
	}
	if len(items) == 0 {
		return nil, refuse(Rule)
	}
	first := n[1].first
	if sameObject(first, n[0].first) {
		first = n[2].first
	}
	return pickle.EncodeRecord(n[2].meta, pickle.Tuple{items, first})
}
