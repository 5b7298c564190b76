package resolve

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// fakePending is a transaction over records that stand in maps. Serial 1 is what it has
// read, 2 what is current.
type fakePending struct {
	revisions map[zodb.OID][3][]byte
	checks    []zodb.OID
	writes    map[zodb.OID][]byte // of objects that have a revision 1, or are new
	locked    []zodb.OID
}

func (f *fakePending) Check(oid zodb.OID) (zodb.TID, bool) { return 1, slices.Contains(f.checks, oid) }

func (f *fakePending) Written() (all []zodb.OID) {
	for oid := range f.writes {
		all = append(all, oid)
	}
	return all
}

func (f *fakePending) Write(oid zodb.OID) (base zodb.TID, data []byte, ok bool) {
	data, ok = f.writes[oid]
	if f.revisions[oid][1] != nil {
		base = 1
	}
	return base, data, ok
}

func (f *fakePending) Revision(oid zodb.OID, serial zodb.TID) ([]byte, error) {
	if data := f.revisions[oid][serial]; data != nil {
		return data, nil
	}
	return nil, &zodb.NoObjectError{OID: oid}
}

func (f *fakePending) Current(oid zodb.OID) ([]byte, error) {
	if slices.Contains(f.locked, oid) {
		return nil, errors.New("locked")
	}
	for _, serial := range []zodb.TID{2, 1} {
		if data, err := f.Revision(oid, serial); err == nil {
			return data, nil
		}
	}
	return nil, &zodb.NoObjectError{OID: oid}
}

func refTo(oid zodb.OID, class string) *pickle.Ref {
	id := binary.BigEndian.AppendUint64(nil, uint64(oid))
	return &pickle.Ref{ID: pickle.Tuple{id, &pickle.Global{Module: "BTrees.OOBTree", Name: class}}}
}

// nodeOf makes the record of a node: children and keys in turn. Children from 100 on are
// nodes. first is the first bucket.
func nodeOf(t testing.TB, class string, first zodb.OID, items ...any) []byte {
	t.Helper()
	state := make(pickle.Tuple, len(items))
	for i, item := range items {
		state[i] = item
		if oid, ok := item.(int); ok && oid < 100 {
			state[i] = refTo(zodb.OID(oid), "OOBucket")
		} else if ok {
			state[i] = refTo(zodb.OID(oid), "OOBTree")
		}
	}
	return record(t, "BTrees.OOBTree", class, pickle.Tuple{state, refTo(first, "OOBucket")})
}

func tree(t testing.TB, items ...any) []byte {
	t.Helper()
	first := 1
	if n := items[0].(int); n < 100 {
		first = n
	}
	return nodeOf(t, "OOBTree", zodb.OID(first), items...)
}

func bucketWith(t testing.TB, keys ...any) []byte {
	t.Helper()
	items := pickle.Tuple{}
	for _, k := range keys {
		items = append(items, k, 7)
	}
	return record(t, "BTrees.OOBTree", "OOBucket", pickle.Tuple{items})
}

func forTxn(f *fakePending) TxnMerger { return New(Options{MergeSplits: true}).ForTxn(f) }

// TestPasses: the change of a node passes where the way to what is written is the same,
// and each condition is told from its absence.
func TestPasses(t *testing.T) {
	const root, left, right, extra = 200, 101, 102, 103
	split := func() *fakePending {
		return &fakePending{
			revisions: map[zodb.OID][3][]byte{
				root: {1: tree(t, 1, "g", 2, "p", 3), 2: tree(t, 1, "g", 2, "p", 3, "t", 4)},
				2:    {1: bucketWith(t, "g", "h")},
				3:    {1: bucketWith(t, "p", "t")},
			},
			checks: []zodb.OID{root},
			writes: map[zodb.OID][]byte{2: bucketWith(t, "g", "h", "i")},
		}
	}
	now := func(data []byte) func(*fakePending) {
		return func(f *fakePending) { f.revisions[root] = [3][]byte{1: f.revisions[root][1], 2: data} }
	}
	deep := func(f *fakePending) { // two levels: right is split, the transaction writes below left
		f.revisions[root] = [3][]byte{1: tree(t, left, "m", right), 2: tree(t, left, "m", right, "t", extra)}
		f.revisions[left] = [3][]byte{1: tree(t, 1, "c", 2)}
		f.checks = []zodb.OID{root, left}
		f.writes = map[zodb.OID][]byte{2: bucketWith(t, "d")}
	}
	for _, c := range []struct {
		name   string
		change func(*fakePending)
		passes bool
	}{
		{"a bucket elsewhere was split", func(*fakePending) {}, true},
		{"a bucket elsewhere has gone", now(tree(t, 1, "g", 2, "p", 4)), true},
		{"the root was split", func(f *fakePending) {
			now(tree(t, left, "p", right))(f)
			f.revisions[left] = [3][]byte{2: tree(t, 1, "g", 2)}
		}, true},
		{"the new node is locked", func(f *fakePending) {
			now(tree(t, left, "p", right))(f)
			f.revisions[left] = [3][]byte{2: tree(t, 1, "g", 2)}
			f.locked = []zodb.OID{left}
		}, false},
		{"a node elsewhere was split", deep, true},
		{"a node on the way is not checked", func(f *fakePending) { deep(f); f.checks = []zodb.OID{root} }, false},
		{"its bucket was split", now(tree(t, 1, "g", 2, "h", 4, "p", 3)), false},
		{"its bucket has gone", now(tree(t, 1, "p", 3)), false},
		{"its low end moved", now(tree(t, 1, "h", 2, "p", 3)), false},
		{"its high end moved", now(tree(t, 1, "g", 2, "o", 3)), false},
		{"its high end went", now(tree(t, 1, "g", 2)), false},
		{"the same bytes were written", now(tree(t, 1, "g", 2, "p", 3)), false},
		{"the tree was cleared", now(record(t, "BTrees.OOBTree", "OOBTree", nil)), false},
		{"there is another class now", now(nodeOf(t, "OOTreeSet", 1, 1, "g", 2, "p", 3)), false},
		{"a class of the application", func(f *fakePending) {
			before := record(t, "app", "Tree", pickle.Tuple{pickle.Tuple{refTo(1, "OOBucket"), "g", refTo(2, "OOBucket")}, refTo(1, "OOBucket")})
			f.revisions[root] = [3][]byte{1: before, 2: f.revisions[root][2]}
		}, false},
		{"nothing is written below", func(f *fakePending) { f.writes = map[zodb.OID][]byte{9: bucketWith(t, "x")} }, false},
		{"the old revision is packed away", func(f *fakePending) { f.revisions[root] = [3][]byte{2: f.revisions[root][2]} }, false},
		{"keys whose order is not certain", func(f *fakePending) {
			key := &pickle.Object{Class: &pickle.Global{Module: "app", Name: "Key"}, Making: pickle.Reduce}
			f.revisions[root] = [3][]byte{1: tree(t, 1, key, 2), 2: tree(t, 1, key, 2, "p", 3)}
		}, false},
		{"it writes the node too", func(f *fakePending) { f.writes[root] = tree(t, 1, "g", 2, "i", 5, "p", 3) }, false},
		{"it splits a node below", func(f *fakePending) {
			deep(f)
			f.writes[left], f.writes[9] = tree(t, 1, "c", 2, "d", 9), bucketWith(t, "d")
		}, true},
		{"it drops a bucket below", func(f *fakePending) { deep(f); f.writes[left] = tree(t, 2) }, false},
		{"it moves a key below", func(f *fakePending) { deep(f); f.writes[left] = tree(t, 1, "d", 2) }, false},
		{"it has an old bucket below as a new one", func(f *fakePending) {
			deep(f)
			f.revisions[9] = [3][]byte{1: bucketWith(t, "e")}
			f.writes[left], f.writes[9] = tree(t, 1, "c", 2, "e", 9), bucketWith(t, "e")
		}, false},
		{"it saw no tree", func(f *fakePending) {
			f.revisions[root] = [3][]byte{1: tree(t, left, "m", right), 2: tree(t, left, "m", right, "t", extra)}
			f.revisions[left] = [3][]byte{1: tree(t, left, "c", left)}
			f.checks = []zodb.OID{root, left}
		}, false},
		{"it makes a node above nodes", func(f *fakePending) { f.writes[300] = tree(t, left, "x", right) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := split()
			c.change(f)
			if got := forTxn(f).Passes(root); got != c.passes {
				t.Errorf("passes: %v", got)
			}
		})
	}
}

// TestMergeNodes: two splits below one node merge, anything else does not.
func TestMergeNodes(t *testing.T) {
	base, theirs := []any{1, "g", 2, "p", 3}, []any{1, "c", 4, "g", 2, "p", 3}
	for _, c := range []struct {
		name                string
		base, theirs, ours  []any
		want                []any
		firsts              [3]zodb.OID
		existing, alsoWrite zodb.OID
	}{
		{name: "different buckets", ours: []any{1, "g", 2, "p", 3, "t", 8}, want: []any{1, "c", 4, "g", 2, "p", 3, "t", 8}},
		{name: "one twice", ours: []any{1, "g", 2, "h", 8, "i", 9, "p", 3}, want: []any{1, "c", 4, "g", 2, "h", 8, "i", 9, "p", 3}},
		{name: "the same bucket", ours: []any{1, "d", 8, "g", 2, "p", 3}},
		{name: "one has dropped a bucket", ours: []any{1, "p", 3, "t", 8}},
		{name: "the other has", theirs: []any{1, "g", 2}, ours: []any{1, "g", 2, "p", 3, "t", 8}},
		{name: "one has moved a key", ours: []any{1, "h", 2, "p", 3, "t", 8}},
		{name: "a first bucket before all", ours: []any{8, "a", 1, "g", 2, "p", 3}},
		{name: "another first bucket", ours: []any{1, "g", 2, "p", 3, "t", 8}, firsts: [3]zodb.OID{1, 1, 2}},
		{name: "another first bucket there", ours: []any{1, "g", 2, "p", 3, "t", 8}, firsts: [3]zodb.OID{1, 2, 1}},
		{name: "keys out of order", ours: []any{1, "g", 2, "z", 8, "p", 3}},
		{name: "a child twice", ours: []any{1, "g", 2, "p", 3, "t", 4}},
		{name: "an old bucket as a new one", ours: []any{1, "g", 2, "p", 3, "t", 8}, existing: 8},
		{name: "nodes above nodes", base: []any{101, "g", 102}, theirs: []any{101, "c", 103, "g", 102}, ours: []any{101, "g", 102, "t", 104}},
		{name: "it makes a node above nodes", ours: []any{1, "g", 2, "p", 3, "t", 8}, alsoWrite: 300},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.base == nil {
				c.base = base
			}
			if c.theirs == nil {
				c.theirs = theirs
			}
			if c.firsts == ([3]zodb.OID{}) {
				c.firsts = [3]zodb.OID{1, 1, 1}
			}
			f := &fakePending{revisions: make(map[zodb.OID][3][]byte), writes: make(map[zodb.OID][]byte)}
			for _, oid := range []zodb.OID{4, 8, 9} {
				f.writes[oid] = bucketWith(t, "x")
			}
			if c.existing != 0 {
				f.revisions[c.existing] = [3][]byte{1: bucketWith(t, "x")}
			}
			if c.alsoWrite != 0 {
				f.writes[c.alsoWrite] = tree(t, 101, "x", 102)
			}
			got, ok := forTxn(f).Merge(
				nodeOf(t, "OOBTree", c.firsts[0], c.base...), nodeOf(t, "OOBTree", c.firsts[1], c.theirs...), nodeOf(t, "OOBTree", c.firsts[2], c.ours...))
			if ok != (c.want != nil) || ok && !bytes.Equal(got, tree(t, c.want...)) {
				t.Errorf("merged: %v, %q", ok, got)
			}
		})
	}
}

// TestSplitsAreAnOption: without it, or where clients merge, nothing passes.
func TestSplitsAreAnOption(t *testing.T) {
	for _, o := range []Options{{}, {MergeSplits: true, LeaveToClients: true}} {
		if New(o).ForTxn(&fakePending{}) != nil {
			t.Errorf("%+v: something would merge", o)
		}
	}
}

// FuzzSplits gives foreign records to what is let through: whatever they are, it ends, and
// what it merges is a node.
func FuzzSplits(f *testing.F) {
	f.Add(tree(f, 1, "g", 2, "p", 3), tree(f, 1, "g", 2, "p", 3, "t", 4), tree(f, 1, "g", 2, "i", 5, "p", 3), bucketWith(f, "g"))
	f.Add(tree(f, 101, "g", 101), tree(f, 101, "g", 102), tree(f, 101, "g", 2), tree(f, 200, "g", 200))
	f.Add(zipped(tree(f, 1, "g", 2)), tree(f, 1), tree(f, 1, "g", 2), zipped(bucketWith(f, "h")))
	f.Fuzz(func(t *testing.T, base, committed, wanted, written []byte) {
		p := &fakePending{
			revisions: map[zodb.OID][3][]byte{200: {1: base, 2: committed}, 101: {1: base, 2: wanted}, 2: {1: written}},
			checks:    []zodb.OID{200, 101},
			writes:    map[zodb.OID][]byte{2: written, 4: wanted, 5: written},
		}
		m := forTxn(p)
		m.Passes(200)
		merged, ok := m.Merge(base, committed, wanted)
		if !ok {
			return
		}
		if _, err := readNode(merged); err != nil {
			t.Fatalf("merged to what is no node: %v", err)
		}
	})
}
