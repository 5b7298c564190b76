package model

import (
	"slices"

	"github.com/zaridb/zari/zodb"
)

// Verify ends a window: it compares what all sessions were told with the truth,
// and drops it. truth holds every transaction of the database from Head on, Head
// itself included, in the order of iteration.
//
// The caller sees to it that no commit is under way, and that every session that
// is not lost has been told of everything: it has answered a ping since the last
// commit.
func (c *Checker) Verify(truth []Txn) {
	c.mu.Lock()
	sessions := c.sessions
	c.mu.Unlock()
	start := c.history.base
	truth = c.continues(truth)
	for _, t := range truth {
		c.admit(t)
	}
	c.mu.Lock()
	intents := c.intents
	c.mu.Unlock()
	c.missing(intents)
	for _, s := range sessions {
		s.verify()
	}
	c.linearizable(start, intents, sessions)
	c.nextWindow(start)
}

// continues checks that the truth goes on where the last window ended, and
// returns what is new.
func (c *Checker) continues(truth []Txn) []Txn {
	base := c.history.base
	if base != 0 {
		if len(truth) == 0 || truth[0].TID != base {
			c.Report(RuleDurable, nil, "transaction %v, seen by an earlier iteration, is gone", base)
		} else {
			truth = truth[1:]
		}
	}
	last := base
	for i, t := range truth {
		if t.TID <= last {
			c.Report(RuleOrder, nil, "iteration yields %v after %v", t.TID, last)
			return truth[:i]
		}
		last = t.TID
	}
	return truth
}

// admit checks one new transaction against what was asked for and against the
// history before it, and adds it.
func (c *Checker) admit(t Txn) {
	c.mu.Lock()
	in := c.intents[t.Label.ID]
	c.mu.Unlock()
	switch {
	case in == nil || !in.finishing:
		c.Report(RuleGhost, nil, "transaction %v (%v) was never finished by a client", t.TID, t.Label.ID)
	case in.found:
		c.Report(RuleGhost, nil, "%v was committed twice, the second time as %v", t.Label.ID, t.TID)
	case in.tid != 0 && in.tid != t.TID:
		c.Report(RuleContent, nil, "%v is %v in the database, but its finish reply said %v", t.Label.ID, t.TID, in.tid)
	default:
		in.found = true
		if in.tid == 0 {
			in.tid = t.TID // the reply was lost
		}
		c.content(t, in)
	}
	for _, r := range t.Records {
		c.based(t, r)
	}
	for _, k := range t.Label.Checks {
		if r, _, _ := c.history.newest(k.OID, t.TID); r.tid != k.Serial {
			c.Report(RuleCheck, nil, "%v committed as %v though it checked %v of %v, and %v was current", t.Label.ID, t.TID, k.Serial, k.OID, r.tid)
		}
	}
	c.history.add(t)
}

// content compares a transaction with what its client sent.
func (c *Checker) content(t Txn, in *Intent) {
	var got, want []zodb.OID
	for _, r := range t.Records {
		got = append(got, r.OID)
		if w, ok := in.state(r.OID); ok && (r.Deleted || r.State != w) {
			c.Report(RuleContent, nil, "%v holds %v for object %v, its client sent %v", t.TID, r.State, r.OID, w)
		}
	}
	for _, w := range in.Writes {
		want = append(want, w.OID)
	}
	want = append(want, in.Undone...)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, slices.Compact(want)) {
		c.Report(RuleContent, nil, "%v (%v) holds the objects %v, its client sent %v", t.TID, t.Label.ID, got, want)
	}
}

// based checks that a revision was made from the one that it replaces; or, of an
// undo, that it brings back the state before the transaction that it undoes.
func (c *Checker) based(t Txn, r Record) {
	before, _, had := c.history.newest(r.OID, t.TID)
	if t.Label.Undo == 0 {
		if r.State.OID != r.OID || r.State.Base != before.tid {
			c.Report(RuleLostUpdate, nil, "%v wrote object %v from %v of %v, but replaces %v", t.TID, r.OID, r.State.Base, r.State.OID, before.tid)
		}
		return
	}
	undone, _, ok := c.history.at(r.OID, t.Label.Undo)
	if !ok {
		if t.Label.Undo > c.history.kept {
			c.Report(RuleContent, nil, "%v undoes %v, which did not write object %v", t.TID, t.Label.Undo, r.OID)
		}
		return
	}
	if !had || before.id != undone.id || before.deleted != undone.deleted {
		c.Report(RuleLostUpdate, nil, "%v undoes %v for object %v, but %v had changed it since", t.TID, t.Label.Undo, r.OID, before.tid)
	}
	want, _, had := c.history.newest(r.OID, t.Label.Undo)
	if !had && t.Label.Undo <= c.history.kept {
		return // what was there before is no longer kept
	}
	if deleted := !had || want.deleted; r.Deleted != deleted || !deleted && r.State.ID != want.id {
		c.Report(RuleContent, nil, "%v undoes %v and leaves %v in object %v, want %v", t.TID, t.Label.Undo, r.State.ID, r.OID, want.id)
	}
}

// missing looks for transactions whose finish was answered and that are not there.
func (c *Checker) missing(intents map[StateID]*Intent) {
	for id, in := range intents {
		if in.tid != 0 && !in.found {
			c.Report(RuleDurable, nil, "%v was finished as %v, and is not in the database", id, in.tid)
		}
	}
}

// nextWindow drops what has been judged. Two windows of the history are kept,
// because clients that come back ask about the one before. An intent without an
// answer is kept as long: its finish may still be in a socket.
func (c *Checker) nextWindow(start zodb.TID) {
	c.history.forget(start)
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, in := range c.intents {
		if in.found || !in.finishing || in.old {
			delete(c.intents, id)
		}
		in.old = true
	}
	live := c.sessions[:0:0]
	for _, s := range c.sessions {
		if s.reset(c.history.base) {
			live = append(live, s)
		}
	}
	c.sessions = live
}

// VerifyAll compares the whole database, read again from its first transaction,
// with everything that the windows saw.
func (c *Checker) VerifyAll(count int, digest uint64) {
	if count != c.history.count || digest != c.history.digest {
		c.Report(RuleDurable, nil, "the database holds %d transactions that are not the %d seen before", count, c.history.count)
	}
}

// Digest continues the digest that VerifyAll takes; it begins with 0.
func Digest(digest uint64, t Txn) uint64 { return t.fold(digest) }
