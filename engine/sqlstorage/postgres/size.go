package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/zaridb/zari/engine/sqlstorage"
)

// estimate takes the planner's word for the number of rows. Where it has none yet the
// table is small, or has just been filled: then a part of it is counted.
const estimate = `SELECT
	CASE WHEN reltuples >= 0 THEN reltuples::bigint ELSE (SELECT count(*) FROM (SELECT FROM %[1]s LIMIT 100000) x) END,
	pg_total_relation_size('object_state')
	FROM pg_class WHERE oid = '%[1]s'::regclass`

// Size implements sqlstorage.Dialect: the bytes are those of object_state with its
// indexes, so without blobs.
func (d *DB) Size(ctx context.Context, form sqlstorage.Form) (objects, bytes int64, err error) {
	err = d.twice(ctx, d.reads, func(c *pgx.Conn) error {
		return d.explain(c.QueryRow(ctx, fmt.Sprintf(estimate, newest(form))).Scan(&objects, &bytes))
	})
	return objects, bytes, err
}

// MaxState implements sqlstorage.Limiter. A message of the protocol has 1 GiB at most,
// and RelStorage is to be able to read the row, too.
func (d *DB) MaxState() int64 { return 512 << 20 }

// MaxBlob implements sqlstorage.Limiter: that of a large object.
func (d *DB) MaxBlob() int64 { return 4 << 40 }
