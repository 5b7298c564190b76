package model

import "github.com/zaridb/zari/zodb"

// kind says what a reading claims.
type kind uint8

const (
	found  kind = iota // a load returned a revision
	absent             // a load returned none
	closed             // the cache holds a revision as valid until next
)

// reading is one claim about the revisions of an object, to be compared with the
// truth.
type reading struct {
	kind   kind
	oid    zodb.OID
	before zodb.TID // the revision asked for is older than this
	serial zodb.TID
	next   zodb.TID // 0: current
	id     StateID
	low    zodb.TID // the view when the load was sent
	high   zodb.TID // the view when the answer came
}

// Load is a loadBefore, with the mark made when it was sent.
type Load struct {
	Mark   Mark
	OID    zodb.OID
	Before zodb.TID
}

// Loaded takes a revision that a load returned. next is 0 if it is current.
func (s *Session) Loaded(l Load, data []byte, serial, next zodb.TID) {
	s.note("load", l.OID, serial, next)
	state, err := DecodeState(data)
	if err != nil || state.OID != l.OID {
		s.c.Report(RuleContent, s, "load of %v returned at %v a record of %v: %v", l.OID, serial, state.OID, err)
		return
	}
	s.within(serial, "a load")
	if serial >= l.Before || next != 0 && next <= serial {
		s.c.Report(RuleSnapshot, s, "load of %v before %v returned %v, replaced by %v", l.OID, l.Before, serial, next)
	}
	s.beyond(next)
	s.mu.Lock()
	defer s.mu.Unlock()
	if by := s.replaced[l.OID]; next == 0 && serial < by {
		s.c.Report(RuleStale, s, "load of %v says that %v is current, after the invalidation %v", l.OID, serial, by)
	}
	if next == 0 {
		s.cache.store(l.OID, serial)
	}
	s.readings = append(s.readings, reading{found, l.OID, l.Before, serial, next, state.ID, l.Mark.View, s.View()})
}

// beyond looks at a successor that the client has not been told of.
func (s *Session) beyond(next zodb.TID) {
	if next <= s.View() {
		return
	}
	s.c.beyond.Add(1)
	if s.c.opts.NextInView {
		s.within(next, "the successor in a load")
	}
}

// Missing takes a load that found no revision: None, or a POSKeyError.
func (s *Session) Missing(l Load) {
	s.note("load", l.OID, 0, 0)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readings = append(s.readings, reading{kind: absent, oid: l.OID, before: l.Before, low: l.Mark.View, high: s.View()})
}
