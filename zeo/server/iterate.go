package server

import (
	"fmt"
	"iter"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// iterators are those that a client has open. They are numbered from 0.
type iterators struct {
	open map[int64]*iterator
	next int64
}

// iterator goes through transactions, or through the records of one.
type iterator struct {
	pull func() (*zodb.Transaction, error, bool)
	stop func()
	last *zodb.Transaction // the one that was given out last

	records []zodb.TxnRecord // of a record iterator: what is left
	tid     zodb.TID
}

func (i *iterator) close() {
	if i.stop != nil {
		i.stop()
	}
}

func (s *iterators) add(i *iterator, limit int) (int64, error) {
	if len(s.open) >= limit {
		i.close()
		return 0, fmt.Errorf("too many iterators are open: %d", limit)
	}
	id := s.next
	s.next++
	s.open[id] = i
	return id, nil
}

func (s *iterators) get(m *wire.Message) (int64, *iterator, error) {
	id, err := m.Int(0)
	if err != nil {
		return 0, nil, err
	}
	i := s.open[id]
	if i == nil {
		return 0, nil, wire.NewPyError(wire.KeyError, id)
	}
	return id, i, nil
}

func (s *iterators) remove(id int64) {
	if i := s.open[id]; i != nil {
		i.close()
		delete(s.open, id)
	}
}

func (s *iterators) closeAll() {
	for id := range s.open {
		s.remove(id)
	}
}

// iteratorStart(start, stop): both may be None, and both are inclusive.
func iteratorStart(x *session, m *wire.Message) (any, error) {
	it, ok := zodb.As[zodb.Iterator](x.hub.storage)
	if !ok {
		return noSuchAttribute(x, m)
	}
	start, err := m.OptTID(0)
	if err != nil {
		return nil, err
	}
	stop, err := m.OptTID(1)
	if err != nil {
		return nil, err
	}
	view := x.out.View()
	if m.IsNone(1) || stop > view {
		stop = view
	}
	seq := it.Transactions(x.ctx, start, max(stop, 1)) // 0 would mean all there are
	i := &iterator{}
	i.pull, i.stop = iter.Pull2(seq)
	return x.iterators.add(i, x.server.opts.MaxIterators)
}

// iteratorNext(id): (tid, status, user, description, extension), or None at the end.
func iteratorNext(x *session, m *wire.Message) (any, error) {
	id, i, err := x.iterators.get(m)
	if err != nil {
		return nil, err
	}
	if i.pull == nil {
		return nil, typeError("iterator %d goes through records", id)
	}
	t, err, ok := i.pull()
	if !ok || err != nil {
		x.iterators.remove(id)
		return nil, err
	}
	i.last = t
	return pickle.Tuple{
		t.TID, string(rune(t.Status)), nonNil(t.User), nonNil(t.Description), extensionDict(t.Extension),
	}, nil
}

// iteratorRecordStart(transaction iterator, tid): tid is that of the transaction
// which the iterator gave last.
func iteratorRecordStart(x *session, m *wire.Message) (any, error) {
	_, i, err := x.iterators.get(m)
	if err != nil {
		return nil, err
	}
	tid, err := m.TID(1)
	if err != nil {
		return nil, err
	}
	if i.last == nil || i.last.TID != tid {
		return nil, wire.NewPyError("builtins.Exception", fmt.Sprintf("Out-of-order request for record iterator for transaction %v", tid))
	}
	return x.iterators.add(&iterator{records: i.last.Records, tid: tid}, x.server.opts.MaxIterators)
}

// iteratorRecordNext(id): (oid, tid, data or None, tid of the data or None), or
// None at the end.
func iteratorRecordNext(x *session, m *wire.Message) (any, error) {
	id, i, err := x.iterators.get(m)
	if err != nil {
		return nil, err
	}
	if len(i.records) == 0 {
		x.iterators.remove(id)
		return nil, nil
	}
	r := i.records[0]
	i.records = i.records[1:]
	var data, from any
	if r.Data != nil {
		data = r.Data
	}
	if r.From != 0 {
		from = r.From
	}
	return pickle.Tuple{r.OID, i.tid, data, from}, nil
}

// iteratorGC(ids) forgets iterators.
func iteratorGC(x *session, m *wire.Message) (any, error) {
	ids, err := m.Items(0)
	if err != nil {
		return nil, err
	}
	for _, v := range ids {
		if id, ok := v.(int64); ok {
			x.iterators.remove(id)
		}
	}
	return nil, nil
}
