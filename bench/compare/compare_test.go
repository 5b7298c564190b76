package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/bench"
	"github.com/zaridb/zari/bench/harness"
	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/zodb"
)

func TestFigure(t *testing.T) {
	f := newFigure("p", "loads", "per second", &Goal{Of: bare, AtLeast: 0.5})
	if f.Goal.Met != nil {
		t.Error("a goal is decided before anything is measured")
	}
	for _, v := range []float64{100, 300, 0, math.Inf(1), math.NaN(), 200} {
		f.add(bare, v)
	}
	for _, v := range []float64{90, 110} {
		f.add(zari, v)
	}
	if f.Median[bare] != 200 || f.Median[zari] != 100 || f.Ratio[bare] != 0.5 || !*f.Goal.Met {
		t.Errorf("figure %+v", f)
	}
	f.add(zari, 80)
	if f.Ratio[bare] != 0.45 || *f.Goal.Met {
		t.Errorf("with a median of 90: %+v", f)
	}
	if _, ok := f.Ratio[python]; ok {
		t.Error("a ratio to what was not measured")
	}
	if got, want := f.spread(bare), 1.0; got != want {
		t.Errorf("spread %v, want %v", got, want)
	}
	most := newFigure("p", "memory", "MB", &Goal{Of: python, AtMost: 1})
	most.add(python, 10)
	most.add(zari, 11)
	if *most.Goal.Met {
		t.Error("11 is at most 10")
	}
	if _, err := json.Marshal([]*Figure{f, most}); err != nil {
		t.Error(err)
	}
}

func TestTable(t *testing.T) {
	f := newFigure("p", "loads", "per second", &Goal{Of: bare, AtLeast: 0.5})
	f.add(python, 1234.5)
	f.add(zari, 4938)
	f.add(bare, 6000)
	unknown := newFigure("p", "commits", "per second", &Goal{Of: python, AtLeast: 8})
	r := &Report{Command: "go run", Date: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Seconds: 61, Cores: 2,
		System: "Linux", Go: "go1", Python: "Python 3", Runs: 5, Figures: []*Figure{f, unknown}}
	var b strings.Builder
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	want := "`go run`, 2026-01-02, 2 cores, Linux, go1, Python 3; medians of 5, 61 s in all.\n" + `
| figure | python | zari | bare | zari / python | zari / bare | goal | spread |
|---|--:|--:|--:|--:|--:|---|--:|
| loads, per second | 1234 | 4938 | 6000 | 4.00 | 0.823 | ≥ 0.5 of bare: met | 0 / 0 / 0 |
| commits, per second |  |  |  |  |  | ≥ 8 of python: not measured |  |

Spread: how far the runs of python, zari and bare lie apart, in percent of the median.
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestShort(t *testing.T) {
	for v, want := range map[float64]string{0: "", 0.012345: "0.0123", 1.5: "1.50", 42.42: "42.4", 123456.7: "123457", -3: "-3.00"} {
		if got := short(v); got != want {
			t.Errorf("short(%v) is %q, want %q", v, got, want)
		}
	}
}

// The test program is the bare server too, as the program is.
func TestMain(m *testing.M) {
	harness.Role(bareCommand, serveBare)
	os.Exit(m.Run())
}

func TestMakeData(t *testing.T) {
	const n, size = 2500, 200
	path := filepath.Join(t.TempDir(), "Data.fs")
	if err := makeData(path, time.Now(), n, size); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	s := datafs.NewScanner(datafs.NewWindow(f, 1<<16), path, datafs.MagicSize, info.Size(), 0)
	records := zodb.OID(0)
	for s.Txn() {
		for s.Record() {
			records++
			if s.Rec.OID != records || s.Rec.DataLen != size {
				t.Fatalf("record %d is %+v", records, s.Rec)
			}
		}
	}
	if got := objectsIn(info.Size(), size); records != n || s.Err() != nil || got < n || got > n+1 {
		t.Errorf("%d objects, %v; a file of this size is taken for one of %d, want %d", records, s.Err(), got, n)
	}
}

// TestServeBare runs the generator against the bare server, started as it is measured.
func TestServeBare(t *testing.T) {
	path := filepath.Join(t.TempDir(), "Data.fs")
	if err := makeData(path, time.Now(), 10, blockSize); err != nil {
		t.Fatal(err)
	}
	s, err := new(lab).start(t.Context(), bare, path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	o := s.Options()
	o.InFlight, o.Objects = 8, 10
	o.Duration, o.Warmup = 100*time.Millisecond, 0
	res, err := bench.Run(t.Context(), bench.Load, o)
	if err != nil {
		t.Fatal(err)
	}
	if res.Errors > 0 || res.Measure("load").Operations == 0 {
		t.Errorf("%d loads, %d errors %v", res.Measure("load").Operations, res.Errors, res.Messages)
	}
	if n, err := replySize(); err != nil || n <= blockSize || n > blockSize+100 {
		t.Errorf("answers of %d bytes, %v", n, err)
	}
}

func TestCommandLine(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	with := func(args ...string) (*lab, error) { return parse(append(args, "--zari", self, "--python", self)) }
	c, err := with("--only", "load8,memory", "--quick")
	if err != nil {
		t.Fatal(err)
	}
	if c.runs != 1 || c.scale != quickScale || c.python != self || len(c.only) != 2 {
		t.Errorf("parsed as %+v", c)
	}
	for _, bad := range []string{"--runs=0", "--connections=0", "--duration=0s"} {
		if _, err := with(bad); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}
