package interop

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// inserted is what inserts.py says.
type inserted struct{ Commits, ClientMerged, Unmerged, Reads, Other int }

// insertTogether lets eight processes add different keys to one OOBTree, and
// returns the sum of what they say.
func insertTogether(t *testing.T, s *server, dir string) (sum inserted) {
	t.Helper()
	var programs []*program
	for i := range 8 {
		programs = append(programs, launch(t, dir, "inserts.py", s.addr, string(rune('a'+i)), "25"))
	}
	together(programs)
	for _, p := range programs {
		var said inserted
		p.expect(&said)
		p.wait()
		sum.Commits += said.Commits
		sum.ClientMerged += said.ClientMerged
		sum.Unmerged += said.Unmerged
		sum.Reads += said.Reads
		sum.Other += said.Other
	}
	return sum
}

// TestInsertsMergeInTheServer: no conflict reaches a client that Python's classes can merge.
func TestInsertsMergeInTheServer(t *testing.T) {
	if setup.runzeo {
		t.Skip("about the server's merges in Go")
	}
	metrics := freeAddr(t)
	s, dir := prepared(t, options{zeo: "  metrics-address " + metrics + "\n"})
	sum := insertTogether(t, s, dir)
	t.Logf("%d commits; conflicts that reached a client: %d that cannot be merged, %d reads of a split node", sum.Commits, sum.Unmerged, sum.Reads)
	if sum.Commits != 200 || sum.ClientMerged != 0 || sum.Other != 0 {
		t.Errorf("%+v: conflicts were left to clients that the server could have merged", sum)
	}
	if got := python[counted](t, dir, "counted.py", s.addr); got.Keys != 200 || !got.Ordered {
		t.Errorf("the tree: %+v", got)
	}
	if merged := conflictsOf(t, metrics)["merged"]; merged == 0 {
		t.Error("nothing was merged: the clients did not meet")
	} else {
		t.Logf("%d merges in the server", merged)
	}
}

// TestConflictsGoToClients: with client-conflict-resolution the server merges nothing itself.
func TestConflictsGoToClients(t *testing.T) {
	if setup.runzeo {
		t.Skip("about metrics")
	}
	metrics := freeAddr(t)
	s, dir := prepared(t, options{zeo: "  client-conflict-resolution true\n  metrics-address " + metrics + "\n"})
	sum := insertTogether(t, s, dir)
	stats := conflictsOf(t, metrics)
	if sum.ClientMerged == 0 || sum.Other != 0 || stats["merged"] != 0 || stats["left to clients"] == 0 {
		t.Errorf("%+v, the server says %v", sum, stats)
	}
	if got := python[counted](t, dir, "counted.py", s.addr); got.Keys != 200 || !got.Ordered {
		t.Errorf("the tree: %+v", got)
	}
}

// conflictsOf returns the outcomes of all conflicts of BTrees that were met in stores.
func conflictsOf(t *testing.T, addr string) map[string]int {
	t.Helper()
	resp, err := http.Get("http://" + addr + "/conflicts")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var classes []struct {
		Class  string
		Stores map[string]int
	}
	if err := json.NewDecoder(resp.Body).Decode(&classes); err != nil {
		t.Fatal(err)
	}
	sum := make(map[string]int)
	for _, c := range classes {
		if !strings.HasPrefix(c.Class, "BTrees.") {
			t.Errorf("a conflict of a %s", c.Class)
		}
		for outcome, n := range c.Stores {
			sum[outcome] += n
		}
	}
	return sum
}

// TestUndoMerges: an undo whose objects were changed since is merged where the class is known.
func TestUndoMerges(t *testing.T) {
	s, dir := serveFresh(t, options{})
	type said struct {
		Said   []string
		Tree   map[string]int
		Length int
		Set    []int
	}
	got := python[said](t, dir, "undomerge.py", s.addr)
	want := said{
		Said: []string{"undone", "MultipleUndoErrors", "MultipleUndoErrors"},
		Tree: map[string]int{"a": 1, "b": 2, "second": 2}, Length: 14, Set: []int{1, 2, 7},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
