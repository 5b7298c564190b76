package bench

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb/pickle"
)

// TestQuantiles compares with the quantiles of the sorted durations.
func TestQuantiles(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 10, 1000, 20_000} {
		var parts [2]Histogram // recorded apart, then merged
		var all []time.Duration
		for i := range n {
			d := time.Duration(rnd.Int64N(1 << rnd.IntN(50)))
			parts[i%2].Record(d)
			all = append(all, d)
		}
		h := &parts[0]
		h.Merge(&parts[1])
		slices.Sort(all)
		if h.Count() != uint64(n) || h.Min() != all[0] || h.Max() != all[n-1] {
			t.Errorf("n %d: count %d, min %v, max %v; want %v, %v", n, h.Count(), h.Min(), h.Max(), all[0], all[n-1])
		}
		for _, q := range []float64{0, 0.001, 0.5, 0.9, 0.99, 0.999, 1} {
			rank := 0
			for float64(rank+1) < q*float64(n) {
				rank++
			}
			got, want := h.Quantile(q), all[rank]
			if got < want || float64(got) > float64(want)*1.016+1 {
				t.Errorf("n %d: quantile %v is %v, want %v or at most 1.6%% more", n, q, got, want)
			}
		}
	}
}

func TestEveryDurationHasItsBucket(t *testing.T) {
	for i := range buckets {
		if got := bucket(uint64(upper(i))); got != i {
			t.Fatalf("the largest duration of bucket %d, %d, falls into %d", i, upper(i), got)
		}
		if i > 0 && bucket(uint64(upper(i-1))+1) != i {
			t.Fatalf("after the largest duration of bucket %d comes %d", i-1, bucket(uint64(upper(i-1))+1))
		}
	}
	const longest = time.Duration(1<<63 - 1)
	if upper(buckets-1) != longest {
		t.Errorf("the largest bucket ends with %d", upper(buckets-1))
	}
}

func TestHistogramOfNothing(t *testing.T) {
	var h, other Histogram
	h.Merge(&other)
	if h.Quantile(0.5) != 0 || h.Mean() != 0 || h.Count() != 0 {
		t.Error("an empty histogram has durations")
	}
	h.Record(-time.Second)
	if h.Max() != 0 || h.Count() != 1 {
		t.Error("a negative duration is not counted as 0")
	}
}

// TestScatter checks that walkers together see every number once, then again.
func TestScatter(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10, 1000, 1024} {
		const walkers = 4
		seen := make([]int, n)
		next := make([]func() int, walkers)
		for w := range next {
			next[w] = scatter(n, w, walkers)
		}
		for i := range walkers * n { // each number four times
			seen[next[i%walkers]()]++
		}
		for i, times := range seen {
			if times != walkers {
				t.Errorf("n %d: number %d was seen %d times, want %d", n, i, times, walkers)
			}
		}
	}
}

func TestTemplate(t *testing.T) {
	for _, c := range []wire.Codec{wire.Pickle, wire.Msgpack} {
		tmpl, err := newTemplate(c)
		if err != nil {
			t.Fatal(err)
		}
		oid, tid := []byte("\x00\x00\x00\x00\x00\x00\x12\x34"), []byte("\x03\xff\xfe\xfd\xfc\xfb\xfa\xf9")
		want, err := c.AppendCall([]byte("before"), pickle.Tuple{oid, tid}, "loadBefore", oid, tid)
		if err != nil {
			t.Fatal(err)
		}
		if got := tmpl.append([]byte("before"), 0x1234, 0x03fffefdfcfbfaf9); string(got) != string(want) {
			t.Errorf("%v: got %q, want %q", c, got, want)
		}
	}
}

func TestRecord(t *testing.T) {
	for _, size := range []int{MinSize, MinSize + 1, 1024, 70_000} {
		r := Record(size, 1)
		if len(r) != size {
			t.Errorf("a record of %d bytes, want %d", len(r), size)
		}
		_, state, _ := strings.Cut(string(r), "q\x00.") // behind the class
		v, err := pickle.Decode([]byte(state))
		if err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		data, _ := v.(*pickle.Dict).Get("data")
		pad, _ := data.(*pickle.Dict).Get("pad")
		if got := len(pad.([]byte)); got != size-MinSize {
			t.Errorf("size %d: a pad of %d bytes", size, got)
		}
	}
	one, again, other := Record(500, 1), Record(500, 1), Record(500, 2)
	if !bytes.Equal(one, again) || bytes.Equal(one, other) {
		t.Error("records do not follow their seed")
	}
}

func TestCPUTime(t *testing.T) {
	const line = "12 (a (strange) name) S 1 12 12 0 -1 4194560 100 0 0 0 150 75 9 8 20 0 1 0 5 1000 200"
	got, err := parseStat([]byte(line))
	if want := (stat{"1", 2250 * time.Millisecond, 170 * time.Millisecond}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "12 (x) S 1 2", "12 (x) S 1 12 12 0 -1 4194560 100 0 0 0 a b 9 8"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

// onLinux skips where there is no /proc.
func onLinux(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc here")
	}
}

func TestFindServer(t *testing.T) {
	onLinux(t)
	socket := filepath.Join(t.TempDir(), "socket")
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": socket} {
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		pid, err := FindServer(l.Addr().String())
		if err != nil || pid != os.Getpid() {
			t.Errorf("%s: process %d, %v; want %d", network, pid, err, os.Getpid())
		}
		l.Close()
		if _, err := FindServer(l.Addr().String()); !errors.Is(err, ErrNoProcess) {
			t.Errorf("%s: error %v after it was closed", network, err)
		}
	}
	if _, err := FindServer("192.0.2.1:80"); !errors.Is(err, ErrNoProcess) {
		t.Errorf("another machine: %v", err)
	}
}

func TestProcess(t *testing.T) {
	onLinux(t)
	if _, err := CPUTime(os.Getpid()); err != nil {
		t.Error(err)
	}
	now, peak, err := Memory(os.Getpid())
	if err != nil || now <= 0 || peak < now/2 {
		t.Errorf("memory %d, at most %d, %v", now, peak, err)
	}
	for _, f := range []func() error{
		func() error { _, err := CPUTime(-1); return err },
		func() error { _, err := FamilyCPUTime(-1); return err },
		func() error { _, _, err := Memory(-1); return err },
	} {
		if err := f(); !errors.Is(err, ErrNoProcess) {
			t.Errorf("error %v for no process", err)
		}
	}
}

func TestCheck(t *testing.T) {
	good := Defaults()
	if err := good.Check(); err != nil {
		t.Fatalf("the defaults are refused: %v", err)
	}
	for name, spoil := range map[string]func(*Options){
		"--address":     func(o *Options) { o.Address = "nowhere" },
		"--codec":       func(o *Options) { o.Codec = 'X' },
		"--pick":        func(o *Options) { o.Pick = "none" },
		"--duration":    func(o *Options) { o.Duration = 0 },
		"--warmup":      func(o *Options) { o.Warmup = -1 },
		"--connections": func(o *Options) { o.Connections = 0 },
		"--in-flight":   func(o *Options) { o.InFlight = maxInFlight + 1 },
		"--objects":     func(o *Options) { o.Objects = -1 },
		"--size":        func(o *Options) { o.Size = MinSize - 1 },
		"--conflicts":   func(o *Options) { o.Conflicts = 1.1 },
		"--writes":      func(o *Options) { o.Writes = -0.1 },
	} {
		o := Defaults()
		spoil(&o)
		_, err := Run(t.Context(), Load, o)
		usage, ok := errors.AsType[*UsageError](err)
		if !ok || !strings.Contains(usage.Error(), name) {
			t.Errorf("%s: error %v, want a UsageError that names it", name, err)
		}
	}
	if _, err := Run(t.Context(), "nonsense", good); err == nil {
		t.Error("a workload that does not exist is no error")
	}
}
