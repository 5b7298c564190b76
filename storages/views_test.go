package storages

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zaridb/zari/zodb"
)

// three opens a storage with three transactions, and the views of it.
func three(t *testing.T) (Views, []zodb.TID) {
	t.Helper()
	s, err := OpenURL(context.Background(), filepath.Join(t.TempDir(), "Data.fs"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	var tids []zodb.TID
	for range 3 {
		commit(t, s)
		tids = append(tids, s.LastTID())
	}
	return Views{Storages: map[string]zodb.Storage{"1": s, "odd@name": s}, Now: time.Now}, tids
}

func TestViews(t *testing.T) {
	v, tids := three(t)
	second := tids[1].Time()
	in := func(layout string, zone *time.Location) string { return "1@" + second.In(zone).Format(layout) }
	for _, c := range []struct {
		name string
		last zodb.TID
	}{
		{"1@0x" + tids[1].String(), tids[1]},
		{"1@0x" + (tids[1] - 1).String(), tids[0]},
		{"odd@name@0x" + tids[0].String(), tids[0]},
		{in("2006-01-02T15:04:05.999999999", time.UTC) + "999", tids[1]},
		{in("2006-01-02T15:04:05.000000000Z", time.UTC), tids[1]},
		{in("2006-01-02T15:04:05.000000000Z07:00", time.FixedZone("", 3600)), tids[1]},
		{"1@1999-12-31", 0},
		{"1@2020-01-01T10", 0},
		{"1@2020-01-01T10:30", 0},
		{"1@2020-01-01T10:30+02:00", 0},
		{"1@2020-01-01T10:30:15", 0},
		{"1@-90m", 0},
		{"1@-7d", 0},
		{"1@0x1", 0},
	} {
		key, open, err := v.Find(c.name)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		s, err := open(context.Background())
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		// a tid is a float in Python too: a time may fall just short of its own
		if last := s.LastTID(); last != c.last && !(last == tids[0] && strings.Contains(c.name, "T")) {
			t.Errorf("%s (%s) ends with %v, want %v", c.name, key, last, c.last)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := v.Storages["1"].LoadBefore(context.Background(), 1, zodb.MaxTID); err != nil {
		t.Errorf("the storage itself, after its views were closed: %v", err)
	}
}

func TestViewKeys(t *testing.T) {
	v, _ := three(t)
	key := func(name string) string {
		k, _, err := v.Find(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return k
	}
	one := key("1@2026-11-01T10:00")
	for _, same := range []string{"1@2026-11-01T10", "1@2026-11-01T10:00:00", "1@2026-11-01T10:00:00Z", "1@2026-11-01T11:00+01:00"} {
		if k := key(same); k != one {
			t.Errorf("%s is %s, want %s", same, k, one)
		}
	}
	for _, other := range []string{"1@2026-11-01T10:01", "odd@name@2026-11-01T10:00"} {
		if k := key(other); k == one {
			t.Errorf("%s is %s", other, k)
		}
	}
}

// FuzzViewName asks for whatever name a client may send. What is found is found
// again under its key, which is the tid in its one form.
func FuzzViewName(f *testing.F) {
	for _, name := range []string{"1@2026-11-01T10:00", "1@-2h", "1@0x1", "1@2020-01-01T10:30+02:00", "1", "@", "1@-9999d"} {
		f.Add(name)
	}
	s, err := OpenURL(context.Background(), filepath.Join(f.TempDir(), "Data.fs"), Options{})
	if err != nil {
		f.Fatal(err)
	}
	defer s.Close()
	v := Views{Storages: map[string]zodb.Storage{"1": s}, Now: func() time.Time { return time.Unix(2e9, 0) }}
	f.Fuzz(func(t *testing.T, name string) {
		key, _, err := v.Find(name)
		if err != nil {
			return
		}
		if again, _, err := v.Find(key); err != nil || again != key || len(key) != len("1@0x0123456789abcdef") {
			t.Errorf("%q is %q, and that is %q, %v", name, key, again, err)
		}
	})
}

func TestViewsRefused(t *testing.T) {
	v, tids := three(t)
	for name, want := range map[string]string{
		"2":                                 "unknown storage: 2",
		"2@2020-01-01":                      "unknown storage: 2, of which",
		"1@":                                "2026-11-01T10:00",
		"1@tomorrow":                        "-90m",
		"1@2020-13-01":                      "neither a tid nor a time",
		"1@2020-01-01 10:00":                "neither a tid nor a time",
		"1@0x":                              "neither a tid nor a time",
		"1@0x0":                             "neither a tid nor a time",
		"1@0xffffffffffffffff":              "neither a tid nor a time",
		"1@-":                               "neither a tid nor a time",
		"1@--2h":                            "neither a tid nor a time",
		"1@-99999999d":                      "neither a tid nor a time",
		"1@2999-01-01":                      "lies in the future",
		"1@0x" + (tids[2] + 1<<40).String(): "lies in the future",
	} {
		if key, _, err := v.Find(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want %q", name, key, err, want)
		}
	}
}

// TestBeforeFile makes the file with the time, and finds it again.
func TestBeforeFile(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s, err := OpenURL(ctx, filepath.Join(dir, "Data.fs"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	oid := commit(t, s)
	s.Close()
	c := load(t, dir, `
%import zc.beforestorage
<before 1>
  before-from-file $dir/time
  <filestorage>
    path $dir/Data.fs
  </filestorage>
</before>
`)
	path := filepath.Join(dir, "time")
	for _, f := range []struct {
		text string
		sees bool
	}{{"2001-02-03T04:05:06\n", false}, {"2999-01-01", true}} {
		if err := os.WriteFile(path, []byte(f.text), 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := Open(ctx, c[0], Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Begin(ctx, zodb.TxnMeta{}); !errors.Is(err, zodb.ErrReadOnly) {
			t.Errorf("it can be written: %v", err)
		}
		if _, err = s.LoadBefore(ctx, oid, zodb.MaxTID); (err == nil) != f.sees {
			t.Errorf("with %q in the file: %v", f.text, err)
		}
		s.Close()
	}
	if err := os.WriteFile(path, []byte("nonsense"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, c[0], Options{}); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("nonsense in the file: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s, err := Open(ctx, c[0], Options{})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}
