package server

import (
	"bytes"
	"errors"

	"github.com/zaridb/zari/internal/planted"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// load answers loadBefore.
func (x *session) load(id wire.RawID, oid zodb.OID, tid zodb.TID) error {
	x.hub.stats.loads.Add(1)
	l := loadCall{id, oid, tid}
	if x.server.opts.SlowLoads {
		if x.recall(l) {
			return nil
		}
		l.id = bytes.Clone(id)
		return x.goBeside(func() { x.answerLoad(l) })
	}
	x.answerLoad(l)
	return nil
}

// loadCall is a call of loadBefore.
type loadCall struct {
	id  wire.RawID
	oid zodb.OID
	tid zodb.TID
}

// recall answers a load that need not wait, as answerLoad would.
func (x *session) recall(l loadCall) (done bool) {
	if x.hub.recaller == nil {
		return false
	}
	rec, ok := x.hub.recaller.Recall(l.oid, min(l.tid, x.out.View()+1))
	return ok && x.queueLoad(l, rec, nil)
}

// answerLoad reads the object as of the connection's view, and makes sure that
// what it says of it is still true where it stands among the invalidations.
func (x *session) answerLoad(l loadCall) {
	for {
		view := x.out.View()
		bound := min(l.tid, view+1)
		if planted.ViewLeak {
			bound = l.tid
		}
		rec, err := x.hub.storage.LoadBefore(x.ctx, l.oid, bound)
		if planted.CurrentAfterInvalidation && planted.Seldom() {
			planted.Stall()
		}
		if x.queueLoad(l, rec, err) {
			return
		}
	}
}

// queueLoad queues the answer, unless the object has changed since it was read.
func (x *session) queueLoad(l loadCall, rec zodb.Record, err error) (done bool) {
	x.out.mu.Lock()
	defer x.out.mu.Unlock()
	if err != nil {
		x.queueNoLoad(l, err)
		return true
	}
	view := x.out.View()
	if rec.Next == 0 && view > rec.AsOf && x.hub.changedSince(l.oid, rec.AsOf) && !planted.CurrentAfterInvalidation {
		return false
	}
	if rec.Next > view {
		rec.Next = 0 // the invalidation that will tell is yet to come
	}
	x.out.addLocked(func(dst []byte) []byte { return x.codec.AppendLoad(dst, l.id, rec) })
	return true
}

// queueNoLoad answers None for an object that exists but not yet before the tid,
// and an error otherwise.
func (x *session) queueNoLoad(l loadCall, err error) {
	missing, ok := errors.AsType[*zodb.NoObjectError](err)
	if ok && missing.Known && missing.DeletedAt == 0 {
		x.out.addLocked(func(dst []byte) []byte { return x.codec.AppendNone(dst, l.id) })
		return
	}
	x.logError("loadBefore", err)
	x.out.addLocked(func(dst []byte) []byte { return x.codec.AppendError(dst, l.id, err) })
}
