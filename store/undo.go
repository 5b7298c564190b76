package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// readUndone fetches the transactions to be undone: their objects must be known
// before locks are taken.
func (t *txn) readUndone(ctx context.Context) error {
	for _, tid := range t.undos[len(t.undone):] {
		u, err := t.store.transaction(ctx, tid)
		if err != nil {
			return err
		}
		if err := undoable(tid, u); err != nil {
			return err
		}
		t.undone = append(t.undone, u)
	}
	return nil
}

// undoable tells why a transaction cannot be undone: u is nil, or packed.
func undoable(tid zodb.TID, u *txnlog.Txn) error {
	switch {
	case u == nil:
		return &zodb.UndoError{TID: tid, Reason: "there is no such transaction"}
	case u.Status != ' ':
		return &zodb.UndoError{TID: tid, Reason: "it has been packed"}
	}
	return nil
}

// stillUndoable looks at the transactions again, after all that is before them was
// loaded: where a pack has come in between, what was there before may have looked
// as if there had been nothing.
func (t *txn) stillUndoable(ctx context.Context) error {
	for _, u := range t.undone[t.applied:] {
		now, err := t.store.head(ctx, u.TID)
		if err != nil {
			return err
		}
		if err := undoable(u.TID, now); err != nil {
			return err
		}
	}
	return nil
}

// undo works out the inverse of the transactions to be undone, one after the
// other. An object that fails in one may be redeemed by a later one, so failures
// are reported together at the end.
func (t *txn) undo(ctx context.Context, serials map[zodb.OID]zodb.TID) error {
	failures := make(map[zodb.OID]error)
	for _, u := range t.undone[t.applied:] {
		for i := range u.Records {
			r := &u.Records[i]
			err := t.undoRecord(ctx, u.TID, r, serials[r.OID])
			if undoErr, ok := errors.AsType[*zodb.UndoError](err); ok {
				failures[r.OID] = undoErr
				continue
			}
			if err != nil {
				return err
			}
			delete(failures, r.OID)
			t.resolved = append(t.resolved, r.OID)
		}
	}
	if err := t.stillUndoable(ctx); err != nil {
		return err
	}
	t.applied = len(t.undone)
	var all []error
	for _, err := range failures {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// undoRecord buffers the state that r's object had before transaction tid, or a
// merge of it with what came later.
func (t *txn) undoRecord(ctx context.Context, tid zodb.TID, r *txnlog.Record, newest zodb.TID) error {
	fail := func(reason string) error {
		return &zodb.UndoError{TID: tid, OID: r.OID, HasOID: true, Reason: reason}
	}
	before, below, err := t.loadBefore(ctx, r.OID, tid)
	created := false
	if _, ok := errors.AsType[*zodb.NoObjectError](err); ok {
		created, err = true, nil
	}
	if err != nil {
		return err
	}
	current, same, err := t.currentState(ctx, tid, r, newest)
	if err != nil {
		return err
	}
	switch {
	case same && created:
		return t.bufferUndo(write{Record: txnlog.Record{OID: r.OID, Kind: txnlog.Delete, Prev: newest}})
	case same:
		w := write{Record: txnlog.Record{OID: r.OID, Data: before.Data, From: before.Serial, Prev: newest}}
		if below {
			w.From = 0 // that revision is not here
		}
		if w.Blob, err = t.copyBlob(ctx, r.OID, before.Serial, below); err != nil {
			return err
		}
		return t.bufferUndo(w)
	case created:
		return fail("it was created by this transaction and modified by a later one")
	case current == nil || t.store.opts.Resolver == nil || t.noMerge:
		return fail("it was modified by a later transaction")
	}
	merged, ok := t.store.resolveUndo(r.Data, current, before.Data)
	if !ok {
		return fail("it was modified by a later transaction")
	}
	t.store.stats.merged.Add(1)
	return t.bufferUndo(write{Record: txnlog.Record{OID: r.OID, Data: merged, Prev: newest}})
}

func (s *Store) resolveUndo(base, committed, wanted []byte) ([]byte, bool) {
	if r, ok := s.opts.Resolver.(UndoResolver); ok {
		return r.ResolveUndo(base, committed, wanted)
	}
	return s.opts.Resolver.Resolve(base, committed, wanted)
}

// currentState returns what the object is now, in this transaction or committed,
// and whether that is what transaction tid made it.
func (t *txn) currentState(ctx context.Context, tid zodb.TID, r *txnlog.Record, newest zodb.TID) (current []byte, same bool, err error) {
	if w := t.writes[r.OID]; w != nil {
		if current, err = w.Load(); err != nil {
			return nil, false, err
		}
		same = w.Kind == r.Kind && bytes.Equal(current, r.Data)
		return t.sameBlob(ctx, same, current, tid, r, w.From)
	}
	if newest == tid {
		return r.Data, true, nil
	}
	current, err = t.revision(ctx, r.OID, newest)
	if err != nil {
		return nil, false, err
	}
	deleted := r.Kind == txnlog.Delete
	same = deleted == (current == nil) && bytes.Equal(current, r.Data)
	return t.sameBlob(ctx, same, current, tid, r, newest)
}

// sameBlob is the answer of currentState, whose data are the same, also for an
// object with a blob: the records of all its revisions are alike, so the blob is
// the one of transaction tid only if revision of (0: none) goes back to the same
// one by undos.
func (t *txn) sameBlob(ctx context.Context, same bool, current []byte, tid zodb.TID, r *txnlog.Record, of zodb.TID) ([]byte, bool, error) {
	if !same || r.Blob == "" {
		return current, same, nil
	}
	theirs, err := t.origin(ctx, r.OID, of)
	if err != nil {
		return nil, false, err
	}
	ours, err := t.origin(ctx, r.OID, tid)
	return current, theirs == ours, err
}

// origin returns the revision that first had what revision serial of the object
// has: serial itself, unless it was made by an undo.
func (t *txn) origin(ctx context.Context, oid zodb.OID, serial zodb.TID) (zodb.TID, error) {
	for serial != 0 {
		u, err := t.store.transaction(ctx, serial)
		if err != nil || u == nil {
			return serial, err
		}
		i := slices.IndexFunc(u.Records, func(r txnlog.Record) bool { return r.OID == oid })
		if i < 0 || u.Records[i].From == 0 {
			return serial, nil
		}
		serial = u.Records[i].From
	}
	return 0, nil
}

func (t *txn) bufferUndo(w write) error {
	w.undone = true
	return t.buffer("undo", w)
}

// copyBlob stages a copy of the blob of a revision, here or below, if it has one,
// since every revision owns its blob file.
func (t *txn) copyBlob(ctx context.Context, oid zodb.OID, serial zodb.TID, below bool) (path string, err error) {
	if t.store.blobs == nil {
		return "", nil
	}
	from := zodb.BlobStore(t.store.blobs)
	if below {
		from, below = zodb.As[zodb.BlobStore](t.over.base)
		if !below {
			return "", nil
		}
	}
	src, err := from.LoadBlob(ctx, oid, serial)
	if _, ok := errors.AsType[*zodb.NoObjectError](err); ok {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	dir, err := t.store.blobs.BlobTempDir()
	if err != nil {
		return "", err
	}
	return copyFile(src, dir)
}

func copyFile(src, dir string) (path string, err error) {
	in, err := os.Open(src)
	if err != nil {
		return "", fmt.Errorf("copying a blob: %w", err)
	}
	defer in.Close()
	out, err := os.CreateTemp(dir, "undo-*.tmp")
	if err != nil {
		return "", fmt.Errorf("copying a blob: %w", err)
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		os.Remove(out.Name())
		return "", fmt.Errorf("copying a blob: %w", err)
	}
	return out.Name(), nil
}
