package model

import (
	"fmt"
	"iter"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// transactions iterates the database from a tid on, itself included, by the calls
// that ZEO has for it.
func (cl *client) transactions(from zodb.TID) iter.Seq2[Txn, error] {
	return func(yield func(Txn, error) bool) {
		iid, err := cl.iterate("iterator_start", bytesOf(from), nil)
		for err == nil {
			t, more, failed := cl.transaction(iid)
			if err = failed; err != nil || !more {
				break
			}
			if !yield(t, nil) {
				cl.Post("iterator_gc", pickle.NewList(iid))
				return
			}
		}
		if err != nil {
			yield(Txn{}, fmt.Errorf("reading the database: %w", err))
		}
	}
}

// iterate calls a method that opens an iterator, and returns its number.
func (cl *client) iterate(method string, args ...any) (iid int64, err error) {
	err = cl.wait(cl.Send(method, func(m *wire.Message) error {
		iid, err = m.Int(0)
		return err
	}, args...))
	return iid, err
}

// transaction reads the next one; more is false at the end.
func (cl *client) transaction(iid int64) (t Txn, more bool, err error) {
	err = cl.wait(cl.Send("iterator_next", func(m *wire.Message) error {
		if !m.Tuple && m.IsNone(0) {
			return nil
		}
		more = true
		if t.TID, err = m.TID(0); err != nil {
			return err
		}
		description, err := m.Bytes(3)
		if err != nil {
			return err
		}
		t.Label, err = ParseLabel(string(description))
		return err
	}, iid))
	if err != nil || !more {
		return t, false, err
	}
	t.Records, err = cl.records(iid, t.TID)
	return t, true, err
}

// records reads what a transaction holds.
func (cl *client) records(iid int64, tid zodb.TID) (records []Record, err error) {
	rid, err := cl.iterate("iterator_record_start", iid, bytesOf(tid))
	for more := true; err == nil && more; {
		err = cl.wait(cl.Send("iterator_record_next", func(m *wire.Message) error {
			if more = m.Tuple || !m.IsNone(0); !more {
				return nil
			}
			r, err := recordIn(m)
			records = append(records, r)
			return err
		}, rid))
	}
	return records, err
}

// recordIn reads (oid, tid, data or None, data_txn or None).
func recordIn(m *wire.Message) (r Record, err error) {
	if r.OID, err = m.OID(0); err != nil {
		return r, err
	}
	data, err := m.OptBytes(2)
	if err != nil || data == nil {
		r.Deleted = true
		return r, err
	}
	if r.State, err = DecodeState(data); err != nil {
		return r, fmt.Errorf("object %v: %w", r.OID, err)
	}
	return r, nil
}
