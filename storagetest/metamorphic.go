package storagetest

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// step is one operation of a generated sequence. Its numbers mean something in
// any state of a storage, so that steps can be left out of a sequence at will.
type step struct {
	Op      string
	A, B, C int
}

const (
	stepsPerSequence = 60               // at most
	shrinkTime       = 20 * time.Second // for one failure
)

// Metamorphic runs one sequence of operations, made from seed, on a storage of
// each harness: stores, conflicts with and without a merge, checks, and, where all
// of them can, undos, deletions, restores, packs without garbage collection, and
// reopening. What the operations answer, and the histories that come of them, must
// be equal; tids are compared by their order.
//
// A sequence that fails is shrunk, and written to the test's artifact directory,
// from where [Replay] runs it again.
func Metamorphic(t *testing.T, seed uint64, hs map[string]Harness) {
	t.Helper()
	metamorphic(t, seed, hs)
}

func metamorphic(t testing.TB, seed uint64, hs map[string]Harness) {
	t.Helper()
	steps := generate(seed, operations(hs))
	if compare(t, steps, hs) == "" {
		return
	}
	steps = shrink(steps, time.Now().Add(shrinkTime), func(steps []step) bool { return compare(t, steps, hs) != "" })
	path := filepath.Join(t.ArtifactDir(), fmt.Sprintf("metamorphic-%d.json", seed))
	if err := writeSteps(path, steps); err != nil {
		t.Error(err)
	}
	problem := compare(t, steps, hs)
	if problem == "" {
		problem = "(the last run did not fail: this depends on more than the steps)"
	}
	t.Fatalf("seed %d, %d steps (in %s):\n%s", seed, len(steps), path, problem)
}

// generate makes a sequence of the operations.
func generate(seed uint64, ops []string) []step {
	n := rapid.IntRange(0, 99)
	one := rapid.Custom(func(t *rapid.T) step {
		return step{rapid.SampledFrom(ops).Draw(t, "op"), n.Draw(t, "a"), n.Draw(t, "b"), n.Draw(t, "c")}
	})
	return rapid.SliceOfN(one, stepsPerSequence/2, stepsPerSequence).Example(int(seed))
}

// shrink leaves steps out, fewer and fewer at a time, and then makes their numbers
// smaller, as long as what remains fails.
func shrink(steps []step, deadline time.Time, fails func([]step) bool) []step {
	for size := len(steps) / 2; size > 0; size /= 2 {
		for i := 0; i+size <= len(steps) && time.Now().Before(deadline); {
			if less := slices.Delete(slices.Clone(steps), i, i+size); fails(less) {
				steps = less
			} else {
				i += size
			}
		}
	}
	for i := range steps {
		for _, field := range []func(*step) *int{
			func(s *step) *int { return &s.A }, func(s *step) *int { return &s.B }, func(s *step) *int { return &s.C },
		} {
			for try := 0; try < *field(&steps[i]) && time.Now().Before(deadline); try = 2*try + 1 {
				less := slices.Clone(steps)
				*field(&less[i]) = try
				if fails(less) {
					steps = less
				}
			}
		}
	}
	return steps
}

// Replay runs a sequence that Metamorphic wrote.
func Replay(t *testing.T, path string, hs map[string]Harness) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var steps []step
	if err := json.Unmarshal(data, &steps); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if problem := compare(t, steps, hs); problem != "" {
		t.Fatalf("%s, %d steps:\n%s", path, len(steps), problem)
	}
}

func writeSteps(path string, steps []step) error {
	data, err := json.MarshalIndent(steps, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// operations returns the operations that all storages have, the common ones
// several times.
func operations(hs map[string]Harness) []string {
	ops := []string{"store", "store", "store", "store", "pair", "pair", "stale", "stale", "check", "abort"}
	for op, need := range map[string]Cap{
		"undo": CapUndoer, "delete": CapDeleter, "restore": CapRestorer, "pack": CapPacker,
	} {
		if everyHas(hs, need) {
			ops = append(ops, op)
		}
	}
	if !slices.ContainsFunc(slices.Collect(maps.Values(hs)), func(h Harness) bool { return h.Reopen == nil }) {
		ops = append(ops, "reopen")
	}
	slices.Sort(ops) // the map's order must not decide what a seed means
	return ops
}

func everyHas(hs map[string]Harness, c Cap) bool {
	for _, h := range hs {
		if !slices.Contains(h.Caps, c) {
			return false
		}
	}
	return true
}

// compare runs the steps on a storage of each harness, and says how they differ.
func compare(t testing.TB, steps []step, hs map[string]Harness) string {
	t.Helper()
	names := slices.Sorted(maps.Keys(hs))
	var first []string
	for i, name := range names {
		transcript, problem := transcribe(t, steps, hs, name)
		if problem != "" {
			return fmt.Sprintf("%s:\n%s", name, problem)
		}
		if i == 0 {
			first = transcript
			continue
		}
		if diff := difference(first, transcript); diff != "" {
			return fmt.Sprintf("-%s +%s:\n%s", names[0], name, diff)
		}
	}
	return ""
}

// transcribe runs the steps on one storage and returns what there was to see.
func transcribe(t testing.TB, steps []step, hs map[string]Harness, name string) (transcript []string, problem string) {
	h := hs[name].withDefaults()
	r := record(t, t.Name()+"/"+name, func(tb testing.TB) {
		p := &player{T: newT(tb, h), hs: hs}
		p.own(h.New(p))
		for i, s := range steps {
			p.log = append(p.log, fmt.Sprintf("%d %s(%d, %d, %d): %s", i, s.Op, s.A, s.B, s.C, p.play(s)))
		}
		p.describe()
		p.auditAll()
		transcript = p.log
	})
	if r.Failed() {
		return nil, strings.TrimSpace(r.output())
	}
	return transcript, ""
}
