package postgres

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/zaridb/zari/engine/sqlstorage"
)

// session is a connection as the core sees it.
type session struct {
	db      *DB
	conn    *pgx.Conn
	cursors bool // in a snapshot: answers may be endless
}

// Exec implements sqlstorage.Session.
func (s *session) Exec(ctx context.Context, statement string, args ...any) (int64, error) {
	tag, err := s.conn.Exec(ctx, numbered(statement), args...)
	return tag.RowsAffected(), s.db.explain(err)
}

// Query implements sqlstorage.Session.
func (s *session) Query(ctx context.Context, statement string, args ...any) iter.Seq2[sqlstorage.Row, error] {
	if s.cursors {
		return s.fetch(ctx, numbered(statement), args)
	}
	return s.query(ctx, numbered(statement), args)
}

func (s *session) query(ctx context.Context, statement string, args []any) iter.Seq2[sqlstorage.Row, error] {
	return func(yield func(sqlstorage.Row, error) bool) {
		rows, err := s.conn.Query(ctx, statement, args...)
		if err != nil {
			yield(nil, s.db.explain(err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			if !yield(row{rows.Conn().TypeMap(), rows.FieldDescriptions(), rows.RawValues()}, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(nil, s.db.explain(err))
		}
	}
}

// Rows are fetched from a cursor a few at a time, and then more: who ends early has
// not much left to read.
const (
	firstFetch = 32
	maxFetch   = 1024
)

// fetch is query by a cursor. There is only one at a time.
func (s *session) fetch(ctx context.Context, statement string, args []any) iter.Seq2[sqlstorage.Row, error] {
	return func(yield func(sqlstorage.Row, error) bool) {
		if _, err := s.conn.Exec(ctx, "DECLARE zari NO SCROLL CURSOR FOR "+statement, args...); err != nil {
			yield(nil, s.db.explain(err))
			return
		}
		for n := firstFetch; ; n = min(2*n, maxFetch) {
			got, more, err := s.some(ctx, n, yield)
			if err != nil {
				yield(nil, s.db.explain(err))
				return
			}
			if !more || got < n {
				break
			}
		}
		s.conn.Exec(context.WithoutCancel(ctx), "CLOSE zari") // where it fails, so does what comes next
	}
}

// some yields up to n rows of the cursor. The result is binary, as that of the
// statements that pgx prepares.
func (s *session) some(ctx context.Context, n int, yield func(sqlstorage.Row, error) bool) (got int, more bool, err error) {
	r := s.conn.PgConn().ExecParams(ctx, "FETCH "+strconv.Itoa(n)+" FROM zari", nil, nil, nil, []int16{pgtype.BinaryFormatCode})
	more = true
	for more && r.NextRow() {
		got++
		more = yield(row{s.conn.TypeMap(), r.FieldDescriptions(), r.Values()}, nil)
	}
	_, err = r.Close()
	return got, more, err
}

// row is a row as it came.
type row struct {
	types  *pgtype.Map
	fields []pgconn.FieldDescription
	values [][]byte
}

// Scan implements sqlstorage.Row.
func (r row) Scan(dest ...any) error {
	if len(dest) != len(r.values) {
		return fmt.Errorf("postgres: %d columns are scanned to %d variables", len(r.values), len(dest))
	}
	for i, v := range r.values {
		if v == nil {
			setZero(dest[i])
			continue
		}
		f := r.fields[i]
		if err := r.types.Scan(f.DataTypeOID, f.Format, v, dest[i]); err != nil {
			return fmt.Errorf("column %s: %w", f.Name, err)
		}
	}
	return nil
}

func setZero(dest any) {
	switch p := dest.(type) {
	case *int64:
		*p = 0
	case *bool:
		*p = false
	case *string:
		*p = ""
	case *[]byte:
		*p = nil
	}
}

// statements keeps the numbered form of statements: there are not many.
var statements sync.Map

// numbered writes $1, $2 for ? and ?.
func numbered(statement string) string {
	if s, ok := statements.Load(statement); ok {
		return s.(string)
	}
	parts := strings.Split(statement, "?")
	var b strings.Builder
	for i, part := range parts {
		if i > 0 {
			fmt.Fprintf(&b, "$%d", i)
		}
		b.WriteString(part)
	}
	statements.Store(statement, b.String())
	return b.String()
}

// In implements sqlstorage.Dialect.
func (d *DB) In(column string, values []int64) (cond string, args []any) {
	return column + " = ANY(?)", []any{values}
}
