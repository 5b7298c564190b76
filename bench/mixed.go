package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

var _ worker = (*mixer)(nil)

// A mixer loads, and now and then commits, from the same set of objects as all
// other mixers. It heeds invalidations: it loads what its view shows, and writes
// from the newest revision that it was told of. So its commits conflict exactly
// when another one's invalidation was still on the way.
type mixer struct {
	base
	loads loads
	data  []byte
	objs  []object         // with the serials that this worker knows
	index map[zodb.OID]int // into objs

	waiting bool      // a commit is next, but one is running
	writing []int     // the objects of the running commit
	began   time.Time // the running commit
	invalid []zodb.OID
}

func newMixer(b base, shared []object) worker {
	m := &mixer{base: b, objs: slices.Clone(shared), index: make(map[zodb.OID]int, len(shared))}
	for i, o := range shared {
		m.index[o.oid] = i
	}
	return m
}

func (m *mixer) prepare() (err error) {
	if m.o.PerTxn > len(m.objs) {
		return usage("%d objects are too few for commits of %d", len(m.objs), m.o.PerTxn)
	}
	m.data = Record(m.o.Size, m.o.Seed)
	m.loads, err = newLoads(m.c.codec, m.o.InFlight)
	return err
}

func (m *mixer) run() error {
	for !m.stopped() {
		m.start()
		if err := m.c.next(); err != nil {
			return err
		}
		if err := m.handle(&m.c.msg); err != nil {
			return err
		}
	}
	return nil
}

// start starts operations until one has to wait: a load for its turn, a commit
// for the end of the running one. Waiting keeps the share of commits as asked.
func (m *mixer) start() {
	for {
		if !m.waiting && m.rnd.Float64() >= m.o.Writes {
			if m.loads.full() {
				return
			}
			m.loads.ask(m.c, m.objs[m.rnd.IntN(len(m.objs))].oid)
			continue
		}
		if len(m.writing) > 0 {
			m.waiting = true
			return
		}
		m.waiting = false
		m.commit()
	}
}

// commit puts a transaction up to its vote into the connection's buffer.
func (m *mixer) commit() {
	m.began = time.Now()
	m.c.begin()
	for len(m.writing) < m.o.PerTxn {
		i := m.rnd.IntN(len(m.objs))
		if slices.Contains(m.writing, i) {
			continue
		}
		m.writing = append(m.writing, i)
		m.c.store(m.objs[i].oid, m.objs[i].serial, m.data)
	}
	m.c.out = m.c.codec.AppendVote(m.c.out, voteID, txnID)
}

func (m *mixer) handle(msg *wire.Message) error {
	if msg.Async {
		return m.callback(msg)
	}
	id, ok := msg.Number()
	if !ok {
		m.loads.answer(&m.tally, msg)
		return nil
	}
	switch id {
	case voteID:
		return m.voted(msg)
	case finishID:
		return m.finished(msg)
	case abortID:
		m.writing = m.writing[:0]
	}
	return nil
}

func (m *mixer) voted(msg *wire.Message) error {
	err := msg.Err()
	if err == nil {
		err = conflicts(msg)
	}
	if err != nil {
		return m.giveUp(err)
	}
	m.c.out = m.c.codec.AppendFinish(m.c.out, finishID, txnID)
	return nil
}

// giveUp aborts the running commit and counts why.
func (m *mixer) giveUp(why error) error {
	m.refused(why)
	return m.c.abort()
}

func (m *mixer) finished(msg *wire.Message) error {
	if err := msg.Err(); err != nil {
		return m.giveUp(err)
	}
	tid, err := msg.TID(0)
	if err != nil {
		return err
	}
	m.ok(opCommit, m.began)
	for _, i := range m.writing {
		m.objs[i].serial = tid
	}
	m.c.view = max(m.c.view, tid)
	m.writing = m.writing[:0]
	return nil
}

// callback moves the view on when another connection has committed.
func (m *mixer) callback(msg *wire.Message) (err error) {
	if msg.Method != "invalidateTransaction" {
		return nil
	}
	tid, err := msg.TID(0)
	if err != nil {
		return fmt.Errorf("bench: an invalidation: %w", err)
	}
	m.invalid, err = msg.OIDs(1, m.invalid[:0])
	if err != nil {
		return fmt.Errorf("bench: an invalidation: %w", err)
	}
	for _, oid := range m.invalid {
		if i, ok := m.index[oid]; ok {
			m.objs[i].serial = max(m.objs[i].serial, tid)
		}
	}
	m.c.view = max(m.c.view, tid)
	return nil
}

// makeShared makes the objects that all connections of a mixed run share.
func makeShared(ctx context.Context, o *Options) ([]object, error) {
	c, err := dial(ctx, o, false)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.makeObjects(o.Objects, o.Batch, Record(o.Size, o.Seed))
}
