package sqlite_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/sqlite"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

func openDB(t testing.TB, dir string) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir, Create: true, Pragmas: unsynced})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func openEngine(t testing.TB, d sqlstorage.Dialect, o sqlstorage.Options) *sqlstorage.Engine {
	t.Helper()
	o.Create = true
	e, err := sqlstorage.Open(t.Context(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func oneTxn(tid zodb.TID, oid zodb.OID, prev zodb.TID) []*txnlog.Txn {
	return []*txnlog.Txn{{TID: tid, Status: ' ', Records: []txnlog.Record{{OID: oid, Prev: prev, Data: storagetest.Object(int(tid))}}}}
}

// run executes a statement as another program would.
func run(t testing.TB, db *sqlite.DB, statements ...string) {
	t.Helper()
	err := db.Write(t.Context(), func(s sqlstorage.Session) error {
		for _, statement := range statements {
			if _, err := s.Exec(t.Context(), statement); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTwoExclusiveServers(t *testing.T) {
	dir := t.TempDir()
	first := openEngine(t, openDB(t, dir), sqlstorage.Options{})
	_, err := sqlstorage.Open(t.Context(), openDB(t, dir), sqlstorage.Options{Create: true})
	if !errors.Is(err, sqlstorage.ErrBusy) || !strings.Contains(err.Error(), "another server") {
		t.Errorf("the second server: %v", err)
	}
	if n, err := first.Append(t.Context(), oneTxn(100, 1, 0), nil); n != 1 || err != nil {
		t.Errorf("the first server after that: %d, %v", n, err)
	}
}

// A server whose lease somebody else has taken, and one that finds transactions that
// it has not written, stop before anything is lost.
func TestFenced(t *testing.T) {
	for name, statements := range map[string][]string{
		"epoch": {`UPDATE zari_meta SET epoch = epoch + 1`},
		"foreign write": {
			`INSERT INTO "transaction" (tid, username, description) VALUES (150, x'', x'')`,
			`INSERT INTO object_state (zoid, tid, prev_tid, md5, state_size, state) VALUES (1, 150, 100, 'x', 1, x'00')`,
		},
		"restored": {`DELETE FROM current_object`, `DELETE FROM object_state`, `DELETE FROM "transaction" WHERE tid > 0`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			e := openEngine(t, openDB(t, dir), sqlstorage.Options{})
			if _, err := e.Append(t.Context(), oneTxn(100, 1, 0), nil); err != nil {
				t.Fatal(err)
			}
			other := openDB(t, dir)
			run(t, other, statements...)
			before := rows(t, dir, `SELECT zoid || ' ' || tid FROM object_state ORDER BY 1`)
			n, err := e.Append(t.Context(), oneTxn(200, 1, 100), nil)
			if n != 0 || !errors.Is(err, zodb.ErrNotPrimary) {
				t.Errorf("Append: %d, %v", n, err)
			}
			after := rows(t, dir, `SELECT zoid || ' ' || tid FROM object_state ORDER BY 1`)
			if strings.Join(before, ",") != strings.Join(after, ",") {
				t.Errorf("it wrote: %q, %q before", after, before)
			}
		})
	}
}

// silent is a database that does not answer a COMMIT, which it did or did not do.
type silent struct {
	*sqlite.DB
	silence bool
	commits bool
	writes  int // so many Writes get no answer, too
}

func (d *silent) Append(ctx context.Context, b *sqlstorage.Batch) error {
	if !d.silence {
		return d.DB.Append(ctx, b)
	}
	if d.commits {
		if err := d.DB.Append(ctx, b); err != nil {
			return err
		}
	}
	return zodb.ErrCommitUnknown
}

func TestUnknownOutcomes(t *testing.T) {
	for _, form := range forms {
		for _, commits := range []bool{true, false} {
			dir := t.TempDir()
			d := &silent{DB: openDB(t, dir), commits: commits}
			e := openEngine(t, d, sqlstorage.Options{Form: form, Blobs: &sqlstorage.BlobOptions{Dir: filepath.Join(dir, "blobs")}})
			if _, err := e.Append(t.Context(), oneTxn(100, 1, 0), nil); err != nil {
				t.Fatal(err)
			}
			d.silence = true
			if n, err := e.Append(t.Context(), oneTxn(200, 1, 100), nil); n != 0 || !errors.Is(err, zodb.ErrCommitUnknown) {
				t.Fatalf("Append without an answer: %d, %v", n, err)
			}
			d.silence = false
			want := zodb.TID(100)
			if commits {
				want = 200
			}
			if head, err := e.Settle(t.Context()); head != want || err != nil {
				t.Errorf("%v: Settle: %v, %v; want %v", form, head, err, want)
			}
			if n, err := e.Append(t.Context(), oneTxn(300, 1, want), nil); n != 1 || err != nil {
				t.Errorf("Append after that: %d, %v", n, err)
			}
			checkRows(t, dir, form)
		}
	}
}

func (d *silent) Write(ctx context.Context, fn func(sqlstorage.Session) error) error {
	err := d.DB.Write(ctx, fn)
	if d.writes > 0 && err == nil {
		d.writes--
		err = zodb.ErrCommitUnknown
	}
	return err
}

// Settling may itself get no answer, and be tried again; but not against another server.
func TestSettledAgain(t *testing.T) {
	for _, taken := range []bool{false, true} {
		dir := t.TempDir()
		d := &silent{DB: openDB(t, dir), commits: true}
		e := openEngine(t, d, sqlstorage.Options{})
		d.silence, d.writes = true, 2
		if _, err := e.Append(t.Context(), oneTxn(100, 1, 0), nil); !errors.Is(err, zodb.ErrCommitUnknown) {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := e.Settle(t.Context()); !errors.Is(err, zodb.ErrCommitUnknown) {
				t.Fatalf("Settle without an answer: %v", err)
			}
		}
		if taken {
			run(t, openDB(t, dir), `UPDATE zari_meta SET epoch = epoch + 3`)
		}
		d.silence = false
		head, err := e.Settle(t.Context())
		if !taken && (head != 100 || err != nil) || taken && !errors.Is(err, zodb.ErrNotPrimary) {
			t.Errorf("taken over: %v; Settle: %v, %v", taken, head, err)
		}
	}
}

// What RelStorage made can be read without writing anything.
func TestReadOnlyWithoutOurTables(t *testing.T) {
	dir := t.TempDir()
	e := openEngine(t, openDB(t, dir), sqlstorage.Options{})
	if _, err := e.Append(t.Context(), oneTxn(100, 1, 0), &store.Meta{UUID: [16]byte{1}}); err != nil {
		t.Fatal(err)
	}
	e.Close()
	run(t, openDB(t, dir), `DROP TABLE zari_meta`, `DROP TABLE zari_undone`)
	db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	r := openEngine(t, db, sqlstorage.Options{ReadOnly: true})
	if rec, err := r.LoadBefore(t.Context(), 1, zodb.MaxTID); err != nil || rec.Serial != 100 {
		t.Errorf("LoadBefore: %v, %v", rec, err)
	}
	for txn, err := range r.Scan(t.Context(), 0, store.Forward) {
		if err != nil || txn.TID != 100 {
			t.Errorf("Scan: %v, %v", txn, err)
		}
	}
}
