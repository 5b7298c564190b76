package storagetest

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/zaridb/zari/zodb"
)

var threadsGroup = group{name: "threads", tests: []test{
	{name: "2Writers", run: func(t *T) { testWriters(t, 2) }},
	{name: "7Writers", run: func(t *T) { testWriters(t, 7) }},
	{name: "4Mixed", run: func(t *T) { testMixed(t, 4) }},
	{name: "Increments", run: testIncrements},
}}

// testWriters lets n clients make and change objects of their own.
func testWriters(t *T, n int) {
	t.together(n, func(i int) error {
		w := worker{t: t, rnd: rand.New(rand.NewPCG(t.H.Seed, uint64(i))), objects: make(map[zodb.OID]write)}
		for range 20 {
			if err := w.commit(); err != nil {
				return err
			}
		}
		return w.verify()
	})
}

// testMixed lets n clients do everything that reads beside the writing.
func testMixed(t *T, n int) {
	t.together(n, func(i int) error {
		w := worker{t: t, rnd: rand.New(rand.NewPCG(t.H.Seed, uint64(i))), objects: make(map[zodb.OID]write)}
		for range 20 {
			for _, step := range []func() error{w.commit, w.verifyOne, w.readSerial, w.readLog, w.iterate} {
				if err := step(); err != nil {
					return err
				}
			}
		}
		return w.verify()
	})
}

// worker is a client with its own objects: oid -> its current revision.
type worker struct {
	t       *T
	rnd     *rand.Rand
	objects map[zodb.OID]write
	oids    []zodb.OID
}

// commit makes a new object and changes up to two others.
func (w *worker) commit() error {
	oid, err := allocate(w.t.ctx, w.t.S)
	if err != nil {
		return err
	}
	writes := []write{{oid, 0, Object(w.rnd.IntN(1000))}}
	for range min(len(w.oids), 2) {
		old := w.objects[w.oids[w.rnd.IntN(len(w.oids))]]
		writes = append(writes, write{old.oid, old.serial, Object(w.rnd.IntN(1000))})
	}
	tid, err := commit(w.t.ctx, w.t.S, nil, writes...)
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	for _, wr := range writes {
		w.objects[wr.oid] = write{wr.oid, tid, wr.data}
	}
	w.oids = append(w.oids, oid)
	return nil
}

func (w *worker) verifyOne() error {
	want := w.objects[w.oids[w.rnd.IntN(len(w.oids))]]
	rec, err := w.t.S.LoadBefore(w.t.ctx, want.oid, zodb.MaxTID)
	if err != nil {
		return err
	}
	if rec.Serial != want.serial || string(rec.Data) != string(want.data) || rec.Next != 0 {
		return fmt.Errorf("object %v: revision %v with %d bytes, next %v; want %v with %d bytes",
			want.oid, rec.Serial, len(rec.Data), rec.Next, want.serial, len(want.data))
	}
	return nil
}

func (w *worker) verify() error {
	for range w.oids {
		if err := w.verifyOne(); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) readSerial() error {
	h, ok := zodb.As[zodb.Historian](w.t.S)
	if !ok {
		return nil
	}
	want := w.objects[w.oids[w.rnd.IntN(len(w.oids))]]
	data, err := h.LoadSerial(w.t.ctx, want.oid, want.serial)
	if err != nil {
		return err
	}
	if string(data) != string(want.data) {
		return fmt.Errorf("LoadSerial(%v, %v): other data than were stored", want.oid, want.serial)
	}
	return nil
}

func (w *worker) readLog() error {
	u, ok := zodb.As[zodb.Undoer](w.t.S)
	if !ok {
		return nil
	}
	log, err := u.UndoLog(w.t.ctx, 0, 20, nil)
	for i := 1; i < len(log); i++ {
		if log[i].TID >= log[i-1].TID {
			return fmt.Errorf("UndoLog: %v after %v", log[i].TID, log[i-1].TID)
		}
	}
	return err
}

func (w *worker) iterate() error {
	it, ok := zodb.As[zodb.Iterator](w.t.S)
	if !ok {
		return nil
	}
	last := zodb.TID(0)
	for txn, err := range it.Transactions(w.t.ctx, 0, 0) {
		if err != nil {
			return err
		}
		if txn.TID <= last {
			return fmt.Errorf("from Transactions: %v after %v", txn.TID, last)
		}
		last = txn.TID
	}
	if newest := w.objects[w.oids[len(w.oids)-1]].serial; last < newest {
		return fmt.Errorf("from Transactions: the end is %v, but %v had been committed", last, newest)
	}
	return nil
}

// Many clients increment one object; whoever loses tries again. No increment is
// lost.
func testIncrements(t *T) {
	const clients, each = 5, 20
	t.put(1, 0, Object(0))
	t.together(clients, func(int) error {
		for range each {
			if err := increment(t, t.S, 1); err != nil {
				return err
			}
		}
		return nil
	})
	equal(t, "the object after all increments", valueOf(t.load(1).Data), clients*each)
}

// increment adds one to an object, merging as a client does.
func increment(t *T, s zodb.Storage, oid zodb.OID) error {
	rec, err := s.LoadBefore(t.ctx, oid, zodb.MaxTID)
	if err != nil {
		return err
	}
	txn, err := s.Begin(t.ctx, zodb.TxnMeta{})
	if err != nil {
		return err
	}
	defer txn.Abort()
	if err := txn.Store(t.ctx, oid, rec.Serial, Object(valueOf(rec.Data)+1)); err != nil {
		return err
	}
	for range 2 {
		votes, err := txn.Vote(t.ctx)
		if err != nil {
			return err
		}
		if len(votes.Conflicts) == 0 {
			_, err = txn.Finish(t.ctx, nil)
			return err
		}
		// The lock is held: what is committed now stays so until we finish.
		committed, err := s.LoadBefore(t.ctx, oid, votes.Conflicts[0].Committed+1)
		if err != nil {
			return err
		}
		if err := txn.Store(t.ctx, oid, committed.Serial, Object(valueOf(committed.Data)+1)); err != nil {
			return err
		}
	}
	return errors.New("a merged state conflicts, although its object was locked")
}
