package mysql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gomysql "github.com/go-sql-driver/mysql"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/internal/testmysql"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// options are those for a DSN of testmysql.
func options(t testing.TB, dsn string) Options {
	t.Helper()
	c, err := gomysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return Options{Addresses: []string{c.Addr}, User: c.User, Database: c.DBName, Poll: 10 * time.Millisecond}
}

func open(t testing.TB, opts Options) *DB {
	t.Helper()
	d, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// create makes a database with the tables of a form.
func create(t testing.TB, form sqlstorage.Form) *DB {
	t.Helper()
	d := open(t, options(t, testmysql.Database(t)))
	createIn(t, d, form)
	return d
}

func createIn(t testing.TB, d *DB, form sqlstorage.Form) {
	t.Helper()
	for _, o := range d.Schema(form) {
		for _, statement := range o.SQL {
			exec(t, d, statement)
		}
	}
}

func exec(t testing.TB, d *DB, statement string, args ...any) {
	t.Helper()
	err := d.Write(t.Context(), func(s sqlstorage.Session) error {
		_, err := s.Exec(t.Context(), statement, args...)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// table returns the rows of a query, columns with a space between, NULL as "".
func table(t testing.TB, d *DB, query string) []string {
	t.Helper()
	var rows []string
	err := d.Read(t.Context(), func(s sqlstorage.Session) error {
		for r, err := range s.Query(t.Context(), query) {
			if err != nil {
				return err
			}
			columns := make([]string, len(r.(*row).values))
			dest := make([]any, len(columns))
			for i := range columns {
				dest[i] = &columns[i]
			}
			if err := r.Scan(dest...); err != nil {
				return err
			}
			rows = append(rows, strings.Join(columns, " "))
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return rows
}

func want(t testing.TB, d *DB, query string, rows ...string) {
	t.Helper()
	if got := table(t, d, query); strings.Join(got, "\n") != strings.Join(rows, "\n") {
		t.Errorf("%s:\n%s\nwant\n%s", query, strings.Join(got, "\n"), strings.Join(rows, "\n"))
	}
}

func txn(tid zodb.TID, records ...txnlog.Record) *txnlog.Txn {
	return &txnlog.Txn{TID: tid, Status: ' ', User: []byte("u"), Description: []byte("d'\\\"\x00"), Records: records}
}

func data(oid zodb.OID, prev zodb.TID, state string) txnlog.Record {
	return txnlog.Record{OID: oid, Prev: prev, Data: []byte(state)}
}

var forms = []sqlstorage.Form{sqlstorage.Preserving, sqlstorage.Free}

func eachForm(t *testing.T, test func(t *testing.T, form sqlstorage.Form)) {
	for _, form := range forms {
		t.Run(form.String(), func(t *testing.T) { test(t, form) })
	}
}

func TestSchemaIsWhatObjectsFinds(t *testing.T) {
	eachForm(t, func(t *testing.T, form sqlstorage.Form) {
		d := create(t, form)
		found, err := d.Objects(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range d.Schema(form) {
			if !found[o.Name] {
				t.Errorf("%s was created, and is not found", o.Name)
			}
		}
	})
}

// TestSchemaIsRelStorages compares what the server says of our tables with what it
// says of those that RelStorage's own dialect makes. testdata has that of RelStorage
// 4.3.0 on MariaDB 10.11; its REFERENCES in columns were left out, which MySQL ignores.
func TestSchemaIsRelStorages(t *testing.T) {
	eachForm(t, func(t *testing.T, form sqlstorage.Form) {
		path := filepath.Join("testdata", "relstorage-"+form.String()+".txt")
		if ddl := os.Getenv("ZARI_RELSTORAGE_DDL"); ddl != "" { // a directory with RelStorage's statements
			recordSchema(t, filepath.Join(ddl, form.String()+".sql"), path)
		}
		theirs, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		d := create(t, form)
		exec(t, d, "DROP TABLE IF EXISTS zari_meta, zari_undone")
		if ours := describe(t, d); ours != string(theirs) {
			t.Errorf("our tables are\n%s\nRelStorage's\n%s", ours, theirs)
		}
	})
}

func recordSchema(t *testing.T, ddl, path string) {
	t.Helper()
	text, err := os.ReadFile(ddl)
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, options(t, testmysql.Database(t)))
	for statement := range strings.SplitSeq(strings.TrimSuffix(string(text), ";\n"), ";\n") {
		exec(t, d, strings.ReplaceAll(statement, ` REFERENCES "transaction"`, ""))
	}
	if err := os.WriteFile(path, []byte(describe(t, d)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// describe is all that the server says of the tables, and the rows that are there.
func describe(t *testing.T, d *DB) string {
	t.Helper()
	var lines []string
	for _, query := range []string{
		`SELECT 'table', table_name, table_type, COALESCE(engine, '') FROM information_schema.tables WHERE table_schema=DATABASE() ORDER BY 2`,
		`SELECT 'column', table_name, ordinal_position, column_name, column_type, is_nullable, COALESCE(column_default, '-'), extra,
			IF(character_set_name = 'ascii', 'ascii', '') FROM information_schema.columns WHERE table_schema=DATABASE() ORDER BY 2, 3`,
		`SELECT 'index', table_name, index_name, seq_in_index, column_name, non_unique FROM information_schema.statistics
			WHERE table_schema=DATABASE() ORDER BY 2, 3, 4`,
		`SELECT 'foreign', constraint_name, table_name, referenced_table_name, update_rule, delete_rule
			FROM information_schema.referential_constraints WHERE constraint_schema=DATABASE() ORDER BY 2`,
		`SELECT 'check', table_name, check_clause FROM information_schema.check_constraints WHERE constraint_schema=DATABASE() ORDER BY 2, 3`,
		`SELECT 'row of commit_row_lock', tid FROM commit_row_lock`,
	} {
		lines = append(lines, table(t, d, query)...)
	}
	if strings.Contains(strings.Join(lines, "\n"), "table transaction") {
		lines = append(lines, table(t, d, `SELECT 'row of transaction', tid, packed, is_empty, username, description, extension FROM "transaction"`)...)
		lines = append(lines, table(t, d, `SELECT view_definition FROM information_schema.views WHERE table_schema=DATABASE()`)...)
	}
	return strings.ReplaceAll(strings.Join(lines, "\n")+"\n", d.opts.Database, "db")
}

func TestTablesThatAreNotInnoDBAreRefused(t *testing.T) {
	d := open(t, options(t, testmysql.Database(t)))
	exec(t, d, "CREATE TABLE new_oid (zoid BIGINT) ENGINE=MyISAM")
	exec(t, d, "CREATE TABLE somebody_elses (zoid BIGINT) ENGINE=MyISAM")
	_, err := d.Objects(t.Context())
	if err == nil || !strings.Contains(err.Error(), "new_oid (MyISAM)") || strings.Contains(err.Error(), "somebody") {
		t.Errorf("error: %v", err)
	}
}

func TestAppendPreserving(t *testing.T) {
	d := create(t, sqlstorage.Preserving)
	exec(t, d, "UPDATE zari_meta SET epoch=7")
	long := strings.Repeat("\x00'\\", 3<<20) // beyond one text, and nearly what the server takes
	batch := &sqlstorage.Batch{
		Form: sqlstorage.Preserving, Epoch: 7, Last: 0,
		Txns: []*txnlog.Txn{
			txn(10, data(1, 0, "one"), data(1<<62, 0, long)),
			txn(11, data(1, 10, "one again"), data(3, 0, "")),
			txn(12, txnlog.Record{OID: 3, Prev: 11, Kind: txnlog.Delete}),
		},
		Meta: &store.Meta{UUID: [16]byte{1, '\'', 255}, Epoch: 7, TIDFloor: 3, NextOID: 9},
	}
	if err := d.Append(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	want(t, d, `SELECT tid, packed, is_empty, username, HEX(description), extension IS NULL FROM "transaction" WHERE tid > 0`,
		"10 0 0 u 64275C2200 0", "11 0 0 u 64275C2200 0", "12 0 0 u 64275C2200 0")
	want(t, d, "SELECT zoid, tid, prev_tid, md5 = CONVERT(MD5(state) USING ascii), md5 IS NULL, state_size, state IS NULL FROM object_state ORDER BY zoid, tid",
		"1 10 0 1 0 3 0", "1 11 10 1 0 9 0", "3 11 0 1 0 0 0", "3 12 11  1 0 1",
		fmt.Sprintf("%d 10 0 1 0 %d 0", 1<<62, len(long)))
	want(t, d, "SELECT zoid, tid FROM current_object ORDER BY zoid", "1 11", "3 12", fmt.Sprintf("%d 10", 1<<62))
	want(t, d, "SELECT HEX(uuid), epoch, tid_floor, next_oid FROM zari_meta", "0127FF"+strings.Repeat("00", 13)+" 7 3 9")
	if got := table(t, d, fmt.Sprintf("SELECT state FROM object_state WHERE zoid=%d", 1<<62)); got[0] != long {
		t.Error("a long state comes back changed")
	}
}

func TestAppendFree(t *testing.T) {
	d := create(t, sqlstorage.Free)
	if err := d.Append(t.Context(), &sqlstorage.Batch{Form: sqlstorage.Free, Txns: []*txnlog.Txn{
		txn(10, data(1, 0, "one"), data(2, 0, "two")),
		txn(11, data(1, 10, "one again")),
	}}); err != nil {
		t.Fatal(err)
	}
	if err := d.Append(t.Context(), &sqlstorage.Batch{Form: sqlstorage.Free, Txns: []*txnlog.Txn{
		txn(12, txnlog.Record{OID: 2, Prev: 10, Kind: txnlog.Delete}),
	}}); err != nil {
		t.Fatal(err)
	}
	want(t, d, "SELECT zoid, tid, state_size, state FROM object_state ORDER BY zoid", "1 11 9 one again", "2 12 0 ")
}

func TestAppendChecks(t *testing.T) {
	eachForm(t, func(t *testing.T, form sqlstorage.Form) {
		d := create(t, form)
		exec(t, d, "UPDATE zari_meta SET epoch=3")
		append := func(epoch uint64, last, tid zodb.TID) error {
			return d.Append(t.Context(), &sqlstorage.Batch{Form: form, Epoch: epoch, Last: last, Txns: []*txnlog.Txn{txn(tid, data(1, 0, "x"))}})
		}
		if err := append(3, 0, 10); err != nil {
			t.Fatal(err)
		}
		if err := append(2, 10, 11); !errors.Is(err, zodb.ErrNotPrimary) {
			t.Errorf("with an old epoch: %v", err)
		}
		if _, ok := errors.AsType[*sqlstorage.ForeignWriteError](append(3, 9, 11)); !ok {
			t.Error("a foreign write is not noticed")
		}
		want(t, d, "SELECT MAX(tid) FROM object_state", "10")
		if err := append(3, 10, 11); form == sqlstorage.Free && err != nil {
			t.Error(err)
		}
	})
}

// TestAppendIsWholeOrNotAtAll has a batch fail at its last row.
func TestAppendIsWholeOrNotAtAll(t *testing.T) {
	d := create(t, sqlstorage.Preserving)
	batch := &sqlstorage.Batch{Form: sqlstorage.Preserving, Txns: []*txnlog.Txn{
		txn(10, data(1, 0, strings.Repeat("x", textLimit))), // sent before the rest
		txn(11, data(2, 0, "y"), data(2, 0, "a second row with the same key")),
	}}
	err := d.Append(t.Context(), batch)
	if e, ok := errors.AsType[*gomysql.MySQLError](err); !ok || e.Number != errDuplicate || errors.Is(err, zodb.ErrCommitUnknown) {
		t.Fatalf("error: %v", err)
	}
	want(t, d, `SELECT tid FROM "transaction"`, "0")
	want(t, d, `SELECT tid FROM object_state`)
	batch.Txns[1].Records = batch.Txns[1].Records[:1]
	if err := d.Append(t.Context(), batch); err != nil {
		t.Errorf("after that: %v", err)
	}
}

func TestAppendWithoutCommitLockRow(t *testing.T) {
	d := create(t, sqlstorage.Preserving)
	exec(t, d, "DELETE FROM commit_row_lock")
	err := d.Append(t.Context(), &sqlstorage.Batch{Txns: []*txnlog.Txn{txn(10)}})
	if err == nil || !strings.Contains(err.Error(), "INSERT INTO commit_row_lock") {
		t.Errorf("error: %v", err)
	}
}

func TestStateThatIsTooLarge(t *testing.T) {
	d := create(t, sqlstorage.Preserving)
	huge := strings.Repeat("x", int(d.info.packet)+1)
	err := d.Append(t.Context(), &sqlstorage.Batch{Txns: []*txnlog.Txn{txn(10, data(1, 0, huge))}})
	if err == nil || errors.Is(err, zodb.ErrCommitUnknown) || !strings.Contains(err.Error(), "max_allowed_packet") {
		t.Errorf("error: %.300v", err)
	}
	want(t, d, `SELECT tid FROM "transaction"`, "0")
}

func TestBlobs(t *testing.T) {
	eachForm(t, func(t *testing.T, form sqlstorage.Form) {
		d := create(t, form)
		for tid, size := range map[zodb.TID]int{20: 0, 21: 1, 22: chunkSize, 23: 5*chunkSize + 7} {
			content := bytes.Repeat([]byte{0, '\'', '\\', 200}, size/4+1)[:size]
			path := filepath.Join(t.TempDir(), "blob")
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			record := data(zodb.OID(tid), 0, "state")
			record.Blob = path
			if err := d.Append(t.Context(), &sqlstorage.Batch{Form: form, BlobRows: true, Txns: []*txnlog.Txn{txn(tid, record)}}); err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := d.ReadBlob(t.Context(), form, int64(tid), int64(tid), &got); err != nil || !bytes.Equal(got.Bytes(), content) {
				t.Errorf("a blob of %d bytes comes back with %d, %v", size, got.Len(), err)
			}
			if n := table(t, d, fmt.Sprintf("SELECT COUNT(*) FROM blob_chunk WHERE zoid=%d", tid))[0]; n != fmt.Sprint((size+chunkSize-1)/chunkSize+btoi(size == 0)) {
				t.Errorf("a blob of %d bytes has %s chunks", size, n)
			}
		}
		err := d.ReadBlob(t.Context(), form, 20, 19, new(bytes.Buffer))
		if _, ok := errors.AsType[*zodb.NoObjectError](err); !ok {
			t.Errorf("a blob that is not there: %v", err)
		}
		if form == sqlstorage.Free {
			if err := d.Append(t.Context(), &sqlstorage.Batch{Form: form, BlobRows: true, Txns: []*txnlog.Txn{txn(30, data(23, 23, "no blob now"))}}); err != nil {
				t.Fatal(err)
			}
			want(t, d, "SELECT COUNT(*) FROM blob_chunk WHERE zoid=23", "0")
		}
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestOIDs(t *testing.T) {
	a := create(t, sqlstorage.Free)
	b := open(t, a.opts)
	next := func(d *DB, n int) int64 {
		t.Helper()
		last, err := d.NextOIDs(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		return last
	}
	if got := next(a, 1); got != 1 {
		t.Errorf("the first step is %d", got)
	}
	if got := next(b, 100); got != 101 {
		t.Errorf("a hundred steps on it is %d", got)
	}
	for _, step := range []int64{50, 5000, 5000, 4000} {
		if err := a.RaiseOIDs(t.Context(), step); err != nil {
			t.Fatal(err)
		}
	}
	if got := next(b, 2); got < 5002 || got > 5010 {
		t.Errorf("after a raise to 5000 it is %d", got)
	}
	exec(t, a, "DELETE FROM new_oid")
	before := next(a, 1)
	if err := a.RaiseOIDs(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	if got := next(b, 1); got <= before {
		t.Errorf("%d was taken, then %d", before, got)
	}
}

func TestLeaseAndPackLock(t *testing.T) {
	a := create(t, sqlstorage.Free)
	b := open(t, a.opts)
	other := create(t, sqlstorage.Free)
	for name, take := range map[string]func(*DB) (interface{ Close() error }, error){
		"lease": func(d *DB) (interface{ Close() error }, error) { return d.Lease(t.Context()) },
		"pack":  func(d *DB) (interface{ Close() error }, error) { return d.PackLock(t.Context()) },
	} {
		first, err := take(a)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := take(b); !errors.Is(err, sqlstorage.ErrBusy) {
			t.Errorf("%s: taken twice: %v", name, err)
		}
		elsewhere, err := take(other)
		if err != nil {
			t.Fatalf("%s of another database: %v", name, err)
		}
		elsewhere.Close()
		if err := first.Close(); err != nil {
			t.Errorf("%s: Close: %v", name, err)
		}
		second, err := take(b)
		if err != nil {
			t.Fatalf("%s after it was given up: %v", name, err)
		}
		second.Close()
	}
}

func TestSnapshotSeesOneState(t *testing.T) {
	d := create(t, sqlstorage.Free)
	count := func(s sqlstorage.Session) (n int64) {
		for r, err := range s.Query(t.Context(), "SELECT COUNT(*) FROM object_state") {
			if err != nil {
				t.Fatal(err)
			}
			r.Scan(&n)
		}
		return n
	}
	err := d.Snapshot(t.Context(), func(s sqlstorage.Session) error {
		before := count(s)
		exec(t, d, "INSERT INTO object_state VALUES (1, 1, 0, '')")
		if after := count(s); before != 0 || after != 0 {
			t.Errorf("a snapshot sees %d rows, then %d", before, after)
		}
		if _, err := s.Exec(t.Context(), "INSERT INTO object_state VALUES (2, 1, 0, '')"); !errors.Is(err, zodb.ErrReadOnly) {
			t.Errorf("a snapshot writes: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = d.Read(t.Context(), func(s sqlstorage.Session) error {
		before := count(s)
		exec(t, d, "INSERT INTO object_state VALUES (2, 1, 0, '')")
		if after := count(s); after != before+1 {
			t.Errorf("a session that reads sees %d rows, then %d", before, after)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWriteIsRolledBack(t *testing.T) {
	d := create(t, sqlstorage.Free)
	mine := errors.New("mine")
	err := d.Write(t.Context(), func(s sqlstorage.Session) error {
		if n, err := s.Exec(t.Context(), "INSERT INTO object_state VALUES (1, 1, 0, '')"); n != 1 || err != nil {
			t.Errorf("%d rows, %v", n, err)
		}
		return mine
	})
	if err != mine {
		t.Errorf("error: %v", err)
	}
	want(t, d, "SELECT zoid FROM object_state")
}

// TestQueriesCanBeLeft leaves an iteration in the middle.
func TestQueriesCanBeLeft(t *testing.T) {
	d := create(t, sqlstorage.Free)
	exec(t, d, "INSERT INTO object_state SELECT seq, 1, 0, '' FROM seq_1_to_5000")
	err := d.Read(t.Context(), func(s sqlstorage.Session) error {
		for range 3 {
			var zoid int64
			for r, err := range s.Query(t.Context(), "SELECT zoid FROM object_state ORDER BY zoid") {
				if err != nil {
					return err
				}
				if err := r.Scan(&zoid); err != nil {
					return err
				}
				if zoid == 7 {
					break
				}
			}
			if zoid != 7 {
				t.Errorf("left at %d", zoid)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestIn(t *testing.T) {
	d := create(t, sqlstorage.Free)
	exec(t, d, "INSERT INTO object_state SELECT seq, 1, 0, '' FROM seq_1_to_3000")
	for _, n := range []int{0, 1, 2, 3, 999, sqlstorage.MaxIn} {
		values := make([]int64, n)
		for i := range values {
			values[i] = int64(2*i + 1)
		}
		cond, args := d.In("zoid", values)
		var got int64
		err := d.Read(t.Context(), func(s sqlstorage.Session) error {
			for r, err := range s.Query(t.Context(), "SELECT COUNT(*) FROM object_state WHERE "+cond, args...) {
				if err != nil {
					return err
				}
				return r.Scan(&got)
			}
			return nil
		})
		if err != nil || got != int64(n) {
			t.Errorf("%d values find %d rows, %v", n, got, err)
		}
	}
}

func TestContextEnds(t *testing.T) {
	d := create(t, sqlstorage.Free)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := d.Read(ctx, func(s sqlstorage.Session) error {
		_, err := s.Exec(ctx, "SELECT SLEEP(30)")
		return err
	})
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, sqlstorage.ErrLost) {
		t.Errorf("error: %v", err)
	}
	want(t, d, "SELECT 1", "1")
}
