package blobs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zodb"
)

// The power fails at each operation of opening a directory and placing blobs in
// it. What is found afterwards, by any of a few chances, is every blob whose
// Place has returned, and no blob that is not whole.
func TestPowerLoss(t *testing.T) {
	ids := []ID{{1, 10}, {1, 11}, {0x1234, 11}, {2, 12}}
	for _, mode := range []vfs.CrashMode{vfs.Worst, vfs.Ordered} {
		for how, place := range map[string]func(vfs.FS, []ID) (map[ID]bool, error){"one by one": placeEach, "together": placeTogether} {
			done := false
			for cut := 1; !done; cut++ {
				fs := vfs.Crash(nil, mode, 1)
				fs.CutPowerAt(cut)
				placed, err := place(fs, ids)
				if done = err == nil; !done && !errors.Is(err, vfs.ErrPowerLost) {
					t.Fatalf("cut at %d: %v", cut, err)
				}
				for seed := range uint64(4) {
					checkAfterCrash(t, fs.CrashClone(seed), placed, fmt.Sprintf("%s, mode %d, cut at %d, seed %d", how, mode, cut, seed))
				}
			}
		}
	}
}

// placeTogether places the blobs in two steps.
func placeTogether(fs vfs.FS, ids []ID) (placed map[ID]bool, err error) {
	placed = make(map[ID]bool)
	d, err := Open(fs, "db/blobs", "")
	if err != nil {
		return placed, err
	}
	temp, err := d.TempDir()
	if err != nil {
		return placed, err
	}
	for _, part := range [][]ID{ids[:1], ids[1:]} {
		var list []Staged
		for _, id := range part {
			s := Staged{filepath.Join(temp, fmt.Sprint(id.OID, id.TID)), id}
			if err := writeFile(fs, s.Path, content(id)); err != nil {
				return placed, err
			}
			list = append(list, s)
		}
		if err := d.PlaceAll(list); err != nil {
			return placed, err
		}
		for _, id := range part {
			placed[id] = true
		}
	}
	return placed, nil
}

func content(id ID) string { return strings.Repeat(fmt.Sprintf("%v %v\n", id.OID, id.TID), 200) }

func placeEach(fs vfs.FS, ids []ID) (placed map[ID]bool, err error) {
	placed = make(map[ID]bool)
	d, err := Open(fs, "db/blobs", "")
	if err != nil {
		return placed, err
	}
	for _, id := range ids {
		temp, err := d.TempDir()
		if err != nil {
			return placed, err
		}
		src := filepath.Join(temp, "stage")
		if err := writeFile(fs, src, content(id)); err != nil {
			return placed, err
		}
		if err := d.Place(src, id.OID, id.TID); err != nil {
			return placed, err
		}
		placed[id] = true
	}
	return placed, nil
}

func writeFile(fs vfs.FS, name, content string) error {
	f, err := fs.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(content))
	return errors.Join(err, f.Close())
}

func checkAfterCrash(t *testing.T, fs vfs.FS, placed map[ID]bool, when string) {
	t.Helper()
	d, err := Open(fs, "db/blobs", "")
	if err != nil || d.Layout() != Bushy {
		t.Fatalf("%s: opening again: %v, layout %v", when, err, d)
	}
	found := make(map[ID]bool)
	for id, err := range d.All() {
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		found[id] = true
		if got := read(t, fs, d.Path(id.OID, id.TID)); got != content(id) {
			t.Errorf("%s: blob %v is not whole: %d bytes of %d", when, id, len(got), len(content(id)))
		}
		info, err := fs.Stat(d.Path(id.OID, id.TID))
		if err != nil || info.Mode().Perm()&0o222 != 0 {
			t.Errorf("%s: blob %v can be written: %v, %v", when, id, info.Mode(), err)
		}
	}
	for id := range placed {
		if !found[id] {
			t.Errorf("%s: blob %v is lost", when, id)
		}
	}
}

func read(t *testing.T, fs vfs.FS, name string) string {
	t.Helper()
	f, err := fs.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// A disk that fills up while a blob is copied from another file system leaves the
// blob where it was.
func TestNoSpace(t *testing.T) {
	fs := vfs.Mem()
	d, err := Open(fs, "blobs", "")
	must(t, err)
	src := "elsewhere"
	must(t, writeFile(fs, src, strings.Repeat("x", 10_000)))
	fs.SetCapacity(fs.Used() + 100)
	r := &recorder{FS: fs, root: ".", deny: crossDevice(src)}
	d.fs = r
	if err := d.Place(src, 1, zodb.TID(1)); err == nil {
		t.Fatal("a blob was copied to a full disk")
	}
	if got := read(t, fs, src); len(got) != 10_000 {
		t.Errorf("%d bytes of the source are left", len(got))
	}
	if _, err := d.Load(1, 1); err == nil {
		t.Error("half a blob is in place")
	}
	fs.SetCapacity(-1)
	must(t, d.Place(src, 1, 1))
}
