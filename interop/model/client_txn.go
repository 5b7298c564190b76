package model

import (
	"errors"
	"fmt"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// begin opens a transaction on the server, and sends its writes and checks.
func (cl *client) begin(id int64, in *Intent) {
	cl.Post("tpc_begin", id, []byte("model"), []byte(in.Label.String()), pickle.NewDict(), nil, " ")
	cl.stores(id, in.Writes)
	for _, k := range in.Label.Checks {
		cl.Post("checkCurrentSerialInTransaction", bytesOf(k.OID), bytesOf(k.Serial), id)
	}
	if in.Label.Undo != 0 {
		cl.Post("undoa", in.Label.Undo.UndoID(), id)
	}
}

// stores sends writes.
func (cl *client) stores(id int64, writes []State) {
	for _, w := range writes {
		cl.Post("storea", bytesOf(w.OID), bytesOf(w.Base), w.Append(nil), id)
	}
}

// errRefused says that a vote failed for a reason that the transaction has to
// expect: a conflict, or that an undo is not possible.
var errRefused = errors.New("the vote failed")

// ballot is a vote under way.
type ballot struct {
	call      *Call
	conflicts []zodb.Conflict // for the client to merge
}

// vote sends a vote.
func (cl *client) vote(id int64, in *Intent) *ballot {
	mark := cl.s.VoteSent(in)
	b := &ballot{}
	b.call = cl.Send("vote", func(m *wire.Message) error {
		if err := m.Err(); err != nil {
			return cl.refused(mark, in, err)
		}
		votes, err := m.ParseVotes()
		if err != nil {
			return err
		}
		for _, k := range votes.Conflicts {
			cl.s.Conflicted(mark, k.OID, k.Committed)
		}
		b.conflicts = votes.Conflicts
		if in.Label.Undo != 0 {
			in.Undone = votes.Resolved
		} else if len(votes.Resolved) > 0 {
			cl.c.Report(RuleContent, cl.s, "the server merged states of %v that nobody can merge", votes.Resolved)
		}
		return nil
	}, id)
	return b
}

// refused looks at the error of a vote.
func (cl *client) refused(mark Mark, in *Intent, err error) error {
	if k, ok := errors.AsType[*zodb.ConflictError](err); ok {
		if k.Committed != 0 || k.Read != 0 {
			cl.s.Conflicted(mark, k.OID, k.Committed)
		}
		return errRefused
	}
	if in.Label.Undo != 0 && isUndoError(err) {
		return errRefused
	}
	return fmt.Errorf("vote: %w", err)
}

// isUndoError says whether an undo was found to be impossible.
func isUndoError(err error) bool {
	if _, ok := errors.AsType[*zodb.UndoError](err); ok {
		return true
	}
	e, ok := errors.AsType[*wire.PyError](err)
	return ok && (e.Class == wire.UndoError || e.Class == wire.MultipleUndoErrors)
}

// finish sends a finish.
func (cl *client) finish(id int64, in *Intent) *Call {
	cl.s.FinishSent(in)
	return cl.Send("tpc_finish", func(m *wire.Message) error {
		tid, err := m.TID(0)
		if err == nil {
			cl.s.Finished(in, tid)
		}
		return err
	}, id)
}

// abort sends an abort, and waits.
func (cl *client) abort(id int64) error {
	return cl.wait(cl.Send("tpc_abort", nil, id))
}
