package check_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/check"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

func deflate(t *testing.T, record []byte) []byte {
	t.Helper()
	b := bytes.NewBufferString(".z")
	z := zlib.NewWriter(b)
	if _, err := z.Write(record); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// mark looks for garbage in storages, or in files.
func mark(t *testing.T, o check.GCOptions, dbs ...check.Database) (*check.Marks, error) {
	t.Helper()
	for _, d := range dbs {
		if f, ok := d.Source.(*check.File); ok {
			if err := f.Walk(t.Context(), &check.Report{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return check.Mark(t.Context(), dbs, o, &check.Report{})
}

func file(t *testing.T, path string) *check.File {
	t.Helper()
	f, err := check.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func garbage(t *testing.T, m *check.Marks, db int) []string {
	t.Helper()
	list := []string{}
	err := m.Each(t.Context(), db, func(g *check.Garbage) error {
		s := g.String()
		if g.Referrer != nil {
			s += " < " + g.Referrer.String()
		}
		list = append(list, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

var future = zodb.TIDAt(time.Now().Add(24 * time.Hour))

// TestGarbage marks two databases that refer to each other, as files and as storages.
func TestGarbage(t *testing.T) {
	a, b := build(t), build(t)
	a.put(
		object{oid: 0, class: folder, state: pickle.NewDict("b", elsewhere("b", 5), "weak", weak(9))},
		object{oid: 1, class: folder, state: pickle.NewDict("only b refers to it", ref(2, folder))},
		object{oid: 2, class: folder},
		object{oid: 7, class: folder, state: pickle.NewDict("a ring", ref(8, folder), "across", elsewhere("b", 6))},
		object{oid: 8, class: folder, state: pickle.NewDict("a ring", ref(7, folder))},
		object{oid: 9, class: folder},
		object{oid: 10, class: folder},
	)
	a.put(object{oid: 11, class: folder, state: pickle.NewDict("was", ref(12, folder))}, object{oid: 12, class: folder})
	cut := a.put(object{oid: 10, class: folder, state: pickle.NewDict("fresh", ref(13, folder))})
	a.put(object{oid: 13, class: folder})
	a.remove(11)
	b.put(
		object{oid: 0, class: folder},
		object{oid: 5, class: folder, state: pickle.NewDict("back", elsewhere("a", 1))},
		object{oid: 6, class: folder},
	)
	wantA := []string{"a:0x07 app.Folder < a:0x08", "a:0x08 app.Folder < a:0x07", "a:0x09 app.Folder", "a:0x0c app.Folder"}
	for name, dbs := range map[string][]check.Database{
		"files":    {{Name: "a", Source: file(t, a.path)}, {Name: "b", Source: file(t, b.path)}},
		"storages": {{Name: "a", Source: check.Storage{Storage: a.s}}, {Name: "b", Source: check.Storage{Storage: b.s}}},
	} {
		m, err := mark(t, check.GCOptions{Since: cut}, dbs...)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(wantA, garbage(t, m, 0)); d != "" {
			t.Errorf("%s: a: %s", name, d)
		}
		if d := cmp.Diff([]string{}, garbage(t, m, 1)); d != "" { // all of b is younger
			t.Errorf("%s: b: %s", name, d)
		}
		m, err = mark(t, check.GCOptions{Since: future}, dbs...)
		if err != nil {
			t.Fatal(err)
		}
		all := append(slices.Clone(wantA[:3]), "a:0x0a app.Folder", "a:0x0c app.Folder", "a:0x0d app.Folder < a:0x0a")
		if d := cmp.Diff(all, garbage(t, m, 0)); d != "" {
			t.Errorf("%s: a, all: %s", name, d)
		}
		if d := cmp.Diff([]string{"b:0x06 app.Folder < a:0x07"}, garbage(t, m, 1)); d != "" {
			t.Errorf("%s: b, all: %s", name, d)
		}
	}
}

// TestGarbageIsNotGuessed: what cannot be known is no garbage.
func TestGarbageIsNotGuessed(t *testing.T) {
	a := build(t)
	a.put(object{oid: 0, class: folder, state: pickle.NewDict("x", elsewhere("absent", 5))}, object{oid: 1, class: folder})
	if _, err := mark(t, check.GCOptions{Since: future}, check.Database{Name: "a", Source: file(t, a.path)}); err == nil {
		t.Error("a database that is not there might refer back")
	}
	m, err := mark(t, check.GCOptions{Since: future, Ignore: map[string]bool{"absent": true}}, check.Database{Name: "a", Source: file(t, a.path)})
	if err != nil || len(garbage(t, m, 0)) != 1 {
		t.Errorf("ignored: %v", err)
	}
	a.put(object{oid: 0, raw: []byte("no pickle")})
	if _, err := mark(t, check.GCOptions{Since: future}, check.Database{Source: file(t, a.path)}); err == nil {
		t.Error("a record that cannot be read might refer to anything")
	}
	empty := build(t)
	if _, err := mark(t, check.GCOptions{Since: future}, check.Database{Source: file(t, empty.path)}); err == nil {
		t.Error("a database without a root has no garbage")
	}
}

// TestOldRevisionsKeep: what an old revision refers to stays until a pack.
func TestOldRevisionsKeep(t *testing.T) {
	a := build(t)
	a.put(object{oid: 0, class: folder, state: pickle.NewDict("x", ref(1, folder))}, object{oid: 1, class: folder})
	a.put(object{oid: 0, class: folder, state: pickle.NewDict()})
	for _, source := range []check.Source{file(t, a.path), check.Storage{Storage: a.s}} {
		m, err := mark(t, check.GCOptions{Since: future}, check.Database{Source: source})
		if err != nil {
			t.Fatal(err)
		}
		if got := garbage(t, m, 0); len(got) != 0 {
			t.Errorf("garbage before the pack: %v", got)
		}
	}
	packer, _ := zodb.As[zodb.Packer](a.s)
	if err := packer.Pack(t.Context(), time.Now().Add(time.Hour), zodb.PackOptions{}); err != nil {
		t.Fatal(err)
	}
	m, err := mark(t, check.GCOptions{Since: future}, check.Database{Source: file(t, a.path)})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"0x01 app.Folder"}, garbage(t, m, 0)); d != "" {
		t.Error(d)
	}
}

// busy is a storage where something happens just before a transaction of the collector
// is finished: at a moment that no look at the transactions can cover.
type busy struct {
	zodb.Storage
	meanwhile func()
}

func (b *busy) As(target any) bool { return b.Storage.(zodb.Asser).As(target) }

func (b *busy) Begin(ctx context.Context, meta zodb.TxnMeta) (zodb.Txn, error) {
	txn, err := b.Storage.Begin(ctx, meta)
	return &busyTxn{txn, b}, err
}

type busyTxn struct {
	zodb.Txn
	busy *busy
}

func (t *busyTxn) As(target any) bool { return t.Txn.(zodb.Asser).As(target) }

func (t *busyTxn) Finish(ctx context.Context, committed func(zodb.TID)) (zodb.TID, error) {
	if do := t.busy.meanwhile; do != nil {
		t.busy.meanwhile = nil
		do()
	}
	return t.Txn.Finish(ctx, committed)
}

// TestSweepBesideWriters: objects that are written or referred to between the analysis
// and the deletion, or in the middle of it, are there at the end.
func TestSweepBesideWriters(t *testing.T) {
	a := build(t)
	blob := object{oid: 6, class: "ZODB.blob.Blob", blob: true}
	a.put(
		object{oid: 0, class: folder},
		object{oid: 1, class: folder},
		object{oid: 2, class: folder, state: "written meanwhile"},
		object{oid: 3, class: folder, state: "referred to before the batch"},
		object{oid: 4, class: folder, state: pickle.NewDict("in the middle of it", ref(5, folder), "blob", ref(6, "ZODB.blob.Blob"))},
		object{oid: 5, class: folder, state: "by way of that"},
		blob,
	)
	copied := file(t, a.path)
	m, err := mark(t, check.GCOptions{Since: future}, check.Database{Source: copied})
	if err != nil {
		t.Fatal(err)
	}
	a.put(object{oid: 2, class: folder, state: "again"})
	a.put(object{oid: 0, class: folder, state: pickle.NewDict("x", ref(3, folder))})
	b := &busy{Storage: a.s, meanwhile: func() {
		a.put(object{oid: 0, class: folder, state: pickle.NewDict("x", ref(3, folder), "y", ref(4, folder))})
	}}
	swept, err := m.Sweep(t.Context(), []zodb.Storage{b}, check.SweepOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]check.Swept{{Deleted: 1, Kept: 2, Revived: 3}}, swept); d != "" {
		t.Error(d)
	}
	for oid := range zodb.OID(7) {
		_, err := a.s.LoadBefore(t.Context(), oid, zodb.MaxTID)
		if (err != nil) != (oid == 1) {
			t.Errorf("object %v: %v", oid, err)
		}
	}
	a.close()
	if found := problems(t, map[string]string{"": a.path}, a.blobDir()); len(found) > 0 {
		t.Errorf("afterwards: %v", found)
	}
}
