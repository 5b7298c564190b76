package check

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/zaridb/zari/resolve"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// A BTree is objects of two classes: nodes, and the buckets that are its leaves. The
// states, from BTrees' BTreeTemplate.c and BucketTemplate.c:
//
//	node    None                                            empty
//	        ((state of its only bucket,),)                  a small tree: the bucket is inline
//	        ((child, key, child, key, child ...), bucket)   and the first bucket below it
//	bucket  ((key, value, key, value ...), next bucket)     next is left out at the end
//	set     ((key, key ...), next set)
//
// Child i holds the keys from the i-th key of the node on, and below the next one.

// treeClass is what a class of the package BTrees is.
type treeClass struct {
	family string // OO, IO ... fs
	node   bool   // or a bucket
	set    bool   // keys only
}

func treeClassOf(c pickle.Class) (treeClass, bool) {
	module, ok := strings.CutPrefix(c.Module, "BTrees.")
	if !ok {
		return treeClass{}, false
	}
	module = strings.TrimPrefix(module, "_")
	family, ok := strings.CutSuffix(module, "BTree")
	if !ok || len(family) != 2 {
		return treeClass{}, false
	}
	kind, ok := strings.CutPrefix(strings.TrimSuffix(c.Name, "Py"), family)
	if !ok {
		return treeClass{}, false
	}
	switch kind {
	case "BTree", "TreeSet":
		return treeClass{family, true, kind == "TreeSet"}, true
	case "Bucket", "Set":
		return treeClass{family, false, kind == "Set"}, true
	}
	return treeClass{}, false
}

// treeNodes remembers the nodes of trees: which there are, and which are children.
type treeNodes struct{ dbs []*table[uint32] }

const (
	isNode uint32 = 1 << iota
	isChild
)

func newTreeNodes(n int) *treeNodes {
	t := &treeNodes{}
	for range n {
		t.dbs = append(t.dbs, newTable[uint32]())
	}
	return t
}

// note looks at a record, whatever it is of. What cannot be read is left to walk.
func (t *treeNodes) note(db int, oid zodb.OID, class pickle.Class, data []byte) {
	c, ok := treeClassOf(class)
	if !ok || !c.node {
		return
	}
	t.dbs[db].or(oid, isNode)
	n, err := readNode(data, c)
	if err != nil {
		return
	}
	for _, child := range n.children {
		t.dbs[db].or(child, isChild)
	}
}

// treeNode is the state of a node.
type treeNode struct {
	children []zodb.OID
	keys     []any // len(children)-1
	first    zodb.OID
	inline   *treeBucket // the only child
	empty    bool
}

// treeBucket is the state of a bucket or set.
type treeBucket struct {
	keys    []any
	next    zodb.OID
	hasNext bool
}

var errTreeState = errors.New("its state is none that BTrees writes")

func readNode(data []byte, c treeClass) (*treeNode, error) {
	_, state, err := pickle.DecodeRecord(data)
	if err != nil {
		return nil, err
	}
	if state == nil {
		return &treeNode{empty: true}, nil
	}
	outer, ok := state.(pickle.Tuple)
	if !ok || len(outer) == 0 || len(outer) > 2 {
		return nil, errTreeState
	}
	items, ok := outer[0].(pickle.Tuple)
	if !ok {
		return nil, errTreeState
	}
	if len(outer) == 1 {
		if len(items) != 1 {
			return nil, errTreeState
		}
		b, err := bucketState(items[0], c)
		return &treeNode{inline: b}, err
	}
	n := &treeNode{}
	if n.first, ok = refOID(outer[1]); !ok || len(items)%2 == 0 {
		return nil, errTreeState
	}
	for i, item := range items {
		if i%2 == 1 {
			n.keys = append(n.keys, item)
			continue
		}
		oid, ok := refOID(item)
		if !ok {
			return nil, errTreeState
		}
		n.children = append(n.children, oid)
	}
	return n, nil
}

func readBucket(data []byte, c treeClass) (*treeBucket, error) {
	_, state, err := pickle.DecodeRecord(data)
	if err != nil {
		return nil, err
	}
	return bucketState(state, c)
}

func bucketState(state any, c treeClass) (*treeBucket, error) {
	outer, ok := state.(pickle.Tuple)
	if !ok || len(outer) == 0 || len(outer) > 2 {
		return nil, errTreeState
	}
	b := &treeBucket{}
	if len(outer) == 2 {
		if b.next, b.hasNext = refOID(outer[1]); !b.hasNext {
			return nil, errTreeState
		}
	}
	if c.family == "fs" {
		b.keys, ok = fsKeys(outer[0], c.set)
		if !ok {
			return nil, errTreeState
		}
		return b, nil
	}
	items, ok := outer[0].(pickle.Tuple)
	switch {
	case !ok || (!c.set && len(items)%2 != 0):
		return nil, errTreeState
	case c.set:
		b.keys = items
		return b, nil
	}
	for i := 0; i < len(items); i += 2 {
		b.keys = append(b.keys, items[i])
	}
	return b, nil
}

// fsKeys reads the keys of a bucket of fsBTree, whose state may be one string: all
// keys of two bytes, and all values of six. (BTrees' _fsBTree.c.)
func fsKeys(v any, set bool) ([]any, bool) {
	if items, ok := v.(pickle.Tuple); ok {
		var keys []any
		step := 2
		if set {
			step = 1
		}
		for i := 0; i < len(items); i += step {
			keys = append(keys, items[i])
		}
		return keys, len(items)%step == 0
	}
	b, ok := pickle.Bytes(v)
	if !ok || set || len(b)%8 != 0 {
		return nil, false
	}
	keys := make([]any, len(b)/8)
	for i := range keys {
		keys[i] = b[2*i : 2*i+2]
	}
	return keys, true
}

func refOID(v any) (zodb.OID, bool) {
	r, ok := v.(*pickle.Ref)
	if !ok {
		return 0, false
	}
	t, err := r.Target()
	return t.OID, err == nil && t.Database == "" && t.Strength == pickle.Strong
}

// Trees checks every BTree that References came across: the order of keys, that they
// lie where the nodes above say, and that the chain of buckets leads through them all.
// Classes that derive from those of BTrees are not looked at. Keys whose order only
// their classes know are not compared.
//
// The databases may be written meanwhile: a tree that looks broken is walked again.
func (g *Graph) Trees(ctx context.Context) error {
	for db := range g.dbs {
		nodes := g.trees.dbs[db]
		g.report.hold(nodes.bytes())
		step := g.step("trees", db)
		w := startWorkers(ctx, func(root zodb.OID) error { return g.tree(ctx, place{db, root}) })
		done := int64(0)
		nodes.each(func(oid zodb.OID, flags uint32) bool {
			done++
			if done%1024 == 0 {
				step(done, int64(nodes.len()))
			}
			if flags&isNode == 0 || flags&isChild != 0 {
				return true
			}
			return w.give(oid)
		})
		if err := w.wait(nil); err != nil {
			return err
		}
	}
	return g.tell(ctx)
}

// treeRounds is how often a tree is walked while it is being changed.
const treeRounds = 3

// tree checks one tree. A broken one that changed while it was walked is walked again.
func (g *Graph) tree(ctx context.Context, root place) error {
	var w *treeWalk
	for range treeRounds {
		w = &treeWalk{Graph: g, ctx: ctx, root: root, seen: make(map[zodb.OID]zodb.TID)}
		if err := w.node(root.oid, bounds{}, 0); err != nil {
			return err
		}
		w.end()
		if len(w.problems) == 0 || !w.changed() {
			break
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.found = append(g.found, w.problems...)
	return nil
}

// maxTreeDepth is more than any tree has.
const maxTreeDepth = 100

// bounds are where the keys of a node or bucket lie: lo <= key < hi.
type bounds struct {
	lo, hi       any
	hasLo, hasHi bool
}

// treeWalk goes over a tree from left to right.
type treeWalk struct {
	*Graph
	ctx      context.Context
	root     place
	seen     map[zodb.OID]zodb.TID // objects of the tree, and who wrote them
	problems []*Problem

	leaf   zodb.OID // the last bucket
	bucket *treeBucket
	inline bool
	firsts []firstOf // nodes whose first bucket is the next one
}

// firstOf is a node that says which bucket is its first.
type firstOf struct{ node, bucket zodb.OID }

func (w *treeWalk) complain(kind Kind, oid zodb.OID, format string, args ...any) {
	at := place{w.root.db, oid}
	message := fmt.Sprintf(format, args...)
	if oid != w.root.oid {
		message += fmt.Sprintf(" (in the tree %v)", w.root.oid)
	}
	w.problems = append(w.problems, &Problem{
		Kind: kind, Database: w.dbs[at.db].Name, Object: w.object(at), TID: tidText(w.seen[oid]), Message: message, from: w.root,
	})
}

// changed reports whether an object of the tree has been written since it was seen.
func (w *treeWalk) changed() bool {
	for oid, tid := range w.seen {
		r, err := w.dbs[w.root.db].Source.Load(w.ctx, oid)
		if err != nil || r.TID != tid {
			return true
		}
	}
	return false
}

// load reads an object of the tree. It returns nil for what References has reported.
func (w *treeWalk) load(oid zodb.OID) (*Record, treeClass, error) {
	if _, twice := w.seen[oid]; twice {
		w.complain(KindTree, oid, "is there twice")
		return nil, treeClass{}, nil
	}
	r, err := w.dbs[w.root.db].Source.Load(w.ctx, oid)
	if err != nil {
		return nil, treeClass{}, w.ctx.Err()
	}
	w.seen[oid] = r.TID
	class, err := pickle.ClassOf(r.Data)
	if err != nil {
		return nil, treeClass{}, nil
	}
	c, ok := treeClassOf(class)
	if !ok {
		w.complain(KindTree, oid, "is no part of a BTree, and a node has it as its child")
		return nil, c, nil
	}
	return r, c, nil
}

func (w *treeWalk) node(oid zodb.OID, b bounds, depth int) error {
	r, c, err := w.load(oid)
	if err != nil || r == nil {
		return err
	}
	if !c.node {
		bucket, err := readBucket(r.Data, c)
		if err != nil {
			w.complain(KindTree, oid, "cannot be read as a bucket: %v", err)
			return nil
		}
		w.addBucket(oid, bucket, b)
		return nil
	}
	n, err := readNode(r.Data, c)
	switch {
	case err != nil:
		w.complain(KindTree, oid, "cannot be read as a node: %v", err)
		return nil
	case n.empty:
		if depth > 0 {
			w.complain(KindTree, oid, "is a node without children")
		}
		return nil
	case n.inline != nil:
		w.addInline(oid, n.inline, b, depth)
		return nil
	case depth >= maxTreeDepth:
		w.complain(KindTree, oid, "lies too deep")
		return nil
	}
	w.sorted(oid, n.keys, b, "divider")
	w.firsts = append(w.firsts, firstOf{oid, n.first})
	for i, child := range n.children {
		inner := b
		if i > 0 {
			inner.lo, inner.hasLo = n.keys[i-1], true
		}
		if i < len(n.keys) {
			inner.hi, inner.hasHi = n.keys[i], true
		}
		if err := w.node(child, inner, depth+1); err != nil {
			return err
		}
		if i > 0 {
			w.divides(oid, n.keys[i-1], child)
		}
	}
	return nil
}

// sorted checks the keys of a node or bucket.
func (w *treeWalk) sorted(oid zodb.OID, keys []any, b bounds, what string) {
	for i, k := range keys {
		if i > 0 {
			if c, ok := resolve.CompareKeys(keys[i-1], k); ok && c >= 0 {
				w.complain(KindTree, oid, "%s %d, %s, does not come after the one before it, %s", what, i, show(k), show(keys[i-1]))
			}
		}
		if c, ok := resolve.CompareKeys(b.lo, k); b.hasLo && ok && c > 0 {
			w.complain(KindTree, oid, "%s %d, %s, lies below %s, where a node above lets it begin: lookups miss it", what, i, show(k), show(b.lo))
		}
		if c, ok := resolve.CompareKeys(k, b.hi); b.hasHi && ok && c >= 0 {
			w.complain(KindTree, oid, "%s %d, %s, does not lie below %s, where a node above lets it end: lookups miss it", what, i, show(k), show(b.hi))
		}
	}
}

// show is a key for a message.
func show(key any) string {
	s := string(pickle.View{MaxBytes: 60, MaxDepth: 3}.AppendText(nil, key))
	if len(s) > 100 {
		s = s[:100] + "..."
	}
	return s
}

// divides compares a divider with the smallest key of the child behind it, if that is
// the bucket that has just been walked.
func (w *treeWalk) divides(node zodb.OID, key any, child zodb.OID) {
	if w.bucket == nil || w.leaf != child || len(w.bucket.keys) == 0 {
		return
	}
	if c, ok := resolve.CompareKeys(key, w.bucket.keys[0]); ok && c < 0 {
		p := len(w.problems)
		w.complain(KindSeparator, node, "the divider %s is not the smallest key of its child %v, which is %s: conflict resolution may put keys where lookups miss them", show(key), child, show(w.bucket.keys[0]))
		w.problems[p].Warning = true
	}
}

// addBucket checks a bucket, and the link that leads to it.
func (w *treeWalk) addBucket(oid zodb.OID, b *treeBucket, in bounds) {
	w.sorted(oid, b.keys, in, "key")
	if len(b.keys) == 0 {
		w.complain(KindTree, oid, "is an empty bucket")
	}
	for _, f := range w.firsts {
		if f.bucket != oid {
			w.complain(KindTree, f.node, "has %v as its first bucket, and its first child begins with %v", f.bucket, oid)
		}
	}
	w.firsts = w.firsts[:0]
	switch {
	case w.bucket == nil || w.inline:
	case !w.bucket.hasNext:
		w.complain(KindTree, w.leaf, "has no next bucket, and %v follows: iteration ends too early", oid)
	case w.bucket.next != oid:
		w.complain(KindTree, w.leaf, "has %v as its next bucket, and %v follows", w.bucket.next, oid)
	}
	w.leaf, w.bucket, w.inline = oid, b, false
}

// addInline checks a bucket that its node holds inside of itself, which only the root
// of a tree of one bucket may.
func (w *treeWalk) addInline(node zodb.OID, b *treeBucket, in bounds, depth int) {
	w.sorted(node, b.keys, in, "key")
	switch {
	case depth > 0 && w.bucket != nil && w.bucket.hasNext:
		w.complain(KindInlineBucket, node, "holds a bucket inside of itself that is kept by oid too, as %v, the next of %v: changes go to one of the two only", w.bucket.next, w.leaf)
	case depth > 0:
		w.complain(KindInlineBucket, node, "holds a bucket inside of itself, though it is not the root of its tree")
	case b.hasNext:
		w.complain(KindInlineBucket, node, "holds its only bucket inside of itself, and that has a next one, %v", b.next)
	}
	w.firsts = w.firsts[:0]
	w.leaf, w.bucket, w.inline = node, b, true
}

// end checks the last bucket.
func (w *treeWalk) end() {
	if w.bucket != nil && w.bucket.hasNext && !w.inline {
		w.complain(KindTree, w.leaf, "is the last bucket, and has %v as its next: iteration finds keys that lookups miss", w.bucket.next)
	}
}
