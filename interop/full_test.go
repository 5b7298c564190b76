package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// full is what fill.py says.
type full struct {
	Committed, Failures []string
	Read                int
}

// TestFileSizeLimit lets the server meet the limit of its file size (RLIMIT_FSIZE, which needs no rights), and lifts it.
func TestFileSizeLimit(t *testing.T) {
	s, dir := prepared(t, options{})
	limit(t, s, 2<<20)
	fillAndGoOn(t, s, dir, dir, func() { limit(t, s, unix.RLIM_INFINITY) })
}

// limit sets how large the server's files may become.
func limit(t *testing.T, s *server, bytes uint64) {
	t.Helper()
	rlimit := unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_FSIZE, &rlimit, nil); err != nil {
		t.Fatal(err)
	}
}

// TestDiskFull lets the server fill a small file system of its own, and makes room again.
func TestDiskFull(t *testing.T) {
	needPython(t)
	outside := t.TempDir()
	const script = `mount -t tmpfs -o size=4m zari "$1" && cd "$1" && shift && exec "$@"`
	wrap := []string{"unshare", "--mount", "--map-root-user", "--", "/bin/sh", "-c", script, "sh", outside}
	if os.Geteuid() == 0 {
		wrap = slices.Delete(wrap, 2, 3)
	}
	probe := exec.Command(wrap[0], append(slices.Clone(wrap[1:]), "true")...)
	if out, err := probe.CombinedOutput(); err != nil {
		t.Skipf("no right to mount a file system, even of one's own (TestFileSizeLimit stands in): %v %s", err, out)
	}

	// The configuration stays outside: the server must be able to read it.
	o := options{dir: t.TempDir(), wrap: wrap}
	s := start(t, o)
	// The file system is the server's alone; the kernel shows it under the server's process.
	inside := fmt.Sprintf("/proc/%d/root%s", s.cmd.Process.Pid, outside)
	python[struct{ Done bool }](t, o.dir, "setup.py", s.addr)
	ballast := filepath.Join(inside, "ballast")
	writeFile(t, ballast, make([]byte, 2<<20))
	fillAndGoOn(t, s, o.dir, inside, func() {
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	})
}

// fillAndGoOn commits until there is no space, makes room, commits again, and looks at the file in files. Clients work in dir.
func fillAndGoOn(t *testing.T, s *server, dir, files string, makeRoom func()) {
	t.Helper()
	p := launch(t, dir, "fill.py", s.addr, "f")
	var before, after full
	p.expect(&before)
	if len(before.Failures) != 3 || len(before.Committed) == 0 {
		t.Fatalf("filled up with %d commits and the failures %q", len(before.Committed), before.Failures)
	}
	if before.Read != len(before.Committed) {
		t.Errorf("%d objects can be read of %d committed ones while the disk is full", before.Read, len(before.Committed))
	}
	t.Logf("%d commits, then %s", len(before.Committed), before.Failures[0])
	checkCopy(t, filepath.Join(files, "Data.fs"), before.Committed)

	makeRoom()
	p.tell()
	p.expect(&after)
	p.wait()
	if len(after.Committed) != len(before.Committed)+3 {
		t.Errorf("%d commits before there was room, %d after", len(before.Committed), len(after.Committed))
	}
	checkCopy(t, filepath.Join(files, "Data.fs"), after.Committed)
	s.stop()
}
