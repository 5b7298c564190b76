package bench_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/bench"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// quick returns options for a short run against the server.
func quick(f *fake) bench.Options {
	o := bench.Defaults()
	o.Address = f.address
	o.Connections, o.InFlight, o.Objects, o.Size = 3, 4, 50, 200
	o.Duration, o.Warmup = 300*time.Millisecond, 10*time.Millisecond
	o.PID = os.Getpid() // the server is this process
	return o
}

func run(t *testing.T, w bench.Workload, o bench.Options) *bench.Result {
	t.Helper()
	res, err := bench.Run(t.Context(), w, o)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// clean fails the test if there were errors, or nothing was done.
func clean(t *testing.T, res *bench.Result, names ...string) {
	t.Helper()
	if res.Errors > 0 || res.Err() != nil {
		t.Errorf("%d errors: %v", res.Errors, res.Messages)
	}
	for _, name := range names {
		m := res.Measure(name)
		if m.Operations == 0 || m.Rate == 0 || m.Seconds == 0 {
			t.Errorf("%s: nothing was measured: %+v", name, m)
		}
		l := m.Latency
		if !slices.IsSorted([]float64{l.Min, l.P50, l.P90, l.P99, l.P999, l.Max}) || l.Min <= 0 {
			t.Errorf("%s: strange latencies: %+v", name, l)
		}
	}
	if res.Server == nil || res.Server.PID != os.Getpid() || res.Server.Memory == 0 {
		t.Errorf("nothing is known of the server: %+v", res.Server)
	}
}

func TestLoad(t *testing.T) {
	for _, codec := range []wire.Codec{wire.Pickle, wire.Msgpack} {
		for _, pick := range bench.Picks() {
			t.Run(codec.String()+"/"+string(pick), func(t *testing.T) {
				f := startFake(t, &fake{reverse: true})
				f.put(7, 50)
				o := quick(f)
				o.Codec, o.Pick, o.FirstOID, o.HotSet = codec, pick, 7, 5
				res := run(t, bench.Load, o)
				clean(t, res, "load")
				if res.Missing > 0 {
					t.Errorf("%d objects are missing of those that are there", res.Missing)
				}
				f.mu.Lock() // the server may still answer
				defer f.mu.Unlock()
				if want := map[zodb.TID]bool{f.last + 1: true}; !cmp.Equal(f.befores, want) {
					t.Errorf("loads asked for tids %v, want %v", f.befores, want)
				}
			})
		}
	}
}

func TestLoadOverAUnixSocket(t *testing.T) {
	f := startFake(t, &fake{}, "unix")
	f.put(1, 50)
	clean(t, run(t, bench.Load, quick(f)), "load")
}

func TestMissingObjectsAreNoErrors(t *testing.T) {
	f := startFake(t, &fake{})
	f.put(1, 25) // of 50
	res := run(t, bench.Load, quick(f))
	clean(t, res, "load")
	if res.Missing == 0 {
		t.Error("none was missing, though half of them are")
	}
}

func TestCommit(t *testing.T) {
	f := startFake(t, &fake{})
	f.put(1, 10)
	o := quick(f)
	o.PerTxn = 3
	res := run(t, bench.Commit, o)
	clean(t, res, "commit")
	if res.Conflicts > 0 {
		t.Errorf("%d conflicts between connections that share nothing", res.Conflicts)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for oid := range zodb.OID(10) {
		if oid > 0 && f.sizes[oid] != 100 {
			t.Errorf("object %v was there before and is changed", oid)
		}
	}
	for oid, size := range f.sizes {
		if oid > 10 && size != o.Size {
			t.Errorf("object %v has %d bytes, want %d", oid, size, o.Size)
		}
	}
}

func TestConflictsOnPurpose(t *testing.T) {
	for _, asDicts := range []bool{false, true} {
		f := startFake(t, &fake{asDicts: asDicts})
		o := quick(f)
		o.Conflicts = 0.5
		res := run(t, bench.Commit, o)
		clean(t, res, "commit")
		// Of so many, half with a chance of one in two: none or all is no chance.
		if res.Conflicts == 0 || res.Measure("commit").Operations == 0 {
			t.Errorf("asDicts %v: %d conflicts and %d commits", asDicts, res.Conflicts, res.Measure("commit").Operations)
		}
	}
}

func TestMixed(t *testing.T) {
	for _, asDicts := range []bool{false, true} {
		f := startFake(t, &fake{asDicts: asDicts})
		o := quick(f)
		o.Objects, o.Writes = 20, 0.3
		res := run(t, bench.Mixed, o)
		clean(t, res, "load", "commit")
		f.mu.Lock()
		befores := len(f.befores)
		f.mu.Unlock()
		if befores < 2 {
			t.Error("the view never moved, though there were commits")
		}
	}
}

func TestMixedWithMoreInACommitThanThereAre(t *testing.T) {
	o := quick(startFake(t, &fake{}))
	o.Objects, o.PerTxn = 3, 4
	_, err := bench.Run(t.Context(), bench.Mixed, o)
	if _, ok := errors.AsType[*bench.UsageError](err); !ok {
		t.Errorf("error %v, want a UsageError", err)
	}
}

func TestSlowVoter(t *testing.T) {
	f := startFake(t, &fake{})
	o := quick(f)
	o.Connections, o.Stall, o.Duration = 1, 5*time.Millisecond, time.Second
	res := run(t, bench.SlowVoter, o)
	clean(t, res, "commit-alone", "commit")
	if got := res.Measure("commit").Latency.Min; got >= 5000 {
		t.Errorf("the quickest commit took %v µs: the stalling client was counted", got)
	}
}

func TestFill(t *testing.T) {
	f := startFake(t, &fake{})
	o := quick(f)
	o.Objects, o.Batch, o.FirstOID = 1003, 10, 5
	res := run(t, bench.Fill, o)
	clean(t, res, "commit")
	if got := res.Measure("object").Operations; got != 1003 {
		t.Errorf("%d objects were counted, want 1003", got)
	}
	f.mu.Lock()
	if len(f.serials) != 1003 || f.serials[5] == 0 || f.serials[1007] == 0 {
		t.Errorf("%d objects are there, want 1003 from 5 on", len(f.serials))
	}
	f.mu.Unlock()
	again := run(t, bench.Fill, o)
	if !errors.Is(again.Err(), bench.ErrOperations) {
		t.Errorf("filling again: %v, want ErrOperations", again.Err())
	}
}

func TestWhatTheServerRefusesIsAnError(t *testing.T) {
	f := startFake(t, &fake{})
	o := quick(f)
	o.Duration = time.Minute // ends when the connections have
	go func() {
		// The connections break when all of them are made and at work.
		for broken := false; !broken; time.Sleep(time.Millisecond) {
			f.mu.Lock()
			if broken = f.last > 200; broken {
				for c := range f.conns {
					c.Close()
				}
			}
			f.mu.Unlock()
		}
	}()
	res := run(t, bench.Commit, o)
	if res.Errors != 3 || len(res.Messages) == 0 {
		t.Errorf("%d errors %q, want one for each lost connection", res.Errors, res.Messages)
	}
	f.mu.Lock()
	f.broken = true
	f.mu.Unlock()
	o.Duration = 50 * time.Millisecond
	if _, err := bench.Run(t.Context(), bench.Commit, o); err == nil || !strings.Contains(err.Error(), "on fire") {
		t.Errorf("error %v when not even the objects can be made", err)
	}
}

func TestNoServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	o := bench.Defaults()
	o.Address = l.Addr().String()
	if _, err := bench.Run(t.Context(), bench.Load, o); err == nil {
		t.Error("no error without a server")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := bench.Ready(ctx, o); err == nil {
		t.Error("a server that is not there is ready")
	}
}

func TestReady(t *testing.T) {
	if err := bench.Ready(t.Context(), quick(startFake(t, &fake{}))); err != nil {
		t.Error(err)
	}
}

func TestCancelledRunsTellWhatTheyKnow(t *testing.T) {
	f := startFake(t, &fake{})
	f.put(1, 50)
	o := quick(f)
	o.Duration, o.Warmup = time.Hour, 0
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	res, err := bench.Run(ctx, bench.Load, o)
	if err != nil {
		t.Fatal(err)
	}
	clean(t, res, "load")
}

// TestJSON holds the names of the JSON form still.
func TestJSON(t *testing.T) {
	f := startFake(t, &fake{})
	f.put(1, 50)
	b, err := json.Marshal(run(t, bench.Load, quick(f)))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"": {"address", "began", "codec", "conflicts", "connections", "cores", "errors", "in_flight", "measures",
			"messages", "missing", "objects", "per_commit", "pick", "seconds", "seed", "server", "size", "workload"},
		"measures":   {"latency_us", "name", "operations", "per_cpu_second", "rate", "seconds"},
		"latency_us": {"max", "mean", "min", "p50", "p90", "p99", "p999"},
		"server":     {"cpu_seconds", "memory", "peak_memory", "pid"},
	}
	measure := got["measures"].([]any)[0].(map[string]any)
	for name, object := range map[string]any{"": got, "measures": measure, "latency_us": measure["latency_us"], "server": got["server"]} {
		var keys []string
		for k := range object.(map[string]any) {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		if d := cmp.Diff(want[name], keys); d != "" {
			t.Errorf("keys of %q (-want +got):\n%s", name, d)
		}
	}
}

func TestTable(t *testing.T) {
	res := &bench.Result{
		Workload: bench.Commit, Address: "h:1", Codec: "pickle", Connections: 2, Seconds: 2, Conflicts: 3, Errors: 1,
		Messages: []string{"it broke"},
		Measures: []bench.Measure{{Name: "commit", Operations: 1000, Rate: 500, PerCPU: 1234.4,
			Latency: bench.Latency{Mean: 12, P50: 11.5, P90: 1500, P99: 2_000_000, P999: 3_000_000, Max: 3_000_000}}},
	}
	var b strings.Builder
	if err := res.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	want := `commit on h:1: 2 connections, pickle, 2.0 s
          operations  per second  per server CPU second  mean     p50    p90  p99  p99.9  max
  commit        1000         500                   1234  12µs  11.5µs  1.5ms   2s     3s   3s
server: its process was not found on this machine, so its CPU time is not known (--pid names it)
conflicts 3, missing objects 0, errors 1
error: it broke
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
