package server

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/zaridb/zari/internal/planted"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// imok answers "ruok" with the status of all storages, and ends the connection.
func (x *session) imok() error {
	all := make(map[string]map[string]any)
	for _, s := range x.server.Status() {
		all[s.Storage] = make(map[string]any)
		pairs := s.Pairs()
		for i := 0; i < len(pairs); i += 2 {
			all[s.Storage][pairs[i].(string)] = pairs[i+1]
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	x.out.add(func(dst []byte) []byte { return wire.AppendFrame(dst, text) })
	x.out.flush()
	return nil
}

// register(storage id, read_only) chooses the storage. It may be tried again
// after an error.
func register(x *session, m *wire.Message) (any, error) {
	id, err := m.Text(0)
	if err != nil {
		return nil, err
	}
	h, err := x.server.acquire(id)
	if err != nil {
		return nil, err
	}
	readOnly := m.Bool(1)
	if !readOnly && (x.readOnly || h.storage.Info().ReadOnly) {
		x.server.extras.release(h)
		return nil, zodb.ErrReadOnly
	}
	if err := h.reached(x.ctx); err != nil {
		x.server.extras.release(h)
		return nil, err
	}
	x.readOnly = x.readOnly || readOnly
	x.hub = h
	x.log().Debug("registered", "storage", id, "read_only", x.readOnly)
	return nil, x.joinAndAnswer(m)
}

// joinAndAnswer queues the answer to register before any invalidation can be
// queued behind the view that it shows.
func (x *session) joinAndAnswer(m *wire.Message) error {
	x.hub.join(x, func(view zodb.TID) {
		x.out.add(func(dst []byte) []byte { return x.codec.AppendTID(dst, m.ID, view) })
	})
	return errAnswered
}

// lastTransaction answers with the connection's view, in one step with reading it.
func lastTransaction(x *session, m *wire.Message) (any, error) {
	x.out.add(func(dst []byte) []byte {
		view := x.out.View()
		if planted.ViewLeak {
			view = x.hub.storage.LastTID()
		}
		return x.codec.AppendTID(dst, m.ID, view)
	})
	return nil, errAnswered
}

// ping has no result; all that was committed before it arrived is queued already.
func ping(x *session, m *wire.Message) (any, error) {
	if s, ok := zodb.As[zodb.Syncer](x.hub.storage); ok {
		return nil, cmp.Or(x.beside(func(m *wire.Message) {
			if err := s.Sync(x.ctx); err != nil {
				x.answerError(m.ID, m.Method, err)
				return
			}
			x.answer(m.ID, nil)
		}), errAnswered)
	}
	return nil, nil
}

// getInvalidations(tid): (last tid, oids changed after tid), or None if that is
// not known and the client must drop its cache.
func getInvalidations(x *session, m *wire.Message) (any, error) {
	tid, err := m.TID(0)
	if err != nil {
		return nil, err
	}
	answer := func(oids []zodb.OID, view zodb.TID) {
		x.log().Info(fmt.Sprintf("Return %d invalidations up to tid %v", len(oids), view))
		x.answer(m.ID, pickle.Tuple{view, oidList(oids)})
	}
	known := x.hub.answerChanges(tid, nil, answer)
	if !known && (x.hub.remote() || x.server.opts.InvalidationAge > x.server.opts.Clock().Sub(tid.Time())) {
		if oids, last, ok := x.changesSince(tid); ok {
			known = x.hub.answerChanges(last, oids, answer)
		}
	}
	if !known {
		return nil, nil
	}
	return nil, errAnswered
}

func (x *session) changesSince(tid zodb.TID) ([]zodb.OID, zodb.TID, bool) {
	w, ok := zodb.As[zodb.Watcher](x.hub.storage)
	if !ok {
		return nil, 0, false
	}
	oids, last, err := w.ChangesSince(x.ctx, tid)
	if err != nil && !errors.Is(err, zodb.ErrUnknownPosition) {
		x.log().Error("cannot tell what changed", "since", tid, "err", err)
	}
	return oids, last, err == nil
}

func newOIDs(x *session, m *wire.Message) (any, error) {
	if x.readOnly {
		return nil, zodb.ErrReadOnly
	}
	n, err := m.OptInt(0, 100)
	if err != nil {
		return nil, err
	}
	oids, err := x.hub.storage.NewOIDs(x.ctx, int(min(max(n, 1), 100)))
	if err != nil {
		return nil, err
	}
	return oidList(oids), nil
}

func oidList(oids []zodb.OID) *pickle.List {
	list := make([]any, len(oids))
	for i, oid := range oids {
		list[i] = oid
	}
	return pickle.NewList(list...)
}

func serverStatus(x *session, m *wire.Message) (any, error) {
	return pickle.NewDict(x.hub.status().Pairs()...), nil
}

// setClientLabel(label) makes the log say whose connection this is.
func setClientLabel(x *session, m *wire.Message) (any, error) {
	label, err := m.Text(0)
	if err != nil {
		return nil, err
	}
	x.logger.Store(x.server.opts.Logger.With("client", label+" "+x.addr))
	return nil, nil
}

// loadBefore(oid, tid): the newest revision before tid.
func loadBefore(x *session, m *wire.Message) (any, error) {
	oid, err := m.OID(0)
	if err != nil {
		return nil, err
	}
	tid, err := m.TID(1)
	if err != nil {
		return nil, err
	}
	if err := x.load(m.ID, oid, tid); err != nil {
		return nil, err
	}
	return nil, errAnswered
}

// loadSerial(oid, tid): the data that transaction tid wrote.
func loadSerial(x *session, m *wire.Message) (any, error) {
	oid, serial, err := oidSerial(m)
	if err != nil {
		return nil, err
	}
	h, ok := zodb.As[zodb.Historian](x.hub.storage)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	if serial > x.out.View() {
		return nil, &zodb.NoObjectError{OID: oid, Before: serial}
	}
	return h.LoadSerial(x.ctx, oid, serial)
}

// getTid(oid): the serial of the current revision.
func getTid(x *session, m *wire.Message) (any, error) {
	oid, err := m.OID(0)
	if err != nil {
		return nil, err
	}
	rec, err := x.hub.storage.LoadBefore(x.ctx, oid, x.out.View()+1)
	if err != nil {
		return nil, err
	}
	return rec.Serial, nil
}

// history(oid, size=1): the newest revisions, newest first.
func history(x *session, m *wire.Message) (any, error) {
	oid, err := m.OID(0)
	if err != nil {
		return nil, &zodb.NoObjectError{}
	}
	size, err := m.OptInt(1, 1)
	if err != nil {
		return nil, err
	}
	h, ok := zodb.As[zodb.Historian](x.hub.storage)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	view := x.out.View()
	revisions, err := h.History(x.ctx, oid, int(min(size, 1<<20)))
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, r := range revisions {
		if r.TID > view {
			continue
		}
		d := extensionDict(r.Extension)
		d.Set("time", seconds(r.TID.Time()))
		d.Set("user_name", nonNil(r.User))
		d.Set("description", nonNil(r.Description))
		d.Set("tid", r.TID)
		d.Set("size", r.Size)
		list = append(list, d)
	}
	return pickle.NewList(list...), nil
}

// nonNil turns absent bytes into empty ones: None is something else in Python.
func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// recordIternext(next=None): (oid, tid, data, next oid or None), current records
// in the order of their oids.
func recordIternext(x *session, m *wire.Message) (any, error) {
	r, ok := zodb.As[zodb.RecordIterator](x.hub.storage)
	if !ok {
		return noSuchAttribute(x, m)
	}
	var from zodb.OID
	if !m.IsNone(0) {
		var err error
		if from, err = m.OID(0); err != nil {
			return nil, err
		}
	}
	var found []zodb.Current
	for c, err := range r.Current(x.ctx, x.out.View(), from, ^zodb.OID(0)) {
		if err != nil {
			return nil, err
		}
		if found = append(found, c); len(found) == 2 {
			break
		}
	}
	if len(found) == 0 {
		return nil, wire.NewPyError(wire.ValueError, "no records")
	}
	var next any
	if len(found) == 2 {
		next = found[1].OID
	}
	return pickle.Tuple{found[0].OID, found[0].Serial, found[0].Data, next}, nil
}
