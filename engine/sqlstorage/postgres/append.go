package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/zaridb/zari/engine/sqlstorage"
)

// RelStorage's advisory locks, beside those of the objects, whose keys are the oids;
// and ours.
const (
	commitLock = -1
	packLock   = -2
	leaseLock  = -0x5a617269 // "Zari"
	raiseLock  = leaseLock - 1
)

// Append implements sqlstorage.Dialect. It takes two round trips if the batch is not
// large: one for the locks and what is checked under them, one that writes and commits.
func (d *DB) Append(ctx context.Context, b *sqlstorage.Batch) error {
	begun := false
	try := func(c *pgx.Conn) error {
		epoch, last, err := d.begin(ctx, c, b.Form)
		if err == nil {
			begun = true
			err = b.Check(epoch, last)
		}
		if err != nil {
			rollback(ctx, c)
			return err
		}
		return d.write(ctx, c, b)
	}
	err := d.with(ctx, d.writes, try)
	if errors.Is(err, sqlstorage.ErrLost) && !begun { // an idle connection had died
		d.writes.Reset()
		err = d.with(ctx, d.writes, try)
	}
	return err
}

// begin opens a transaction, takes the commit lock, and reads under it what is to be
// checked.
func (d *DB) begin(ctx context.Context, c *pgx.Conn, form sqlstorage.Form) (epoch uint64, last int64, err error) {
	var batch pgx.Batch
	batch.Queue("BEGIN")
	batch.Queue("SELECT pg_advisory_xact_lock($1)", int64(commitLock))
	batch.Queue("SELECT epoch FROM zari_meta WHERE id = 1 FOR UPDATE").QueryRow(func(row pgx.Row) error {
		var n int64
		err := row.Scan(&n)
		epoch = uint64(n)
		return err
	})
	batch.Queue(lastTID(form)).QueryRow(func(row pgx.Row) error { return row.Scan(&last) })
	return epoch, last, d.explain(c.SendBatch(ctx, &batch).Close())
}

func lastTID(form sqlstorage.Form) string {
	if form == sqlstorage.Free {
		return "SELECT coalesce(max(tid), 0) FROM object_state"
	}
	return `SELECT coalesce(max(tid), 0) FROM "transaction"`
}

// rollback ends a transaction that failed. Where that fails too the connection is
// closed, which does the same.
func rollback(ctx context.Context, c *pgx.Conn) {
	ctx = context.WithoutCancel(ctx)
	if _, err := c.Exec(ctx, "ROLLBACK"); err != nil {
		c.Close(ctx)
	}
}

// write writes the batch in the transaction that is open and commits it. It rolls
// back if it fails.
func (d *DB) write(ctx context.Context, c *pgx.Conn, b *sqlstorage.Batch) error {
	w := &writer{ctx: ctx, db: d, conn: c}
	err := w.rows(b)
	if err == nil {
		err = w.commit()
	}
	if err != nil {
		rollback(ctx, c)
	}
	return err
}

// What travels together: statements with so many bytes of data in all, and rows of
// one statement.
const (
	pipelineBytes = 4 << 20
	chunkBytes    = 1 << 20
	chunkRows     = 2000
	blobPiece     = 1 << 20
)

// writer pipelines statements.
type writer struct {
	ctx   context.Context
	db    *DB
	conn  *pgx.Conn
	batch pgx.Batch
	bytes int
}

// add queues a statement that carries so many bytes.
func (w *writer) add(bytes int, sql string, args ...any) error {
	w.batch.Queue(sql, args...)
	w.bytes += bytes
	if w.bytes < pipelineBytes {
		return nil
	}
	return w.flush()
}

func (w *writer) flush() error {
	if w.batch.Len() == 0 {
		return nil
	}
	err := w.conn.SendBatch(w.ctx, &w.batch).Close()
	w.batch, w.bytes = pgx.Batch{}, 0
	return w.db.explain(err)
}

// commit sends what is left with a COMMIT behind it.
func (w *writer) commit() error {
	n := w.batch.Len()
	w.batch.Queue("COMMIT")
	results := w.conn.SendBatch(w.ctx, &w.batch)
	defer results.Close()
	for i := range n {
		if _, err := results.Exec(); err != nil {
			return w.failed(i, err)
		}
	}
	tag, err := results.Exec()
	switch {
	case err != nil && unanswered(err):
		return w.db.unknownCommit(err)
	case err != nil:
		return w.db.explain(err)
	case tag.String() != "COMMIT": // the transaction had failed, and was rolled back
		return fmt.Errorf("%s: COMMIT was answered by %s", w.db.name, tag)
	}
	return nil
}

// failed tells what the failure of a statement means for the COMMIT that was sent
// behind it: if the server said it, COMMIT was not done.
func (w *writer) failed(i int, err error) error {
	_, said := errors.AsType[*pgconn.PgError](err)
	if said || pgconn.SafeToRetry(err) {
		return w.db.explain(err)
	}
	return w.db.unknownCommit(fmt.Errorf("statement %d: %w", i+1, err))
}

// rows queues everything that the batch writes, in the order that foreign keys want.
func (w *writer) rows(b *sqlstorage.Batch) error {
	steps := []func(*sqlstorage.Batch) error{w.transactions, w.states, w.oldBlobs, w.blobs, w.current, w.undone, w.meta}
	for _, step := range steps {
		if err := step(b); err != nil {
			return err
		}
	}
	return nil
}

const insertTransactions = `INSERT INTO "transaction" (tid, packed, username, description, extension)
	SELECT * FROM unnest($1::bigint[], $2::boolean[], $3::bytea[], $4::bytea[], $5::bytea[])`

// txnRows are the columns of some rows of transaction.
type txnRows struct {
	tids            []int64
	packed          []bool
	user, desc, ext [][]byte
	bytes           int
}

func (r *txnRows) add(row sqlstorage.TxnRow) {
	r.tids, r.packed = append(r.tids, row.TID), append(r.packed, row.Packed)
	r.user, r.desc, r.ext = append(r.user, row.User), append(r.desc, row.Description), append(r.ext, row.Extension)
	r.bytes += len(row.User) + len(row.Description) + len(row.Extension)
}

func (r *txnRows) full() bool { return len(r.tids) == chunkRows || r.bytes >= chunkBytes }

func (r *txnRows) queue(w *writer) error {
	if len(r.tids) == 0 {
		return nil
	}
	return w.add(r.bytes, insertTransactions, r.tids, r.packed, r.user, r.desc, r.ext)
}

func (w *writer) transactions(b *sqlstorage.Batch) error {
	if b.Form == sqlstorage.Free {
		return nil
	}
	rows := new(txnRows)
	for row := range b.Transactions() {
		rows.add(row)
		if !rows.full() {
			continue
		}
		if err := rows.queue(w); err != nil {
			return err
		}
		rows = new(txnRows)
	}
	return rows.queue(w)
}

const (
	insertStates = `INSERT INTO object_state (zoid, tid, prev_tid, md5, state_size, state)
	SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::bytea[])`

	replaceStates = `INSERT INTO object_state (zoid, tid, state_size, state)
	SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[])
	ON CONFLICT (zoid) DO UPDATE SET tid = excluded.tid, state_size = excluded.state_size, state = excluded.state`
)

// stateRows are the columns of some rows of object_state.
type stateRows struct {
	oids, tids, prev, sizes []int64
	md5                     []*string
	states                  [][]byte
	bytes                   int
}

func (r *stateRows) add(row sqlstorage.StateRow) {
	r.oids, r.tids, r.prev = append(r.oids, row.OID), append(r.tids, row.TID), append(r.prev, row.Prev)
	r.sizes, r.states = append(r.sizes, row.Size), append(r.states, row.State)
	var sum *string // NULL
	if row.MD5 != "" {
		sum = &row.MD5
	}
	r.md5 = append(r.md5, sum)
	r.bytes += len(row.State)
}

func (r *stateRows) full() bool { return len(r.oids) == chunkRows || r.bytes >= chunkBytes }

func (r *stateRows) queue(w *writer, form sqlstorage.Form) error {
	if len(r.oids) == 0 {
		return nil
	}
	if form == sqlstorage.Free {
		return w.add(r.bytes, replaceStates, r.oids, r.tids, r.sizes, r.states)
	}
	return w.add(r.bytes, insertStates, r.oids, r.tids, r.prev, r.md5, r.sizes, r.states)
}

func (w *writer) states(b *sqlstorage.Batch) error {
	rows := new(stateRows)
	for row, err := range b.States() {
		if err != nil {
			return err
		}
		rows.add(row)
		if !rows.full() {
			continue
		}
		if err := rows.queue(w, b.Form); err != nil {
			return err
		}
		rows = new(stateRows)
	}
	return rows.queue(w, b.Form)
}

// oldBlobs removes the blobs of what is replaced, the large objects with them: a
// trigger sees to that.
func (w *writer) oldBlobs(b *sqlstorage.Batch) error {
	if b.Form != sqlstorage.Free || len(b.Txns) == 0 {
		return nil
	}
	var oids []int64
	for row := range b.Current() {
		oids = append(oids, row.OID)
	}
	return w.add(8*len(oids), "DELETE FROM blob_chunk WHERE zoid = ANY($1)", oids)
}

const replaceCurrent = `INSERT INTO current_object (zoid, tid) SELECT * FROM unnest($1::bigint[], $2::bigint[])
	ON CONFLICT (zoid) DO UPDATE SET tid = excluded.tid`

func (w *writer) current(b *sqlstorage.Batch) error {
	if b.Form == sqlstorage.Free || len(b.Txns) == 0 {
		return nil
	}
	var oids, tids []int64
	for row := range b.Current() {
		oids, tids = append(oids, row.OID), append(tids, row.TID)
	}
	if len(oids) == 0 {
		return nil
	}
	return w.add(16*len(oids), replaceCurrent, oids, tids)
}

const insertUndone = `INSERT INTO zari_undone (zoid, tid, from_tid)
	SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) ON CONFLICT DO NOTHING`

func (w *writer) undone(b *sqlstorage.Batch) error {
	var oids, tids, from []int64
	for row := range b.Undone() {
		oids, tids, from = append(oids, row.OID), append(tids, row.TID), append(from, row.From)
	}
	if len(oids) == 0 {
		return nil
	}
	return w.add(24*len(oids), insertUndone, oids, tids, from)
}

// meta leaves the epoch alone: it is the lease's.
func (w *writer) meta(b *sqlstorage.Batch) error {
	if b.Meta == nil {
		return nil
	}
	return w.add(0, "UPDATE zari_meta SET uuid = $1, tid_floor = $2, next_oid = $3 WHERE id = 1",
		b.Meta.UUID[:], int64(b.Meta.TIDFloor), int64(b.Meta.NextOID))
}

// blobs writes each file to a large object, in pieces.
func (w *writer) blobs(b *sqlstorage.Batch) error {
	for row := range b.Blobs() {
		if err := w.blob(row); err != nil {
			return err
		}
	}
	return nil
}

const (
	insertBlob = "INSERT INTO blob_chunk (zoid, tid, chunk_num, chunk) VALUES ($1, $2, 0, lo_from_bytea(0, $3))"
	extendBlob = "SELECT lo_put(chunk, $3, $4) FROM blob_chunk WHERE zoid = $1 AND tid = $2 AND chunk_num = 0"
)

func (w *writer) blob(row sqlstorage.BlobRow) error {
	f, err := os.Open(row.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	for offset := int64(0); ; {
		piece := make([]byte, blobPiece) // which the queue keeps
		n, err := io.ReadFull(f, piece)
		switch {
		case err == nil, err == io.ErrUnexpectedEOF, err == io.EOF && offset == 0:
		case err == io.EOF:
			return nil
		default:
			return err
		}
		if offset == 0 {
			err = w.add(n, insertBlob, row.OID, row.TID, piece[:n])
		} else {
			err = w.add(n, extendBlob, row.OID, row.TID, offset, piece[:n])
		}
		if err != nil || n < len(piece) {
			return err
		}
		offset += int64(n)
	}
}
