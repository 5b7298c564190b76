package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// reached is how many conflicts reached applications, by kind. See splits.py.
type reached struct{ Reads, Writes int }

func (r reached) sum() int { return r.Reads + r.Writes }

// splitCommits is how often each of eight processes commits; ZARI_SPLITS overrides it.
const splitCommits = 40

// TestSplitsMerge lets eight processes add keys to one OOBTree, through Python's server
// and through Zari in turn: at most a quarter of the conflicts reach the application
// where keys grow, which splits most buckets.
func TestSplitsMerge(t *testing.T) {
	needPython(t)
	if setup.runzeo {
		t.Skip("compares with Python's server")
	}
	commits := splitCommits
	if s := os.Getenv("ZARI_SPLITS"); s != "" {
		var err error
		if commits, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, keys := range []string{"growing", "random"} {
		dir, addr := t.TempDir(), freeAddr(t)
		conf := filepath.Join(dir, "zeo.conf")
		writeFile(t, conf, fmt.Appendf(nil, "<zeo>\n  address %s\n</zeo>\n<filestorage 1>\n  path %s/Data.fs\n</filestorage>\n", addr, dir))
		runzeo := startCommand(t, dir, addr, []string{setup.python, "-m", "ZEO.runzeo", "-C", conf})
		theirs := split(t, runzeo, dir, keys, commits)
		runzeo.stop()

		metrics := freeAddr(t)
		zari, dir := serveFresh(t, options{zeo: "  metrics-address " + metrics + "\n"})
		ours := split(t, zari, dir, keys, commits)
		zari.stop()

		t.Logf("%s keys, 8 x %d commits; conflicts that reached the application: runzeo %d (%d of them reads), zari %d (%d): %.2f",
			keys, commits, theirs.sum(), theirs.Reads, ours.sum(), ours.Reads, float64(ours.sum())/float64(max(theirs.sum(), 1)))
		if keys == "growing" && (theirs.sum() == 0 || 4*ours.sum() > theirs.sum()) {
			t.Errorf("more than a quarter: %+v of %+v", ours, theirs)
		}
	}
}

// split adds keys from eight processes and returns the sum of their conflicts.
func split(t *testing.T, s *server, dir, keys string, commits int) (sum reached) {
	t.Helper()
	type counted struct{ Keys int }
	python[counted](t, dir, "splits.py", s.addr, "a", "0", keys)
	var programs []*program
	for i := range 8 {
		programs = append(programs, launch(t, dir, "splits.py", s.addr, string(rune('a'+i)), strconv.Itoa(commits), keys))
	}
	together(programs)
	for _, p := range programs {
		var said reached
		p.expect(&said)
		p.wait()
		sum.Reads += said.Reads
		sum.Writes += said.Writes
	}
	if got := python[counted](t, dir, "splits.py", s.addr, "-", "0", keys); got.Keys != 2000+8*commits {
		t.Errorf("%d keys in the tree after %d commits", got.Keys, 8*commits)
	}
	return sum
}
