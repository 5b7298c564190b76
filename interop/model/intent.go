package model

import "github.com/zaridb/zari/zodb"

// Intent is what one transaction of an actor is to do, and how far it came. The
// actor fills Writes before the vote; the methods of Session keep the rest.
type Intent struct {
	Label  Label
	Writes []State
	Undone []zodb.OID // the objects that the vote on an undo named

	voteAt    int64    // when the first vote was sent
	floor     zodb.TID // the largest tid that anybody knew finished then
	finishing bool     // the finish was sent: it may be committed
	tid       zodb.TID // of the finish reply, 0 before it
	doneAt    int64    // when the reply came
	found     bool     // it is in the truth
	old       bool     // it was there in the window before
}

// state returns what the transaction writes to oid.
func (in *Intent) state(oid zodb.OID) (State, bool) {
	for _, s := range in.Writes {
		if s.OID == oid {
			return s, true
		}
	}
	return State{}, false
}

// VoteSent says that a vote on the intent is about to be sent. A vote that is
// sent again, after a merge, keeps the time of the first.
func (s *Session) VoteSent(in *Intent) Mark {
	m := s.Mark()
	if in.voteAt == 0 {
		in.voteAt, in.floor = max(m.At, 1), m.Finished
		s.c.mu.Lock()
		s.c.intents[in.Label.ID] = in
		s.c.mu.Unlock()
	}
	return m
}

// FinishSent says that the finish is about to be sent. From here the transaction
// may turn up in the database, whatever becomes of the connection.
func (s *Session) FinishSent(in *Intent) Mark {
	s.c.mu.Lock()
	in.finishing = true
	s.c.mu.Unlock()
	return s.Mark()
}
