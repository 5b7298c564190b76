package blobs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/zodb"
)

// script prints what ZODB's helper says of the directory argv[1], whose layout it
// is to find out by itself, and adds one blob to it in ZODB's way.
const script = `
import os, sys
from ZODB.blob import FilesystemHelper, rename_or_copy_blob
from ZODB.utils import p64, u64
h = FilesystemHelper(sys.argv[1])
h.create()
print("layout", h.layout_name)
found = []
for oid, path in h.listOIDs():
    for name in os.listdir(path):
        o, tid = h.splitBlobFilename(os.path.join(path, name))
        found.append((u64(o), u64(tid)))
for o, t in sorted(found):
    print(o, t, open(h.getBlobFilename(p64(o), p64(t))).read())
oid, tid = p64(0x1234), p64(0x03d5a1b2c3d4e5f6)
h.getPathForOID(oid, create=True)
fd, name = h.blob_mkstemp(oid, tid)
os.write(fd, b"from python")
os.close(fd)
rename_or_copy_blob(name, h.getBlobFilename(oid, tid))
print(oct(os.stat(h.getBlobFilename(oid, tid)).st_mode & 0o777), oct(os.stat(os.path.dirname(h.getBlobFilename(oid, tid))).st_mode & 0o777))
`

// Python's own helper and ours read each other's directories.
func TestPython(t *testing.T) {
	python := os.Getenv("ZARI_PYTHON")
	if python == "" {
		t.Skip("ZARI_PYTHON does not name a Python with ZODB")
	}
	for _, layout := range []string{Bushy, Lawn} {
		t.Run(layout, func(t *testing.T) {
			d := open(t, filepath.Join(t.TempDir(), "blobs"), layout)
			place(t, d, "zero", 0, 0)
			place(t, d, "a", 5, 0x03d5a1b2c3d4e5f6)
			place(t, d, "b", 0x123456, 0xabc)
			out, err := exec.Command(python, "-c", script, d.Root()).Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr(err))
			}
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			want := []string{
				"layout " + layout,
				"0 0 zero",
				"5 276304741314913782 a",
				"1193046 2748 b",
			}
			if diff := cmp.Diff(want, lines[:len(lines)-1]); diff != "" {
				t.Errorf("Python finds (-want +got):\n%s", diff)
			}
			path, err := d.Load(0x1234, 0x03d5a1b2c3d4e5f6)
			must(t, err)
			if content, err := os.ReadFile(path); err != nil || string(content) != "from python" {
				t.Errorf("Python's blob holds %q, %v", content, err)
			}
			wantIDs := []ID{{0, 0}, {5, 0x03d5a1b2c3d4e5f6}, {0x1234, 0x03d5a1b2c3d4e5f6}, {0x123456, 0xabc}}
			if diff := cmp.Diff(wantIDs, all(t, d)); diff != "" {
				t.Errorf("All (-want +got):\n%s", diff)
			}
			if want, got := lines[len(lines)-1], modes(t, d, 0x123456, 0xabc); want != got {
				t.Errorf("Python gives its files and folders the modes %s, we %s", want, got)
			}
		})
	}
}

func stderr(err error) []byte {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.Stderr
	}
	return nil
}

func modes(t *testing.T, d *Dir, oid zodb.OID, tid zodb.TID) string {
	t.Helper()
	var s []string
	for _, name := range []string{d.Path(oid, tid), filepath.Dir(d.Path(oid, tid))} {
		info, err := os.Stat(name)
		must(t, err)
		s = append(s, fmt.Sprintf("%O", info.Mode().Perm()))
	}
	return strings.Join(s, " ")
}
