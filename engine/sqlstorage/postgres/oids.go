package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// NextOIDs implements sqlstorage.Dialect. RelStorage takes its steps of the sequence
// without a lock, so somebody may get one in between; then the next ones are tried.
func (d *DB) NextOIDs(ctx context.Context, n int) (last int64, err error) {
	err = d.with(ctx, d.writes, func(c *pgx.Conn) error {
		last, err = d.steps(ctx, c, n)
		return err
	})
	return last, err
}

// steps takes steps until n of them lie in a row. A step that was taken is not given
// again, whatever happens: the database logs it before it answers.
func (d *DB) steps(ctx context.Context, c *pgx.Conn, n int) (last int64, err error) {
	for run := 0; run < n; {
		rows, err := c.Query(ctx, "SELECT nextval('zoid_seq') FROM generate_series(1, $1)", n-run)
		if err != nil {
			return 0, d.explain(err)
		}
		steps, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			return 0, d.explain(err)
		}
		for _, step := range steps {
			if step != last+1 {
				run = 0
			}
			last = step
			run++
		}
	}
	return last, nil
}

// raise brings the sequence forward. setval could bring it back if two did this at
// once: hence the lock, which our servers share, and the look at what nextval says.
const raise = "SELECT CASE WHEN nextval('zoid_seq') < $1 THEN setval('zoid_seq', $1) END"

// RaiseOIDs implements sqlstorage.Dialect.
func (d *DB) RaiseOIDs(ctx context.Context, step int64) error {
	return d.with(ctx, d.writes, func(c *pgx.Conn) error {
		var last int64
		if err := c.QueryRow(ctx, "SELECT last_value FROM zoid_seq").Scan(&last); err != nil {
			return d.explain(err)
		}
		if last > step { // at step itself, it may not have been taken yet
			return nil
		}
		var batch pgx.Batch
		batch.Queue("BEGIN")
		batch.Queue("SELECT pg_advisory_xact_lock($1)", int64(raiseLock))
		batch.Queue(raise, step)
		batch.Queue("COMMIT")
		err := c.SendBatch(ctx, &batch).Close()
		if err != nil {
			rollback(ctx, c)
		}
		return d.explain(err)
	})
}
