package model

import (
	"slices"
	"testing"

	"github.com/zaridb/zari/zodb"
)

// world is a hand-made history: a clock that ticks, the truth, and two sessions.
type world struct {
	*Checker
	clock int64
	truth []Txn
	a, b  *Session
	n     uint64
}

func newWorld() *world {
	w := &world{}
	w.Checker = NewChecker(Options{Now: func() int64 { w.clock++; return w.clock }})
	w.a, w.b = w.Join("a", 0, nil), w.Join("b", 0, nil)
	return w
}

// plan makes an intent of a that writes the oids, each from the base given.
func (w *world) plan(bases map[zodb.OID]zodb.TID, checks ...Check) *Intent {
	w.n++
	in := &Intent{Label: Label{ID: NewStateID(1, w.n), Checks: checks}}
	for oid, base := range bases {
		w.n++
		in.Writes = append(in.Writes, State{OID: oid, Base: base, ID: NewStateID(1, w.n)})
	}
	slices.SortFunc(in.Writes, func(x, y State) int { return int(x.OID) - int(y.OID) })
	return in
}

// record puts an intent into the truth.
func (w *world) record(in *Intent, tid zodb.TID) {
	t := Txn{TID: tid, Label: in.Label}
	for _, s := range in.Writes {
		t.Records = append(t.Records, Record{OID: s.OID, State: s})
	}
	w.truth = append(w.truth, t)
}

// commit lets a commit, and tells both sessions.
func (w *world) commit(tid zodb.TID, bases map[zodb.OID]zodb.TID, checks ...Check) *Intent {
	in := w.plan(bases, checks...)
	w.a.VoteSent(in)
	w.a.FinishSent(in)
	w.record(in, tid)
	w.a.Finished(in, tid)
	w.b.Invalidated(tid, oidsOf(in))
	return in
}

func oidsOf(in *Intent) (oids []zodb.OID) {
	for _, s := range in.Writes {
		oids = append(oids, s.OID)
	}
	return oids
}

// load lets s read what in wrote to oid, as the server might say it.
func (w *world) load(s *Session, in *Intent, oid zodb.OID, before, serial, next zodb.TID) {
	state, _ := in.state(oid)
	s.Loaded(Load{s.Mark(), oid, before}, state.Append(nil), serial, next)
}

// writes is short for the bases of one object.
func writes(oid zodb.OID, base zodb.TID) map[zodb.OID]zodb.TID {
	return map[zodb.OID]zodb.TID{oid: base}
}

// TestCorrectHistory takes each step that a correct server may take, also those
// that look odd.
func TestCorrectHistory(t *testing.T) {
	w := newWorld()
	in1 := w.commit(10, map[zodb.OID]zodb.TID{1: 0, 2: 0})
	w.load(w.b, in1, 1, zodb.MaxTID, 10, 0)
	w.load(w.b, in1, 2, 11, 10, 0)
	w.b.Missing(Load{w.b.Mark(), 3, zodb.MaxTID})
	w.b.Missing(Load{w.b.Mark(), 1, 10})
	early := Load{w.b.Mark(), 1, zodb.MaxTID} // sent before 20, answered before and after
	in2 := w.plan(writes(1, 10), Check{2, 10})
	w.a.VoteSent(in2)
	w.a.FinishSent(in2)
	w.record(in2, 20)
	old, _ := in1.state(1)
	fresh, _ := in2.state(1)
	w.b.Loaded(early, old.Append(nil), 10, 0)
	w.b.Loaded(early, old.Append(nil), 10, 20) // names what b is yet to be told of
	w.b.Invalidated(20, []zodb.OID{1})
	w.b.Loaded(early, fresh.Append(nil), 20, 0)
	w.a.Finished(in2, 20)
	m := w.b.Mark()
	w.b.Told(m, 20)
	w.b.Ponged(m)
	w.b.Invalidations(m, 0, 20, []zodb.OID{2, 1})
	w.b.Invalidations(m, 10, 20, []zodb.OID{1})
	w.b.Conflicted(w.b.Mark(), 1, 20)
	w.Verify(w.truth)
	if w.Beyond() != 1 {
		t.Errorf("%d successors beyond the view, want 1", w.Beyond())
	}

	// The next window: an undo, a lost reply, a client that comes back.
	undo := &Intent{Label: Label{ID: NewStateID(1, 99), Undo: 20}, Undone: []zodb.OID{1}}
	w.a.VoteSent(undo)
	w.a.FinishSent(undo)
	w.truth = []Txn{w.truth[1], {TID: 30, Label: undo.Label, Records: []Record{{OID: 1, State: old}}}}
	w.a.Finished(undo, 30)
	w.b.Lost()
	w.b = w.Join("b, lost before it has asked", 30, w.b)
	w.b.Lost()
	w.b = w.Join("b again", 30, w.b)
	if since := w.b.Since(); since != 20 {
		t.Errorf("a client that was told up to 20 asks what changed after %v", since)
	}
	w.b.Invalidations(w.b.Mark(), 20, 30, []zodb.OID{1})
	w.b.Loaded(Load{w.b.Mark(), 1, 25}, fresh.Append(nil), 20, 30)
	lost := w.plan(writes(2, 10))
	w.a.VoteSent(lost)
	w.a.FinishSent(lost)
	w.record(lost, 40)
	w.a.Lost()
	w.b.Invalidated(40, []zodb.OID{2})
	w.Verify(w.truth)

	w.Verify(w.truth[2:]) // nothing new
	w.VerifyAll(4, w.history.digest)
	if found, _ := w.Violations(); len(found) != 0 {
		t.Fatalf("a correct history has violations: %v", found)
	}
	if w.Skipped() != 0 {
		t.Errorf("%d facts were skipped", w.Skipped())
	}
}

// TestViolations makes histories with one fault each; the first violation must
// name its rule.
func TestViolations(t *testing.T) {
	for _, tc := range violations {
		t.Run(string(tc.rule)+"/"+tc.name, func(t *testing.T) {
			w := newWorld()
			tc.do(w)
			w.Verify(w.truth)
			found, _ := w.Violations()
			if len(found) == 0 {
				t.Fatal("not found")
			}
			if found[0].Rule != tc.rule {
				t.Errorf("want rule %q, got %v", tc.rule, found[0])
			}
		})
	}
}

// TestReportsAreBounded: a server that is wrong in everything must not fill the
// memory.
func TestReportsAreBounded(t *testing.T) {
	w := newWorld()
	for range 1000 {
		w.a.Told(w.a.Mark(), 5)
	}
	found, more := w.Violations()
	if len(found) != maxViolations || more != 1000-maxViolations {
		t.Errorf("kept %d, counted %d more", len(found), more)
	}
	if n := len(found[maxViolations-1].Trail); n != maxViolations+1 {
		t.Errorf("the trail has %d frames, want %d", n, maxViolations+1)
	}
}

// TestWindowsForget: what was judged is dropped, and later claims about it are
// skipped, not guessed at.
func TestWindowsForget(t *testing.T) {
	w := newWorld()
	first := w.commit(1, writes(7, 0))
	for tid := zodb.TID(2); tid <= 50; tid++ {
		w.commit(tid, writes(7, tid-1))
		w.Verify(w.truth)
		w.truth = w.truth[len(w.truth)-1:]
	}
	if n := len(w.history.commits); n > 2 {
		t.Errorf("%d commits are kept, want 2", n)
	}
	if n := len(w.history.revs[7]); n > 3 {
		t.Errorf("%d revisions are kept, want 3", n)
	}
	if n := len(w.intents); n != 0 {
		t.Errorf("%d intents are kept", n)
	}
	w.load(w.b, first, 7, 2, 1, 2)
	w.Verify(w.truth)
	if w.Skipped() != 1 || w.Broken() {
		found, _ := w.Violations()
		t.Errorf("skipped %d, want 1; found %v", w.Skipped(), found)
	}
}

// TestOptions: what ZEO leaves open can be demanded, and a known fault counted.
func TestOptions(t *testing.T) {
	w := newWorld()
	w.opts.NextInView = true
	w.opts.Tolerate = []Rule{RuleBehind}
	in := w.commit(10, writes(1, 0))
	w.b.Told(w.b.Mark(), 5)
	if w.Broken() || w.Tolerated()[RuleBehind] != 1 {
		t.Errorf("tolerated %v", w.Tolerated())
	}
	w.load(w.b, in, 1, 11, 10, 20)
	if found, _ := w.Violations(); len(found) != 1 || found[0].Rule != RuleAhead {
		t.Errorf("a successor beyond the view gave %v", found)
	}
}
