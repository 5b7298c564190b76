package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// phase is how far a transaction has come.
type phase string

const (
	open      phase = "open"
	conflicts phase = "waiting for merges"
	voted     phase = "voted"
	failed    phase = "over: its vote failed"
	finished  phase = "finished"
	aborted   phase = "aborted"
)

// txn is a transaction on a connection of its own. Its writes go to the server as
// they come, and are buffered there.
type txn struct {
	s     *Storage
	x     *session
	c     *conn // nil once it is given back
	id    int64 // the server's name for it, unique on the connection
	meta  zodb.TxnMeta
	phase phase
	asked bool // a vote was sent

	oids   map[zodb.OID]bool
	vague  bool
	undone []zodb.TID
	blobs  []stagedBlob
}

// Begin implements zodb.Storage.
func (s *Storage) Begin(ctx context.Context, meta zodb.TxnMeta) (zodb.Txn, error) {
	if meta.Token == (zodb.Token{}) {
		meta.Token = s.tokens.Next()
	}
	var t *txn
	err := s.retry(ctx, func(x *session) error {
		if x.readOnly {
			return zodb.ErrReadOnly
		}
		c, err := s.acquire(ctx, x)
		if err != nil {
			return err
		}
		t = &txn{s: s, x: x, c: c, id: c.nextTxn(), meta: meta, phase: open, oids: make(map[zodb.OID]bool)}
		if err := t.begin(); err != nil {
			s.release(x, c, false)
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (t *txn) begin() error {
	m := &t.meta
	extension, err := pickle.NewDict(), error(nil)
	if len(m.Extension) > 0 {
		if extension, err = pickle.DecodeDict(m.Extension); err != nil {
			return fmt.Errorf("the transaction's extension cannot be sent: %w", err)
		}
	}
	status := " "
	if m.Status != 0 {
		status = string(rune(m.Status))
	}
	args := []any{t.id, filled(m.User), filled(m.Description), extension, orNone(m.TID), status}
	if t.s.can().tokens {
		args = append(args, m.Token[:])
	}
	return t.c.post("tpc_begin", args...)
}

// filled makes bytes of what may be nil, which the protocol has as None.
func filled(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// As implements zodb.Asser: transactions have what goes with the storage's
// abilities.
func (t *txn) As(target any) bool {
	can := t.s.can()
	switch target.(type) {
	case *zodb.UndoTxn:
		return can.undo && zodb.SetAs[zodb.UndoTxn](target, t)
	case *zodb.DeleteTxn:
		return can.interfaces["IExternalGC"] && zodb.SetAs[zodb.DeleteTxn](target, t)
	case *zodb.RestoreTxn:
		return can.interfaces["IStorageRestoreable"] && zodb.SetAs[zodb.RestoreTxn](target, t)
	case *zodb.BlobTxn:
		return t.s.hasBlobs() && zodb.SetAs[zodb.BlobTxn](target, t)
	}
	return false
}

// writable returns an error if nothing can be written in this phase.
func (t *txn) writable(op string) error {
	if t.phase != open && t.phase != conflicts {
		return &zodb.TxnError{Op: op, State: string(t.phase)}
	}
	return nil
}

// Store implements zodb.Txn.
func (t *txn) Store(_ context.Context, oid zodb.OID, serial zodb.TID, data []byte) error {
	if err := t.writable("store"); err != nil {
		return err
	}
	t.oids[oid] = true
	return t.c.send(func(dst []byte) ([]byte, error) { return t.c.codec.AppendStore(dst, oid, serial, data, t.id), nil })
}

// CheckCurrent implements zodb.Txn.
func (t *txn) CheckCurrent(_ context.Context, oid zodb.OID, serial zodb.TID) error {
	if err := t.writable("check"); err != nil {
		return err
	}
	return t.c.post("checkCurrentSerialInTransaction", oid, serial, t.id)
}

// Undo implements zodb.UndoTxn.
func (t *txn) Undo(_ context.Context, tid zodb.TID) error {
	if err := t.writable("undo"); err != nil {
		return err
	}
	t.undone = append(t.undone, tid)
	return t.c.post("undoa", tid.UndoID(), t.id)
}

// Delete implements zodb.DeleteTxn.
func (t *txn) Delete(_ context.Context, oid zodb.OID, serial zodb.TID) error {
	if err := t.writable("delete"); err != nil {
		return err
	}
	t.oids[oid], t.vague = true, true
	return t.c.post("deleteObject", oid, serial, t.id)
}

// Restore implements zodb.RestoreTxn.
func (t *txn) Restore(_ context.Context, oid zodb.OID, data []byte, from zodb.TID) error {
	if err := t.restorable(); err != nil {
		return err
	}
	t.oids[oid], t.vague = true, true
	var state any
	if data != nil {
		state = data
	}
	return t.c.post("restorea", oid, t.meta.TID, state, orNone(from), t.id)
}

// restorable returns an error if nothing can be restored in this transaction.
func (t *txn) restorable() error {
	if err := t.writable("restore"); err != nil {
		return err
	}
	if t.meta.TID == 0 {
		return &zodb.TxnError{Op: "restore", State: "one without a given tid"}
	}
	return nil
}

// Vote implements zodb.Txn.
func (t *txn) Vote(ctx context.Context) (zodb.Votes, error) {
	if err := t.writable("vote"); err != nil {
		return zodb.Votes{}, err
	}
	if err := ctx.Err(); err != nil {
		t.fail(false)
		return zodb.Votes{}, err
	}
	if last := t.s.LastTID(); t.meta.TID != 0 && t.meta.TID <= last { // Python's server does not look
		t.fail(true)
		return zodb.Votes{}, fmt.Errorf("the given tid %v is not after the last transaction, %v", t.meta.TID, last)
	}
	t.asked = true
	var votes zodb.Votes
	err := t.c.call(ctx, "vote", func(m *wire.Message) (err error) {
		votes, err = m.ParseVotes()
		return err
	}, t.id)
	if err == nil {
		for _, oid := range votes.Resolved {
			t.oids[oid] = true
		}
		t.phase = voted
		var newest zodb.TID
		for _, k := range votes.Conflicts {
			t.phase = conflicts
			newest = max(newest, k.Committed)
		}
		err = t.s.published(ctx, t.x, newest)
	} else if k, ok := errors.AsType[*zodb.ConflictError](err); ok {
		err = errors.Join(err, t.s.published(ctx, t.x, k.Committed))
	}
	if err != nil {
		t.fail(ctx.Err() == nil)
		return zodb.Votes{}, t.undoError(err)
	}
	return votes, nil
}

// undoError names the transaction that cannot be undone, which the server does not.
func (t *txn) undoError(err error) error {
	e, ok := errors.AsType[*zodb.UndoError](err)
	if ok && e.TID == 0 && len(t.undone) == 1 {
		e.TID = t.undone[0]
	}
	return err
}

// fail gives the connection back after a vote that failed. If the server has
// answered it, nothing is locked any more; if not, closing the connection ends it.
func (t *txn) fail(answered bool) {
	t.phase = failed
	if answered {
		t.c.start("tpc_abort", nil, t.id)
	}
	t.giveBack(answered)
}

func (t *txn) giveBack(clean bool) {
	t.s.release(t.x, t.c, clean)
	t.c = nil
}

// Abort implements zodb.Txn.
func (t *txn) Abort() {
	if t.phase == finished || t.phase == aborted {
		return
	}
	t.phase = aborted
	for _, b := range t.blobs {
		os.Remove(b.path)
	}
	if t.c == nil {
		return
	}
	k := t.c.start("tpc_abort", nil, t.id)
	clean := true
	if t.asked { // the locks shall be free when Abort returns
		ctx, cancel := context.WithTimeout(t.s.ctx, t.s.opts.WaitTimeout)
		defer cancel()
		clean = t.c.wait(ctx, k) == nil
	}
	t.giveBack(clean)
}

// Finish implements zodb.Txn. If the answer is lost it tries to find out what
// became of the transaction, and returns zodb.ErrCommitUnknown if it cannot.
func (t *txn) Finish(ctx context.Context, committed func(zodb.TID)) (zodb.TID, error) {
	if t.phase != voted {
		return 0, &zodb.TxnError{Op: "finish", State: string(t.phase)}
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	t.phase = finished
	f := &finish{oids: t.oids, vague: t.vague, token: t.meta.Token, committed: committed, done: make(chan struct{})}
	t.s.addFinish(f)
	defer t.s.removeFinish(f)
	sent := t.x.survive(t.c) && t.c.lost() == nil
	if sent {
		f.err = t.c.call(context.Background(), "tpc_finish", func(m *wire.Message) (err error) {
			if m.IsNone(0) {
				return &zodb.TxnError{Op: "finish", State: "not known to the server"}
			}
			if f.tid, err = tidOf(m); err != nil {
				f.tid, err = 0, fmt.Errorf("%w: %w", errUnreadable, err)
			}
			return err
		}, t.id)
	} else {
		f.err = fmt.Errorf("%w: the transaction is not committed", ErrDisconnected)
	}
	f.at = time.Now()
	close(f.done)
	t.giveBack(f.err == nil)
	return t.s.finished(t, f, sent)
}

// errUnreadable says that the server answered something to a finish that is neither a
// tid nor an error: it does not tell what became of the transaction.
var errUnreadable = errors.New("an answer that cannot be read")

func (s *Storage) addFinish(f *finish) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finishing[f] = true
}

func (s *Storage) removeFinish(f *finish) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.finishing, f)
}

// finished brings a commit whose finish was answered, or never will be, to its end.
func (s *Storage) finished(t *txn, f *finish, sent bool) (zodb.TID, error) {
	if f.err != nil && sent && (errors.Is(f.err, ErrDisconnected) || errors.Is(f.err, errUnreadable)) {
		if err := s.settle(f); err != nil {
			return 0, err
		}
	} else if f.err != nil {
		for _, b := range t.blobs {
			os.Remove(b.path)
		}
		return 0, f.err
	}
	if s.blobs != nil {
		s.blobs.adopt(t.blobs, f.tid)
	}
	return f.tid, s.awaitTold(t.x, f)
}

// awaitTold waits until a commit that the server has acknowledged is published, over
// the session's end if need be.
func (s *Storage) awaitTold(x *session, f *finish) error {
	x.hurry()
	ctx, cancel := context.WithTimeout(s.ctx, s.opts.WaitTimeout)
	defer cancel()
	err := s.await(ctx, func() (bool, error) { return f.told, nil })
	if err != nil {
		return fmt.Errorf("%w: transaction %v was acknowledged, but its server is not there to tell of it: %w", zodb.ErrCommitUnknown, f.tid, err)
	}
	return nil
}

// settle asks a server that keeps tokens what became of a finish whose answer was
// lost. The server may still be about it.
func (s *Storage) settle(f *finish) error {
	unknown := fmt.Errorf("%w: %w", zodb.ErrCommitUnknown, f.err)
	if !s.can().tokens {
		return unknown
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.opts.WaitTimeout)
	defer cancel()
	for range 50 {
		tid, err := s.Outcome(ctx, f.token)
		switch {
		case err == nil && tid == 0:
			return fmt.Errorf("%w; the transaction is not committed", f.err)
		case err == nil:
			s.settled(f, tid)
			return nil
		case !errors.Is(err, zodb.ErrCommitUnknown):
			return unknown
		}
		s.sleep(100 * time.Millisecond)
	}
	return unknown
}

// settled makes f one that was acknowledged.
func (s *Storage) settled(f *finish, tid zodb.TID) {
	s.mu.Lock()
	f.tid, f.err = tid, nil
	s.mu.Unlock()
	if s.LastTID() >= tid { // told of already, as somebody's
		s.publish(zodb.Change{TID: tid}, f)
	}
}

// Outcome implements zodb.Outcomer.
func (s *Storage) Outcome(ctx context.Context, token zodb.Token) (tid zodb.TID, err error) {
	err = s.ask(ctx, "zari_outcome", func(m *wire.Message) (err error) {
		tid, err = m.OptTID(0)
		return err
	}, token[:])
	return tid, err
}
