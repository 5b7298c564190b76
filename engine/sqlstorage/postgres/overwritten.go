package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

const loadOverwritten = `SELECT state, tid, next_tid FROM zari_overwritten
	WHERE zoid = $1 AND tid < $2 ORDER BY tid DESC LIMIT 1`

// LoadOverwritten implements sqlstorage.Overwritten.
func (d *DB) LoadOverwritten(ctx context.Context, oid, tid int64) (state []byte, serial, next int64, ok bool, err error) {
	if !d.opts.Shared {
		return nil, 0, 0, false, nil // then there may be no such table, and nobody else overwrites
	}
	err = d.twice(ctx, d.reads, func(c *pgx.Conn) error {
		err := c.QueryRow(ctx, loadOverwritten, oid, tid).Scan(&state, &serial, &next)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		// Where the one that replaced it is older too, that one has been forgotten.
		ok = err == nil && next >= tid
		return d.explain(err)
	})
	return state, serial, next, ok, err
}
