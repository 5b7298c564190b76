package interop

import (
	"path/filepath"
	"strconv"
	"testing"
)

// TestFilesToAndFro lets Python's FileStorage and the server write one file in turn: changes, undo, blobs, packs. After each
// turn of the server, what it serves is compared with what Python reads in the file.
func TestFilesToAndFro(t *testing.T) {
	for _, blobs := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "blobs"}[blobs], func(t *testing.T) {
			needPython(t)
			dir := t.TempDir()
			blobDir, section := []string(nil), fileSection
			if blobs {
				blobDir, section = []string{filepath.Join(dir, "blobs")}, blobSection
			}
			for seed := range 6 {
				if seed%2 == 0 {
					scribble(t, dir, "file:Data.fs", seed, blobDir)
					continue
				}
				s := start(t, options{dir: dir, storage: section})
				compare(t, s, dir) // what Python left
				scribble(t, dir, "zeo:"+s.addr, seed, blobDir)
				compare(t, s, dir)
				s.stop()
			}
		})
	}
}

func scribble(t *testing.T, dir, where string, seed int, blobDir []string) {
	t.Helper()
	args := append([]string{where, strconv.Itoa(seed)}, blobDir...)
	got := python[struct{ Keys int }](t, dir, "scribble.py", args...)
	if got.Keys == 0 {
		t.Errorf("seed %d left nothing at %s", seed, where)
	}
}

func compare(t *testing.T, s *server, dir string) {
	t.Helper()
	got := python[struct{ Transactions, Objects, Revisions int }](t, dir, "compare.py", s.addr, "Data.fs")
	if got.Transactions == 0 || got.Objects == 0 || got.Revisions < got.Objects {
		t.Errorf("compared nothing: %+v", got)
	}
	t.Logf("the same: %+v", got)
}

// TestIndexOfTheOther opens a file with an index the other side wrote, and one with an index that is older than the file.
func TestIndexOfTheOther(t *testing.T) {
	needPython(t)
	dir := t.TempDir()
	scribble(t, dir, "file:Data.fs", 2, nil)
	old := readFile(t, filepath.Join(dir, "Data.fs.index"))

	s := start(t, options{dir: dir})
	scribble(t, dir, "zeo:"+s.addr, 4, nil)
	s.stop()
	python[verified](t, dir, "verify.py", "Data.fs") // Python reads the server's index

	writeFile(t, filepath.Join(dir, "Data.fs.index"), old)
	s = start(t, options{dir: dir})
	compare(t, s, dir)
	s.stop()
}
