package interop

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	zaricheck "github.com/zaridb/zari/check"
)

// zariJSON runs the binary, and returns what it prints, the summary left out.
func zariJSON[T any](t *testing.T, status int, args ...string) []T {
	t.Helper()
	out, err := exec.Command(setup.zari, append(args, "--json")...).Output()
	if e, ok := errors.AsType[*exec.ExitError](err); (err != nil && !ok) || (ok && e.ExitCode() != status) || (err == nil && status != 0) {
		t.Fatalf("zari %v: %v, want exit status %d\n%s", args, err, status, out)
	}
	var list []T
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, `{"summary"`) {
			continue
		}
		var v T
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		list = append(list, v)
	}
	return list
}

func needZari(t *testing.T) {
	t.Helper()
	needPython(t)
	if setup.zari == "" {
		t.Skip("this is about zari, and another server is tested")
	}
}

// TestCheckAsFsrefs plants missing objects and undone creations in a database that
// Python made, and compares what is found with fsrefs.
func TestCheckAsFsrefs(t *testing.T) {
	needPython(t)
	needZari(t)
	dir := t.TempDir()
	runPython(t, "realdata/sample_site.py", dir)
	for seed := range 3 {
		planted := filepath.Join(dir, fmt.Sprintf("planted%d.fs", seed))
		runPython(t, "fscheck.py", "plant", filepath.Join(dir, "Data.fs"), planted, strconv.Itoa(seed))
		want := strings.Split(strings.TrimSpace(string(runPython(t, "fscheck.py", "fsrefs", planted))), "\n")
		var got []string
		// The trees are broken where buckets are missing, and say no more than that.
		for _, p := range zariJSON[zaricheck.Problem](t, 1, "check", "--only", "structure,index,references", planted) {
			reason := map[zaricheck.Kind]string{zaricheck.KindMissing: "missing", zaricheck.KindDeleted: "object creation was undone"}[p.Kind]
			if reason == "" {
				t.Errorf("a false alarm: %v", &p)
				continue
			}
			got = append(got, fmt.Sprintf("%s %s %s", decimal(t, p.Object.OID), decimal(t, p.Target.OID), reason))
			if !p.Warning && len(p.Path) == 0 {
				t.Errorf("no path: %v", &p)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if d := cmp.Diff(slices.Compact(want), got); d != "" {
			t.Errorf("seed %d: Python -, Zari +: %s", seed, d)
		}
		if len(got) < 10 {
			t.Errorf("seed %d: only %d broken references", seed, len(got))
		}
	}
}

func decimal(t *testing.T, oid string) string {
	t.Helper()
	n, err := strconv.ParseUint(oid, 0, 64)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.FormatUint(n, 10)
}

// TestCheckAsFstest damages a file at random: whatever fstest finds, check does.
func TestCheckAsFstest(t *testing.T) {
	needPython(t)
	needZari(t)
	dir := t.TempDir()
	runPython(t, "realdata/sample_site.py", dir)
	data, err := os.ReadFile(filepath.Join(dir, "Data.fs"))
	if err != nil {
		t.Fatal(err)
	}
	data = data[:min(len(data), 400_000)]
	rand := rand.New(rand.NewPCG(1, 2))
	files := []string{}
	for i := range 60 {
		bad := slices.Clone(data)
		bad[rand.IntN(len(bad))] ^= byte(1 + rand.IntN(255))
		name := filepath.Join(dir, fmt.Sprintf("%d.fs", i))
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, name)
	}
	verdicts := strings.Fields(string(runPython(t, append([]string{"fscheck.py", "fstest"}, files...)...)))
	found := 0
	for i, verdict := range verdicts {
		f, err := zaricheck.OpenFile(files[i])
		if err != nil {
			t.Fatal(err)
		}
		r := &zaricheck.Report{}
		if err := f.Walk(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if verdict == "bad" {
			found++
			if r.Errors()+r.Warnings() == 0 {
				t.Errorf("fstest finds something wrong in %s, and check does not", files[i])
			}
		}
	}
	if len(verdicts) != len(files) || found < 10 {
		t.Errorf("fstest has %d verdicts, %d of them bad", len(verdicts), found)
	}
}

// TestGarbage compares zari gc with a plain search in Python, and with zc.zodbdgc if
// that is there, on databases that refer to each other.
func TestGarbage(t *testing.T) {
	needPython(t)
	needZari(t)
	collector := exec.Command(setup.python, "-c", "import zc.zodbdgc").Run() == nil
	if !collector {
		t.Log("without zc.zodbdgc: only the model is compared with")
	}
	for seed := range 3 {
		dir := filepath.Join(t.TempDir(), "gc")
		runPython(t, "garbage.py", "make", dir, strconv.Itoa(seed))
		conf := filepath.Join(dir, "zodb.conf")
		gc := func(args ...string) []string {
			var list []string
			for _, o := range zariJSON[zaricheck.Object](t, 0, append([]string{"gc", "-C", conf, "--days", "0"}, args...)...) {
				list = append(list, o.Database+" "+o.OID)
			}
			return list
		}
		before := gc("--dry-run")
		if d := cmp.Diff(garbageOf(t, "model", dir), sorted(before)); d != "" {
			t.Errorf("seed %d: model -, Zari +: %s", seed, d)
		}
		if len(before) < 20 {
			t.Errorf("seed %d: only %d objects of garbage", seed, len(before))
		}
		if recent := zariJSON[zaricheck.Object](t, 0, "gc", "-C", conf); len(recent) > 0 {
			t.Errorf("seed %d: what was written today is deleted: %v", seed, recent)
		}
		if d := cmp.Diff(before, gc()); d != "" {
			t.Errorf("seed %d: dry run -, deleted +: %s", seed, d)
		}
		if again := gc(); len(again) > 0 {
			t.Errorf("seed %d: deleted again: %v", seed, again)
		}
		if rest := garbageOf(t, "model", dir); len(rest) > 0 {
			t.Errorf("seed %d: Python still sees %v", seed, rest)
		}
		if wrong := zariJSON[zaricheck.Problem](t, 0, "check", "-C", conf); len(wrong) > 0 {
			t.Errorf("seed %d: afterwards: %v", seed, wrong)
		}
		if collector {
			other := filepath.Join(t.TempDir(), "gc")
			runPython(t, "garbage.py", "make", other, strconv.Itoa(seed))
			if d := cmp.Diff(garbageOf(t, "zodbdgc", other), sorted(before)); d != "" {
				t.Errorf("seed %d: zc.zodbdgc -, Zari +: %s", seed, d)
			}
		}
	}
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

func garbageOf(t *testing.T, how, dir string) []string {
	t.Helper()
	var list []string
	for line := range strings.Lines(string(runPython(t, "garbage.py", how, dir))) {
		name, oid, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseUint(oid, 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%s 0x%02x", name, n))
	}
	return sorted(list)
}
