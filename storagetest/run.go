package storagetest

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/zaridb/zari/zodb"
)

// group is a named set of tests.
type group struct {
	name  string
	needs []Cap
	tests []test
}

// test is one test of the suite.
type test struct {
	name    string
	needs   []Cap
	history bool // needs transactions, or revisions, that were overwritten long ago
	run     func(t *T)
}

// groups are all tests, in the order in which they run.
var groups = []group{
	capsGroup, basicGroup, syncGroup, revisionGroup, conflictGroup, checkCurrentGroup, undoGroup,
	packGroup, iterateGroup, historyGroup, restoreGroup, appendGroup, blobGroup, readOnlyGroup, persistGroup,
	threadsGroup, raceGroup, contextGroup, closeGroup, buffersGroup, deleteGroup, oidsGroup,
	watchGroup, outcomeGroup, recordIteratorGroup, locksGroup, orderGroup, peerGroup, crashGroup,
	faultGroup, historyFreeGroup,
}

// Run checks a storage against the contract, each test as a subtest of the form
// group/Test.
func Run(t *testing.T, h Harness) {
	h = h.withDefaults()
	checkNames(t, h)
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			for _, tt := range g.tests {
				t.Run(tt.name, func(t *testing.T) { runKnown(t, h, g, tt) })
			}
		})
	}
}

// checkNames fails if a known bug, or what cannot be, names no test.
func checkNames(t testing.TB, h Harness) {
	t.Helper()
	for list, names := range map[string]map[string]string{"Bugs": h.Bugs, "Cannot": h.Cannot} {
		for name, why := range names {
			if _, _, ok := find(name); !ok {
				t.Errorf("Harness.%s: there is no test %q (%s)", list, name, why)
			}
		}
	}
}

// find returns the test of a name.
func find(name string) (group, test, bool) {
	for _, g := range groups {
		for _, tt := range g.tests {
			if g.name+"/"+tt.name == name {
				return g, tt, true
			}
		}
	}
	return group{}, test{}, false
}

// runKnown runs a test, which must fail if that is listed as a known bug.
func runKnown(t testing.TB, h Harness, g group, tt test) {
	name := g.name + "/" + tt.name
	if why, ok := h.Cannot[name]; ok {
		t.Skip(why)
	}
	where, known := h.Bugs[name]
	if !known {
		runTest(t, h, g, tt)
		return
	}
	r := record(t, t.Name(), func(tb testing.TB) { runTest(tb, h, g, tt) })
	switch {
	case r.Failed():
		t.Skipf("known bug (%s):\n%s", where, r.output())
	case r.Skipped():
		t.Errorf("listed as a bug (%s), but skipped: %s", where, r.output())
	default:
		t.Errorf("listed as a bug (%s), but it passes: take it off Harness.Bugs", where)
	}
}

// runTest makes a storage, runs the test with it, and looks at what it leaves.
func runTest(tb testing.TB, h Harness, g group, tt test) {
	tb.Helper()
	before := goleak.IgnoreCurrent()
	tb.Cleanup(func() {
		if !tb.Skipped() && !tb.Failed() {
			goleak.VerifyNone(tb, before)
		}
	})
	t := newT(tb, h)
	t.own(h.New(tb))
	t.found = Find(t, t.S)
	t.need(g.needs...)
	t.need(tt.needs...)
	if tt.history && h.HistoryFree {
		t.Skip("the storage is history-free")
	}
	tt.run(t)
	if !tb.Failed() {
		t.auditAll()
	}
}

// closeTwice closes a storage and closes it again, which must change nothing.
func closeTwice(t testing.TB, s zodb.Storage) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}
