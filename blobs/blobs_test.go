package blobs

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zodb"
)

func open(t *testing.T, dir, layout string) *Dir {
	t.Helper()
	d, err := Open(vfs.OS(), dir, layout)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func stage(t *testing.T, d *Dir, content string) string {
	t.Helper()
	temp, err := d.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.CreateTemp(temp, "stage")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func place(t *testing.T, d *Dir, content string, oid zodb.OID, tid zodb.TID) {
	t.Helper()
	if err := d.Place(stage(t, d, content), oid, tid); err != nil {
		t.Fatal(err)
	}
}

func TestPath(t *testing.T) {
	tests := []struct {
		layout string
		oid    zodb.OID
		tid    zodb.TID
		want   string
	}{
		{Bushy, 0, 0, "0x00/0x00/0x00/0x00/0x00/0x00/0x00/0x00/0x00.blob"},
		{Bushy, 0x2a, 0x03d5a1b2c3d4e5f6, "0x00/0x00/0x00/0x00/0x00/0x00/0x00/0x2a/0x03d5a1b2c3d4e5f6.blob"},
		{Bushy, math.MaxUint64, 0xabc, "0xff/0xff/0xff/0xff/0xff/0xff/0xff/0xff/0x0abc.blob"},
		{Lawn, 0, 1, "0x00/0x01.blob"},
		{Lawn, 0x100, 0x03d5a1b2c3d4e5f6, "0x0100/0x03d5a1b2c3d4e5f6.blob"},
		{Lawn, math.MaxUint64, math.MaxUint64, "0xffffffffffffffff/0xffffffffffffffff.blob"},
	}
	for _, tt := range tests {
		d := open(t, t.TempDir(), tt.layout)
		got, err := filepath.Rel(d.Root(), d.Path(tt.oid, tt.tid))
		if err != nil || got != tt.want {
			t.Errorf("%s: Path(%v, %v) = %s, %v; want %s", tt.layout, tt.oid, tt.tid, got, err, tt.want)
		}
	}
}

func TestOpenChoosesLayout(t *testing.T) {
	tests := []struct {
		name   string
		files  map[string]string // nil: the directory is not there
		layout string
		want   string
		fail   string
	}{
		{name: "absent", want: Bushy},
		{name: "absent, lawn asked for", layout: Lawn, want: Lawn},
		{name: "empty", files: map[string]string{}, want: Bushy},
		{name: "only hidden files", files: map[string]string{".svn": ""}, want: Bushy},
		{name: "used before there were markers", files: map[string]string{"readme": ""}, want: Lawn},
		{name: "used, bushy asked for", files: map[string]string{"readme": ""}, layout: Bushy, want: Bushy},
		{name: "marked lawn", files: map[string]string{".layout": "lawn"}, want: Lawn},
		{name: "marked bushy, with a line end", files: map[string]string{".layout": "bushy\n", "x": ""}, want: Bushy},
		{name: "contradicted", files: map[string]string{".layout": "lawn"}, layout: Bushy,
			fail: `layout "bushy" was asked for, but its marker says "lawn"`},
		{name: "empty marker", files: map[string]string{".layout": ""}, fail: `unknown layout ""`},
		{name: "foreign marker", files: map[string]string{".layout": "zip"}, fail: `unknown layout "zip"`},
		{name: "foreign request", layout: "zip", fail: `unknown layout "zip"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a", "blobs")
			if tt.files != nil {
				must(t, os.MkdirAll(dir, 0o777))
			}
			for name, content := range tt.files {
				must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666))
			}
			d, err := Open(vfs.OS(), dir, tt.layout)
			if tt.fail != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fail) {
					t.Fatalf("Open: %v, want %q", err, tt.fail)
				}
				return
			}
			must(t, err)
			if d.Layout() != tt.want {
				t.Errorf("layout %s, want %s", d.Layout(), tt.want)
			}
			marker, err := os.ReadFile(filepath.Join(dir, ".layout"))
			if err != nil || strings.TrimSpace(string(marker)) != tt.want {
				t.Errorf("marker %q, %v; want %s", marker, err, tt.want)
			}
			if info, err := os.Stat(filepath.Join(dir, "tmp")); err != nil || !info.IsDir() {
				t.Errorf("no tmp folder: %v", err)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestPlaceLoadRemove(t *testing.T) {
	for _, layout := range []string{Bushy, Lawn} {
		t.Run(layout, func(t *testing.T) {
			d := open(t, t.TempDir(), layout)
			place(t, d, "one", 7, 0x100)
			place(t, d, "two", 7, 0x20)

			path, err := d.Load(7, 0x100)
			must(t, err)
			if content, err := os.ReadFile(path); err != nil || string(content) != "one" {
				t.Errorf("content %q, %v", content, err)
			}
			tids, err := d.Revisions(7)
			if diff := cmp.Diff([]zodb.TID{0x20, 0x100}, tids); diff != "" || err != nil {
				t.Errorf("revisions (-want +got): %v\n%s", err, diff)
			}

			must(t, d.Remove(7, 0x100))
			must(t, d.Remove(7, 0x100))
			_, err = d.Load(7, 0x100)
			if e, ok := errors.AsType[*zodb.NoObjectError](err); !ok || e.OID != 7 {
				t.Errorf("Load of a removed blob: %v", err)
			}
			must(t, d.Remove(7, 0x20))
			wantEntries(t, d.Root(), ".layout", "tmp")
			wantEntries(t, filepath.Join(d.Root(), "tmp"))
		})
	}
}

func wantEntries(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s holds (-want +got):\n%s", dir, diff)
	}
}

func TestLoadTellsFailureFromAbsence(t *testing.T) {
	d := open(t, t.TempDir(), Lawn)
	// A file stands where the folder should: stat fails, but not with "not there".
	must(t, os.WriteFile(filepath.Join(d.Root(), "0x07"), nil, 0o666))
	_, err := d.Load(7, 1)
	if _, missing := errors.AsType[*zodb.NoObjectError](err); err == nil || missing {
		t.Errorf("Load: %v, want an error that is not a NoObjectError", err)
	}
}

func TestPermissions(t *testing.T) {
	tests := []struct{ dir, file, want os.FileMode }{
		{0o755, 0o600, 0o444},
		{0o700, 0o666, 0o444},
		{0o700, 0o600, 0o400},
		{0o750, 0o620, 0o440},
	}
	for _, tt := range tests {
		d := open(t, t.TempDir(), Lawn)
		dir, err := d.OIDDir(9)
		must(t, err)
		must(t, os.Chmod(dir, tt.dir))
		src := stage(t, d, "x")
		must(t, os.Chmod(src, tt.file))
		must(t, d.Place(src, 9, 1))
		info, err := os.Stat(d.Path(9, 1))
		must(t, err)
		if info.Mode().Perm() != tt.want {
			t.Errorf("file %v in folder %v: placed as %v, want %v", tt.file, tt.dir, info.Mode().Perm(), tt.want)
		}
	}
}

// Every step of Place has to come before the one that relies on it.
func TestPlaceIsDurable(t *testing.T) {
	r := newRecorder(t)
	d, err := Open(r, filepath.Join(r.root, "new", "blobs"), Lawn)
	must(t, err)
	want := []string{
		"syncdir .", "syncdir new", // the directories
		"sync new/blobs/.layout.new", "rename new/blobs/.layout.new new/blobs/.layout", "syncdir new/blobs",
	}
	if diff := cmp.Diff(want, r.take()); diff != "" {
		t.Errorf("Open (-want +got):\n%s", diff)
	}
	src := stage(t, d, "x")
	must(t, d.Place(src, 3, 4))
	from := "new/blobs/tmp/" + filepath.Base(src)
	want = []string{
		"chmod " + from, "sync " + from, "rename " + from + " new/blobs/0x03/0x04.blob",
		"syncdir new/blobs/0x03", "syncdir new/blobs",
	}
	if diff := cmp.Diff(want, r.take()); diff != "" {
		t.Errorf("Place (-want +got):\n%s", diff)
	}
}

func TestBushyPlaceSyncsEveryLevel(t *testing.T) {
	r := newRecorder(t)
	d, err := Open(r, r.root, Bushy)
	must(t, err)
	r.take()
	must(t, d.Place(stage(t, d, "x"), 3, 4))
	synced := 0
	for _, call := range r.take() {
		if strings.HasPrefix(call, "syncdir ") {
			synced++
		}
	}
	if synced != 9 {
		t.Errorf("%d folders synced, want the top and eight levels", synced)
	}
}

func TestPlaceAcrossDevices(t *testing.T) {
	r := newRecorder(t)
	d, err := Open(r, filepath.Join(r.root, "blobs"), Lawn)
	must(t, err)
	r.take()
	src := filepath.Join(r.root, "elsewhere")
	content := strings.Repeat("blob", 100_000)
	must(t, os.WriteFile(src, []byte(content), 0o600))
	r.deny = crossDevice("elsewhere")
	must(t, d.Place(src, 3, 4))
	near := "blobs/tmp/0x03-0000000000000004.copy"
	want := []string{
		"chmod elsewhere", "sync elsewhere", "rename elsewhere blobs/0x03/0x04.blob",
		"chmod " + near, "sync " + near, "rename " + near + " blobs/0x03/0x04.blob",
		"syncdir blobs/0x03", "syncdir blobs",
	}
	if diff := cmp.Diff(want, r.take()); diff != "" {
		t.Errorf("Place (-want +got):\n%s", diff)
	}
	if got, err := os.ReadFile(d.Path(3, 4)); err != nil || string(got) != content {
		t.Errorf("%d bytes copied, %v; want %d", len(got), err, len(content))
	}
	if _, err := os.Stat(src); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the source is still there: %v", err)
	}
}

func TestPlaceFailures(t *testing.T) {
	boom := errors.New("boom")
	for _, step := range []string{"chmod", "sync ", "rename", "syncdir blobs/0x03", "syncdir blobs"} {
		r := newRecorder(t)
		d, err := Open(r, filepath.Join(r.root, "blobs"), Lawn)
		must(t, err)
		src := stage(t, d, "x")
		r.deny = func(call string) error {
			if call == step || strings.HasPrefix(call, step) && !strings.Contains(step, "/") {
				return boom
			}
			return nil
		}
		if err := d.Place(src, 3, 4); !errors.Is(err, boom) {
			t.Errorf("%s fails: Place says %v", step, err)
		}
		r.deny = nil
		must(t, d.Remove(3, 4))
		if _, err := d.Load(3, 4); err == nil {
			t.Errorf("%s fails: the blob is there after Remove", step)
		}
	}
}

func TestPlaceRefusesWhatIsNoFile(t *testing.T) {
	d := open(t, t.TempDir(), Bushy)
	sub := filepath.Join(d.Root(), "tmp", "folder")
	must(t, os.Mkdir(sub, 0o777))
	if err := d.Place(sub, 1, 1); err == nil {
		t.Error("a folder was placed")
	}
	if err := d.Place(filepath.Join(d.Root(), "tmp", "nothing"), 1, 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if tids, err := d.Revisions(1); len(tids) != 0 || err != nil {
		t.Errorf("revisions %v, %v", tids, err)
	}
}

func TestAll(t *testing.T) {
	for _, layout := range []string{Bushy, Lawn} {
		t.Run(layout, func(t *testing.T) {
			d := open(t, t.TempDir(), layout)
			rnd := rand.New(rand.NewPCG(1, 2))
			var want []ID
			for _, oid := range []zodb.OID{0, 1, 0xff, 0x100, 0xfffe, 1 << 40, math.MaxUint64} {
				tid := zodb.TID(0)
				for range 1 + rnd.IntN(3) {
					tid += zodb.TID(1 + rnd.Int64N(1<<50))
					place(t, d, "x", oid, tid)
					want = append(want, ID{oid, tid})
				}
			}
			addStrangers(t, d)
			if diff := cmp.Diff(want, all(t, d)); diff != "" {
				t.Errorf("All (-want +got):\n%s", diff)
			}
			for range d.All() {
				break // stopping early must not yield again, which would panic
			}
		})
	}
}

// addStrangers adds names that look like blobs and are not.
func addStrangers(t *testing.T, d *Dir) {
	t.Helper()
	dir, err := d.OIDDir(1)
	must(t, err)
	for _, name := range []string{"0x1.blob", "0x0001.blob", "0xAB.blob", "0x0102.blob.tmp", "x.blob", ".blob", "0x.blob", "0x+1.blob"} {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o666))
	}
	must(t, os.Mkdir(filepath.Join(dir, "0x77.blob"), 0o777))
	for _, name := range []string{"0x0", "0x0001", "0xAA", "0xzz", "0x00000000000000000001", "x"} {
		must(t, os.Mkdir(filepath.Join(d.Root(), name), 0o777))
		must(t, os.WriteFile(filepath.Join(d.Root(), name, "0x01.blob"), nil, 0o666))
	}
}

func all(t *testing.T, d *Dir) []ID {
	t.Helper()
	var got []ID
	for id, err := range d.All() {
		must(t, err)
		got = append(got, id)
	}
	return got
}

// A folder that a removal empties must not vanish under a file on its way in.
func TestPlaceWhileRemoving(t *testing.T) {
	d := open(t, t.TempDir(), Bushy)
	const rounds = 60
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range rounds {
				tid := zodb.TID(1 + w*rounds + i)
				temp := filepath.Join(d.Root(), "tmp", fmt.Sprint(tid))
				if err := os.WriteFile(temp, nil, 0o666); err != nil {
					t.Error(err)
				}
				if err := d.Place(temp, 5, tid); err != nil {
					t.Error(err)
				}
				if err := d.Remove(5, tid); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	wantEntries(t, d.Root(), ".layout", "tmp")
}

func TestOpenReadOnlyMedium(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, ".layout"), []byte("bushy"), 0o444))
	// A file in the place of tmp stands for a medium on which it cannot be made.
	must(t, os.WriteFile(filepath.Join(dir, "tmp"), nil, 0o444))
	d := open(t, dir, "")
	if _, err := d.TempDir(); err == nil {
		t.Error("TempDir does not tell that it has failed")
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"0x00", "0x03d5a1b2c3d4e5f6.blob", "0x0", "0xffffffffffffffff", "0x-1", "0x1_0", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, ok := parseRepr(s); ok && repr(v) != s {
			t.Errorf("parseRepr(%q) = %x, which is written %q", s, v, repr(v))
		}
		if tid, ok := parseFileName(s); ok && fileName(tid) != s {
			t.Errorf("parseFileName(%q) = %v, which is written %q", s, tid, fileName(tid))
		}
		if b, ok := parseByte(s); ok && fmt.Sprintf("0x%02x", b) != s {
			t.Errorf("parseByte(%q) = %x", s, b)
		}
	})
}
