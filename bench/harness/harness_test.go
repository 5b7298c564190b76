package harness_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zaridb/zari/bench"
	"github.com/zaridb/zari/bench/bareserver"
	"github.com/zaridb/zari/bench/harness"
	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/zodb"
)

// The test program is a server too, and a benchmark.
func TestMain(m *testing.M) {
	harness.Role("server", serve)
	harness.Role("crash", func(context.Context, []string) error { return errors.New("no power") })
	harness.Role("benchmark", func(_ context.Context, args []string) error {
		os.Args = append(os.Args[:1], args...)
		harness.Main("benchmark", parse, work)
		return nil
	})
	os.Exit(m.Run())
}

func serve(ctx context.Context, args []string) error {
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	f, err := os.Open(os.Args[0])
	if err != nil {
		return err
	}
	return (&bareserver.Server{File: f, Block: 100, Reply: 200}).Serve(l)
}

func parse(args []string) (runs int, err error) {
	f := harness.NewFlags("benchmark")
	f.IntVar(&runs, "runs", 1, "measurements")
	return runs, f.Parse(args)
}

func work(runs int, _ context.Context) error {
	if runs != 1 {
		return errors.New("too much")
	}
	return nil
}

func self(t *testing.T) string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func TestMainEndsWithACode(t *testing.T) {
	for _, c := range []struct {
		arg, says string
		code      int
	}{
		{"--runs=1", "", 0}, {"--help", "-runs int", 0},
		{"--runs=2", "benchmark: too much\n", 1}, {"--walks", "benchmark: flag provided but not defined", 2}, {"more", `benchmark: what is "more"?`, 2},
	} {
		cmd := exec.CommandContext(t.Context(), self(t), "benchmark", c.arg)
		said, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(string(said), c.says) {
			t.Errorf("%s: it ended with %d and said %q, want %d and %q", c.arg, code, said, c.code, c.says)
		}
	}
}

func TestServer(t *testing.T) {
	p := harness.Program{Name: "bare", Raw: true, Args: func(address string) []string { return []string{self(t), "server", address} }}
	s, err := p.Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if s.Opening <= 0 || s.PID == os.Getpid() || s.Name != "bare" {
		t.Errorf("%+v", s)
	}
	if err := bench.Ready(t.Context(), s.Options()); err != nil {
		t.Error(err)
	}
	s.Stop()
	if c, err := net.Dial("tcp", s.Address); err == nil {
		c.Close()
		t.Error("it answers when it was stopped")
	}
}

// TestServerThatEnds: nobody waits for what does not come, and its last words are told.
func TestServerThatEnds(t *testing.T) {
	p := harness.Program{Name: "broken", Args: func(string) []string { return []string{self(t), "crash"} }}
	if _, err := p.Start(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "it wrote:\ncrash: no power") {
		t.Errorf("error %v", err)
	}
	p.Args = func(string) []string { return []string{"/no/such/program"} }
	if _, err := p.Start(t.Context(), t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v for a program that is not there", err)
	}
}

func TestFlags(t *testing.T) {
	var zari, python string
	var only []string
	parse := func(args ...string) error {
		f := harness.NewFlags("x")
		f.Zari(&zari)
		f.Python(&python, "ZODB")
		f.Choice(&only, "only", []string{"a", "b", "c"}, "`parts` to run")
		return f.Parse(append(args, "-zari", self(t)))
	}
	t.Setenv("ZARI_PYTHON", "sh")
	if err := parse(); err != nil {
		t.Fatal(err)
	}
	if strings.Join(only, "") != "abc" || !filepath.IsAbs(python) || zari != self(t) {
		t.Errorf("by themselves: %q, %q, %q", only, python, zari)
	}
	if err := parse("-only", "c,a"); err != nil || strings.Join(only, "") != "ca" {
		t.Errorf("chosen: %q, %v", only, err)
	}
	if err := parse("-only", "a,d"); err == nil || !strings.Contains(err.Error(), `no "d"; there are a, b, c`) {
		t.Errorf("error %v for what there is not", err)
	}
	if err := parse("-python", "/no/such/python"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v for a Python that is not there", err)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 4}, 4}, {[]float64{8, 1, 2, 4}, 3}} {
		if got := harness.Median(c.values); got != c.want {
			t.Errorf("the median of %v is %v, want %v", c.values, got, c.want)
		}
	}
}

// TestDataFile reads a file back with the scanner of package datafs.
func TestDataFile(t *testing.T) {
	path, then := filepath.Join(t.TempDir(), "Data.fs"), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w, err := harness.CreateDataFile(path, 3, then)
	if err != nil {
		t.Fatal(err)
	}
	for _, oids := range [][]zodb.OID{{0, 1, 2}, {1}, {2, 1}} {
		w.Begin(time.Second)
		for _, oid := range oids {
			w.Store(oid, []byte("data"))
		}
		w.Finish()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != w.Size {
		t.Fatalf("a file of %d bytes, %v; want %d", info.Size(), err, w.Size)
	}
	s := datafs.NewScanner(datafs.NewWindow(f, 1<<16), path, datafs.MagicSize, w.Size, 0)
	place, txns, records := map[zodb.OID]int64{}, 0, 0
	for s.Txn() {
		txns++
		if want := then.Add(time.Duration(txns) * time.Second); s.Head.TID.Time().Sub(want).Abs() > time.Millisecond {
			t.Errorf("transaction %d is of %v, want %v", txns, s.Head.TID.Time(), want)
		}
		for s.Record() {
			records++
			if s.Rec.Prev != place[s.Rec.OID] || s.Rec.DataLen != 4 {
				t.Errorf("object %v: %+v, want its last record at %d", s.Rec.OID, s.Rec, place[s.Rec.OID])
			}
			place[s.Rec.OID] = s.Pos
		}
	}
	if err := s.Err(); err != nil || txns != 3 || records != 6 || s.Head.TID != w.TID {
		t.Errorf("%d transactions with %d records up to %v, %v", txns, records, s.Head.TID, err)
	}
}
