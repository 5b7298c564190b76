package model

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zaridb/zari/internal/planted"
	"github.com/zaridb/zari/zeo/wire"
)

// What the environment can change:
//
//	ZARI_OPS      how many frames to observe; the full number is 10000000
//	ZARI_SEED     the first seed
//	ZARI_CLIENTS  how many clients
//	ZARI_KILL     kill the server in every n-th window, 0 for never
//	ZARI_SERVER   a server to watch instead of zari: a command with {addr} and {file}
//	ZARI_PYTHON   a Python that has ZEO
const (
	ciFrames = 100_000 // 10 to 20 s
	maxSeeds = 5       // for each planted bug
)

// binaries builds zari, once for each set of tags.
var binaries sync.Map

type build struct {
	once sync.Once
	path string
	err  error
}

// zari returns the command that serves a Data.fs with zari, built with the tags.
func zari(t *testing.T, tags string) []string {
	t.Helper()
	if custom := os.Getenv("ZARI_SERVER"); custom != "" && tags == "" {
		return strings.Fields(custom)
	}
	v, _ := binaries.LoadOrStore(tags, &build{})
	b := v.(*build)
	b.once.Do(func() {
		dir, err := os.MkdirTemp("", "zari-model-")
		if err != nil {
			b.err = err
			return
		}
		b.path = filepath.Join(dir, "zari")
		cmd := exec.Command("go", "build", "-tags", tags, "-o", b.path, "github.com/zaridb/zari/cmd/zari")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if b.err != nil {
		t.Fatalf("building zari: %v", b.err)
	}
	return []string{b.path, "serve", "-a", "{addr}", "{file}"}
}

// TestMain removes the binaries.
func TestMain(m *testing.M) {
	code := m.Run()
	binaries.Range(func(_, v any) bool {
		if path := v.(*build).path; path != "" {
			_ = os.RemoveAll(filepath.Dir(path)) // nothing depends on it
		}
		return true
	})
	os.Exit(code)
}

// setting returns a number from the environment.
func setting(t *testing.T, name string, def int64) int64 {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return def
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// watch runs, and returns the report. Where the run fails, it shows the end of
// the server's log.
func watch(t *testing.T, cfg Config) (Report, error) {
	t.Helper()
	report, err := NewRunner(cfg).Run(t.Context())
	t.Logf("seed %d: %d frames, %d transactions, %d windows; %d facts skipped, %d successors beyond the view, tolerated %v; %v",
		report.Seed, report.Frames, report.Transactions, report.Windows, report.Skipped, report.Beyond, report.Tolerated,
		report.Elapsed.Round(time.Millisecond))
	return report, err
}

// mustPass fails the test for whatever was found.
func mustPass(t *testing.T, cfg Config) {
	t.Helper()
	report, err := watch(t, cfg)
	for _, v := range report.Violations {
		t.Errorf("seed %d: %v", report.Seed, v)
	}
	if report.More > 0 {
		t.Errorf("and %d more", report.More)
	}
	if err != nil {
		t.Errorf("seed %d: %v", cfg.Seed, err)
	}
	if t.Failed() {
		keep(t, cfg.Server)
	}
}

// keep copies what a failure is explained by to the artifacts of the test.
func keep(t *testing.T, server *Process) {
	t.Helper()
	dir := t.ArtifactDir()
	if err := os.CopyFS(dir, os.DirFS(server.Dir)); err != nil {
		t.Logf("keeping the server's files: %v", err)
		return
	}
	t.Logf("the database and the log are in %s (kept with -artifacts)", dir)
}

// TestServer watches the real server, which has to do everything right.
func TestServer(t *testing.T) {
	mustPass(t, Config{
		Server:   &Process{Command: zari(t, ""), Dir: t.TempDir()},
		Seed:     uint64(setting(t, "ZARI_SEED", 1)),
		Clients:  int(setting(t, "ZARI_CLIENTS", 16)),
		Kill:     int(setting(t, "ZARI_KILL", 3)),
		Frames:   setting(t, "ZARI_OPS", ciFrames),
		Mixed:    true,
		Options:  Options{NextInView: true},
		Progress: os.Stderr,
	})
}

// TestPlanted proves that the checker finds what it is there to find: each bug
// within a few seeds; and that the build for it, without any, passes.
func TestPlanted(t *testing.T) {
	if testing.Short() {
		t.Skip("planted bugs are left to the full run")
	}
	command := zari(t, "planted")
	config := func(t *testing.T, bug string, seed uint64) Config {
		return Config{
			Server: &Process{Command: command, Dir: t.TempDir(), Env: []string{"ZARI_PLANTED=" + bug}},
			Seed:   seed, Mixed: true, Frames: 60_000,
			Options: Options{NextInView: true},
		}
	}
	t.Run("none", func(t *testing.T) {
		cfg := config(t, "", 1)
		cfg.Frames = 20_000
		mustPass(t, cfg)
	})
	first := uint64(setting(t, "ZARI_SEED", 1))
	for _, name := range planted.Served() {
		t.Run(name, func(t *testing.T) {
			expected, ok := signs[name]
			if !ok {
				t.Fatal("it is not known by what this bug shows")
			}
			for seed := first; seed < first+maxSeeds; seed++ {
				cfg := config(t, name, seed)
				expected.adjust(&cfg)
				report, err := watch(t, cfg)
				if len(report.Violations) == 0 {
					t.Logf("seed %d: not found: %v", seed, err)
					continue
				}
				v := report.Violations[0]
				t.Logf("seed %d: found after %d frames: %s: %s: %s", seed, report.Frames, v.Rule, v.Session, v.Detail)
				if !slices.Contains(expected.rules, v.Rule) {
					t.Errorf("found by rule %q, expected one of %q:\n%v", v.Rule, expected.rules, v)
				}
				return
			}
			t.Errorf("not found with %d seeds", maxSeeds)
		})
	}
}

// sign is how a planted bug shows.
type sign struct {
	rules    []Rule
	tolerate []Rule        // other things that the bug does, sooner
	kill     int           // windows between kills
	bound    time.Duration // for a call, if not the usual
}

func (s sign) adjust(cfg *Config) {
	cfg.Kill, cfg.Bound = s.kill, s.bound
	cfg.Options.Tolerate = s.tolerate
}

// signs name for each bug the rules of which the first violation must be one.
var signs = map[string]sign{
	// Before the write, loads and votes still find what was there before. That
	// alone would give it away; here it must be found by what a kill loses.
	"PublishBeforeDurable": {
		rules:    []Rule{RuleDurable, RuleBehind},
		tolerate: []Rule{RuleStale, RuleCache, RuleSnapshot, RuleLostUpdate, RuleCheck, RuleRealTime, RuleContent, RuleGhost},
		kill:     1,
	},
	"CurrentAfterInvalidation": {rules: []Rule{RuleStale}},
	"FinishReplyLate":          {rules: []Rule{RuleOrder}},
	"UnlockBeforeInvalidation": {rules: []Rule{RuleAhead}},
	"ViewLeak":                 {rules: []Rule{RuleAhead}},
	"LostInvalidation":         {rules: []Rule{RuleGap, RuleAhead, RuleBehind, RuleCache, RuleStale}},
	"LeakLockOnDisconnect":     {rules: []Rule{RuleStuck}, bound: 4 * time.Second},
	"SkipConflictCheck":        {rules: []Rule{RuleLostUpdate}},
	"SkipCheckCurrent":         {rules: []Rule{RuleCheck}},
	"RegisterGap":              {rules: []Rule{RuleGap, RuleAhead, RuleBehind}},
}

// unordered are the rules that Python's server breaks. It hands invalidations to
// the next turn of its event loop, so answers to calls that were already readable
// overtake them, the finish reply included. And it forgets oids on restart.
var unordered = []Rule{RuleOrder, RuleAhead, RuleBehind, RuleStale, RuleCache, RuleGap, RuleOIDs}

// TestPythonServer watches Python's server, which proves that the clients and the
// reading of the truth are right about ZEO. In msgpack, because its errors for an
// undo are pickled instances otherwise.
func TestPythonServer(t *testing.T) {
	python := os.Getenv("ZARI_PYTHON")
	if python == "" {
		t.Skip("ZARI_PYTHON does not name a Python with ZEO")
	}
	mustPass(t, Config{
		Server: &Process{
			Dir: t.TempDir(), Rude: true,
			Command: []string{python, "-m", "ZEO.runzeo", "-a", "{addr}", "-f", "{file}"},
		},
		Seed:    uint64(setting(t, "ZARI_SEED", 1)),
		Codec:   wire.Msgpack,
		Frames:  20_000,
		Kill:    2,
		Options: Options{Tolerate: unordered},
	})
}

// TestServerThatDoesNotStart must say so, and show what the server said.
func TestServerThatDoesNotStart(t *testing.T) {
	_, err := NewRunner(Config{
		Server: &Process{Dir: t.TempDir(), Command: []string{"sh", "-c", "echo no such database; exit 3"}},
		Frames: 1,
	}).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no such database") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := &Process{Dir: t.TempDir(), Command: []string{"sleep", "60"}}
	if err := p.Start(ctx); err == nil {
		t.Error("a server that does not answer was started")
	}
	select {
	case <-p.done:
	default:
		t.Error("it was left running")
	}
}
