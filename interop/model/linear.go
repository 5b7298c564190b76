package model

import (
	"math"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/zaridb/zari/zodb"
)

// A committed write of an object is a compare-and-swap of its serial, which takes
// effect between the vote and the finish reply. A conflict is a read of the
// serial between the vote and its answer. Loads are left out: each connection
// reads in its own view, which ZEO lets lag behind.
type serialOp struct {
	write    bool
	base, to zodb.TID // of a read, to is what was read
	undo     bool     // writes without having read
}

// serialModel is the register that one object is, beginning with a serial.
func serialModel(first zodb.TID) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return first },
		Step: func(state, input, _ any) (bool, any) {
			now, op := state.(zodb.TID), input.(serialOp)
			if !op.write {
				return now == op.to, now
			}
			return op.undo || now == op.base, op.to
		},
	}
}

// linearBound is for one object in one window, far more than it takes.
const linearBound = 20 * time.Second

// linearizable judges, for each object, the committed writes and the conflicts of
// the window that began after start.
func (c *Checker) linearizable(start zodb.TID, intents map[StateID]*Intent, sessions []*Session) {
	ops := make(map[zodb.OID][]porcupine.Operation)
	add := func(oid zodb.OID, op serialOp, call, ret int64) {
		ops[oid] = append(ops[oid], porcupine.Operation{Input: op, Call: call, Return: ret})
	}
	for _, in := range intents {
		if !in.found || in.tid <= start {
			continue
		}
		ret := in.doneAt
		if ret == 0 {
			ret = math.MaxInt64
		}
		for _, w := range in.Writes {
			add(w.OID, serialOp{write: true, base: w.Base, to: in.tid}, in.voteAt, ret)
		}
		for _, oid := range in.Undone {
			add(oid, serialOp{write: true, undo: true, to: in.tid}, in.voteAt, ret)
		}
	}
	for _, s := range sessions {
		for _, r := range s.refusals {
			add(r.oid, serialOp{to: r.committed}, r.call, r.answer)
		}
	}
	for oid, history := range ops {
		first, _, _ := c.history.newest(oid, start+1)
		switch porcupine.CheckOperationsTimeout(serialModel(first.tid), history, linearBound) {
		case porcupine.Illegal:
			c.Report(RuleRealTime, nil, "the %d writes and conflicts of object %v after %v have no order that fits their times", len(history), oid, start)
		case porcupine.Unknown:
			c.skipped += len(history)
		}
	}
}
