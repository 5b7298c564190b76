package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// needModule skips a test whose Python lacks a module, or fails it where all must
// be there.
func needModule(t *testing.T, module string) {
	t.Helper()
	needPython(t)
	out, err := exec.Command(setup.python, "-c", "import "+module).CombinedOutput()
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatalf("%s has no %s (make venv): %s", setup.python, module, out)
	default:
		t.Skipf("%s has no %s (make venv)", setup.python, module)
	}
}

// compressedSide is how one side meets a database with compressed records.
type compressedSide struct {
	name    string
	section string // around the file in the server's configuration
	client  string // what its clients do: a form of compressed.py
}

var compressedSides = []compressedSide{
	{"server compresses", "zlibstorage", "none"},
	{"clients compress", "serverzlibstorage", "zlib"},
	{"clients read only", "serverzlibstorage", "keep"},
}

func (c compressedSide) options(dir string) options {
	return options{dir: dir, storage: fmt.Sprintf("%%import zc.zlibstorage\n<%s>\n  <filestorage>\n    path Data.fs\n  </filestorage>\n</%[1]s>\n", c.section)}
}

// compressedRun is what compressed.py says.
type compressedRun struct {
	Keys                         int
	State                        string
	Records, Compressed, Objects int
	Merged                       int
}

func compressed(t *testing.T, dir, mode, place, form string, seed int) compressedRun {
	t.Helper()
	t.Setenv("PYTHONHASHSEED", "0") // states are compared by their hash
	return python[compressedRun](t, dir, "compressed.py", mode, place, form, fmt.Sprint(seed))
}

// TestCompressedToAndFro lets Python's FileStorage under zc.zlibstorage and the
// server write one file in turn, and pack it with garbage collection.
func TestCompressedToAndFro(t *testing.T) {
	for _, side := range compressedSides {
		t.Run(side.name, func(t *testing.T) {
			needModule(t, "zc.zlibstorage")
			dir := t.TempDir()
			want := compressed(t, dir, "write", "file:Data.fs", "zlib", 1)
			for seed := 2; seed <= 3; seed++ {
				s := start(t, side.options(dir))
				got := compressed(t, dir, "read", "zeo:"+s.addr, side.client, 0)
				same(t, "what Python wrote, served", want, got)
				wrote := compressed(t, dir, "write", "zeo:"+s.addr, side.client, seed)
				if side.section == "zlibstorage" {
					python[struct{ Transactions int }](t, dir, "compare.py", s.addr, "Data.fs", "zlib")
				} else {
					compare(t, s, dir) // byte by byte
				}
				before := compressed(t, dir, "look", "file:"+filepath.Join(dir, "Data.fs"), "none", 0)
				packed := compressed(t, dir, "pack", "zeo:"+s.addr, side.client, 0)
				same(t, "what is left by the pack", wrote, packed)
				s.stop()
				after := compressed(t, dir, "look", "file:Data.fs", "none", 0)
				if before.Compressed < before.Records/10 || after.Objects >= before.Objects || after.Compressed == 0 {
					t.Errorf("before the pack %+v, after it %+v", before, after)
				}
				same(t, "what the server left, read by Python", packed, compressed(t, dir, "read", "file:Data.fs", "zlib", 0))
				want = compressed(t, dir, "pack", "file:Data.fs", "zlib", 0)
				same(t, "what is left by Python's pack", packed, want)
			}
		})
	}
}

func same(t *testing.T, what string, want, got compressedRun) {
	t.Helper()
	if want.Keys != got.Keys || want.State != got.State || got.Keys == 0 {
		t.Errorf("%s: %+v, want %+v", what, got, want)
	}
}

// TestCompressedMerge lets two clients write one object, whose records are
// compressed by the server or by them.
func TestCompressedMerge(t *testing.T) {
	for _, side := range compressedSides[:2] {
		t.Run(side.name, func(t *testing.T) {
			needModule(t, "zc.zlibstorage")
			dir := t.TempDir()
			s := start(t, side.options(dir))
			if got := compressed(t, dir, "merge", "zeo:"+s.addr, side.client, 0); got.Merged == 0 {
				t.Errorf("merged nothing: %+v", got)
			}
			s.stop()
			if got := compressed(t, dir, "look", "file:Data.fs", "none", 0); got.Compressed < 20 {
				t.Errorf("the records are not compressed: %+v", got)
			}
		})
	}
}
