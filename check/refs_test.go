package check_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// TestPlantedReferences plants everything that can be wrong with a reference, and
// what looks like it and is not.
func TestPlantedReferences(t *testing.T) {
	b := build(t)
	b.put(
		object{oid: 0, class: folder, state: pickle.NewDict("a", ref(1, folder), "b", ref(2, folder))},
		object{oid: 1, class: folder, state: pickle.NewDict("gone", ref(99, "app.Gone"), "again", ref(99, "app.Gone"), "weak", weak(98))},
		object{oid: 2, class: folder, state: pickle.NewDict("c", ref(3, folder), "bare", ref(97, ""))},
		object{oid: 3, class: folder, state: pickle.NewDict("deleted", ref(4, folder), "other", ref(5, "app.Page"))},
		object{oid: 4, class: folder},
		object{oid: 5, class: "app.Document", state: pickle.NewDict("up", ref(3, folder), "broken", ref(6, "app.Broken"))},
		object{oid: 6, raw: []byte("no pickle")},
		object{oid: 50, class: folder, state: pickle.NewDict("gone", ref(96, folder), "elsewhere", elsewhere("other", 1))},
	)
	b.remove(4)
	b.close()
	want := []string{
		"deleted of 0x03 app.Folder to 0x04 app.Folder by 0x00 0x02 0x03",
		"missing of 0x01 app.Folder to 0x63 app.Gone by 0x00 0x01",
		"missing of 0x02 app.Folder to 0x61 by 0x00 0x02",
		"unreadable of 0x06 by 0x00 0x02 0x03 0x05 0x06",
		"warning class of 0x03 app.Folder to 0x05 app.Page found app.Document by 0x00 0x02 0x03",
		"warning missing of 0x32 app.Folder to 0x60 app.Folder",
		"warning no-database to other:0x00",
	}
	want[6] = "warning no-database to other:"
	if d := cmp.Diff(want, briefs(problems(t, map[string]string{"": b.path}, ""))); d != "" {
		t.Error(d)
	}
}

// TestPlantedAcross plants references between databases.
func TestPlantedAcross(t *testing.T) {
	a, b := build(t), build(t)
	a.put(
		object{oid: 0, class: folder, state: pickle.NewDict("good", elsewhere("b", 7), "bad", elsewhere("b", 8), "none", elsewhere("c", 1))},
	)
	b.put(
		object{oid: 0, class: folder, state: pickle.NewDict()},
		object{oid: 7, class: folder, state: pickle.NewDict("back", elsewhere("a", 0), "own", elsewhere("b", 0), "gone", ref(9, folder))},
	)
	a.close()
	b.close()
	want := []string{
		"missing of a:0x00 app.Folder to b:0x08 by 0x00",
		"missing of b:0x07 app.Folder to b:0x09 app.Folder by 0x00 0x07",
		"no-database of a:0x00 app.Folder to c:0x01 by 0x00",
	}
	if d := cmp.Diff(want, briefs(problems(t, map[string]string{"a": a.path, "b": b.path}, ""))); d != "" {
		t.Error(d)
	}
}

// TestNoRoot: without a root nothing can be reached, and nothing is excused for it.
func TestNoRoot(t *testing.T) {
	b := build(t)
	b.put(object{oid: 1, class: folder, state: ref(2, folder)})
	b.close()
	want := []string{"missing of 0x01 app.Folder to 0x02 app.Folder", "no-root"}
	if d := cmp.Diff(want, briefs(problems(t, map[string]string{"": b.path}, ""))); d != "" {
		t.Error(d)
	}
}

// TestManyOIDs has oids far apart.
func TestManyOIDs(t *testing.T) {
	b := build(t)
	list := pickle.NewList()
	objects := []object{{oid: 0, class: folder, state: list}}
	for i := range 1000 {
		oid := zodb.OID(i) * 0x1234567891
		list.Items = append(list.Items, ref(oid, folder))
		if i > 0 && i != 500 {
			objects = append(objects, object{oid: oid, class: folder})
		}
	}
	b.put(objects...)
	b.close()
	want := []string{"missing of 0x00 app.Folder to " + (zodb.OID(500) * 0x1234567891).String() + " app.Folder by 0x00"}
	if d := cmp.Diff(want, briefs(problems(t, map[string]string{"": b.path}, ""))); d != "" {
		t.Error(d)
	}
}
