package check_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

const (
	treeName   = "BTrees.IOBTree.IOBTree"
	bucketName = "BTrees.IOBTree.IOBucket"
)

func tuple(items ...any) pickle.Tuple { return items }

func bucket(next zodb.OID, keys ...int64) pickle.Tuple {
	var items pickle.Tuple
	for _, k := range keys {
		items = append(items, k, "v")
	}
	if next == 0 {
		return tuple(items)
	}
	return tuple(items, ref(next, bucketName))
}

// tree is a tree of two levels: 1 has the nodes 2 and 3, these the buckets 4 to 7.
func tree() map[zodb.OID]object {
	t := map[zodb.OID]object{
		0: {class: folder, state: pickle.NewDict("tree", ref(1, treeName))},
		1: {class: treeName, state: tuple(tuple(ref(2, treeName), int64(30), ref(3, treeName)), ref(4, bucketName))},
		2: {class: treeName, state: tuple(tuple(ref(4, bucketName), int64(20), ref(5, bucketName)), ref(4, bucketName))},
		3: {class: treeName, state: tuple(tuple(ref(6, bucketName), int64(40), ref(7, bucketName)), ref(6, bucketName))},
		4: {class: bucketName, state: bucket(5, 10, 11)},
		5: {class: bucketName, state: bucket(6, 20, 21)},
		6: {class: bucketName, state: bucket(7, 30, 31)},
		7: {class: bucketName, state: bucket(0, 40, 41)},
	}
	return t
}

// TestTrees breaks the tree in one way after the other.
func TestTrees(t *testing.T) {
	node := func(oid, first zodb.OID, items ...any) object {
		return object{class: treeName, state: tuple(tuple(items...), ref(first, bucketName))}
	}
	for _, c := range []struct {
		name   string
		damage map[zodb.OID]object
		want   []string
	}{
		{"healthy", nil, []string{}},
		{"keys out of order", map[zodb.OID]object{5: {class: bucketName, state: bucket(6, 21, 20)}},
			[]string{"btree of 0x05 BTrees.IOBTree.IOBucket by 0x00 0x01", "warning btree-divider of 0x02 BTrees.IOBTree.IOBTree by 0x00 0x01"}},
		{"key twice", map[zodb.OID]object{5: {class: bucketName, state: bucket(6, 20, 20)}},
			[]string{"btree of 0x05 BTrees.IOBTree.IOBucket by 0x00 0x01"}},
		{"key below", map[zodb.OID]object{6: {class: bucketName, state: bucket(7, 29, 31)}},
			[]string{"btree of 0x06 BTrees.IOBTree.IOBucket by 0x00 0x01"}},
		{"key above", map[zodb.OID]object{5: {class: bucketName, state: bucket(6, 20, 35)}},
			[]string{"btree of 0x05 BTrees.IOBTree.IOBucket by 0x00 0x01"}},
		{"divider too small", map[zodb.OID]object{3: node(3, 6, ref(6, bucketName), int64(35), ref(7, bucketName))},
			[]string{"warning btree-divider of 0x03 BTrees.IOBTree.IOBTree by 0x00 0x01"}},
		{"next goes past one", map[zodb.OID]object{5: {class: bucketName, state: bucket(7, 20, 21)}},
			[]string{"btree of 0x05 BTrees.IOBTree.IOBucket by 0x00 0x01"}},
		{"no next", map[zodb.OID]object{5: {class: bucketName, state: bucket(0, 20, 21)}},
			[]string{"btree of 0x05 BTrees.IOBTree.IOBucket by 0x00 0x01"}},
		{"next at the end", map[zodb.OID]object{7: {class: bucketName, state: bucket(4, 40, 41)}},
			[]string{"btree of 0x07 BTrees.IOBTree.IOBucket by 0x00 0x01"}},
		{"first bucket", map[zodb.OID]object{1: node(1, 5, ref(2, treeName), int64(30), ref(3, treeName))},
			[]string{"btree of 0x01 BTrees.IOBTree.IOBTree by 0x00 0x01"}},
		{"empty bucket", map[zodb.OID]object{5: {class: bucketName, state: bucket(6)}},
			[]string{"btree of 0x05 BTrees.IOBTree.IOBucket by 0x00 0x01"}},
		{"a child that is none", map[zodb.OID]object{5: {class: folder}},
			[]string{"btree of 0x04 BTrees.IOBTree.IOBucket by 0x00 0x01", "btree of 0x05 app.Folder by 0x00 0x01",
				"warning class of 0x02 BTrees.IOBTree.IOBTree to 0x05 BTrees.IOBTree.IOBucket found app.Folder by 0x00 0x01 0x02",
				"warning class of 0x04 BTrees.IOBTree.IOBucket to 0x05 BTrees.IOBTree.IOBucket found app.Folder by 0x00 0x01 0x04"}},
		{"a circle", map[zodb.OID]object{3: node(3, 6, ref(6, bucketName), int64(40), ref(2, treeName))},
			[]string{"btree of 0x02 BTrees.IOBTree.IOBTree by 0x00 0x01", "btree of 0x06 BTrees.IOBTree.IOBucket by 0x00 0x01"}},
		{"no state of a node", map[zodb.OID]object{2: {class: treeName, state: "x"}},
			[]string{"btree of 0x01 BTrees.IOBTree.IOBTree by 0x00 0x01", "btree of 0x02 BTrees.IOBTree.IOBTree by 0x00 0x01"}},
		{"a bucket inline and by oid", map[zodb.OID]object{
			1: node(1, 4, ref(2, treeName), int64(30), ref(3, treeName)),
			3: {class: treeName, state: tuple(tuple(bucket(0, 30, 31)))}},
			[]string{"btree-inline of 0x03 BTrees.IOBTree.IOBTree by 0x00 0x01"}},
		{"an inline bucket with a next", map[zodb.OID]object{1: {class: treeName, state: tuple(tuple(bucket(5, 30, 31)))}},
			[]string{"btree-inline of 0x01 BTrees.IOBTree.IOBTree by 0x00 0x01"}},
		{"a small tree", map[zodb.OID]object{1: {class: treeName, state: tuple(tuple(bucket(0, 30, 31)))}}, []string{}},
		{"an empty tree", map[zodb.OID]object{1: {class: treeName}}, []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := build(t)
			var all []object
			for oid, o := range tree() {
				if d, ok := c.damage[oid]; ok {
					o = d
				}
				o.oid = oid
				all = append(all, o)
			}
			b.put(all...)
			b.close()
			got := briefs(problems(t, map[string]string{"": b.path}, ""))
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}
