package bench

import (
	"errors"
	"fmt"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// The message ids of a transaction's calls. There is only ever one of each on
// the way, and calls made before the measurement have larger ones.
const (
	voteID int64 = 1 + iota
	finishID
	abortID
	otherIDs
)

// txnID is the client's name for its transaction. It need only be unique among
// those that are open on a connection.
const txnID int64 = 1 << 40

// sendAt is how many bytes are gathered before they are sent.
const sendAt = 256 << 10

// What transactions say of themselves.
var (
	txnUser        = []byte("bench")
	txnDescription = []byte("a transaction of the load generator")
)

// An object is one that a worker writes.
type object struct {
	oid    zodb.OID
	serial zodb.TID // the current revision
	before zodb.TID // the one before
}

// begin, store and abort put calls into the connection's buffer.

func (c *conn) begin() {
	c.out = c.codec.AppendBegin(c.out, txnID, txnUser, txnDescription)
}

func (c *conn) store(oid zodb.OID, serial zodb.TID, data []byte) {
	c.out = c.codec.AppendStore(c.out, oid, serial, data, txnID)
}

func (c *conn) abort() (err error) {
	c.out, err = c.codec.AppendCall(c.out, abortID, "tpc_abort", txnID)
	return err
}

// vote sends what is in the buffer, and votes. Conflicts that the server leaves
// to the client are refusals too.
func (c *conn) vote() error {
	c.out = c.codec.AppendVote(c.out, voteID, txnID)
	if err := c.await(voteID); err != nil {
		return err
	}
	return conflicts(&c.msg)
}

// finish finishes a transaction that has voted.
func (c *conn) finish() (zodb.TID, error) {
	c.out = c.codec.AppendFinish(c.out, finishID, txnID)
	if err := c.await(finishID); err != nil {
		return 0, err
	}
	return c.msg.TID(0)
}

// conflicts returns a refusal if the answer to vote is a list of conflicts for
// the client to resolve, and not one of oids.
func conflicts(m *wire.Message) error {
	items, err := m.Items(0)
	if err != nil || len(items) == 0 {
		return err
	}
	if _, ok := items[0].(*pickle.Dict); ok {
		return &refusal{&zodb.ConflictError{}}
	}
	return nil
}

// newOIDs gets n fresh oids. A server hands out a hundred at a time at most.
func (c *conn) newOIDs(n int) ([]zodb.OID, error) {
	oids := make([]zodb.OID, 0, n)
	for len(oids) < n {
		err := c.call("new_oids", int64(min(n-len(oids), 100)))
		got := len(oids)
		if err == nil {
			oids, err = c.msg.OIDs(0, oids)
		}
		if err != nil {
			return nil, fmt.Errorf("new_oids: %w", err)
		}
		if len(oids) == got {
			return nil, errors.New("new_oids: no oids in the answer")
		}
	}
	return oids[:n], nil
}

// makeObjects makes n objects, in transactions of at most batch.
func (c *conn) makeObjects(n, batch int, data []byte) ([]object, error) {
	oids, err := c.newOIDs(n)
	if err != nil {
		return nil, err
	}
	objs := make([]object, 0, n)
	for len(objs) < n {
		part := oids[len(objs):min(n, len(objs)+batch)]
		tid, err := c.storeNew(part, data)
		if err != nil {
			return nil, fmt.Errorf("making objects: %w", err)
		}
		for _, oid := range part {
			objs = append(objs, object{oid: oid, serial: tid})
		}
	}
	return objs, nil
}

// storeNew commits new objects in one transaction.
func (c *conn) storeNew(oids []zodb.OID, data []byte) (zodb.TID, error) {
	c.begin()
	for _, oid := range oids {
		c.store(oid, 0, data)
		if len(c.out) < sendAt {
			continue
		}
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	if err := c.vote(); err != nil {
		return 0, err
	}
	return c.finish()
}
