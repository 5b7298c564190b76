package postgres

import (
	"context"
	"errors"
	"io"

	"github.com/jackc/pgx/v5"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/zodb"
)

// ReadBlob implements sqlstorage.Dialect. There is one large object for a blob; very
// old versions of RelStorage have left several.
func (d *DB) ReadBlob(ctx context.Context, _ sqlstorage.Form, oid, tid int64, w io.Writer) error {
	out := &counter{w: w}
	read := func(c *pgx.Conn) error {
		return d.snapshot(ctx, c, func(tx pgx.Tx) error { return d.readBlob(ctx, tx, oid, tid, out) })
	}
	err := d.with(ctx, d.reads, read)
	if errors.Is(err, sqlstorage.ErrLost) && out.n == 0 {
		d.reads.Reset()
		err = d.with(ctx, d.reads, read)
	}
	return err
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func (d *DB) readBlob(ctx context.Context, tx pgx.Tx, oid, tid int64, w io.Writer) error {
	rows, err := tx.Query(ctx, "SELECT chunk FROM blob_chunk WHERE zoid = $1 AND tid = $2 ORDER BY chunk_num", oid, tid)
	if err != nil {
		return d.explain(err)
	}
	chunks, err := pgx.CollectRows(rows, pgx.RowTo[uint32])
	if err != nil {
		return d.explain(err)
	}
	if len(chunks) == 0 {
		return &zodb.NoObjectError{OID: zodb.OID(oid), Before: zodb.TID(tid) + 1}
	}
	for _, chunk := range chunks {
		if err := d.readLarge(ctx, tx, chunk, w); err != nil {
			return err
		}
	}
	return nil
}

// readLarge copies a large object.
func (d *DB) readLarge(ctx context.Context, tx pgx.Tx, chunk uint32, w io.Writer) error {
	for offset := int64(0); ; {
		var piece []byte
		if err := tx.QueryRow(ctx, "SELECT lo_get($1, $2, $3)", chunk, offset, int32(blobPiece)).Scan(&piece); err != nil {
			return d.explain(err)
		}
		if _, err := w.Write(piece); err != nil {
			return err
		}
		if len(piece) < blobPiece {
			return nil
		}
		offset += int64(len(piece))
	}
}
