package storagetest

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/zaridb/zari/zodb"
)

// recorded runs one test of the suite on a harness.
func recorded(t *testing.T, h Harness, name string) *recorder {
	t.Helper()
	g, tt, ok := find(name)
	if !ok {
		t.Fatalf("there is no test %q", name)
	}
	return record(t, name, func(tb testing.TB) { runKnown(tb, h.withDefaults(), g, tt) })
}

// A known bug is skipped as long as its test fails, and is an error once it
// passes.
func TestKnownBugs(t *testing.T) {
	h := harness()
	h.Bugs = map[string]string{"basic/Empty": "somewhere"}
	if r := recorded(t, h, "basic/Empty"); !r.Failed() || !strings.Contains(r.output(), "somewhere") {
		t.Errorf("a bug that is no more: failed %v, %s", r.Failed(), r.output())
	}
	inner := h.New
	h.New = func(t testing.TB) zodb.Storage {
		return &hooked{Storage: inner(t), lastTID: func() zodb.TID { return 7 }}
	}
	if r := recorded(t, h, "basic/Empty"); r.Failed() || !r.Skipped() || !strings.Contains(r.output(), "somewhere") {
		t.Errorf("a bug that is there: failed %v, skipped %v, %s", r.Failed(), r.Skipped(), r.output())
	}
	h.Caps = Without(h.Caps, CapUndoer)
	h.New = func(t testing.TB) zodb.Storage {
		return &hooked{Storage: inner(t), ability: func(target any) (found, answered bool) {
			_, answered = target.(*zodb.Undoer)
			return false, answered
		}}
	}
	h.Bugs = map[string]string{"undo/Simple": "somewhere"}
	if r := recorded(t, h, "undo/Simple"); !r.Failed() {
		t.Errorf("a bug of a test that is skipped: %s", r.output())
	}
	h.Bugs = map[string]string{"undo/Simpel": "somewhere"}
	r := record(t, "bugs", func(tb testing.TB) { checkNames(tb, h) })
	if !r.Failed() {
		t.Error("a bug of a test that does not exist passes")
	}
	h.Bugs, h.Cannot = nil, map[string]string{"basic/Empty": "it is never empty", "basic/Emtpy": "likewise"}
	if r := recorded(t, h, "basic/Empty"); r.Failed() || !r.Skipped() || !strings.Contains(r.output(), "it is never empty") {
		t.Errorf("what cannot be: failed %v, skipped %v, %s", r.Failed(), r.Skipped(), r.output())
	}
	if r := record(t, "cannot", func(tb testing.TB) { checkNames(tb, h) }); !r.Failed() {
		t.Error("a test that does not exist and cannot pass passes")
	}
}

// What is missing in the storage or the harness is skipped by name.
func TestSkips(t *testing.T) {
	h := harness()
	h.Reopen, h.Crash, h.Merge, h.Over, h.ReadOnly = nil, nil, nil, nil, nil
	for name, missing := range map[string]string{
		"persist/Updates": "Reopen", "crash/Busy": "Crash", "conflict/Resolved": "Merge", "fault/Loads": "Over",
		"readonly/Writes": "ReadOnly", "peer/Sync": string(CapSyncer),
	} {
		if r := recorded(t, h, name); r.Failed() || !r.Skipped() || !strings.Contains(r.output(), missing) {
			t.Errorf("%s: failed %v, skipped %v, %s", name, r.Failed(), r.Skipped(), r.output())
		}
	}
}

// Goroutines that a storage leaves behind are found.
func TestLeaks(t *testing.T) {
	h := harness()
	inner := h.New
	end := make(chan struct{})
	defer close(end)
	h.New = func(t testing.TB) zodb.Storage {
		go func() { <-end }()
		return inner(t)
	}
	if r := recorded(t, h, "basic/Empty"); !r.Failed() || !strings.Contains(r.output(), "unexpected goroutines") {
		t.Errorf("a leaked goroutine: failed %v, %s", r.Failed(), r.output())
	}
}

// Names are unique, and groups come in the order of the documentation.
func TestNames(t *testing.T) {
	seen := make(map[string]bool)
	for _, g := range groups {
		if len(g.tests) == 0 {
			t.Errorf("group %s is empty", g.name)
		}
		for _, tt := range g.tests {
			if name := g.name + "/" + tt.name; seen[name] {
				t.Errorf("%s is there twice", name)
			} else {
				seen[name] = true
			}
			for _, c := range append(slices.Clone(g.needs), tt.needs...) {
				if !slices.Contains(allCaps, c) {
					t.Errorf("%s/%s needs %q, which is no ability", g.name, tt.name, c)
				}
			}
		}
	}
}

// Every test that needs nothing else fails if the storage can do nothing at all:
// there is none that passes without looking.
func TestNoIdleTests(t *testing.T) {
	h := harness()
	inner := h.New
	h.New = func(t testing.TB) zodb.Storage {
		return &hooked{Storage: inner(t), load: func(_ context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
			return zodb.Record{Data: []byte("wrong"), Serial: 3, Next: 2}, nil
		}}
	}
	for _, name := range []string{"basic", "revision", "undo", "delete", "restore", "threads", "race", "conflict"} {
		i := slices.IndexFunc(groups, func(g group) bool { return g.name == name })
		for _, tt := range groups[i].tests {
			full := name + "/" + tt.name
			if r := recorded(t, h, full); !r.Failed() {
				t.Errorf("%s passes although every load is wrong (skipped: %v)", full, r.Skipped())
			}
		}
	}
}

func TestRecorder(t *testing.T) {
	var order []string
	var dir string
	r := record(t, "name", func(tb testing.TB) {
		tb.Cleanup(func() { order = append(order, "first"); tb.Fatal("in a cleanup") })
		tb.Cleanup(func() { order = append(order, "second") })
		dir = tb.TempDir()
		if tb.Name() != "name" || tb.Context().Err() != nil {
			t.Errorf("name %q, context %v", tb.Name(), tb.Context().Err())
		}
		tb.Cleanup(func() {
			if tb.Context().Err() == nil {
				t.Error("the context outlives the function")
			}
		})
		panic("whatever")
	})
	if !r.Failed() || r.Skipped() || !strings.Contains(r.output(), "whatever") || !strings.Contains(r.output(), "in a cleanup") {
		t.Errorf("failed %v, skipped %v:\n%s", r.Failed(), r.Skipped(), r.output())
	}
	equal(t, "cleanups", order, []string{"second", "first"})
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("the temporary directory is still there")
	}
	passed := record(t, "name", func(tb testing.TB) { tb.Log("well") })
	skipped := record(t, "name", func(tb testing.TB) { tb.Skip("why") })
	if passed.Failed() || passed.Skipped() || skipped.Failed() || !skipped.Skipped() {
		t.Errorf("passed: %v, %v; skipped: %v, %v", passed.Failed(), passed.Skipped(), skipped.Failed(), skipped.Skipped())
	}
}

// Records are what they say: two pickles whose references lie where they should.
func TestObject(t *testing.T) {
	for _, value := range []int{0, 1, 12345} {
		equal(t, "value of Object", valueOf(Object(value, 1, 2)), value)
		equal(t, "value of ObjectOf", valueOf(ObjectOf(value, 100)), value)
	}
	equal(t, "value of anything else", valueOf([]byte("X")), -1)
	if n := len(ObjectOf(1, 1000)) - len(ObjectOf(1, 0)); n != 1000 {
		t.Errorf("a payload of 1000 takes %d bytes", n)
	}
}
