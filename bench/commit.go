package bench

import "time"

var _ worker = (*committer)(nil)

// A committer commits to objects of its own.
type committer struct {
	base
	data  []byte
	objs  []object
	at    int           // the next object to write
	stall time.Duration // between vote and finish
}

// rounds is how many transactions a committer makes before it writes to an
// object again.
const rounds = 4

func newCommitter(b base) worker { return &committer{base: b} }

func (w *committer) prepare() (err error) {
	w.data = Record(w.o.Size, w.o.Seed)
	w.objs, err = w.c.makeObjects(rounds*w.o.PerTxn, w.o.Batch, w.data)
	return err
}

func (w *committer) run() error {
	for !w.stopped() {
		if err := w.transaction(); err != nil {
			return err
		}
	}
	return nil
}

// transaction makes one transaction. What the server refuses is counted.
func (w *committer) transaction() error {
	began := time.Now()
	objs := w.objs[w.at : w.at+w.o.PerTxn]
	w.at = (w.at + w.o.PerTxn) % len(w.objs)
	w.put(objs)
	if err := w.c.vote(); err != nil {
		return w.giveUp(err)
	}
	if !w.sleep() {
		return nil
	}
	tid, err := w.c.finish()
	if err != nil {
		return w.giveUp(err)
	}
	for i := range objs {
		objs[i].before, objs[i].serial = objs[i].serial, tid
	}
	w.ok(opCommit, began)
	return nil
}

// put puts everything before the vote into the connection's buffer. One of the
// stores comes from a revision that was overwritten, if the transaction is to
// conflict.
func (w *committer) put(objs []object) {
	stale := -1
	if w.o.Conflicts > 0 && w.rnd.Float64() < w.o.Conflicts {
		stale = w.rnd.IntN(len(objs))
	}
	w.c.begin()
	for i, o := range objs {
		serial := o.serial
		if i == stale {
			serial = o.before
		}
		w.c.store(o.oid, serial, w.data)
	}
}

// giveUp aborts the transaction and counts why. It returns an error if the
// connection is lost.
func (w *committer) giveUp(why error) error {
	if !isRefusal(why) {
		return why
	}
	w.refused(why)
	if err := w.c.abort(); err != nil {
		return err
	}
	return w.c.await(abortID)
}

// sleep waits for as long as the committer is to stall. It returns false when
// the run stops.
func (w *committer) sleep() bool {
	if w.stall == 0 {
		return true
	}
	timer := time.NewTimer(w.stall)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.stop:
		return false
	}
}
