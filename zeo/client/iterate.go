package client

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// window is how many records are asked for ahead of their arrival.
const window = 32

// Transactions implements zodb.Iterator. It keeps a connection of its own until it
// ends.
func (s *Storage) Transactions(ctx context.Context, start, stop zodb.TID) iter.Seq2[*zodb.Transaction, error] {
	return func(yield func(*zodb.Transaction, error) bool) {
		x, err := s.connected(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		last := s.LastTID()
		if stop != 0 {
			last = min(stop, last)
		}
		if last == 0 || start > last {
			return
		}
		c, err := s.acquire(ctx, x)
		if err != nil {
			yield(nil, err)
			return
		}
		err = c.transactions(ctx, start, last, func(t *zodb.Transaction) bool { return yield(t, nil) })
		s.release(x, c, err == nil)
		if err != nil {
			yield(nil, err)
		}
	}
}

// transactions calls fn for each transaction until it returns false.
func (c *conn) transactions(ctx context.Context, start, stop zodb.TID, fn func(*zodb.Transaction) bool) error {
	id, err := c.integer(ctx, "iterator_start", orNone(start), stop)
	if err != nil {
		return err
	}
	for {
		t, err := c.nextTransaction(ctx, id)
		if t == nil || err != nil {
			return err
		}
		if t.TID < start || t.TID > stop {
			return errors.New("the server iterates over what was not asked for")
		}
		if err := c.records(ctx, id, t); err != nil {
			return err
		}
		start = t.TID + 1
		if !fn(t) {
			return c.post("iterator_gc", pickle.NewList(id))
		}
	}
}

func orNone(tid zodb.TID) any {
	if tid == 0 {
		return nil
	}
	return tid
}

// integer calls a method that returns one.
func (c *conn) integer(ctx context.Context, method string, args ...any) (n int64, err error) {
	err = c.call(ctx, method, func(m *wire.Message) (err error) {
		n, err = m.Int(0)
		return err
	}, args...)
	return n, err
}

// nextTransaction returns the next transaction without its records, nil at the end.
func (c *conn) nextTransaction(ctx context.Context, id int64) (t *zodb.Transaction, err error) {
	err = c.call(ctx, "iterator_next", func(m *wire.Message) error {
		if !m.Tuple && m.IsNone(0) {
			return nil
		}
		next := new(zodb.Transaction)
		if next.TID, err = m.TID(0); err != nil {
			return err
		}
		next.Status = ' '
		if status, err := m.TextOrBytes(1); err == nil && len(status) == 1 {
			next.Status = status[0]
		}
		if next.User, err = m.TextOrBytes(2); err != nil {
			return err
		}
		if next.Description, err = m.TextOrBytes(3); err != nil {
			return err
		}
		if next.Extension, err = m.Extension(4); err != nil {
			return err
		}
		t = next
		return nil
	}, id)
	return t, err
}

// records reads the records of the transaction that the iterator gave last. They
// are asked for before those ahead of them have come.
func (c *conn) records(ctx context.Context, iterator int64, t *zodb.Transaction) error {
	id, err := c.integer(ctx, "iterator_record_start", iterator, t.TID)
	if err != nil {
		return err
	}
	var asked []*recordCall
	seen := make(map[zodb.OID]int) // where in t.Records
	for width := 1; ; width = min(2*width, window) {
		for len(asked) < width {
			asked = append(asked, c.askRecord(id, t.TID))
		}
		first := asked[0]
		asked = asked[1:]
		if err := c.wait(ctx, first.call); err != nil {
			return err
		}
		if first.end {
			return c.drain(ctx, asked)
		}
		t.Size += int64(len(first.record.Data))
		if i, again := seen[first.record.OID]; again { // Python keeps each store of a transaction; the last one counts
			t.Records[i] = first.record
			continue
		}
		seen[first.record.OID] = len(t.Records)
		t.Records = append(t.Records, first.record)
	}
}

// recordCall is a record on its way.
type recordCall struct {
	*call
	record zodb.TxnRecord
	end    bool // there is no further one
}

func (c *conn) askRecord(iterator int64, tid zodb.TID) *recordCall {
	r := new(recordCall)
	r.call = c.start("iterator_record_next", func(m *wire.Message) (err error) {
		if r.end = !m.Tuple && m.IsNone(0); !r.end {
			r.record, err = parseRecord(m, tid)
		}
		return err
	}, iterator)
	return r
}

// drain waits for calls behind the end of an iteration, which fail.
func (c *conn) drain(ctx context.Context, asked []*recordCall) error {
	for _, r := range asked {
		err := c.wait(ctx, r.call)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, ErrDisconnected) {
			return err
		}
	}
	return nil
}

// parseRecord reads (oid, tid, data or None, tid of the data or None).
func parseRecord(m *wire.Message, tid zodb.TID) (r zodb.TxnRecord, err error) {
	if r.OID, err = m.OID(0); err != nil {
		return r, err
	}
	if of, err := m.TID(1); err != nil || of != tid {
		return r, errors.New("a record of another transaction")
	}
	data, err := m.OptBytes(2)
	if err != nil {
		return r, err
	}
	if data != nil {
		r.Data = append([]byte{}, data...)
	}
	if r.From, err = m.OptTID(3); err != nil {
		return r, err
	}
	if r.Data == nil {
		r.From = 0
	}
	r.Blob = isBlob(r.Data)
	return r, nil
}

// isBlob tells whether a record has a blob by its class: the protocol does not say.
func isBlob(data []byte) bool {
	if !bytes.Contains(data, []byte("ZODB.blob")) { // nearly all have not
		return false
	}
	c, err := pickle.ClassOf(data)
	return err == nil && c == pickle.Class{Module: "ZODB.blob", Name: "Blob"}
}

// backStep is how many transactions Backward reads at a time.
const backStep = 64

// Backward implements zodb.Iterator. The protocol goes forward only: the tids are
// found first, those that may be undone by the undo log, which is newest first, and
// the others by going through all of them.
func (s *Storage) Backward(ctx context.Context, from zodb.TID) iter.Seq2[*zodb.Transaction, error] {
	return func(yield func(*zodb.Transaction, error) bool) {
		last := s.LastTID()
		if from != 0 {
			last = min(from, last)
		}
		if s.can().undo {
			var err error
			if last, err = s.backByLog(ctx, last, yield); err != nil {
				yield(nil, err)
				return
			}
		}
		if last != 0 {
			s.backByPass(ctx, last, yield)
		}
	}
}

// backByLog yields what the undo log has, and returns where to go on, 0 for nowhere.
func (s *Storage) backByLog(ctx context.Context, last zodb.TID, yield func(*zodb.Transaction, error) bool) (zodb.TID, error) {
	for first := 0; ; first += backStep {
		log, err := s.UndoLog(ctx, first, first+backStep, nil)
		if err != nil {
			return 0, err
		}
		var oldest, newest zodb.TID
		for i := range log {
			if log[i].TID <= last {
				oldest = log[i].TID
				newest = max(newest, oldest)
			}
		}
		if newest != 0 {
			if !s.yieldBack(ctx, oldest, last, yield) || oldest == 1 {
				return 0, nil
			}
			last = oldest - 1
		}
		if len(log) < backStep {
			return last, nil
		}
	}
}

// backByPass yields the rest, in pieces.
func (s *Storage) backByPass(ctx context.Context, last zodb.TID, yield func(*zodb.Transaction, error) bool) {
	var tids []zodb.TID
	for t, err := range s.Transactions(ctx, 0, last) {
		if err != nil {
			yield(nil, err)
			return
		}
		tids = append(tids, t.TID)
	}
	for len(tids) > 0 {
		i := max(len(tids)-backStep, 0)
		if !s.yieldBack(ctx, tids[i], tids[len(tids)-1], yield) {
			return
		}
		tids = tids[:i]
	}
}

// yieldBack yields the transactions from oldest to newest, the newest first.
func (s *Storage) yieldBack(ctx context.Context, oldest, newest zodb.TID, yield func(*zodb.Transaction, error) bool) bool {
	var piece []*zodb.Transaction
	for t, err := range s.Transactions(ctx, oldest, newest) {
		if err != nil {
			yield(nil, err)
			return false
		}
		piece = append(piece, t)
	}
	for _, t := range slices.Backward(piece) {
		if !yield(t, nil) {
			return false
		}
	}
	return true
}
