package model

import (
	"errors"
	"fmt"
	"time"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// client is what an actor, or the reader of the truth, makes of a Conn: the
// methods of ZEO, with their answers taken to the session in the order of frames.
type client struct {
	*Conn
	c     *Checker
	name  string
	s     *Session // set when register is answered
	bound time.Duration
}

// connect dials and registers. before is the client's former session, or nil. A
// nil checker makes a client that nobody watches.
func connect(addr, name string, codec wire.Codec, bound time.Duration, c *Checker, before *Session) (*client, error) {
	cl := &client{c: c, name: name, bound: bound}
	conn, err := Dial(addr, codec, bound, cl)
	if err != nil {
		return nil, err
	}
	cl.Conn = conn
	call := conn.Send("register", func(m *wire.Message) error {
		last, err := m.TID(0)
		if err == nil && c != nil {
			cl.s = c.Join(name, last, before)
		}
		return err
	}, "1", false)
	if err := cl.wait(call); err != nil {
		conn.Close()
		return nil, fmt.Errorf("register: %w", err)
	}
	return cl, nil
}

// Callback takes what the server sends unasked; see Handler.
func (cl *client) Callback(m *wire.Message) error {
	switch {
	case cl.s == nil || m.Method == "info":
		return nil
	case m.Method != "invalidateTransaction":
		return fmt.Errorf("the server calls %q", m.Method)
	}
	tid, err := m.TID(0)
	if err != nil {
		return err
	}
	oids, err := m.OIDs(1, nil)
	if err == nil {
		cl.s.Invalidated(tid, oids)
	}
	return err
}

// Frame counts a frame; see Handler.
func (cl *client) Frame() {
	if cl.c != nil {
		cl.c.frames.Add(1)
	}
}

// wait waits for the answer of a call. One that does not come in time is a
// violation, and so is a connection closed by the server.
func (cl *client) wait(call *Call) error {
	err := call.Wait(cl.bound)
	if errors.Is(err, errStuck) && cl.c != nil {
		cl.c.Report(RuleStuck, cl.s, "%s was not answered in %v", call.method, cl.bound)
	}
	return err
}

// load queues a loadBefore; Flush or the next Send puts it on the wire.
func (cl *client) load(oid zodb.OID, before zodb.TID, then func(serial zodb.TID)) *Call {
	l := Load{cl.s.Mark(), oid, before}
	return cl.QueueLoad(oid, before, func(m *wire.Message) error {
		rec, ok, err := m.ParseLoad()
		if _, unknown := errors.AsType[*zodb.NoObjectError](err); unknown || err == nil && !ok {
			cl.s.Missing(l)
			then(0)
			return nil
		}
		if err != nil {
			return err
		}
		cl.s.Loaded(l, rec.Data, rec.Serial, rec.Next)
		then(rec.Serial)
		return nil
	})
}

// loadAll loads objects of one view, all in flight together, and returns their
// serials, 0 for one that has none.
func (cl *client) loadAll(oids []zodb.OID, before zodb.TID) ([]zodb.TID, error) {
	serials := make([]zodb.TID, len(oids))
	calls := make([]*Call, len(oids))
	for i, oid := range oids {
		calls[i] = cl.load(oid, before, func(serial zodb.TID) { serials[i] = serial })
	}
	if err := cl.Flush(); err != nil {
		return nil, err
	}
	for _, call := range calls {
		if err := cl.wait(call); err != nil {
			return nil, err
		}
	}
	return serials, nil
}

// ping waits until the server has told this connection of everything finished.
func (cl *client) ping() error {
	mark := cl.s.Mark()
	return cl.wait(cl.Send("ping", func(*wire.Message) error {
		cl.s.Ponged(mark)
		return nil
	}))
}

// lastTransaction asks for the last tid.
func (cl *client) lastTransaction() error {
	mark := cl.s.Mark()
	return cl.wait(cl.Send("lastTransaction", func(m *wire.Message) error {
		last, err := m.TID(0)
		if err == nil {
			cl.s.Told(mark, last)
		}
		return err
	}))
}

// getInvalidations asks what changed after since.
func (cl *client) getInvalidations(since zodb.TID) error {
	mark := cl.s.Mark()
	return cl.wait(cl.Send("getInvalidations", func(m *wire.Message) error {
		if !m.Tuple && m.IsNone(0) {
			cl.s.DropCache()
			return nil
		}
		last, err := m.TID(0)
		if err != nil {
			return err
		}
		oids, err := m.OIDs(1, nil)
		if err == nil {
			cl.s.Invalidations(mark, since, last, oids)
		}
		return err
	}, bytesOf(since)))
}

// newOIDs asks for n oids.
func (cl *client) newOIDs(n int) (oids []zodb.OID, err error) {
	err = cl.wait(cl.Send("new_oids", func(m *wire.Message) error {
		oids, err = m.ResultOIDs()
		if err == nil && len(oids) == 0 {
			err = errors.New("new_oids: none")
		}
		cl.c.HandedOut(cl.s, oids)
		return err
	}, int64(n)))
	return oids, err
}

// bytesOf returns the eight bytes of an oid or a tid.
func bytesOf[T interface{ Bytes() [8]byte }](v T) []byte {
	b := v.Bytes()
	return b[:]
}
