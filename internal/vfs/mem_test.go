package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestMemLikeOS does the same random things to a directory of the machine and to
// a file system in memory, and wants the same answers.
func TestMemLikeOS(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	for seed := range uint64(40) {
		root := t.TempDir()
		mem := Mem()
		if err := mem.MkdirAll(root, 0o755); err != nil {
			t.Fatal(err)
		}
		machine := &actor{fs: OS(), root: root, rng: rand.New(rand.NewPCG(seed, 0))}
		memory := &actor{fs: mem, root: root, rng: rand.New(rand.NewPCG(seed, 0))}
		for i := range 120 {
			want, got := machine.act(), memory.act()
			if want != got {
				t.Fatalf("seed %d, step %d:\nthe machine: %s\nin memory:   %s", seed, i, want, got)
			}
		}
		machine.closeAll()
		memory.closeAll()
		if used := mem.Used(); used != contentSize(t, mem, root) {
			t.Fatalf("seed %d: %d bytes count as used, there are %d", seed, used, contentSize(t, mem, root))
		}
	}
}

// contentSize sums the sizes of all files, those with several names once.
func contentSize(t *testing.T, m *MemFS, dir string) int64 {
	seen, total := make(map[*node]bool), int64(0)
	var visit func(n *node)
	visit = func(n *node) {
		if !seen[n] {
			seen[n] = true
			total += int64(len(n.data))
		}
		for _, child := range n.children {
			visit(child)
		}
	}
	n, err := m.lookup(dir)
	if err != nil {
		t.Fatal(err)
	}
	visit(n)
	return total
}

// actor does random things to a file system and tells what came of them.
type actor struct {
	fs    FS
	root  string
	rng   *rand.Rand
	files []File
}

func (a *actor) name() string {
	names := []string{"a", "b", "c", "d", "d/a", "d/b", "e", "e/d", "e/d/a", "a/x", "none/x"}
	return filepath.Join(a.root, names[a.rng.IntN(len(names))])
}

func (a *actor) act() string {
	kind, name, other := a.rng.IntN(22), a.name(), a.name()
	say := func(op string, err error, results ...any) string {
		return fmt.Sprintln(op, name, other, results, cause(err))
	}
	switch kind {
	case 0, 1, 2:
		flags := []int{os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_CREATE, os.O_RDWR | os.O_CREATE | os.O_EXCL,
			os.O_WRONLY | os.O_CREATE | os.O_TRUNC, os.O_RDWR | os.O_CREATE | os.O_APPEND, os.O_RDONLY | os.O_CREATE}
		flag := flags[a.rng.IntN(len(flags))]
		f, err := a.fs.OpenFile(name, flag, 0o640)
		if err == nil {
			a.files = append(a.files, f)
		}
		return say(fmt.Sprint("open ", flag), err)
	case 3:
		fi, err := a.fs.Stat(name)
		return say("stat", err, describe(fi))
	case 4:
		entries, err := a.fs.ReadDir(name)
		var names []string
		for _, e := range entries {
			fi, err := e.Info()
			names = append(names, e.Name(), describe(fi), cause(err))
		}
		return say("readdir", err, names)
	case 5:
		return say("mkdir", a.fs.MkdirAll(name, 0o750))
	case 6, 7:
		return say("rename", a.fs.Rename(name, other))
	case 8:
		return say("remove", a.fs.Remove(name))
	case 9:
		return say("link", a.fs.Link(name, other))
	case 10:
		return say("chmod", a.fs.Chmod(name, fs.FileMode(0o600+a.rng.IntN(64))))
	case 11:
		return say("syncdir", a.fs.SyncDir(name))
	}
	if len(a.files) == 0 {
		return "no file"
	}
	return a.actOnFile(kind, a.files[a.rng.IntN(len(a.files))])
}

func (a *actor) actOnFile(kind int, f File) string {
	buf := make([]byte, 1+a.rng.IntN(1500))
	off := int64(a.rng.IntN(3000)) - 20
	switch kind {
	case 12:
		n, err := f.Read(buf)
		return fmt.Sprintln("read", f.Name(), buf[:n], cause(err))
	case 13:
		n, err := f.ReadAt(buf, off)
		return fmt.Sprintln("readat", f.Name(), off, n, buf[:n], cause(err))
	case 14, 15:
		fill(buf, a.rng)
		n, err := f.Write(buf)
		return fmt.Sprintln("write", f.Name(), n, cause(err))
	case 16, 17:
		fill(buf, a.rng)
		n, err := f.WriteAt(buf, off)
		return fmt.Sprintln("writeat", f.Name(), off, n, cause(err))
	case 18:
		if fi, err := f.Stat(); err == nil && fi.IsDir() {
			return "file systems differ on where directories end"
		}
		pos, err := f.Seek(off, a.rng.IntN(3))
		return fmt.Sprintln("seek", f.Name(), pos, cause(err))
	case 19:
		return fmt.Sprintln("truncate", f.Name(), off, cause(f.Truncate(off)))
	case 20:
		return fmt.Sprintln("sync", f.Name(), cause(errors.Join(f.Sync(), f.Datasync())))
	}
	fi, err := f.Stat()
	return fmt.Sprintln("fstat, close", f.Name(), describe(fi), cause(err), cause(f.Close()))
}

func (a *actor) closeAll() {
	for _, f := range a.files {
		f.Close()
	}
}

func fill(buf []byte, rng *rand.Rand) {
	for i := range buf {
		buf[i] = byte(rng.Uint32())
	}
}

func describe(fi fs.FileInfo) string {
	if fi == nil {
		return "nothing"
	}
	if fi.IsDir() {
		return fmt.Sprint(fi.Name(), fi.Mode())
	}
	return fmt.Sprint(fi.Name(), fi.Mode(), fi.Size())
}

// cause is what counts of an error.
func cause(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, fs.ErrClosed):
		return "closed"
	case errors.Is(err, io.EOF):
		return "EOF"
	case strings.Contains(err.Error(), "negative"):
		return syscall.EINVAL.Error() // package os finds out by itself
	case strings.Contains(err.Error(), "O_APPEND"):
		return "append"
	}
	return err.Error()
}

func TestMemOpenFilesOutliveTheirNames(t *testing.T) {
	m := Mem()
	f := put(t, m, "/f", "one")
	if err := errors.Join(m.Rename("/f", "/g"), m.Remove("/g")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("two"), 3); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 6)
	if _, err := f.ReadAt(got, 0); err != nil || string(got) != "onetwo" {
		t.Errorf("read %q, %v", got, err)
	}
	if used := m.Used(); used != 6 {
		t.Errorf("%d bytes used while the file is open", used)
	}
	if err := f.Close(); err != nil || m.Used() != 0 {
		t.Errorf("%d bytes used after Close (%v)", m.Used(), err)
	}
}

func TestMemLock(t *testing.T) {
	m := Mem()
	lock, err := m.Lock("/f.lock")
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Lock("/f.lock")
	if _, ok := errors.AsType[*fs.PathError](err); !ok || !errors.Is(err, ErrLocked) {
		t.Errorf("second lock: %v", err)
	}
	if got := get(t, m, "/f.lock"); got != string(lockContent(os.Getpid())) {
		t.Errorf("the lock file holds %q", got)
	}
	lock.Close()
	lock, err = m.Lock("/f.lock")
	if err != nil {
		t.Fatalf("lock after Close: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Error(err)
	}
	if err := lock.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
}

func TestMemCapacity(t *testing.T) {
	m := Mem()
	f, g := put(t, m, "/f", "12345"), put(t, m, "/g", "")
	if m.Capacity() != -1 {
		t.Errorf("a new file system has a capacity of %d", m.Capacity())
	}
	if _, err := m.Free("/"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Free without a capacity: %v", err)
	}
	m.SetCapacity(10)
	if free, err := m.Free("/"); free != 5 || err != nil {
		t.Errorf("%d bytes free, %v", free, err)
	}
	steps := []struct {
		what string
		do   func() error
		want error
		used int64
	}{
		{"reserve what there is", func() error { return f.Reserve(5, 3) }, nil, 8},
		{"reserve more", func() error { return g.Reserve(0, 3) }, syscall.ENOSPC, 8},
		{"write the rest and beyond", func() error { return expect(2)(g.WriteAt([]byte("abc"), 0)) }, syscall.ENOSPC, 10},
		{"write what is reserved", func() error { return expect(3)(f.WriteAt([]byte("678"), 5)) }, nil, 10},
		{"overwrite", func() error { return expect(5)(f.WriteAt([]byte("54321"), 0)) }, nil, 10},
		{"extend", func() error { return f.Truncate(9) }, syscall.ENOSPC, 10},
		{"remove an open file", func() error { return m.Remove("/g") }, nil, 10},
		{"close it", g.Close, nil, 8},
		{"extend again", func() error { return f.Truncate(9) }, nil, 9},
		{"shrink", func() error { return f.Truncate(1) }, nil, 1},
		{"reserve, then cut what is reserved", func() error { return errors.Join(f.Reserve(0, 10), f.Truncate(1)) }, nil, 1},
		{"no limit", func() error { m.SetCapacity(-1); return f.Truncate(1000) }, nil, 1000},
	}
	for _, s := range steps {
		if err := s.do(); !errors.Is(err, s.want) || m.Used() != s.used {
			t.Fatalf("%s: %v, want %v; %d bytes used, want %d", s.what, err, s.want, m.Used(), s.used)
		}
	}
}

// expect turns the results of a write into an error unless n bytes were written.
func expect(want int) func(n int, err error) error {
	return func(n int, err error) error {
		if n != want {
			return fmt.Errorf("%d bytes written, want %d", n, want)
		}
		return err
	}
}

// put makes a file, and leaves it open.
func put(t testing.TB, m FS, name, content string) File {
	t.Helper()
	f, err := m.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if content != "" {
		write(t, f, content, 0)
	}
	return f
}

func write(t testing.TB, f File, content string, off int64) {
	t.Helper()
	if _, err := f.WriteAt([]byte(content), off); err != nil {
		t.Fatal(err)
	}
}

// get returns the content of a file, "absent" if there is none.
func get(t testing.TB, m FS, name string) string {
	t.Helper()
	f, err := m.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "absent"
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
