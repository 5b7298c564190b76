package store

import (
	"github.com/zaridb/zari/internal/planted"
	"github.com/zaridb/zari/zodb"
)

// publish shows a durable batch, one transaction after the other in tid order.
func (s *Store) publish(batch []*commit) {
	for _, x := range batch {
		s.publishOwn(x)
	}
}

// publishOwn shows a transaction of this Store, and ends it.
func (s *Store) publishOwn(x *commit) {
	if planted.UnlockBeforeInvalidation {
		x.txn.free()
		planted.Stall()
	}
	change := zodb.Change{TID: x.rec.TID, Token: x.rec.Token, OIDs: make([]zodb.OID, len(x.rec.Records))}
	for i := range x.rec.Records {
		change.OIDs[i] = x.rec.Records[i].OID
	}
	s.publishOne(change, x.committed)
	s.stats.commits.Add(1)
	x.txn.free()
	x.answer(nil)
}

// publishOne shows a transaction, to whoever wrote it with committed, which may be nil.
func (s *Store) publishOne(change zodb.Change, committed func(zodb.TID)) {
	tid := change.TID
	s.observers.Lock()
	s.visible.Store(uint64(tid))
	if planted.ViewLeak {
		planted.Stall()
	}
	if change.Token != (zodb.Token{}) {
		s.outcomes.put(change.Token, tid)
	}
	for _, o := range s.observers.list {
		o.fn(change)
	}
	if committed != nil {
		committed(tid)
	}
	if s.forgets() {
		s.members.add(tid)
	}
	s.last.Store(uint64(tid))
	s.observers.Unlock()
	s.published.happened()
}
