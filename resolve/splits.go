package resolve

import (
	"bytes"
	"slices"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// Writer is a transaction about to commit, as far as the trees that it writes
// matter.
type Writer struct {
	Writes  map[zodb.OID]Written                                // what it stores of objects that exist
	Checks  map[zodb.OID]zodb.TID                               // what must be current, and the serials read
	Load    func(oid zodb.OID, serial zodb.TID) ([]byte, error) // the record that a transaction wrote
	Current func(oid zodb.OID) (data []byte, serial zodb.TID, err error)
}

// Written is one store: from which revision it was made, and what it stores.
type Written struct {
	Base zodb.TID
	Data []byte
}

// node is the state of a BTree or TreeSet with more than one bucket: child i has the
// keys from keys[i-1] on and below keys[i].
type node struct {
	class    pickle.Class
	keys     []any
	children []zodb.OID
	first    zodb.OID // the first bucket below
}

// leaf is a bucket that the transaction writes, and the keys that lead to it: from
// low on and below high, where given.
type leaf struct {
	oid       zodb.OID
	low, high bound
}

// bound is an end of a range of keys.
type bound struct {
	key   any
	given bool
}

// Moved reports whether a check of an interior node, which another transaction has
// changed since, tells the transaction something that matters. If not, it returns
// false and the nodes that must stay as they are until the transaction commits.
//
// BTrees asks that every node on the way to a changed bucket be current, since the
// way decides which bucket a key belongs to. The change of a node does not matter
// if the way still leads to the same buckets, for the same keys. See ADR 14 for the
// argument and its conditions. Every doubt is an error, and counts as moved.
func (w *Writer) Moved(oid zodb.OID) (moved bool, path []zodb.OID, err error) {
	s := splits{Writer: w, cmp: &comparer{}, seen: make(map[zodb.OID]bool)}
	if err := s.same(oid); err != nil {
		return true, nil, err
	}
	for id := range s.seen {
		path = append(path, id)
	}
	slices.Sort(path)
	return false, path, nil
}

// maxLevels bounds the depth of a tree; with nodes of two that is much.
const maxLevels = 64

// splits compares the ways to what one transaction writes.
type splits struct {
	*Writer
	cmp    *comparer
	leaves []leaf
	seen   map[zodb.OID]bool // nodes on the new ways
	steps  int
}

func (s *splits) same(oid zodb.OID) error {
	before, err := s.Load(oid, s.Checks[oid])
	if err != nil {
		return err
	}
	now, _, err := s.Current(oid)
	if err != nil {
		return err
	}
	if bytes.Equal(before, now) {
		return refuse(Rule) // written without a change: somebody's signal
	}
	old, err := readNode(before)
	if err != nil {
		return err
	}
	if err := s.collect(old, bound{}, bound{}); err != nil {
		return err
	}
	if len(s.leaves) == 0 {
		return refuse(Rule) // nothing written below: the check is the application's own
	}
	for _, l := range s.leaves {
		if err := s.find(oid, old.class, l); err != nil {
			return err
		}
	}
	return nil
}

// step bounds the work.
func (s *splits) step() error {
	if s.steps++; s.steps > 100_000 {
		return refuse(TooLarge)
	}
	return nil
}

// collect notes the buckets below n, as the transaction saw them, that it writes.
// Nodes on the way to them are among its writes or checks.
func (s *splits) collect(n *node, low, high bound) error {
	for i, child := range n.children {
		if err := s.step(); err != nil {
			return err
		}
		from, to := n.ends(i, low, high)
		written, isWritten := s.Writes[child]
		serial, isChecked := s.Checks[child]
		if isWritten {
			serial = written.Base
		} else if !isChecked {
			continue
		}
		data, err := s.Load(child, serial)
		if err != nil {
			return err
		}
		name, err := recordClass(data)
		if err != nil {
			return err
		}
		if proper(name) == bucketOf(n.class) {
			if isWritten {
				s.leaves = append(s.leaves, leaf{child, from, to})
			}
			continue
		}
		below, err := readNode(data)
		if err != nil {
			return err
		}
		if below.class != n.class {
			return refuse(OtherClass)
		}
		if isWritten {
			if err := s.pureSplit(below, written.Data); err != nil {
				return err
			}
		}
		if err := s.collect(below, from, to); err != nil {
			return err
		}
	}
	return nil
}

// ends returns the range of child i within the range of n.
func (n *node) ends(i int, low, high bound) (from, to bound) {
	if i > 0 {
		low = bound{n.keys[i-1], true}
	}
	if i < len(n.keys) {
		high = bound{n.keys[i], true}
	}
	return low, high
}

// pureSplit demands that the transaction does no more to a node than splits: new
// children behind old ones, and perhaps the upper part given to a new node.
func (s *splits) pureSplit(old *node, data []byte) error {
	n, err := readNode(data)
	if err != nil {
		return err
	}
	if n.class != old.class || n.first != old.first || len(n.children) == 0 || n.children[0] != old.children[0] {
		return refuse(Rule)
	}
	at := 0
	for i, child := range n.children[1:] {
		if at+1 < len(old.children) && child == old.children[at+1] {
			equal, err := s.cmp.equal(n.keys[i], old.keys[at])
			if err != nil {
				return err
			}
			if !equal {
				return refuse(Rule)
			}
			at++
			continue
		}
		if _, _, err := s.Current(child); err == nil {
			return refuse(Rule) // not new
		}
	}
	return nil
}

// find looks for a bucket in the tree as it is now, by the low end of its old range.
func (s *splits) find(oid zodb.OID, class pickle.Class, l leaf) error {
	low, high := bound{}, bound{}
	found := false
	for range maxLevels {
		s.seen[oid] = true
		data, _, err := s.Current(oid)
		if err != nil {
			return err
		}
		n, err := readNode(data)
		if err != nil {
			return err
		}
		if n.class != class {
			return refuse(OtherClass)
		}
		i, err := s.search(n, l.low)
		if err != nil {
			return err
		}
		low, high = n.ends(i, low, high)
		if oid = n.children[i]; oid == l.oid {
			found = true
			break
		}
	}
	if !found {
		return refuse(SplitBucket)
	}
	if err := s.sameBound(low, l.low); err != nil {
		return err
	}
	return s.sameBound(high, l.high)
}

// search returns the child that key, or the smallest one, leads to.
func (s *splits) search(n *node, key bound) (int, error) {
	if !key.given {
		return 0, nil
	}
	for i := len(n.keys); i > 0; i-- {
		c, err := s.cmp.compare(n.keys[i-1], key.key)
		if err != nil {
			return 0, err
		}
		if c <= 0 {
			return i, nil
		}
	}
	return 0, nil
}

func (s *splits) sameBound(a, b bound) error {
	if a.given != b.given {
		return refuse(SplitBucket)
	}
	if !a.given {
		return nil
	}
	c, err := s.cmp.compare(a.key, b.key)
	if err != nil {
		return err
	}
	if c != 0 {
		return refuse(SplitBucket)
	}
	return nil
}

// bucketOf returns the class of the buckets of a class of trees, empty if it is not
// one.
func bucketOf(tree pickle.Class) pickle.Class {
	letters := ""
	if len(tree.Name) > 2 {
		letters = tree.Name[:2]
	}
	name := ""
	switch tree.Name {
	case letters + "BTree":
		name = letters + "Bucket"
	case letters + "TreeSet":
		name = letters + "Set"
	}
	c := pickle.Class{Module: tree.Module, Name: name}
	if _, ok := classes[c]; !ok {
		return pickle.Class{}
	}
	return c
}

func recordClass(data []byte) (pickle.Class, error) {
	c := conflict{untransform: Decompress}
	d, err := c.decoder(data)
	if err != nil {
		return pickle.Class{}, err
	}
	meta, err := c.next(d)
	if err != nil {
		return pickle.Class{}, err
	}
	name, ok := classOf(meta)
	if !ok {
		return pickle.Class{}, refuse(UnknownClass)
	}
	return name, nil
}

// readNode reads the record of a BTree or TreeSet with more than one bucket:
// ((child, key, child, ...), firstbucket). (BTree_getstate)
func readNode(data []byte) (*node, error) {
	c := conflict{untransform: Decompress}
	d, err := c.decoder(data)
	if err != nil {
		return nil, err
	}
	meta, err := c.next(d)
	if err != nil {
		return nil, err
	}
	name, ok := classOf(meta)
	if !ok || bucketOf(proper(name)) == (pickle.Class{}) {
		return nil, refuse(UnknownClass)
	}
	state, err := c.stateOf(d)
	if err != nil {
		return nil, err
	}
	parts, ok := state.(pickle.Tuple)
	if !ok || len(parts) != 2 {
		return nil, refuse(Rule)
	}
	items, ok := parts[0].(pickle.Tuple)
	if !ok || len(items)%2 == 0 {
		return nil, refuse(BadRecord)
	}
	n := &node{class: proper(name)}
	keys := kind(n.class.Name[0])
	for i, item := range items {
		if i%2 == 1 {
			key, err := keys.convert(item)
			if err != nil {
				return nil, err
			}
			n.keys = append(n.keys, key)
			continue
		}
		oid, err := strongRef(item)
		if err != nil {
			return nil, err
		}
		n.children = append(n.children, oid)
	}
	n.first, err = strongRef(parts[1])
	return n, err
}

func strongRef(v any) (zodb.OID, error) {
	r, ok := v.(*pickle.Ref)
	if !ok {
		return 0, refuse(BadRecord)
	}
	t, err := r.Target()
	if err != nil || t.Database != "" || t.Strength != pickle.Strong {
		return 0, refuse(BadRecord)
	}
	return t.OID, nil
}
