package interop

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// serveFresh starts a server on a fresh file and returns it with its directory.
func serveFresh(t *testing.T, o options) (*server, string) {
	t.Helper()
	needPython(t)
	o.dir = t.TempDir()
	return start(t, o), o.dir
}

// prepared is serveFresh with the objects that the programs change.
func prepared(t *testing.T, o options) (*server, string) {
	t.Helper()
	s, dir := serveFresh(t, o)
	python[struct{ Done bool }](t, dir, "setup.py", s.addr)
	return s, dir
}

// TestFirstSteps runs the program in the README, word by word but for the port,
// against a server started as the README says.
func TestFirstSteps(t *testing.T) {
	needPython(t)
	if setup.zari == "" {
		t.Skip("the command line is zari's own")
	}
	dir, addr := t.TempDir(), freeAddr(t)
	s := startCommand(t, dir, addr, []string{setup.zari, "serve", "-a", addr, "Data.fs"})
	_, port, _ := net.SplitHostPort(addr)
	text := readmeProgram(t)
	for range 2 { // the second time from the file
		out, err := exec.Command(setup.python, "-c", strings.ReplaceAll(text, "8100", port)).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "{'greeting': 'hello'}" {
			t.Fatalf("the README's program: %v, said %s", err, out)
		}
	}
	s.stop()
	python[verified](t, dir, "verify.py", "Data.fs")
}

// readmeProgram returns the indented lines of the README's section "Connect".
func readmeProgram(t *testing.T) string {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "\n## Connect\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var program []string
	for line := range strings.Lines(section) {
		if code, ok := strings.CutPrefix(line, "    "); ok {
			program = append(program, code)
		}
	}
	if len(program) != 5 {
		t.Fatalf("the README's program has %d lines", len(program))
	}
	return strings.Join(program, "")
}

func TestConflictsMerge(t *testing.T) {
	const writers, times = 3, 40
	for _, codec := range []string{"false", "true"} {
		t.Run("msgpack="+codec, func(t *testing.T) {
			s, dir := prepared(t, options{zeo: "  msgpack " + codec + "\n"})
			var programs []*program
			for i := range writers {
				programs = append(programs, launch(t, dir, "count.py", s.addr, string(rune('a'+i)), "40"))
			}
			together(programs)
			for _, p := range programs {
				var said struct{ Commits, Conflicts int }
				p.expect(&said)
				p.wait()
				t.Logf("%d commits, %d conflicts that did not merge", said.Commits, said.Conflicts)
			}
			got := python[counted](t, dir, "counted.py", s.addr)
			t.Logf("%d conflicts merged by the server", got.Resolved)
			got.Resolved = 0
			want := counted{Length: writers * times, Keys: writers * times, Ordered: true}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestMerges makes two clients change the same state, one after the other: what merges and what is a conflict.
func TestMerges(t *testing.T) {
	s, dir := serveFresh(t, options{})
	type said struct{ Merged, Refused []string }
	got := python[said](t, dir, "merge.py", s.addr)
	want := said{
		Merged: []string{
			"length", "tree inserts", "tree deletes", "tree insert and delete", "integer keys", "large integer keys", "sets",
			"tree sets",
		},
		Refused: []string{"same key inserted", "same key changed", "plain mapping"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// counted is what counted.py says.
type counted struct {
	Length, Keys, Resolved int
	Ordered                bool
	Lock                   any // lock_time of server_status: nobody holds a lock any more
}

// together lets programs begin at the same moment.
func together(programs []*program) {
	for _, p := range programs {
		p.expect(&ready{})
	}
	for _, p := range programs {
		p.tell()
	}
}

// TestReadersSeeWholeTransactions holds invalidations to their order: two writers, two readers, four processes.
func TestReadersSeeWholeTransactions(t *testing.T) {
	s, dir := prepared(t, options{})
	programs := []*program{
		launch(t, dir, "pairs.py", s.addr, "write", "150"),
		launch(t, dir, "pairs.py", s.addr, "write", "150"),
		launch(t, dir, "pairs.py", s.addr, "read", "300"),
		launch(t, dir, "pairs.py", s.addr, "read", "300"),
	}
	together(programs)
	for i, p := range programs {
		var said struct{ Value, Reads, Changes int }
		p.expect(&said)
		p.wait()
		if i >= 2 && said.Changes == 0 {
			t.Errorf("reader %d saw nothing happen in %d reads", i, said.Reads)
		}
	}
}

func TestBlobs(t *testing.T) {
	for _, shared := range []bool{false, true} {
		t.Run(map[bool]string{false: "streamed", true: "shared"}[shared], func(t *testing.T) {
			s, dir := serveFresh(t, options{storage: blobSection})
			args := []string{s.addr}
			if shared {
				args = append(args, filepath.Join(dir, "blobs"))
			}
			got := python[struct{ Blobs int }](t, dir, "blobs.py", args...)
			if got.Blobs != 7 {
				t.Errorf("%d blobs of 7", got.Blobs)
			}
		})
	}
}

func TestUndo(t *testing.T) {
	s, dir := serveFresh(t, options{})
	type said struct {
		Values  []string
		Refused bool
		Notes   []string
		ByUser  []string `json:"by_user"`
	}
	got := python[said](t, dir, "undo.py", s.addr)
	want := said{
		Values:  []string{"one", "two"},
		Refused: true,
		Notes:   []string{"undo of undo of second", "undo of second", "second", "first", "creation"},
		ByUser:  []string{"creation"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestHistoryAndIterators(t *testing.T) {
	s, dir := serveFresh(t, options{})
	got := python[struct{ Revisions, Records int }](t, dir, "history.py", s.addr)
	if got.Revisions != 11 || got.Records != 2 {
		t.Errorf("got %+v, want 11 revisions and 2 records", got)
	}
}

func TestPack(t *testing.T) {
	s, dir := serveFresh(t, options{})
	type said struct {
		Before, After int
		Old, Shrunk   bool
	}
	got := python[said](t, dir, "pack.py", s.addr)
	// What is left: the transaction of the root, that of the eight objects, and the one after the pack.
	if got.Before != 22 || got.After > 3 || got.Old || !got.Shrunk {
		t.Errorf("pack left %+v of 22 transactions", got)
	}
	s.stop()
	v := python[verified](t, dir, "verify.py", "Data.fs")
	if v.Transactions != got.After {
		t.Errorf("%d transactions in the file, %d served", v.Transactions, got.After)
	}
}

// verified is what verify.py says.
type verified struct {
	Transactions, Records int
	Keys                  []string
}

// lacks returns those of keys that are not there.
func (v verified) lacks(keys []string) []string {
	return slices.DeleteFunc(slices.Clone(keys), func(key string) bool {
		_, found := slices.BinarySearch(v.Keys, key)
		return found
	})
}
