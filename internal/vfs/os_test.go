package vfs

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestOSLockExcludes(t *testing.T) {
	name := filepath.Join(t.TempDir(), "Data.fs.lock")
	if err := os.WriteFile(name, []byte(" 12345678901234567890\nold"), 0o600); err != nil {
		t.Fatal(err)
	}
	lock, err := OS().Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(name); string(b) != string(lockContent(os.Getpid())) {
		t.Errorf("lock file holds %q", b)
	}
	_, err = OS().Lock(name)
	if pe, ok := errors.AsType[*fs.PathError](err); !ok || pe.Path != name || !errors.Is(err, ErrLocked) {
		t.Errorf("second lock: %v, want a PathError of ErrLocked", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := OS().Lock(name)
	if err != nil {
		t.Fatalf("lock after close: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	if _, err := OS().Lock(filepath.Join(name, "x")); err == nil || errors.Is(err, ErrLocked) {
		t.Errorf("lock below a file: %v", err)
	}
}

// TestOSLockMeetsPython takes the lock alternately with the real zc.lockfile.
// ZARI_PYTHON names an interpreter that has the package.
func TestOSLockMeetsPython(t *testing.T) {
	python := os.Getenv("ZARI_PYTHON")
	if python == "" {
		t.Skip("ZARI_PYTHON names no Python with zc.lockfile")
	}
	name := filepath.Join(t.TempDir(), "Data.fs.lock")
	lock, err := OS().Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	try := "import sys, zc.lockfile\ntry: zc.lockfile.LockFile(sys.argv[1])\nexcept zc.lockfile.LockError: print('refused')\nelse: print('got it')"
	if out, _ := exec.Command(python, "-c", try, name).CombinedOutput(); strings.TrimSpace(string(out)) != "refused" {
		t.Errorf("Python said %q while the lock was held", out)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	hold := exec.Command(python, "-c", "import sys, zc.lockfile\nl = zc.lockfile.LockFile(sys.argv[1])\nprint('held', flush=True)\nsys.stdin.read()", name)
	stdin, _ := hold.StdinPipe()
	stdout, _ := hold.StdoutPipe()
	if err := hold.Start(); err != nil {
		t.Fatal(err)
	}
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "held\n" {
		t.Fatalf("Python said %q", line)
	}
	if _, err := OS().Lock(name); !errors.Is(err, ErrLocked) {
		t.Errorf("lock while Python holds it: %v", err)
	}
	if b, _ := os.ReadFile(name); string(b) != string(lockContent(hold.Process.Pid)) {
		t.Errorf("Python wrote %q", b)
	}
	stdin.Close()
	if err := hold.Wait(); err != nil {
		t.Fatal(err)
	}
	lock, err = OS().Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
}

func TestOSFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	if f, err := OS().OpenFile(name, os.O_RDWR, 0); f != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("open of what is not there: %v, %v", f, err)
	}
	f, err := OS().OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("abc"), 0); err != nil {
		t.Error(err)
	}
	err = f.Reserve(3, 1<<16)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Reserve: %v", err)
	}
	if err := f.Reserve(3, 0); err != nil {
		t.Errorf("Reserve of nothing: %v", err)
	}
	if fi, _ := f.Stat(); fi.Size() != 3 {
		t.Errorf("the size is %d after Reserve", fi.Size())
	}
	if free, err := OS().Free(dir); err == nil && free <= 0 || err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Free: %d, %v", free, err)
	}
	if _, err := OS().Free(filepath.Join(dir, "absent")); err == nil {
		t.Error("Free of what is not there succeeds")
	}
	if err := errors.Join(f.Datasync(), f.Sync(), OS().SyncDir(dir), f.Close()); err != nil {
		t.Error(err)
	}
	if err := f.Datasync(); err == nil {
		t.Error("Datasync after Close succeeds")
	}
}
