package interop

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Programs of the benchmark of copies.
const (
	copyByPython = "../../bench/copy/copy.py"
	generate     = "../../bench/copy/generate.py"
)

// comparison is what copied.py has compared.
type comparison struct{ Transactions, Records, Blobs int }

// sameFiles lets Python compare two folders, each with a Data.fs and blobs.
func sameFiles(t *testing.T, one, two string) {
	t.Helper()
	got := python[comparison](t, t.TempDir(), "copied.py", one, two)
	if got.Transactions == 0 || got.Records == 0 || got.Blobs == 0 {
		t.Errorf("compared nothing: %+v", got)
	}
	t.Logf("the same: %+v", got)
}

// databaseIn names the storage in a folder.
func databaseIn(dir string) string {
	return "file://" + filepath.Join(dir, "Data.fs") + "?blobstorage_dir=" + filepath.Join(dir, "blobs")
}

func zariCopy(from, to string, args ...string) *exec.Cmd {
	return exec.Command(setup.zari, append([]string{"copy", databaseIn(from), databaseIn(to)}, args...)...)
}

func mustCopy(t *testing.T, from, to string, args ...string) {
	t.Helper()
	if out, err := zariCopy(from, to, args...).CombinedOutput(); err != nil {
		t.Fatalf("zari copy: %v\n%s", err, out)
	}
}

func folders(t *testing.T, names ...string) (paths []string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// TestCopyIsWhatPythonCopies copies files that Python's FileStorage wrote, with undo, blobs and extensions, one of them packed,
// both with zari copy and with copyTransactionsFrom, and lets Python compare the copies object by object.
func TestCopyIsWhatPythonCopies(t *testing.T) {
	needPython(t)
	needZari(t)
	for _, seeds := range [][]int{{0, 2, 4}, {0, 1, 2}} { // the odd one packs
		f := folders(t, "source", "zari", "python", "grown")
		source, zari, py, grown := f[0], f[1], f[2], f[3]
		for _, seed := range seeds {
			scribble(t, source, "file:Data.fs", seed, []string{filepath.Join(source, "blobs")})
			if seeds[1] == 2 { // nothing is packed: the copy can be brought up to date
				mustCopy(t, source, grown)
				sameFiles(t, source, grown)
			}
		}
		mustCopy(t, source, zari, "--verify")
		python[float64](t, source, copyByPython, source, py)
		sameFiles(t, source, zari)
		sameFiles(t, py, zari)
		mustCopy(t, py, zari, "--verify", "--dry-run")
	}
}

// TestCopyKilled kills a copy with kill -9 again and again, each time at another moment. Started again it goes on, and what comes
// out is equal to the source, and nothing is left lying around.
func TestCopyKilled(t *testing.T) {
	needPython(t)
	needZari(t)
	kills, megabytes := number(t, "ZARI_COPY_KILLS", 10), number(t, "ZARI_COPY_MB", 4)
	f := folders(t, "source", "whole", "killed")
	source, whole, killed := f[0], f[1], f[2]
	cmd := exec.Command(setup.python, filepath.Join("pyclient", generate), source, strconv.Itoa(megabytes), strconv.Itoa(max(1, megabytes/4)))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("generate.py: %v\n%s", err, out)
	}
	batch := "--batch=" + strconv.Itoa(max(1, megabytes/40)*100_000)
	began := time.Now()
	mustCopy(t, source, whole, batch)
	took := time.Since(began)
	dice := rand.New(rand.NewPCG(1, uint64(kills)))
	sizes := make(map[int64]bool)
	for n := 0; n < kills; {
		cmd := zariCopy(source, killed, batch)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(took/20 + time.Duration(dice.Int64N(int64(took)/3)))
		cmd.Process.Kill()
		if cmd.Wait() == nil { // it was faster than ever: begin anew
			if err := os.RemoveAll(killed); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(killed, 0o700); err != nil {
				t.Fatal(err)
			}
			continue
		}
		n++
		if info, err := os.Stat(filepath.Join(killed, "Data.fs")); err == nil {
			sizes[info.Size()] = true
		}
	}
	t.Logf("killed %d times, with %d sizes of the file", kills, len(sizes))
	mustCopy(t, source, killed, "--verify")
	sameBytes(t, source, killed)
	if megabytes <= 300 { // Python takes long
		sameFiles(t, source, killed)
	}
	for _, dir := range []string{whole, killed} {
		if left, err := os.ReadDir(filepath.Join(dir, "blobs", "tmp")); err != nil || len(left) > 1 || len(left) == 1 && left[0].Name() != "zari-copy.lock" {
			t.Errorf("left in %s: %v, %v", dir, left, err)
		}
	}
}

// sameBytes compares the files themselves: those of a copy of what was never packed are equal.
func sameBytes(t *testing.T, one, two string) {
	t.Helper()
	out, err := exec.Command("cmp", filepath.Join(one, "Data.fs"), filepath.Join(two, "Data.fs")).CombinedOutput()
	if err != nil {
		t.Errorf("the files differ: %v\n%s", err, out)
	}
}

// number is what a variable of the environment says.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestCopyFromServers copies from a server, Python's or ours, goes on with the file itself, and undoes on the server.
func TestCopyFromServers(t *testing.T) {
	needZari(t)
	f := folders(t, "source", "copy")
	source, copied := f[0], f[1]
	scribble(t, source, "file:Data.fs", 0, []string{filepath.Join(source, "blobs")})
	for _, command := range [][]string{{setup.python, "-m", "ZEO.runzeo", "-C", "zeo.conf"}, {setup.zari, "serve", "-C", "zeo.conf"}} {
		addr := freeAddr(t)
		conf := "<zeo>\n  address " + addr + "\n</zeo>\n" + blobSection
		if err := os.WriteFile(filepath.Join(source, "zeo.conf"), []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		s := startCommand(t, source, addr, command)
		url := "zeo://" + addr
		if out, err := exec.Command(setup.zari, "copy", "--verify", url, databaseIn(copied)).CombinedOutput(); err != nil {
			t.Errorf("zari copy from %s: %v\n%s", command[0], err, out)
		}
		if out, err := exec.Command(setup.zari, "undo", "--log", "-n", "1", url).CombinedOutput(); err != nil || len(out) == 0 {
			t.Errorf("zari undo --log at %s: %v\n%s", command[0], err, out)
		} else if out, err := exec.Command(setup.zari, "undo", "--user", "admin", url, string(out[:16])).CombinedOutput(); err != nil {
			t.Errorf("zari undo at %s: %v\n%s", command[0], err, out)
		}
		s.kill() // runzeo does not end well while clients go away
		mustCopy(t, source, copied)
		python[comparison](t, t.TempDir(), "copied.py", "--extension-bytes-differ", source, copied)
	}
}
