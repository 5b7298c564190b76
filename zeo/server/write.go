package server

import (
	"bytes"
	"errors"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// storea(oid, serial, data, id)
func storea(x *session, m *wire.Message) (any, error) {
	t, err := x.current(m, 3)
	if err != nil {
		return nil, err
	}
	x.hub.stats.stores.Add(1)
	oid, serial, err := oidSerial(m)
	if err != nil {
		return nil, err
	}
	data, err := m.TextOrBytes(2)
	if err != nil {
		return nil, err
	}
	return nil, t.txn.Store(t.ctx, oid, serial, data)
}

// deleteObject(oid, serial, id)
func deleteObject(x *session, m *wire.Message) (any, error) {
	t, err := x.current(m, 2)
	if err != nil {
		return nil, err
	}
	d, ok := zodb.As[zodb.DeleteTxn](t.txn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	x.hub.stats.stores.Add(1)
	oid, serial, err := oidSerial(m)
	if err != nil {
		return nil, err
	}
	return nil, d.Delete(t.ctx, oid, serial)
}

// checkCurrentSerialInTransaction(oid, serial, id)
func checkCurrent(x *session, m *wire.Message) (any, error) {
	t, err := x.current(m, 2)
	if err != nil {
		return nil, err
	}
	oid, serial, err := oidSerial(m)
	if err != nil {
		return nil, err
	}
	return nil, t.txn.CheckCurrent(t.ctx, oid, serial)
}

// restorea(oid, serial, data, prev_txn, id)
func restorea(x *session, m *wire.Message) (any, error) {
	t, err := x.current(m, 4)
	if err != nil {
		return nil, err
	}
	r, ok := zodb.As[zodb.RestoreTxn](t.txn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	x.hub.stats.stores.Add(1)
	oid, err := m.OID(0)
	if err != nil {
		return nil, err
	}
	data, err := m.OptBytes(2)
	if err != nil {
		return nil, err
	}
	from, err := m.OptTID(3)
	if err != nil {
		return nil, err
	}
	return nil, r.Restore(t.ctx, oid, bytes.Clone(data), from) // the frame will be overwritten
}

// undoa(transaction id, id)
func undoa(x *session, m *wire.Message) (any, error) {
	t, err := x.current(m, 1)
	if err != nil {
		return nil, err
	}
	u, ok := zodb.As[zodb.UndoTxn](t.txn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	name, err := m.TextOrBytes(0)
	if err != nil {
		return nil, err
	}
	tid, err := zodb.ParseUndoID(name)
	if err != nil {
		return nil, &zodb.UndoError{Reason: "bad transaction id"}
	}
	return nil, u.Undo(t.ctx, tid)
}
