package blobs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zodb"
)

// A Finder finds what Load finds.
func TestFinder(t *testing.T) {
	for _, layout := range []string{Bushy, Lawn} {
		d, err := Open(vfs.OS(), filepath.Join(t.TempDir(), "blobs"), layout)
		if err != nil {
			t.Fatal(err)
		}
		var list []Staged
		temp, err := d.TempDir()
		if err != nil {
			t.Fatal(err)
		}
		for i, id := range []ID{{0, 5}, {1, 5}, {1, 7}, {255, 5}, {256, 6}, {0x0102030405060708, 5}, {0xffff0000000000ff, 9}} {
			s := Staged{filepath.Join(temp, string(rune('a'+i))), id}
			if err := os.WriteFile(s.Path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			list = append(list, s)
		}
		if err := d.PlaceAll(list); err != nil {
			t.Fatal(err)
		}
		f, found := d.Finder(), 0
		for _, oid := range []zodb.OID{0, 1, 2, 63, 64, 254, 255, 256, 257, 1 << 32, 0x0102030405060708, 0x0102030405060709, 0xffff0000000000ff} {
			for tid := zodb.TID(4); tid < 10; tid++ {
				want, err := d.Load(oid, tid)
				if _, missing := errors.AsType[*zodb.NoObjectError](err); err != nil && !missing {
					t.Fatal(err)
				}
				got, err := f.Find(oid, tid)
				if err != nil || got != want {
					t.Errorf("%s: Find(%v, %v) = %q, %v; want %q", layout, oid, tid, got, err, want)
				}
				if got != "" {
					found++
				}
			}
		}
		if found != len(list) {
			t.Errorf("%s: %d of %d blobs are found", layout, found, len(list))
		}
	}
}

// What cannot be looked at is not taken for nothing.
func TestFinderThatCannotLook(t *testing.T) {
	r := newRecorder(t)
	d, err := Open(failingReadDir{r}, filepath.Join(r.root, "blobs"), Bushy)
	if err != nil {
		t.Fatal(err)
	}
	if path, err := d.Finder().Find(1, 2); !errors.Is(err, os.ErrPermission) {
		t.Errorf("Find = %q, %v", path, err)
	}
}

type failingReadDir struct{ vfs.FS }

func (failingReadDir) ReadDir(string) ([]os.DirEntry, error) { return nil, os.ErrPermission }
