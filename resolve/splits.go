package resolve

import (
	"bytes"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// Pending is a transaction in its vote. It is the type of the same name in package
// store, which has the words for it: neither package needs the other.
type Pending = interface {
	Check(oid zodb.OID) (serial zodb.TID, ok bool)
	Written() []zodb.OID
	Write(oid zodb.OID) (base zodb.TID, data []byte, ok bool)
	Revision(oid zodb.OID, serial zodb.TID) ([]byte, error)
	Current(oid zodb.OID) ([]byte, error)
}

// TxnMerger is what merges in one vote, as package store has it.
type TxnMerger = interface {
	Passes(oid zodb.OID) bool
	Merge(base, committed, wanted []byte) (merged []byte, ok bool)
}

// ForTxn returns what lets t pass where others have split nodes of a BTree, nil if
// Options.MergeSplits is not set.
func (r *Resolver) ForTxn(t Pending) TxnMerger {
	if !r.opts.MergeSplits || r.opts.LeaveToClients {
		return nil
	}
	return &splits{Pending: t, resolver: r, cmp: &comparer{}}
}

// node is the state of a BTree or TreeSet with more than one bucket: child i has the
// keys from keys[i-1] on and below keys[i].
type node struct {
	class    pickle.Class
	meta     any
	items    pickle.Tuple // child, key, child, ... as they stand in the state
	keys     []any
	children []zodb.OID
	first    *pickle.Ref // the first bucket below
	bottom   bool        // the children are buckets
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

// Limits of the work in one vote.
const (
	maxLevels = 64 // of a tree; with nodes of two that is much
	maxLoads  = 10_000
	maxVisits = 1 << 20 // of children
	maxPlain  = 1 << 26 // bytes of records, decompressed
)

// splits knows what it means for one transaction that nodes were split. ADR 14 has the
// argument for all that is demanded here. Every doubt is an error, and refuses.
type splits struct {
	Pending
	resolver      *Resolver
	cmp           *comparer
	loads, visits int
	bytes         int   // of records that were read
	looked        bool  // at what the transaction writes
	unfit         error // nothing is let through for it
}

// Passes reports whether the check of an interior node, which another transaction has
// changed since, tells the transaction nothing that matters.
//
// BTrees asks that every node on the way to a changed bucket be current, since the
// way decides which bucket a key belongs to. The change of a node does not matter
// if the way still leads to the same buckets, for the same keys.
func (s *splits) Passes(oid zodb.OID) bool {
	class, err := s.passes(oid)
	s.resolver.stats.count(label(class), checks, reasonOf(err))
	return err == nil
}

func (s *splits) passes(oid zodb.OID) (pickle.Class, error) {
	serial, ok := s.Check(oid)
	if _, _, written := s.Write(oid); written || !ok {
		return pickle.Class{}, refuse(Rule) // BTrees checks no node that it writes
	}
	before, err := s.revision(oid, serial)
	if err != nil {
		return pickle.Class{}, err
	}
	class, err := recordClass(before)
	if err != nil {
		return class, err
	}
	now, err := s.current(oid)
	if err != nil {
		return class, err
	}
	if bytes.Equal(before, now) {
		return class, refuse(Rule) // written without a change: somebody's signal
	}
	return class, s.same(oid, before)
}

// same finds all buckets below a node, of which the transaction saw the state before,
// that the transaction writes.
func (s *splits) same(oid zodb.OID, before []byte) error {
	old, err := readNode(before)
	if err != nil {
		return err
	}
	if err := s.fit(); err != nil {
		return err
	}
	c := collector{splits: s, nodes: map[zodb.OID]bool{oid: true}}
	if err := c.collect(old, bound{}, bound{}, 0); err != nil {
		return err
	}
	if len(c.leaves) == 0 {
		return refuse(Rule) // nothing written below: the check is the application's own
	}
	for _, l := range c.leaves {
		if err := s.find(oid, old.class, l); err != nil {
			return err
		}
	}
	return nil
}

// fit reports whether the transaction is one for which anything may be let through. It
// is not if it makes nodes above nodes: BTrees gives such a node the first bucket of a
// child that it reads without a check, and only a check of something else may tell
// that the bucket has gone.
func (s *splits) fit() error {
	if s.looked {
		return s.unfit
	}
	s.looked = true
	for _, oid := range s.Written() {
		base, data, _ := s.Write(oid)
		if base != 0 {
			continue
		}
		if s.unfit = s.shallow(data); s.unfit != nil {
			return s.unfit
		}
	}
	return nil
}

// shallow refuses the record of a node above nodes.
func (s *splits) shallow(record []byte) error {
	data, err := s.plain(record)
	if err != nil {
		return err
	}
	name, err := recordClass(data)
	if err != nil || bucketOf(proper(name)) == (pickle.Class{}) {
		return nil // no node
	}
	if n, err := readNode(data); err == nil && !n.bottom {
		return refuse(DeepSplit)
	}
	return nil
}

func (s *splits) load(data []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if s.loads++; s.loads > maxLoads {
		return nil, refuse(TooLarge)
	}
	return s.plain(data)
}

// plain decompresses a record, and bounds the work for all of them.
func (s *splits) plain(record []byte) ([]byte, error) {
	data, err := Decompress(record, MaxRecord)
	if s.bytes += len(data); s.bytes > maxPlain {
		return nil, refuse(TooLarge)
	}
	return data, err
}

func (s *splits) revision(oid zodb.OID, serial zodb.TID) ([]byte, error) {
	return s.load(s.Revision(oid, serial))
}

func (s *splits) current(oid zodb.OID) ([]byte, error) { return s.load(s.Current(oid)) }

// collector finds what a transaction writes below a node.
type collector struct {
	*splits
	nodes  map[zodb.OID]bool // on the ways
	leaves []leaf
}

// collect adds the buckets below n, as the transaction saw them, that it writes.
// Nodes on the way to them are among its writes or checks.
func (c *collector) collect(n *node, low, high bound, level int) error {
	for i, child := range n.children {
		if c.visits++; c.visits > maxVisits || level > maxLevels {
			return refuse(TooLarge)
		}
		from, to := n.ends(i, low, high)
		below, err := c.below(n.class, leaf{child, from, to})
		if err != nil {
			return err
		}
		if below == nil {
			continue
		}
		if err := c.collect(below, from, to, level+1); err != nil {
			return err
		}
	}
	return nil
}

// below looks at a child of a node of a class: one that the transaction writes is a leaf,
// or returned if it is a node, as is one that it checks.
func (c *collector) below(class pickle.Class, child leaf) (*node, error) {
	serial, record, written := c.Write(child.oid)
	if !written {
		var checked bool
		if serial, checked = c.Check(child.oid); !checked {
			return nil, nil
		}
		return c.seen(child.oid, serial, class)
	}
	data, err := c.plain(record)
	if err != nil {
		return nil, err
	}
	name, err := recordClass(data)
	if err != nil {
		return nil, err
	}
	if proper(name) == bucketOf(class) {
		c.leaves = append(c.leaves, child)
		return nil, nil
	}
	n, err := c.seen(child.oid, serial, class)
	if err != nil {
		return nil, err
	}
	return n, c.pureSplit(n, data)
}

// seen reads a node as the transaction saw it, once.
func (c *collector) seen(oid zodb.OID, serial zodb.TID, class pickle.Class) (*node, error) {
	if c.nodes[oid] {
		return nil, refuse(BadRecord) // that is no tree
	}
	c.nodes[oid] = true
	data, err := c.revision(oid, serial)
	if err != nil {
		return nil, err
	}
	n, err := readNode(data)
	if err != nil {
		return nil, err
	}
	if n.class != class {
		return nil, refuse(OtherClass)
	}
	return n, nil
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
	if n.class != old.class || !sameObject(n.first, old.first) || n.children[0] != old.children[0] {
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
		if !s.isNew(child) {
			return refuse(Rule)
		}
	}
	return nil
}

// isNew reports whether the transaction makes an object.
func (s *splits) isNew(oid zodb.OID) bool {
	base, _, ok := s.Write(oid)
	return ok && base == 0
}

// find looks for a bucket in the tree as it is now, by the low end of its old range.
func (s *splits) find(oid zodb.OID, class pickle.Class, l leaf) error {
	low, high := bound{}, bound{}
	for range maxLevels {
		data, err := s.current(oid)
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
			return s.sameRange(low, high, l)
		}
		if n.bottom {
			break
		}
	}
	return refuse(SplitBucket)
}

func (s *splits) sameRange(low, high bound, l leaf) error {
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
	if c.old && c.renamed {
		return nil, refuse(Uncertain)
	}
	n := &node{class: proper(name), meta: meta}
	return n, n.fill(state)
}

// fill takes a node's state apart.
func (n *node) fill(state any) error {
	parts, ok := state.(pickle.Tuple)
	if !ok || len(parts) != 2 {
		return refuse(Rule)
	}
	if n.items, ok = parts[0].(pickle.Tuple); !ok || len(n.items)%2 == 0 {
		return refuse(BadRecord)
	}
	keys, bucket := kind(n.class.Name[0]), bucketOf(n.class)
	n.bottom = true
	for i, item := range n.items {
		if i%2 == 1 {
			key, err := keys.convert(item)
			if err != nil {
				return err
			}
			n.keys = append(n.keys, key)
			continue
		}
		_, target, err := strongRef(item)
		if err != nil {
			return err
		}
		n.children = append(n.children, target.OID)
		n.bottom = n.bottom && proper(target.Class) == bucket
	}
	var err error
	n.first, _, err = strongRef(parts[1])
	return err
}

func strongRef(v any) (*pickle.Ref, pickle.Reference, error) {
	r, ok := v.(*pickle.Ref)
	if !ok {
		return nil, pickle.Reference{}, refuse(BadRecord)
	}
	t, err := r.Target()
	if err != nil || t.Database != "" || t.Strength != pickle.Strong {
		return nil, t, refuse(BadRecord)
	}
	return r, t, nil
}

// sameObject compares two references that strongRef has let through.
func sameObject(a, b *pickle.Ref) bool {
	s, _ := a.Target()
	t, _ := b.Target()
	return s.OID == t.OID
}
