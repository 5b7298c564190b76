package check_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/check"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

func TestBlobs(t *testing.T) {
	b := build(t)
	blob := object{oid: 1, class: "ZODB.blob.Blob", blob: true}
	b.put(object{oid: 0, class: folder, state: ref(1, "ZODB.blob.Blob")}, blob)
	first := b.serials[1]
	b.put(blob)
	last := b.serials[1]
	r := &check.Report{Found: func(p *check.Problem) { t.Errorf("a false alarm: %v", p) }}
	if n, ok, err := (check.Storage{Storage: b.s}).Blobs(t.Context(), "", r); n != 1 || !ok || err != nil {
		t.Errorf("blobs of the storage: %d %v %v", n, ok, err)
	}
	b.close()
	if found := problems(t, map[string]string{"": b.path}, b.blobDir()); len(found) > 0 {
		t.Fatalf("false alarms: %v", found)
	}
	file := func(oid zodb.OID, tid zodb.TID) string {
		return filepath.Join(b.blobDir(), "0x00/0x00/0x00/0x00/0x00/0x00/0x00/"+oid.String(), "0x0"+tid.String()[1:]+".blob")
	}
	move := func(from, to string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(file(1, first), file(9, first))
	if err := os.Remove(file(1, last)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(file(1, last), 0o700); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"blob-missing of 0x01 ZODB.blob.Blob",
		"blob-missing of 0x01 ZODB.blob.Blob",
		"warning blob-stray of 0x09",
	}
	if d := cmp.Diff(want, briefs(problems(t, map[string]string{"": b.path}, b.blobDir()))); d != "" {
		t.Error(d)
	}
	if err := os.Remove(file(1, last)); err != nil { // the folder in its place
		t.Fatal(err)
	}
	b.open()
	var found []*check.Problem
	r = &check.Report{Found: func(p *check.Problem) { found = append(found, p) }}
	if _, _, err := (check.Storage{Storage: b.s}).Blobs(t.Context(), "", r); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want[:1], briefs(found)); d != "" {
		t.Error(d)
	}
}

func TestIndex(t *testing.T) {
	b := structure(t)
	index := b.path + ".index"
	good, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	walk := func() []*check.Problem {
		var found []*check.Problem
		for _, p := range problems(t, map[string]string{"": b.path}, "") {
			if p.Kind == check.KindIndex {
				found = append(found, p)
			}
		}
		return found
	}
	// The last six bytes before the end of the bucket are a position.
	wrong := append([]byte(nil), good...)
	for i := len(wrong) - 1; i > 0; i-- {
		if wrong[i] > 4 && wrong[i-1] == 0 && wrong[i-2] == 0 {
			wrong[i]--
			break
		}
	}
	if err := os.WriteFile(index, wrong, 0o600); err != nil {
		t.Fatal(err)
	}
	if found := walk(); len(found) != 1 || found[0].Warning {
		t.Errorf("a wrong position: %v", found)
	}
	if err := os.WriteFile(index, good[:len(good)-9], 0o600); err != nil {
		t.Fatal(err)
	}
	if found := walk(); len(found) != 1 || !found[0].Warning {
		t.Errorf("half an index: %v", found)
	}
	if err := os.WriteFile(index, good, 0o600); err != nil {
		t.Fatal(err)
	}
	short, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	b.open()
	b.put(object{oid: 7, class: folder}, object{oid: 2, class: folder})
	if found := walk(); len(found) != 0 { // the index is older than the file
		t.Errorf("an old index: %v", found)
	}
	b.close()
	if err := os.WriteFile(b.path, short, 0o600); err != nil {
		t.Fatal(err)
	}
	if found := walk(); len(found) != 1 || !found[0].Warning {
		t.Errorf("the index of a longer file, which nobody will use: %v", found)
	}
}

// TestCompressed: records that zc.zlibstorage compressed are read as what they were.
func TestCompressed(t *testing.T) {
	for _, bad := range []string{".z", ".zrubbish"} {
		if out, err := check.Plain([]byte(bad)); err == nil {
			t.Errorf("%q is %q", bad, out)
		}
	}
	b := build(t)
	record, err := pickle.EncodeRecord(class(folder), pickle.NewDict("gone", ref(9, folder), "text", string(make([]byte, 1000))))
	if err != nil {
		t.Fatal(err)
	}
	b.put(object{oid: 0, raw: deflate(t, record)})
	b.close()
	want := []string{"missing of 0x00 app.Folder to 0x09 app.Folder by 0x00"}
	if d := cmp.Diff(want, briefs(problems(t, map[string]string{"": b.path}, ""))); d != "" {
		t.Error(d)
	}
}
