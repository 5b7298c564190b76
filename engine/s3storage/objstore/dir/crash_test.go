package dir

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/internal/vfs"
)

// life puts, replaces and deletes objects until the power fails. It returns, for
// each key, what may be found afterwards: the last that was acknowledged, and what was
// on its way. "" stands for no object.
func life(s *Store) map[string][]string {
	found := make(map[string][]string)
	for i := range 12 {
		key := fmt.Sprintf("log/%d/%04d", i%3, i)
		body := fmt.Sprintf("%d: %0*d", i, 700*i, 0) // over sectors
		found[key] = []string{"", body}
		if _, err := s.Put(context.Background(), key, []byte(body), objstore.IfAbsent); err != nil {
			return found
		}
		found[key] = []string{body}

		hint := fmt.Sprintf("hint %d", i)
		found["hint"] = append(found["hint"], hint)
		if i == 0 {
			found["hint"] = []string{"", hint}
		}
		if _, err := s.Put(context.Background(), "hint", []byte(hint), objstore.Always); err != nil {
			return found
		}
		found["hint"] = []string{hint}

		if i >= 3 {
			old := fmt.Sprintf("log/%d/%04d", i%3, i-3)
			found[old] = append(found[old], "")
			if err := s.Delete(context.Background(), old); err != nil {
				return found
			}
			found[old] = []string{""}
		}
	}
	return found
}

// TestPowerLoss cuts the power at every operation on the file system.
func TestPowerLoss(t *testing.T) {
	for _, mode := range []vfs.CrashMode{vfs.Worst, vfs.Ordered} {
		whole := vfs.Crash(nil, mode, 0)
		s, err := OpenFS(whole, "/db")
		if err != nil {
			t.Fatal(err)
		}
		life(s)
		step, seeds := 1, uint64(2)
		if testing.Short() {
			step, seeds = 3, 1
		}
		for op := 1; op <= whole.Ops()+1; op += step {
			for seed := range seeds {
				powerLoss(t, mode, op, seed)
			}
		}
	}
}

func powerLoss(t *testing.T, mode vfs.CrashMode, op int, seed uint64) {
	t.Helper()
	crash := vfs.Crash(nil, mode, seed)
	crash.CutPowerAt(op)
	found := make(map[string][]string)
	if s, err := OpenFS(crash, "/db"); err == nil {
		found = life(s)
	}
	crash.CutPower()

	s, err := OpenFS(crash.CrashClone(seed), "/db")
	if err != nil {
		t.Fatalf("%v, op %d, seed %d: %v", mode, op, seed, err)
	}
	for _, key := range slices.Sorted(maps.Keys(found)) {
		data, _, err := objstore.Read(context.Background(), s, key, objstore.Range{})
		if err != nil && !errors.Is(err, objstore.ErrNotExist) {
			t.Fatalf("%v, op %d, seed %d: %v", mode, op, seed, err)
		}
		if !slices.Contains(found[key], string(data)) {
			t.Fatalf("%v, op %d, seed %d: %s is %.60q, may be %.60q", mode, op, seed, key, data, found[key])
		}
	}
}

// TestFailedSyncEndsTheStore: what a failed sync of a folder leaves cannot be known, and
// must not be found by who reads back whether his object is there.
func TestFailedSyncEndsTheStore(t *testing.T) {
	faults := vfs.Fault(vfs.Mem(), 0)
	s, err := OpenFS(faults, "/db")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "log/1", nil, objstore.IfAbsent); err != nil {
		t.Fatal(err)
	}
	faults.SetRules(vfs.Rule{Ops: vfs.OpSyncDir, Times: 1})
	if _, err := s.Put(t.Context(), "log/2", nil, objstore.IfAbsent); err == nil || errors.Is(err, objstore.ErrExists) {
		t.Fatalf("Put: %v", err)
	}
	if _, err := s.Get(t.Context(), "log/2", objstore.Range{}); err == nil || errors.Is(err, objstore.ErrNotExist) {
		t.Fatalf("Get after it: %v", err)
	}
}

// TestFaults lets every operation on the file system fail once. What was acknowledged is
// there, and nothing is there in part.
func TestFaults(t *testing.T) {
	for from := range 400 {
		if testing.Short() && from%10 != 0 {
			continue
		}
		mem := vfs.Mem()
		faults := vfs.Fault(mem, uint64(from), vfs.Rule{From: from, Times: 1, Short: true})
		s, err := OpenFS(faults, "/db")
		if err != nil {
			continue
		}
		found := life(s)
		s, err = OpenFS(mem, "/db")
		if err != nil {
			t.Fatal(err)
		}
		for key, may := range found {
			data, _, err := objstore.Read(t.Context(), s, key, objstore.Range{})
			if err != nil && !errors.Is(err, objstore.ErrNotExist) || !slices.Contains(may, string(data)) {
				t.Fatalf("fault %d: %s is %.60q, may be %.60q, %v", from, key, data, may, err)
			}
		}
	}
}

func yesterday() time.Time { return time.Now().Add(-tmpAge - time.Minute) }

func TestLeftoversAreSwept(t *testing.T) {
	root := t.TempDir()
	if _, err := Open(root); err != nil {
		t.Fatal(err)
	}
	old, fresh := filepath.Join(root, tmpDir, "old"), filepath.Join(root, tmpDir, "fresh")
	for _, name := range []string{old, fresh} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	day := yesterday()
	if err := os.Chtimes(old, day, day); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(root); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Error("what a killed process left is still there")
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Error(err)
	}
}

func TestRemovedFolderIsMadeAgain(t *testing.T) {
	root := t.TempDir()
	s, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := s.Put(t.Context(), "a/b/c", []byte("x"), objstore.IfAbsent); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(root, "a")); err != nil {
			t.Fatal(err)
		}
	}
}
