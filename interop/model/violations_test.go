package model

import "github.com/zaridb/zari/zodb"

// violations has one history for each way to break a rule.
var violations = []struct {
	rule Rule
	name string
	do   func(w *world)
}{
	{RuleOrder, "finish reply behind a later invalidation", func(w *world) {
		in := w.plan(writes(1, 0))
		w.a.VoteSent(in)
		w.a.FinishSent(in)
		w.record(in, 10)
		w.b.Invalidated(10, oidsOf(in))
		w.a.Invalidated(11, []zodb.OID{2})
		w.a.Finished(in, 10)
	}},
	{RuleOrder, "invalidated twice", func(w *world) {
		w.commit(10, writes(1, 0))
		w.b.Invalidated(10, []zodb.OID{1})
	}},
	{RuleOrder, "iteration goes back", func(w *world) {
		w.commit(10, writes(1, 0))
		w.commit(20, writes(1, 10))
		w.truth[0], w.truth[1] = w.truth[1], w.truth[0]
	}},
	{RuleAhead, "load of a commit not told", func(w *world) {
		in := w.plan(writes(1, 0))
		w.a.VoteSent(in)
		w.a.FinishSent(in)
		w.record(in, 10)
		w.load(w.b, in, 1, zodb.MaxTID, 10, 0)
		w.b.Invalidated(10, oidsOf(in))
		w.a.Finished(in, 10)
	}},
	{RuleAhead, "lastTransaction not told", func(w *world) {
		w.b.Told(w.b.Mark(), 10)
		w.commit(10, writes(1, 0))
	}},
	{RuleAhead, "conflict with a commit not told", func(w *world) {
		w.b.Conflicted(w.b.Mark(), 1, 10)
		w.commit(10, writes(1, 0))
	}},
	{RuleAhead, "getInvalidations not told", func(w *world) {
		w.b.Invalidations(w.b.Mark(), 0, 10, []zodb.OID{1})
		w.commit(10, writes(1, 0))
	}},
	{RuleBehind, "ping does not wait", func(w *world) {
		in := w.plan(writes(1, 0))
		w.a.VoteSent(in)
		w.a.FinishSent(in)
		w.record(in, 10)
		w.a.Finished(in, 10)
		w.b.Ponged(w.b.Mark())
		w.b.Invalidated(10, oidsOf(in))
	}},
	{RuleBehind, "lastTransaction before the view", func(w *world) {
		w.commit(10, writes(1, 0))
		w.commit(20, writes(1, 10))
		w.b.Told(w.b.Mark(), 10)
	}},
	{RuleBehind, "server comes back without what it told", func(w *world) {
		w.commit(10, writes(1, 0))
		w.b = w.Join("b again", 0, w.b)
		w.truth = nil
	}},
	{RuleStale, "current after its invalidation", func(w *world) {
		in := w.commit(10, writes(1, 0))
		l := Load{w.b.Mark(), 1, zodb.MaxTID}
		w.commit(20, writes(1, 10))
		s, _ := in.state(1)
		w.b.Loaded(l, s.Append(nil), 10, 0)
	}},
	{RuleStale, "current though another client's commit was joined with", func(w *world) {
		in := w.commit(10, writes(1, 0))
		w.commit(20, writes(1, 10))
		w.b.Lost()
		c := w.Join("c", 20, nil)
		s, _ := in.state(1)
		c.Loaded(Load{Mark{View: 9}, 1, zodb.MaxTID}, s.Append(nil), 10, 0)
	}},
	{RuleCache, "entry kept although a commit was left out of getInvalidations", func(w *world) {
		in := w.commit(10, writes(1, 0))
		w.load(w.b, in, 1, zodb.MaxTID, 10, 0)
		w.b.Lost()
		b := w.b
		w.b = w.Join("other", 10, nil)
		w.commit(20, writes(1, 10))
		w.b = w.Join("b again", 20, b)
		w.b.Invalidations(w.b.Mark(), 20, 20, nil) // asked from the wrong place
	}},
	{RuleSnapshot, "an older revision", func(w *world) {
		in := w.commit(10, writes(1, 0))
		w.commit(20, writes(1, 10))
		w.load(w.b, in, 1, 21, 10, 20)
	}},
	{RuleSnapshot, "wrong successor", func(w *world) {
		in := w.commit(10, writes(1, 0))
		w.commit(20, writes(1, 10))
		w.commit(30, writes(1, 20))
		w.load(w.b, in, 1, 15, 10, 30)
	}},
	{RuleSnapshot, "not before what was asked", func(w *world) {
		in := w.commit(10, writes(1, 0))
		w.load(w.b, in, 1, 10, 10, 0)
	}},
	{RuleSnapshot, "nothing found", func(w *world) {
		w.commit(10, writes(1, 0))
		w.b.Missing(Load{w.b.Mark(), 1, zodb.MaxTID})
	}},
	{RuleGap, "an invalidation is left out", func(w *world) {
		w.commit(10, writes(1, 0))
		in := w.plan(writes(1, 10))
		w.a.VoteSent(in)
		w.a.FinishSent(in)
		w.record(in, 20)
		w.a.Finished(in, 20)
		w.commit(30, writes(1, 20))
	}},
	{RuleGap, "the last invalidation is left out", func(w *world) {
		in := w.plan(writes(1, 0))
		w.a.VoteSent(in)
		w.a.FinishSent(in)
		w.record(in, 10)
		w.a.Finished(in, 10)
	}},
	{RuleGap, "an object is left out", func(w *world) {
		in := w.plan(map[zodb.OID]zodb.TID{1: 0, 2: 0})
		w.a.VoteSent(in)
		w.a.FinishSent(in)
		w.record(in, 10)
		w.a.Finished(in, 10)
		w.b.Invalidated(10, []zodb.OID{2})
	}},
	{RuleGap, "getInvalidations leaves out an object", func(w *world) {
		w.commit(10, map[zodb.OID]zodb.TID{1: 0, 2: 0})
		w.b.Invalidations(w.b.Mark(), 0, 10, []zodb.OID{2})
	}},
	{RuleLostUpdate, "two writes from one base", func(w *world) {
		w.commit(10, writes(1, 0))
		w.commit(20, writes(1, 10))
		w.commit(30, writes(1, 10))
	}},
	{RuleLostUpdate, "undo of what was changed since", func(w *world) {
		in := w.commit(10, writes(1, 0))
		w.commit(20, writes(1, 10))
		w.commit(30, writes(1, 20))
		s, _ := in.state(1)
		w.undo(40, 20, s)
	}},
	{RuleCheck, "checked revision replaced", func(w *world) {
		w.commit(10, map[zodb.OID]zodb.TID{1: 0, 2: 0})
		w.commit(20, writes(2, 10))
		w.commit(30, writes(1, 10), Check{2, 10})
	}},
	{RuleRealTime, "smaller tid than one finished before", func(w *world) {
		w.commit(20, writes(1, 0))
		in := w.plan(writes(2, 0))
		w.b.VoteSent(in)
		w.b.FinishSent(in)
		c := w.Join("c", 0, nil)
		c.Finished(in, 10)
	}},
	{RuleRealTime, "conflict with what is long replaced", func(w *world) {
		w.commit(10, writes(1, 0))
		w.commit(20, writes(1, 10))
		w.b.Conflicted(w.b.Mark(), 1, 10)
	}},
	{RuleDurable, "finished and not there", func(w *world) {
		w.commit(10, writes(1, 0))
		w.truth = nil
	}},
	{RuleDurable, "told and not there", func(w *world) {
		in := w.plan(writes(1, 0))
		w.a.VoteSent(in)
		w.a.FinishSent(in)
		w.a.Lost()
		w.b.Invalidated(10, oidsOf(in))
		w.b.Lost()
	}},
	{RuleDurable, "gone later", func(w *world) {
		w.commit(10, writes(1, 0))
		w.Verify(w.truth)
		w.truth = nil
	}},
	{RuleDurable, "the past has changed", func(w *world) {
		w.commit(10, writes(1, 0))
		w.Verify(w.truth)
		w.truth[0].Records[0].State.ID++
		w.VerifyAll(1, Digest(0, w.truth[0]))
	}},
	{RuleGhost, "never finished", func(w *world) {
		in := w.plan(writes(1, 0))
		w.a.VoteSent(in)
		w.record(in, 10)
		w.a.Invalidated(10, oidsOf(in))
		w.b.Invalidated(10, oidsOf(in))
	}},
	{RuleGhost, "committed twice", func(w *world) {
		in := w.commit(10, writes(1, 0))
		w.record(in, 20)
	}},
	{RuleContent, "another tid than the reply's", func(w *world) {
		w.commit(10, writes(1, 0))
		w.truth[0].TID = 9
	}},
	{RuleContent, "another state than was sent", func(w *world) {
		w.commit(10, writes(1, 0))
		w.truth[0].Records[0].State.ID++
	}},
	{RuleContent, "half a transaction", func(w *world) {
		w.commit(10, map[zodb.OID]zodb.TID{1: 0, 2: 0})
		w.truth[0].Records = w.truth[0].Records[:1]
	}},
	{RuleContent, "undo of another state", func(w *world) {
		w.commit(10, writes(1, 0))
		in := w.commit(20, writes(1, 10))
		s, _ := in.state(1)
		w.undo(30, 20, s)
	}},
	{RuleContent, "load of other bytes", func(w *world) {
		in := w.commit(10, writes(1, 0))
		s, _ := in.state(1)
		b := s.Append(nil)
		b[len(b)-4] ^= 1
		w.b.Loaded(Load{w.b.Mark(), 1, zodb.MaxTID}, b, 10, 0)
	}},
	{RuleContent, "load of another object's state", func(w *world) {
		in := w.commit(10, map[zodb.OID]zodb.TID{1: 0, 2: 0})
		s, _ := in.state(2)
		w.b.Loaded(Load{w.b.Mark(), 1, zodb.MaxTID}, s.Append(nil), 10, 0)
	}},
	{RuleContent, "load of a state that was never committed there", func(w *world) {
		w.commit(10, writes(1, 0))
		in := w.plan(writes(1, 0))
		w.load(w.b, in, 1, zodb.MaxTID, 10, 0)
	}},
	{RuleOIDs, "handed out twice", func(w *world) {
		w.HandedOut(w.a, []zodb.OID{1, 2})
		w.HandedOut(w.b, []zodb.OID{2})
	}},
}

// undo lets a undo the transaction undone, leaving the state in its object.
func (w *world) undo(tid, undone zodb.TID, left State) {
	w.n++
	in := &Intent{Label: Label{ID: NewStateID(1, w.n), Undo: undone}, Undone: []zodb.OID{left.OID}}
	w.a.VoteSent(in)
	w.a.FinishSent(in)
	w.truth = append(w.truth, Txn{TID: tid, Label: in.Label, Records: []Record{{OID: left.OID, State: left}}})
	w.a.Finished(in, tid)
	w.b.Invalidated(tid, []zodb.OID{left.OID})
}
