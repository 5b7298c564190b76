package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zodb"
)

// Read implements sqlstorage.Dialect.
func (d *DB) Read(ctx context.Context, fn func(sqlstorage.Session) error) error {
	return d.readers.lend(ctx, func(s *session) error { return fn(s) })
}

// Snapshot implements sqlstorage.Dialect.
func (d *DB) Snapshot(ctx context.Context, fn func(sqlstorage.Session) error) error {
	return d.readers.transact(ctx, "BEGIN DEFERRED", func(s *session) error { return fn(s) })
}

// Write implements sqlstorage.Dialect.
func (d *DB) Write(ctx context.Context, fn func(sqlstorage.Session) error) error {
	if d.opts.ReadOnly {
		return zodb.ErrReadOnly
	}
	return d.writer.transact(ctx, "BEGIN IMMEDIATE", func(s *session) error { return fn(s) })
}

// In implements sqlstorage.Dialect. One text serves any number of values, so that it
// stays prepared.
func (d *DB) In(column string, values []int64) (string, []any) {
	list := make([]byte, 0, 12*len(values)+2)
	for i, v := range values {
		list = fmt.Appendf(list, "%c%d", "[,"[min(i, 1)], v)
	}
	if len(values) == 0 {
		list = append(list, '[')
	}
	return column + " IN (SELECT value FROM json_each(?))", []any{string(append(list, ']'))}
}

// Append implements sqlstorage.Dialect. BEGIN IMMEDIATE is the commit lock.
func (d *DB) Append(ctx context.Context, b *sqlstorage.Batch) error {
	if d.opts.ReadOnly {
		return zodb.ErrReadOnly
	}
	return d.writer.transact(ctx, "BEGIN IMMEDIATE", func(s *session) error {
		if err := b.Verify(ctx, s); err != nil {
			return err
		}
		return s.write(ctx, b)
	})
}

const (
	insertTransaction = `INSERT INTO "transaction" (tid, packed, username, description, extension) VALUES (?, ?, ?, ?, ?)`
	insertState       = `INSERT INTO object_state (zoid, tid, prev_tid, md5, state_size, state) VALUES (?, ?, ?, ?, ?, ?)`
	replaceCurrent    = `INSERT INTO current_object (zoid, tid) VALUES (?, ?) ON CONFLICT (zoid) DO UPDATE SET tid = excluded.tid`
	replaceState      = `INSERT INTO object_state (zoid, tid, state_size, state) VALUES (?, ?, ?, ?)
		ON CONFLICT (zoid) DO UPDATE SET tid = excluded.tid, state_size = excluded.state_size, state = excluded.state`
	insertUndone = `INSERT INTO zari_undone (zoid, tid, from_tid) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`
	dropBlob     = `DELETE FROM blob_chunk WHERE zoid = ?`
	insertBlob   = `INSERT INTO blob_chunk (zoid, tid, chunk_num, chunk) VALUES (?, ?, 0, ?)`
)

// write writes a batch within a transaction.
func (s *session) write(ctx context.Context, b *sqlstorage.Batch) error {
	insert := s.writeFree
	if b.Form == sqlstorage.Preserving {
		insert = s.writePreserving
	}
	if err := insert(ctx, b); err != nil {
		return err
	}
	for blob := range b.Blobs() {
		data, err := os.ReadFile(blob.Path)
		if err != nil {
			return fmt.Errorf("blob of object %v: %w", zodb.OID(blob.OID), err)
		}
		if _, err := s.Exec(ctx, insertBlob, blob.OID, blob.TID, notNil(data)); err != nil {
			return err
		}
	}
	return b.WriteMeta(ctx, s)
}

func (s *session) writePreserving(ctx context.Context, b *sqlstorage.Batch) error {
	for t := range b.Transactions() {
		if _, err := s.Exec(ctx, insertTransaction, t.TID, t.Packed, t.User, t.Description, t.Extension); err != nil {
			return err
		}
	}
	for o, err := range b.States() {
		if err != nil {
			return err
		}
		if _, err := s.Exec(ctx, insertState, o.OID, o.TID, o.Prev, orNull(o.MD5), o.Size, stateOrNull(o.State)); err != nil {
			return err
		}
	}
	for c := range b.Current() {
		if _, err := s.Exec(ctx, replaceCurrent, c.OID, c.TID); err != nil {
			return err
		}
	}
	for u := range b.Undone() {
		if _, err := s.Exec(ctx, insertUndone, u.OID, u.TID, u.From); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) writeFree(ctx context.Context, b *sqlstorage.Batch) error {
	for o, err := range b.States() {
		if err != nil {
			return err
		}
		if _, err := s.Exec(ctx, replaceState, o.OID, o.TID, o.Size, stateOrNull(o.State)); err != nil {
			return err
		}
		if _, err := s.Exec(ctx, dropBlob, o.OID); err != nil {
			return err
		}
	}
	return nil
}

// orNull makes NULL of an empty text, which RelStorage never writes.
func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func stateOrNull(state []byte) any {
	if state == nil {
		return nil
	}
	return state
}

func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// ReadBlob implements sqlstorage.Dialect.
func (d *DB) ReadBlob(ctx context.Context, _ sqlstorage.Form, oid, tid int64, w io.Writer) error {
	return sqlstorage.ReadChunks(ctx, d, oid, tid, w)
}

// Lease implements sqlstorage.Dialect with a lock on a file.
func (d *DB) Lease(context.Context) (io.Closer, error) { return d.lockFile("zari.lock") }

// PackLock implements sqlstorage.Dialect. RelStorage has none on SQLite.
func (d *DB) PackLock(context.Context) (io.Closer, error) { return d.lockFile("zari.pack.lock") }

func (d *DB) lockFile(name string) (io.Closer, error) {
	lock, err := d.fs.Lock(filepath.Join(d.opts.Dir, name))
	if errors.Is(err, vfs.ErrLocked) {
		err = fmt.Errorf("%w: %w", sqlstorage.ErrBusy, err)
	}
	return lock, err
}

// Objects implements sqlstorage.Dialect.
func (d *DB) Objects(ctx context.Context) (map[string]bool, error) {
	found := make(map[string]bool)
	err := d.Read(ctx, func(s sqlstorage.Session) error {
		for row, err := range s.Query(ctx, "SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite%'") {
			if err != nil {
				return err
			}
			var kind, name string
			if err := row.Scan(&kind, &name); err != nil {
				return err
			}
			found[kind+" "+strings.ToLower(name)] = true
		}
		return nil
	})
	return found, err
}

// countable is up to how many pages the rows of a table are counted.
const countable = 500_000

// Size implements sqlstorage.Dialect. There are no statistics to rely on: so small
// databases are counted, and in large ones the largest oid is taken for the number.
func (d *DB) Size(ctx context.Context, form sqlstorage.Form) (objects, bytes int64, err error) {
	table := "current_object"
	if form == sqlstorage.Free {
		table = "object_state"
	}
	err = d.readers.lend(ctx, func(s *session) error {
		pages, err := s.number(ctx, "SELECT page_count FROM pragma_page_count")
		if err != nil {
			return err
		}
		size, err := s.number(ctx, "SELECT page_size FROM pragma_page_size")
		if err != nil {
			return err
		}
		bytes = pages * size
		count := "SELECT COUNT(*) FROM " + table
		if pages > countable {
			count = "SELECT MAX(zoid) FROM " + table
		}
		objects, err = s.number(ctx, count)
		return err
	})
	return objects, bytes, err
}
