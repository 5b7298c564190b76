package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

var modes = map[string]CrashMode{"worst": Worst, "ordered": Ordered}

// eachMode runs a test under all promises.
func eachMode(t *testing.T, test func(t *testing.T, mode CrashMode)) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) { test(t, mode) })
	}
}

// outcomes counts what 300 power cuts leave, as see describes it.
func outcomes(c *CrashFS, see func(m *MemFS) string) map[string]int {
	seen := make(map[string]int)
	for seed := range uint64(300) {
		seen[see(c.CrashClone(seed))]++
	}
	return seen
}

// wantOutcomes demands that exactly these outcomes are seen.
func wantOutcomes(t *testing.T, seen map[string]int, want ...string) {
	t.Helper()
	for _, w := range want {
		if seen[w] == 0 {
			t.Errorf("never seen: %s", w)
		}
		delete(seen, w)
	}
	for s, n := range seen {
		t.Errorf("seen %d times: %s", n, s)
	}
}

// sectors tells a content by the first byte of each sector, and fails if the
// others differ from it.
func sectors(t *testing.T, content string) string {
	t.Helper()
	var s strings.Builder
	for chunk := range bytes.SplitSeq(regroup(content), []byte{'|'}) {
		if strings.Trim(string(chunk), string(chunk[:1])) != "" {
			t.Errorf("a torn sector: %q", chunk)
		}
		s.WriteByte(max(chunk[0], '0'))
	}
	return s.String()
}

func regroup(content string) []byte {
	var out []byte
	for len(content) > sectorSize {
		out = append(append(out, content[:sectorSize]...), '|')
		content = content[sectorSize:]
	}
	return append(out, content...)
}

// fillSectors returns a content with whole sectors of the given bytes.
func fillSectors(s string) string {
	var b strings.Builder
	for _, c := range s {
		b.WriteString(strings.Repeat(string(c), sectorSize))
	}
	return b.String()
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestCrashKeepsWhatIsSynced(t *testing.T) {
	eachMode(t, func(t *testing.T, mode CrashMode) {
		c := Crash(nil, mode, 1)
		must(t, c.MkdirAll("/d/e", 0o700))
		f := put(t, c, "/d/e/f", "hello")
		must(t, f.Datasync(), c.SyncDir("/d/e"), c.SyncDir("/d"), c.SyncDir("/"))
		wantOutcomes(t, outcomes(c, func(m *MemFS) string { return get(t, m, "/d/e/f") }), "hello")
		write(t, f, " world", 5)
		must(t, f.Sync(), f.Truncate(8), f.Sync())
		wantOutcomes(t, outcomes(c, func(m *MemFS) string { return get(t, m, "/d/e/f") }), "hello wo")
	})
}

func TestCrashTearsWrites(t *testing.T) {
	eachMode(t, func(t *testing.T, mode CrashMode) {
		c := Crash(nil, mode, 1)
		f := put(t, c, "/f", fillSectors("aaa"))
		must(t, f.Sync(), c.SyncDir("/"))
		write(t, f, fillSectors("bbb"), 0)
		see := func(m *MemFS) string { return sectors(t, get(t, m, "/f")) }
		wantOutcomes(t, outcomes(c, see), "aaa", "aab", "aba", "abb", "baa", "bab", "bba", "bbb")
		must(t, f.Datasync())
		wantOutcomes(t, outcomes(c, see), "bbb")
	})
}

func TestCrashMayKeepAnyVersionOfASector(t *testing.T) {
	c := Crash(nil, Worst, 1)
	f := put(t, c, "/f", fillSectors("a"))
	must(t, f.Sync(), c.SyncDir("/"))
	write(t, f, "1", 0)
	write(t, f, "2", 1)
	write(t, f, "3", 0)
	seen := outcomes(c, func(m *MemFS) string { return get(t, m, "/f")[:3] })
	wantOutcomes(t, seen, "aaa", "1aa", "12a", "32a") // but not a2a, nor 3aa
}

func TestCrashOfAGrowingFile(t *testing.T) {
	for mode, want := range map[CrashMode][]string{
		// The size may be kept without the data, and the data without the size.
		Worst:   {"a", "a0", "ab", "a00", "a0c", "ab0", "abc"},
		Ordered: {"a", "ab", "abc"},
	} {
		c := Crash(nil, mode, 1)
		f := put(t, c, "/f", fillSectors("a"))
		must(t, f.Sync(), c.SyncDir("/"))
		write(t, f, fillSectors("b"), sectorSize)
		write(t, f, fillSectors("c"), 2*sectorSize)
		wantOutcomes(t, outcomes(c, func(m *MemFS) string { return sectors(t, get(t, m, "/f")) }), want...)
	}
}

func TestCrashOfATruncation(t *testing.T) {
	eachMode(t, func(t *testing.T, mode CrashMode) {
		c := Crash(nil, mode, 1)
		f := put(t, c, "/f", fillSectors("ab"))
		must(t, f.Sync(), c.SyncDir("/"), f.Truncate(10), f.Truncate(2*sectorSize))
		seen := outcomes(c, func(m *MemFS) string {
			got := get(t, m, "/f")
			return fmt.Sprint(len(got), strings.Count(got, "a"), strings.Count(got, "b"))
		})
		// The zeros of the cut may be there before the new size is. But what was
		// cut off does not come back when the file has been short and grown again.
		wantOutcomes(t, seen, "1024 512 512", "1024 10 512", "1024 512 0", "1024 10 0", "10 10 0")
		must(t, f.Datasync())
		wantOutcomes(t, outcomes(c, func(m *MemFS) string { return strings.TrimRight(get(t, m, "/f"), "\x00") }), "aaaaaaaaaa")
	})
}

func TestCrashOfDirectories(t *testing.T) {
	have := func(names ...string) func(m *MemFS) string {
		return func(m *MemFS) string {
			var found []string
			for _, name := range names {
				if _, err := m.Stat(name); err == nil {
					found = append(found, name)
				}
			}
			return strings.Join(found, " ")
		}
	}
	setup := func(t *testing.T, mode CrashMode) *CrashFS {
		base := Mem()
		must(t, base.MkdirAll("/d", 0o700))
		put(t, base, "/a", "A").Close()
		put(t, base, "/b", "B").Close()
		return Crash(base, mode, 1)
	}
	both := []string{"worst", "ordered"}
	for _, test := range []struct {
		name  string
		modes []string
		do    func(c *CrashFS) error
		see   func(m *MemFS) string
		want  []string
	}{
		{"create", both, func(c *CrashFS) error { put(t, c, "/x", "X"); return nil }, have("/x"), []string{"", "/x"}},
		{"create, sync the file", both[:1], func(c *CrashFS) error { return put(t, c, "/x", "X").Sync() }, have("/x"), []string{"", "/x"}},
		{"create, sync the file", both[1:], func(c *CrashFS) error { return put(t, c, "/x", "X").Sync() }, have("/x"), []string{"/x"}},
		{"remove", both, func(c *CrashFS) error { return c.Remove("/a") }, have("/a"), []string{"", "/a"}},
		{"rename", both, func(c *CrashFS) error { return c.Rename("/a", "/c") }, have("/a", "/c"), []string{"/a", "/c"}},
		{"rename over", both, func(c *CrashFS) error { return c.Rename("/a", "/b") },
			func(m *MemFS) string { return get(t, m, "/a") + get(t, m, "/b") }, []string{"AB", "absentA"}},
		{"rename across", both, func(c *CrashFS) error { return c.Rename("/a", "/d/a") }, have("/a", "/d/a"), []string{"/a", "/d/a"}},
		{"rename across, sync one side", both, func(c *CrashFS) error { return errors.Join(c.Rename("/a", "/d/a"), c.SyncDir("/d")) },
			have("/a", "/d/a"), []string{"/d/a"}},
		{"rename twice", both, func(c *CrashFS) error { return errors.Join(c.Rename("/a", "/c"), c.Rename("/c", "/e")) },
			have("/a", "/c", "/e"), []string{"/a", "/c", "/e"}},
		{"rename twice, sync the last", both, func(c *CrashFS) error {
			return errors.Join(c.Rename("/a", "/c"), c.Rename("/c", "/d/a"), c.SyncDir("/d"))
		}, have("/a", "/c", "/d/a"), []string{"/d/a"}},
		{"link", both, func(c *CrashFS) error { return c.Link("/a", "/l") }, have("/a", "/l"), []string{"/a", "/a /l"}},
		{"two removes", both[:1], func(c *CrashFS) error { return errors.Join(c.Remove("/a"), c.Remove("/b")) },
			have("/a", "/b"), []string{"", "/a", "/b", "/a /b"}},
		{"two removes", both[1:], func(c *CrashFS) error { return errors.Join(c.Remove("/a"), c.Remove("/b")) },
			have("/a", "/b"), []string{"", "/b", "/a /b"}},
		{"remove, sync another directory", both[:1], func(c *CrashFS) error { return errors.Join(c.Remove("/a"), c.SyncDir("/d")) },
			have("/a"), []string{"", "/a"}},
		{"remove, sync the directory", both, func(c *CrashFS) error { return errors.Join(c.Remove("/a"), c.SyncDir("/")) },
			have("/a"), []string{""}},
		{"a directory without its entry", both[:1], func(c *CrashFS) error {
			return errors.Join(c.MkdirAll("/n", 0o700), c.Rename("/a", "/n/a"), c.SyncDir("/n"))
		}, have("/a", "/n/a"), []string{"", "/n/a"}},
		{"permissions", both, func(c *CrashFS) error { return c.Chmod("/a", 0o400) }, modeOf("/a"), []string{"-rw-------", "-r--------"}},
		{"permissions, synced", both, func(c *CrashFS) error { return errors.Join(c.Chmod("/a", 0o400), openSync(c, "/a")) },
			modeOf("/a"), []string{"-r--------"}},
	} {
		for _, mode := range test.modes {
			t.Run(test.name+"/"+mode, func(t *testing.T) {
				c := setup(t, modes[mode])
				must(t, test.do(c))
				wantOutcomes(t, outcomes(c, test.see), test.want...)
			})
		}
	}
}

func modeOf(name string) func(m *MemFS) string {
	return func(m *MemFS) string {
		fi, err := m.Stat(name)
		if err != nil {
			return err.Error()
		}
		return fi.Mode().String()
	}
}

func openSync(fsys FS, name string) error {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func TestCrashAfterAFailedSync(t *testing.T) {
	eachMode(t, func(t *testing.T, mode CrashMode) {
		cached, later, again := make(map[string]int), make(map[string]int), make(map[string]int)
		for seed := range uint64(300) {
			c := Crash(nil, mode, seed)
			f := put(t, c, "/f", fillSectors("aa"))
			must(t, f.Sync(), c.SyncDir("/"))
			write(t, f, fillSectors("bb"), 0)
			f.(*memFile).FailSync()
			cached[sectors(t, get(t, c, "/f"))]++
			must(t, f.Sync())
			later[sectors(t, get(t, c.CrashClone(seed), "/f"))]++
			write(t, f, fillSectors("c"), 0)
			must(t, f.Sync())
			again[sectors(t, get(t, c.CrashClone(seed), "/f"))[:1]]++
		}
		wantOutcomes(t, cached, "aa", "ab", "ba", "bb")
		wantOutcomes(t, later, "aa", "ab", "ba", "bb") // the sync that succeeded has changed nothing
		wantOutcomes(t, again, "c")
	})
}

// TestCrashOfATruncationAfterAFailedSync: a truncation is no data, and is durable
// with the next sync that succeeds.
func TestCrashOfATruncationAfterAFailedSync(t *testing.T) {
	seen := make(map[string]int)
	for seed := range uint64(300) {
		c := Crash(nil, Worst, seed)
		f := put(t, c, "/f", fillSectors("abc"))
		must(t, f.Sync(), c.SyncDir("/"), f.Truncate(sectorSize))
		write(t, f, fillSectors("d"), 2*sectorSize)
		f.(*memFile).FailSync()
		must(t, f.Sync())
		seen[sectors(t, get(t, c.CrashClone(seed), "/f"))]++
	}
	wantOutcomes(t, seen, "a00", "a0d")
}

func TestCrashCutsThePowerAtAnOperation(t *testing.T) {
	c := Crash(nil, Worst, 1)
	f := put(t, c, "/f", "12") // create, write
	must(t, f.Sync(), c.SyncDir("/"))
	if c.Ops() != 4 {
		t.Fatalf("%d operations, want 4", c.Ops())
	}
	c.CutPowerAt(6)
	write(t, f, "x", 0)
	select {
	case <-c.PowerCut():
		t.Fatal("the power is cut too early")
	default:
	}
	_, err := f.WriteAt([]byte("y"), 1)
	for what, err := range map[string]error{
		"the write": err, "Sync": f.Sync(), "Truncate": f.Truncate(0), "Remove": c.Remove("/f"), "SyncDir": c.SyncDir("/"),
		"OpenFile": second(c.OpenFile("/f", os.O_RDONLY, 0)), "Stat": second(c.Stat("/f")), "Read": second(f.Read(make([]byte, 1))),
		"Rename": c.Rename("/f", "/g"), "Link": c.Link("/f", "/g"), "MkdirAll": c.MkdirAll("/d", 0o700),
		"Chmod": c.Chmod("/f", 0o400), "Lock": second(c.Lock("/l")), "ReadDir": second(c.ReadDir("/")), "Reserve": f.Reserve(0, 100),
	} {
		if !errors.Is(err, ErrPowerLost) {
			t.Errorf("%s after the power cut: %v", what, err)
		}
	}
	<-c.PowerCut()
	wantOutcomes(t, outcomes(c, func(m *MemFS) string { return get(t, m, "/f") }), "12", "x2")
}

func second[T any](_ T, err error) error { return err }

func TestCrashCloneIsApart(t *testing.T) {
	c := Crash(nil, Worst, 1)
	f := put(t, c, "/f", "old")
	must(t, f.Sync(), c.SyncDir("/"))
	m := c.CrashClone(1)
	write(t, f, "new", 0)
	must(t, f.Sync(), c.Remove("/f"), c.SyncDir("/"))
	if got := get(t, m, "/f"); got != "old" {
		t.Errorf("the clone holds %q", got)
	}
	put(t, m, "/f", "other")
	second := Crash(m, Worst, 1)
	put(t, second, "/f", "third")
	if got := get(t, m, "/f"); got != "other" {
		t.Errorf("the base of a crash file system holds %q", got)
	}
	lock, err := c.Lock("/l")
	must(t, err, c.SyncDir("/"))
	if _, err := c.CrashClone(1).Lock("/l"); err != nil {
		t.Errorf("a lock outlives the power cut: %v", err)
	}
	must(t, lock.Close())
}

// TestCrashOracle checks random work on one file against a second, simpler
// account of what each sector may hold, and that the seed decides everything.
func TestCrashOracle(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 7))
		mode := CrashMode(seed % 2)
		c := Crash(nil, mode, seed)
		f := put(t, c, "/f", "")
		must(t, f.Sync(), c.SyncDir("/"))
		now, allowed := []byte{}, [][]byte{{}} // every content since the last sync
		for range 40 {
			switch off := rng.IntN(4000); rng.IntN(8) {
			case 0:
				must(t, f.Datasync())
				allowed = allowed[:0]
			case 1:
				must(t, f.Truncate(int64(off)))
				now = content(t, f, off)
			default:
				data := make([]byte, 1+rng.IntN(1500))
				fill(data, rng)
				write(t, f, string(data), int64(off))
				if end := off + len(data); end > len(now) {
					now = append(bytes.Clone(now), make([]byte, end-len(now))...)
				}
				now = bytes.Clone(now)
				copy(now[off:], data)
			}
			allowed = append(allowed, now)
			clone := c.CrashClone(seed)
			got := get(t, clone, "/f")
			if again := get(t, c.CrashClone(seed), "/f"); again != got {
				t.Fatalf("seed %d: two outcomes", seed)
			}
			checkSectors(t, seed, got, allowed)
		}
	}
}

// content reads a file, which must have the size.
func content(t *testing.T, f File, size int) []byte {
	b := make([]byte, size+1)
	if n, err := f.ReadAt(b, 0); n != size || err != io.EOF {
		t.Fatal(n, err)
	}
	return b[:size]
}

// checkSectors wants each sector of got to be that of one allowed content, or
// zeros, and the size to be the size of one.
func checkSectors(t *testing.T, seed uint64, got string, allowed [][]byte) {
	t.Helper()
	sizes := false
	for _, a := range allowed {
		sizes = sizes || len(a) == len(got)
	}
	if !sizes {
		t.Fatalf("seed %d: a size of %d was never there", seed, len(got))
	}
	for off := 0; off < len(got); off += sectorSize {
		sector := got[off:min(off+sectorSize, len(got))]
		ok := strings.Trim(sector, "\x00") == ""
		for _, a := range allowed {
			ok = ok || sector == padded(a, off, len(sector))
		}
		if !ok {
			t.Fatalf("seed %d: the sector at %d was never like that", seed, off)
		}
	}
}

// padded returns n bytes of a content at off, with zeros after its end.
func padded(content []byte, off, n int) string {
	b := make([]byte, n)
	if off < len(content) {
		copy(b, content[off:])
	}
	return string(b)
}

// TestCrashCloneOfHardLinks: a file with two names stays one file.
func TestCrashCloneOfHardLinks(t *testing.T) {
	c := Crash(nil, Worst, 1)
	f := put(t, c, "/a", "1")
	must(t, c.Link("/a", "/b"), f.Sync(), c.SyncDir("/"))
	m := c.CrashClone(3)
	g, err := m.OpenFile("/a", os.O_RDWR, 0)
	must(t, err)
	write(t, g, "2", 0)
	if got := get(t, m, "/b"); got != "2" {
		t.Errorf("the other name shows %q", got)
	}
	must(t, m.Remove("/a"), g.Close())
	if _, err := m.Stat("/b"); errors.Is(err, fs.ErrNotExist) || m.Used() != 1 {
		t.Errorf("the file is lost with one of its names (%d bytes used)", m.Used())
	}
}
