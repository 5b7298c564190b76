package store

import (
	"context"
	"fmt"
	"os"

	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// phase is how far a transaction has come.
type phase int

const (
	open       phase = iota // buffers
	conflicted              // voted; holds its locks while the client merges
	voted                   // may be finished
	ended                   // finished, aborted or failed
)

func (p phase) String() string {
	return [...]string{"not voted", "waiting for conflicts to be merged", "voted", "over"}[p]
}

// txn is a transaction of a Store. It is a zodb.Txn and all abilities of one;
// As says which of them this one offers.
type txn struct {
	store *Store
	meta  zodb.TxnMeta
	phase phase

	order   []zodb.OID // of the first write of each object
	writes  map[zodb.OID]*write
	checks  map[zodb.OID]zodb.TID
	undos   []zodb.TID
	noMerge bool
	over    overlay

	memory int64
	spool  spool

	rec     *txnlog.Txn // what Finish appends, from the vote on
	votedIn uint64      // the committer's epoch at the vote
	locks   *lockRequest
	held    Lock          // in the medium, where others write to it too
	release func()        // gives reserved space back
	undone  []*txnlog.Txn // the transactions of undos
	applied int           // how many of them are among the writes already

	replaced []*replaced // what the transaction overwrites, where the medium forgets it

	resolved []zodb.OID // merged or undone, in this vote or an earlier one
}

// write is what the transaction does to one object.
type write struct {
	txnlog.Record
	base     zodb.TID // the revision it was made from
	restored bool     // no check for conflicts
	undone   bool     // made by an undo in this transaction
}

var (
	_ zodb.Txn        = (*txn)(nil)
	_ zodb.UndoTxn    = (*txn)(nil)
	_ zodb.DeleteTxn  = (*txn)(nil)
	_ zodb.RestoreTxn = (*txn)(nil)
	_ zodb.BlobTxn    = (*txn)(nil)
	_ zodb.NoMergeTxn = (*txn)(nil)
	_ zodb.OverTxn    = (*txn)(nil)
	_ zodb.Asser      = (*txn)(nil)
)

func (s *Store) newTxn(meta zodb.TxnMeta) *txn {
	if meta.Token == (zodb.Token{}) {
		meta.Token = s.tokens.Next()
	} else {
		s.outcomes.reopen(meta.Token)
	}
	return &txn{store: s, meta: meta, writes: make(map[zodb.OID]*write)}
}

// As finds the abilities that the store has.
func (t *txn) As(target any) bool {
	s := t.store
	switch p := target.(type) {
	case *zodb.UndoTxn:
		return s.offers(Undo) && zodb.SetAs[zodb.UndoTxn](p, t)
	case *zodb.DeleteTxn:
		return s.offers(Delete) && zodb.SetAs[zodb.DeleteTxn](p, t)
	case *zodb.RestoreTxn:
		return s.offers(Restore) && zodb.SetAs[zodb.RestoreTxn](p, t)
	case *zodb.BlobTxn:
		return s.blobs != nil && zodb.SetAs[zodb.BlobTxn](p, t)
	case *zodb.NoMergeTxn:
		return zodb.SetAs[zodb.NoMergeTxn](p, t)
	case *zodb.OverTxn:
		return zodb.SetAs[zodb.OverTxn](p, t)
	}
	return false
}

func (t *txn) Store(ctx context.Context, oid zodb.OID, serial zodb.TID, data []byte) error {
	if data == nil {
		data = []byte{}
	}
	return t.buffer("store", write{Record: txnlog.Record{OID: oid, Data: data}, base: serial})
}

func (t *txn) StoreBlob(ctx context.Context, oid zodb.OID, serial zodb.TID, data []byte, path string) error {
	return t.buffer("store blob", write{Record: txnlog.Record{OID: oid, Data: data, Blob: path}, base: serial})
}

func (t *txn) Delete(ctx context.Context, oid zodb.OID, serial zodb.TID) error {
	return t.buffer("delete", write{Record: txnlog.Record{OID: oid, Kind: txnlog.Delete}, base: serial})
}

func (t *txn) Restore(ctx context.Context, oid zodb.OID, data []byte, from zodb.TID) error {
	return t.RestoreBlob(ctx, oid, data, from, "")
}

func (t *txn) RestoreBlob(ctx context.Context, oid zodb.OID, data []byte, from zodb.TID, path string) error {
	if t.meta.TID == 0 {
		return &zodb.TxnError{Op: "restore", State: "begun without a tid"}
	}
	w := write{Record: txnlog.Record{OID: oid, Data: data, From: from, Blob: path}, restored: true}
	if data == nil {
		w.Kind = txnlog.Delete
	}
	return t.buffer("restore", w)
}

func (t *txn) CheckCurrent(ctx context.Context, oid zodb.OID, serial zodb.TID) error {
	if err := t.buffering("check current"); err != nil {
		return err
	}
	if t.checks == nil {
		t.checks = make(map[zodb.OID]zodb.TID)
	}
	t.checks[oid] = serial
	return nil
}

func (t *txn) Undo(ctx context.Context, tid zodb.TID) error {
	if err := t.buffering("undo"); err != nil {
		return err
	}
	t.undos = append(t.undos, tid)
	return nil
}

func (t *txn) NoMerge() { t.noMerge = true }

// buffering checks that the transaction still takes operations.
func (t *txn) buffering(op string) error {
	if t.phase != open && t.phase != conflicted {
		return &zodb.TxnError{Op: op, State: t.phase.String()}
	}
	return nil
}

// buffer takes a write; the last one of an object counts.
func (t *txn) buffer(op string, w write) error {
	if err := t.buffering(op); err != nil {
		return err
	}
	if w.OID > lastOID {
		return fmt.Errorf("%s: %v is not the oid of an object", op, w.OID)
	}
	if err := t.spoolIfLarge(&w.Record); err != nil {
		return err
	}
	old := t.writes[w.OID]
	if old == nil {
		t.order = append(t.order, w.OID)
	} else if w.Blob == "" && w.Kind != txnlog.Delete && !w.undone {
		w.Blob = old.Blob // a plain store beside a blob store does not lose the blob
	} else if old.Blob != "" && old.Blob != w.Blob {
		os.Remove(old.Blob)
	}
	t.writes[w.OID] = &w
	return nil
}

// spoolIfLarge moves the data out of memory when the transaction has much there.
func (t *txn) spoolIfLarge(r *txnlog.Record) error {
	n := int64(len(r.Data))
	if t.memory+n <= t.store.opts.TxnMemory {
		t.memory += n
		return nil
	}
	p, err := t.spool.put(t.store.opts.SpoolDir, r.Data)
	if err != nil {
		return err
	}
	r.Data, r.Spooled = nil, p
	return nil
}

// bytes is the length of all data that were buffered.
func (t *txn) bytes() int64 { return t.memory + t.spool.size }

// Abort gives the transaction up.
func (t *txn) Abort() {
	if t.phase == ended {
		return
	}
	if t.phase == voted {
		t.store.committer.notSoon(t.votedIn)
	}
	t.phase = ended
	t.giveUp()
}

// giveUp ends a transaction that is not kept. The committer calls it too: then
// nobody else uses the transaction, but for its phase, which is the caller's.
func (t *txn) giveUp() {
	t.store.outcomes.put(t.meta.Token, 0)
	t.store.window.leave(t.replaced)
	t.free()
	t.dropBlobs()
}

// free frees what the transaction holds. It does not touch staged blobs, which
// the engine may have moved by now.
func (t *txn) free() {
	if t.held != nil {
		t.held.Release()
		t.held = nil
	}
	if t.locks != nil {
		t.store.locks.release(t.locks)
		t.locks = nil
	}
	if t.release != nil {
		t.release()
		t.release = nil
	}
	t.spool.close()
}

func (t *txn) dropBlobs() {
	for _, w := range t.writes {
		if w.Blob != "" {
			os.Remove(w.Blob)
		}
	}
}

// Finish commits the voted transaction.
func (t *txn) Finish(_ context.Context, committed func(zodb.TID)) (zodb.TID, error) {
	if t.phase != voted {
		return 0, &zodb.TxnError{Op: "finish", State: t.phase.String()}
	}
	c := &commit{txn: t, rec: t.rec, committed: committed, done: make(chan error, 1)}
	t.phase = ended // whatever comes, nothing but the committer may touch it now
	if err := t.store.committer.add(c); err != nil {
		t.giveUp()
		return 0, err
	}
	if err := <-c.done; err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	return c.rec.TID, nil
}

// record is the transaction in the form that engines take; its tid is given later.
func (t *txn) record() *txnlog.Txn {
	rec := &txnlog.Txn{
		Status: ' ', User: t.meta.User, Description: t.meta.Description,
		Extension: t.meta.Extension, Token: t.meta.Token, TID: t.meta.TID,
		Records: make([]txnlog.Record, 0, len(t.order)),
	}
	if t.meta.TID != 0 && t.meta.Status != 0 {
		rec.Status = t.meta.Status
	}
	for _, oid := range t.order {
		rec.Records = append(rec.Records, t.writes[oid].Record)
	}
	return rec
}
