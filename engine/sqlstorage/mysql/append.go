package mysql

import (
	"context"
	"errors"
	"fmt"

	"github.com/zaridb/zari/engine/sqlstorage"
)

var (
	insertTransaction = &insert{
		head: `INSERT INTO "transaction" (tid, packed, username, description, extension) VALUES `,
		row:  "(?,?,?,?,?)",
	}
	insertState = &insert{
		head: "INSERT INTO object_state (zoid, tid, prev_tid, md5, state_size, state) VALUES ",
		row:  "(?,?,?,?,?,?)",
	}
	// MySQL has another spelling of VALUES(column) and warns of this one; MariaDB has
	// only this one.
	upsertState = &insert{
		head: "INSERT INTO object_state (zoid, tid, state_size, state) VALUES ",
		row:  "(?,?,?,?)",
		tail: " ON DUPLICATE KEY UPDATE tid=VALUES(tid), state_size=VALUES(state_size), state=VALUES(state)",
	}
	upsertCurrent = &insert{
		head: "INSERT INTO current_object (zoid, tid) VALUES ",
		row:  "(?,?)",
		tail: " ON DUPLICATE KEY UPDATE tid=VALUES(tid)",
	}
	insertUndone = &insert{
		head: "INSERT INTO zari_undone (zoid, tid, from_tid) VALUES ",
		row:  "(?,?,?)",
		tail: " ON DUPLICATE KEY UPDATE from_tid=VALUES(from_tid)",
	}
	insertChunk = &insert{
		head: "INSERT INTO blob_chunk (zoid, tid, chunk_num, chunk) VALUES ",
		row:  "(?,?,?,?)",
	}
	// An INSERT of nothing: its head makes a list of oids whose chunks go.
	deleteChunks = &insert{head: "DELETE FROM blob_chunk WHERE zoid IN (", row: "?", tail: ")"}
)

// The commit lock is RelStorage's: the only row of a table. It comes first, so what
// is read after it stays true until COMMIT.
const (
	commitLock = "SELECT tid FROM commit_row_lock FOR UPDATE"
	lockEpoch  = "SELECT epoch FROM zari_meta WHERE id=1 FOR UPDATE"
)

// Append implements sqlstorage.Dialect. A small batch takes two round trips: lock
// and look, write and commit.
func (d *DB) Append(ctx context.Context, b *sqlstorage.Batch) error {
	c, err := d.beginAppend(ctx, b)
	if err != nil {
		return err
	}
	if err := d.write(ctx, c, b); err != nil {
		d.rollback(d.appends, c)
		return err
	}
	d.appends.put(c)
	return nil
}

// beginAppend begins a transaction in which the batch may be written. A connection
// that broke while nobody used it is replaced.
func (d *DB) beginAppend(ctx context.Context, b *sqlstorage.Batch) (c *conn, err error) {
	err = d.again(d.appends, func() error {
		if c, err = d.appends.get(ctx); err != nil {
			return err
		}
		if err := d.lockAndCheck(ctx, c, b); err != nil {
			d.rollback(d.appends, c)
			return err
		}
		return nil
	})
	return c, err
}

func (d *DB) lockAndCheck(ctx context.Context, c *conn, b *sqlstorage.Batch) error {
	var lock, epoch, last int64
	locked, known := false, false
	err := c.text(ctx, commitLock+"; "+lockEpoch+"; "+b.Form.SelectLast(),
		func(r *row) error { locked = true; return r.Scan(&lock) },
		func(r *row) error { known = true; return r.Scan(&epoch) },
		func(r *row) error { return r.Scan(&last) })
	switch {
	case err != nil:
		return d.failure(err)
	case !locked:
		return d.noLockRow()
	case !known:
		return fmt.Errorf("%s: the table zari_meta has lost its row", d.name)
	}
	return b.Check(uint64(epoch), last)
}

func (d *DB) noLockRow() error {
	return fmt.Errorf("%s: the table commit_row_lock is empty, so nobody can lock the database to commit: INSERT INTO commit_row_lock (tid) VALUES (0)", d.name)
}

// write writes the batch in the transaction of c, and commits.
func (d *DB) write(ctx context.Context, c *conn, b *sqlstorage.Batch) error {
	s := newStatements(c)
	if err := writeRows(ctx, s, b); err != nil {
		return d.rowsFailure(err)
	}
	if b.Meta != nil {
		if err := s.flush(ctx); err != nil {
			return d.failure(err)
		}
		if err := b.WriteMeta(ctx, session{d, c}); err != nil {
			return err
		}
	}
	if err := s.do(ctx, "COMMIT"); err != nil {
		return d.failure(err)
	}
	text, args := s.take()
	return d.commit(ctx, c, text, args)
}

// rowsFailure is failure, but leaves errors of reading the batch alone.
func (d *DB) rowsFailure(err error) error {
	if e, ok := errors.AsType[*readError](err); ok {
		return e.err
	}
	return d.failure(err)
}

// readError says that the batch could not be read, which is not the database's fault.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }

// writeRows gathers the rows of the batch, in the order that foreign keys want.
func writeRows(ctx context.Context, s *statements, b *sqlstorage.Batch) error {
	if b.Form == sqlstorage.Free {
		return writeFree(ctx, s, b)
	}
	for t := range b.Transactions() {
		if err := s.add(ctx, insertTransaction, t.TID, t.Packed, t.User, t.Description, t.Extension); err != nil {
			return err
		}
	}
	for r, err := range b.States() {
		if err != nil {
			return &readError{err}
		}
		if err := s.add(ctx, insertState, r.OID, r.TID, r.Prev, orNull(r.MD5), r.Size, r.State); err != nil {
			return err
		}
	}
	for r := range b.Current() {
		if err := s.add(ctx, upsertCurrent, r.OID, r.TID); err != nil {
			return err
		}
	}
	for r := range b.Undone() {
		if err := s.add(ctx, insertUndone, r.OID, r.TID, r.From); err != nil {
			return err
		}
	}
	return writeBlobs(ctx, s, b)
}

func writeFree(ctx context.Context, s *statements, b *sqlstorage.Batch) error {
	var oids []int64
	for r, err := range b.States() {
		if err != nil {
			return &readError{err}
		}
		if err := s.add(ctx, upsertState, r.OID, r.TID, r.Size, r.State); err != nil {
			return err
		}
		oids = append(oids, r.OID)
	}
	for i, oid := range oids {
		if i%1000 == 0 { // a list so long that the optimizer still looks at each
			s.end()
		}
		if err := s.add(ctx, deleteChunks, oid); err != nil {
			return err
		}
	}
	return writeBlobs(ctx, s, b)
}

// orNull makes NULL of an empty string.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
