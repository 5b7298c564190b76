package crashtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zaridb/zari/engine/filestorage"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
)

// readWithPython lists every transaction of the files named as arguments, and
// checks that loading through the index finds the newest records.
const readWithPython = `
import sys
from ZODB.FileStorage import FileStorage
from ZODB.utils import u64, p64
for path in sys.argv[1:]:
    fs = FileStorage(path)
    print('file')
    newest = {}
    for txn in fs.iterator():
        print(u64(txn.tid), txn.user.decode(), *[
            '%d:%d' % (u64(r.oid), -1 if r.data is None else len(r.data)) for r in txn])
        for r in txn:
            newest[r.oid] = r
    for oid, r in newest.items():
        if r.data is not None:
            assert fs.load(oid) == (r.data, r.tid), (path, oid)
    assert len(fs._index) == len(newest), path
    fs.close()
`

// TestPythonReadsWhatIsLeft has Python's FileStorage open what power cuts have
// left. ZARI_PYTHON names an interpreter that has ZODB.
func TestPythonReadsWhatIsLeft(t *testing.T) {
	python := os.Getenv("ZARI_PYTHON")
	if python == "" {
		t.Skip("ZARI_PYTHON names no Python with ZODB")
	}
	var want strings.Builder
	args := []string{"-c", readWithPython}
	for seed := range uint64(100) {
		r, err := playRound(t, seed, plant{})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		path := filepath.Join(t.TempDir(), "Data.fs")
		export(t, r.last, path)
		args = append(args, path)
		list(t, r, &want)
	}
	cmd := exec.Command(python, args...)
	var complaints strings.Builder
	cmd.Stderr = &complaints // "Ignoring index": it takes none for an empty file
	got, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, complaints.String())
	}
	if string(got) != want.String() {
		t.Errorf("Python reads\n%s\nand we read\n%s", got, want.String())
	}
	t.Logf("Python reads the same %d transactions", strings.Count(want.String(), "\n")-100)
}

// export copies the data file and its index to the machine's file system.
func export(t *testing.T, fsys vfs.FS, path string) {
	t.Helper()
	for _, suffix := range []string{"", ".index"} {
		f, err := fsys.OpenFile(dataFile+suffix, os.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		fi, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, fi.Size())
		if _, err := f.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+suffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func list(t *testing.T, r *round, w *strings.Builder) {
	t.Helper()
	e, err := filestorage.Open(r.options(clone(r.last)))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	fmt.Fprintln(w, "file")
	for txn, err := range e.Scan(context.Background(), 0, store.Forward) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(w, "%d %s", uint64(txn.TID), txn.User)
		for _, rec := range txn.Records {
			n := len(rec.Data)
			if rec.Kind == txnlog.Delete {
				n = -1
			}
			fmt.Fprintf(w, " %d:%d", uint64(rec.OID), n)
		}
		fmt.Fprintln(w)
	}
}
