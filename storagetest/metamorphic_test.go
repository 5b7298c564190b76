package storagetest

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/zaridb/zari/storagetest/faulty"
	"github.com/zaridb/zari/zodb"
)

// twoStores are two harnesses whose histories must be equal.
func twoStores() map[string]Harness {
	plain, wrapped := harness(), harness()
	inner := wrapped.New
	wrapped.New = func(t testing.TB) zodb.Storage { return faulty.New().Wrap(inner(t)) }
	wrapped.Reopen = nil
	return map[string]Harness{"plain": plain, "wrapped": wrapped}
}

func TestMetamorphic(t *testing.T) {
	reopening := map[string]Harness{"one": harness(), "other": harness()}
	for seed := range uint64(15) {
		Metamorphic(t, seed+1, twoStores())
		Metamorphic(t, seed+1, reopening)
	}
}

// A storage that loses the merge of a conflict is found out, and the sequence
// that shows it is shrunk to a few steps.
func TestMetamorphicShrinks(t *testing.T) {
	hs := twoStores()
	h := hs["wrapped"]
	inner := h.New
	h.New = func(t testing.TB) zodb.Storage { return losesMerges(inner(t)) }
	hs["wrapped"] = h
	var path string
	r := record(t, t.Name(), func(tb testing.TB) {
		path = filepath.Join(tb.ArtifactDir(), "metamorphic-3.json")
		metamorphic(tb, 3, hs)
	})
	if !r.Failed() {
		t.Fatalf("the bug is not noticed:\n%s", r.output())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("the sequence is not written: %v", err)
	}
	var steps []step
	if err := json.Unmarshal(data, &steps); err != nil {
		t.Fatal(err)
	}
	if len(steps) > 10 {
		t.Errorf("the sequence still has %d steps", len(steps))
	}
	t.Logf("shrunk to %v", steps)
	if problem := compare(t, steps, hs); problem == "" {
		t.Error("the shrunk sequence does not show the bug")
	}
	if problem := compare(t, steps, twoStores()); problem != "" {
		t.Errorf("the shrunk sequence fails with whole storages: %s", problem)
	}
}

func losesMerges(s zodb.Storage) zodb.Storage {
	return txns(func(_ zodb.Storage, t *hookedTxn) {
		conflicted := false
		t.vote = func(ctx context.Context) (zodb.Votes, error) {
			votes, err := t.Txn.Vote(ctx)
			conflicted = len(votes.Conflicts) > 0
			return votes, err
		}
		t.store = func(ctx context.Context, oid zodb.OID, serial zodb.TID, data []byte) error {
			if conflicted {
				data = Object(12345)
			}
			return t.Txn.Store(ctx, oid, serial, data)
		}
	})(s)
}

// A seed means the same sequence every time, and another seed another one.
func TestGenerate(t *testing.T) {
	ops := operations(twoStores())
	one := generate(1, ops)
	equal(t, "steps of the same seed", generate(1, ops), one)
	if slices.Equal(generate(2, ops), one) {
		t.Error("two seeds make the same steps")
	}
	used := make(map[string]bool)
	for seed := range uint64(20) {
		for _, s := range generate(seed, ops) {
			used[s.Op] = true
		}
	}
	for _, op := range ops {
		if !used[op] {
			t.Errorf("no sequence has %q", op)
		}
	}
}

func TestShrink(t *testing.T) {
	steps := generate(1, operations(twoStores()))
	steps = slices.Insert(steps, 11, step{"needed", 50, 60, 7})
	steps = slices.Insert(steps, 3, step{"too", 5, 6, 7})
	got := shrink(steps, time.Now().Add(shrinkTime), func(steps []step) bool {
		i := slices.IndexFunc(steps, func(s step) bool { return s.Op == "too" })
		j := slices.IndexFunc(steps, func(s step) bool { return s.Op == "needed" && s.B > 10 })
		return i >= 0 && i < j
	})
	equal(t, "what remains", got, []step{{"too", 0, 0, 0}, {"needed", 0, 15, 0}})
}

// Every operation that a harness may be asked for is known to the player, and a
// written sequence runs again.
func TestReplay(t *testing.T) {
	var steps []step
	for i, op := range operations(map[string]Harness{"one": harness()}) {
		steps = append(steps, step{op, i, 3 * i, 7 * i}, step{op, 5 * i, i, i})
	}
	path := filepath.Join(t.TempDir(), "steps.json")
	if err := writeSteps(path, steps); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		t.Fatalf("the file of steps: %v, %v", info, err)
	}
	Replay(t, path, map[string]Harness{"one": harness(), "other": harness()})
}
