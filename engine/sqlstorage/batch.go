package sqlstorage

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"iter"

	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// Batch is what one SQL transaction writes, as rows.
type Batch struct {
	Form Form
	Txns []*txnlog.Txn // in the order of their tids
	Meta *store.Meta   // nil: leave it

	// Blobs says that Blobs() are to be kept in rows. Otherwise they are files in a
	// directory, and in place by now.
	BlobRows bool

	// What an exclusive server knows: its epoch, and the tid of the last transaction.
	// Epoch 0: it is not exclusive, there is nothing to check.
	Epoch uint64
	Last  zodb.TID
}

// TxnRow is a row of the table transaction. Nothing of it is NULL.
type TxnRow struct {
	TID                          int64
	Packed                       bool
	User, Description, Extension []byte
}

// StateRow is a row of the table object_state. Free databases have no columns
// prev_tid and md5.
type StateRow struct {
	OID, TID int64
	Prev     int64  // prev_tid, 0 for none
	MD5      string // 32 hexadecimal digits; "": NULL
	Size     int64  // state_size
	State    []byte // nil: NULL, the object was deleted or its creation undone
}

// CurrentRow is a row of the table current_object.
type CurrentRow struct{ OID, TID int64 }

// UndoneRow is a row of our table zari_undone: an undo gave object OID the data of its
// revision From again. RelStorage keeps no note of that.
type UndoneRow struct{ OID, TID, From int64 }

// BlobRow is a blob to be written to blob_chunk: the file at Path, which stays.
type BlobRow struct {
	OID, TID int64
	Path     string
}

// Verify is the first step of an Append: it reads the lease and the last tid, and
// checks them. A Dialect may do the same with statements of its own.
func (b *Batch) Verify(ctx context.Context, s Session) error {
	if b.Epoch == 0 {
		return nil
	}
	epoch, err := number(ctx, s, selectEpoch)
	if err != nil {
		return err
	}
	last, err := number(ctx, s, b.Form.SelectLast())
	if err != nil {
		return err
	}
	return b.Check(uint64(epoch), last)
}

// Check compares what the database says with what this server knows, and is called
// inside the transaction that writes.
//
// In a history-free database a pack may have removed the row with the largest tid.
func (b *Batch) Check(epoch uint64, last int64) error {
	switch {
	case b.Epoch == 0:
		return nil
	case epoch != b.Epoch:
		return fmt.Errorf("another server has taken over (epoch %d, ours was %d): %w", epoch, b.Epoch, zodb.ErrNotPrimary)
	case zodb.TID(last) > b.Last, zodb.TID(last) < b.Last && b.Form == Preserving:
		return &ForeignWriteError{Want: b.Last, Found: zodb.TID(last)}
	}
	return nil
}

// WriteMeta writes b.Meta, if there is one. The epoch in it is not written: it is the
// lease's.
func (b *Batch) WriteMeta(ctx context.Context, s Session) error {
	if b.Meta == nil {
		return nil
	}
	_, err := s.Exec(ctx, updateMeta, b.Meta.UUID[:], int64(b.Meta.TIDFloor), int64(b.Meta.NextOID))
	return err
}

// ForeignWriteError says that an exclusive server found somebody else's
// transactions. It matches zodb.ErrNotPrimary: the server must be reopened.
type ForeignWriteError struct{ Want, Found zodb.TID }

func (e *ForeignWriteError) Error() string {
	return fmt.Sprintf("somebody else writes to this database (the last transaction is %v, not %v): open it shared, or stop the other writer", e.Found, e.Want)
}

// Is reports true for zodb.ErrNotPrimary.
func (e *ForeignWriteError) Is(target error) bool { return target == zodb.ErrNotPrimary }

// Transactions yields the rows of transaction.
func (b *Batch) Transactions() iter.Seq[TxnRow] {
	return func(yield func(TxnRow) bool) {
		for _, t := range b.Txns {
			row := TxnRow{
				TID: int64(t.TID), Packed: t.Status == 'p',
				User: notNil(t.User), Description: notNil(t.Description), Extension: notNil(t.Extension),
			}
			if !yield(row) {
				return
			}
		}
	}
}

// States yields the rows of object_state. In a history-free database only the last
// revision of each object counts. It reads what lies in spool files; an error ends it.
func (b *Batch) States() iter.Seq2[StateRow, error] {
	return func(yield func(StateRow, error) bool) {
		for t, r := range b.records() {
			row, err := stateRow(b.Form, t, r)
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// Current yields the rows of current_object, one for each object of the batch.
func (b *Batch) Current() iter.Seq[CurrentRow] {
	return func(yield func(CurrentRow) bool) {
		last := b.newest()
		for _, t := range b.Txns {
			for i := range t.Records {
				oid := t.Records[i].OID
				if last[oid] == t.TID && !yield(CurrentRow{OID: int64(oid), TID: int64(t.TID)}) {
					return
				}
			}
		}
	}
}

// Undone yields the rows of zari_undone. History-free databases have no such table.
func (b *Batch) Undone() iter.Seq[UndoneRow] {
	return func(yield func(UndoneRow) bool) {
		if b.Form == Free {
			return
		}
		for t, r := range b.records() {
			if r.From != 0 && r.Kind == txnlog.Data && !yield(UndoneRow{int64(r.OID), int64(t.TID), int64(r.From)}) {
				return
			}
		}
	}
}

// Blobs yields the blobs that are to be written to blob_chunk: none where they are
// kept in a directory.
func (b *Batch) Blobs() iter.Seq[BlobRow] {
	return func(yield func(BlobRow) bool) {
		if !b.BlobRows {
			return
		}
		for t, r := range b.records() {
			if r.Blob != "" && !yield(BlobRow{OID: int64(r.OID), TID: int64(t.TID), Path: r.Blob}) {
				return
			}
		}
	}
}

// records yields the records that become rows.
func (b *Batch) records() iter.Seq2[*txnlog.Txn, *txnlog.Record] {
	return func(yield func(*txnlog.Txn, *txnlog.Record) bool) {
		var last map[zodb.OID]zodb.TID
		if b.Form == Free {
			last = b.newest()
		}
		for _, t := range b.Txns {
			for i := range t.Records {
				r := &t.Records[i]
				if last != nil && last[r.OID] != t.TID {
					continue
				}
				if !yield(t, r) {
					return
				}
			}
		}
	}
}

// newest returns the tid of the last revision of each object in the batch.
func (b *Batch) newest() map[zodb.OID]zodb.TID {
	last := make(map[zodb.OID]zodb.TID)
	for _, t := range b.Txns {
		for i := range t.Records {
			last[t.Records[i].OID] = t.TID
		}
	}
	return last
}

func stateRow(form Form, t *txnlog.Txn, r *txnlog.Record) (StateRow, error) {
	row := StateRow{OID: int64(r.OID), TID: int64(t.TID), Prev: int64(r.Prev)}
	if r.Kind == txnlog.Delete {
		return row, nil
	}
	data, err := r.Load()
	if err != nil {
		return row, fmt.Errorf("object %v of transaction %v: %w", r.OID, t.TID, err)
	}
	row.State = notNil(data)
	row.Size = int64(len(data))
	if form == Preserving {
		sum := md5.Sum(data)
		row.MD5 = hex.EncodeToString(sum[:])
	}
	return row, nil
}

func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
