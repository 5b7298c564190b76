package sqlite_test

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/sqlite"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// python returns a Python with RelStorage in it.
func python(t testing.TB) string {
	t.Helper()
	python := os.Getenv("ZARI_PYTHON")
	if python == "" {
		t.Skip("ZARI_PYTHON does not name a Python with RelStorage")
	}
	if out, err := exec.Command(python, "-c", "import relstorage.storage").CombinedOutput(); err != nil {
		t.Skipf("%s has no RelStorage: pip install -r interop/requirements.txt\n%s", python, out)
	}
	return python
}

var forms = []sqlstorage.Form{sqlstorage.Preserving, sqlstorage.Free}

func short(f sqlstorage.Form) string {
	return map[sqlstorage.Form]string{sqlstorage.Preserving: "hp", sqlstorage.Free: "hf"}[f]
}

// relstorage runs commands of testdata/rs.py on a directory, and returns their
// results.
func relstorage(t testing.TB, dir string, form sqlstorage.Form, commands ...string) []json.RawMessage {
	t.Helper()
	cmd := exec.Command(python(t), append([]string{"testdata/rs.py", dir, short(form)}, commands...)...)
	out, err := cmd.Output()
	if err != nil {
		var detail []byte
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			detail = e.Stderr
		}
		t.Fatalf("RelStorage: %v: %v\n%s", commands, err, detail)
	}
	var results []json.RawMessage
	if err := json.Unmarshal(out, &results); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return results
}

// result decodes what a command of rs.py returned.
func result[T any](t testing.TB, raw json.RawMessage) (v T) {
	t.Helper()
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	return v
}

// openStore opens a directory with a Store, for as long as the test runs.
func openStore(t testing.TB, dir string, o sqlstorage.Options) (*store.Store, *sqlstorage.Engine) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	o.Create, o.References = true, pickle.OwnReferences
	engine, err := sqlstorage.Open(t.Context(), db, o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), engine, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, engine
}

// rows returns what a statement selects, a line for each row.
func rows(t testing.TB, dir, statement string) (lines []string) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Read(t.Context(), func(s sqlstorage.Session) error {
		for row, err := range s.Query(t.Context(), statement) {
			if err != nil {
				return err
			}
			var line string
			if err := row.Scan(&line); err != nil {
				return err
			}
			lines = append(lines, line)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v: %s", err, statement)
	}
	return lines
}

// schemaOf describes every table, index and view as SQLite sees it: columns with
// type, default and key, indexes with their columns, foreign keys.
func schemaOf(t testing.TB, dir string) []string {
	const ours = `m.tbl_name NOT LIKE 'zari%' AND m.name NOT LIKE 'sqlite_stat%'`
	var all []string
	for _, statement := range []string{
		`SELECT m.type || ' ' || m.name || ' of ' || m.tbl_name FROM sqlite_master m WHERE ` + ours,
		`SELECT printf('column %s.%s %s notnull=%d default=%s pk=%d', m.name, c.name, c.type, c."notnull", c.dflt_value, c.pk)
			FROM sqlite_master m, pragma_table_xinfo(m.name) c WHERE m.type IN ('table', 'view') AND ` + ours,
		`SELECT printf('index %s unique=%d %s partial=%d: %s', i.name, i."unique", i.origin, i.partial, group_concat(c.name))
			FROM sqlite_master m, pragma_index_list(m.name) i, pragma_index_info(i.name) c WHERE m.type = 'table' AND ` + ours + ` GROUP BY i.name`,
		`SELECT printf('foreign key %s(%s) to %s(%s) delete %s', m.name, f."from", f."table", f."to", f.on_delete)
			FROM sqlite_master m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table' AND ` + ours,
	} {
		all = append(all, rows(t, dir, statement)...)
	}
	slices.Sort(all)
	return all
}

// TestSchemaOfRelStorage compares the tables that RelStorage makes with ours.
func TestSchemaOfRelStorage(t *testing.T) {
	for _, form := range forms {
		t.Run(form.String(), func(t *testing.T) {
			theirs, ours := t.TempDir(), t.TempDir()
			relstorage(t, theirs, form, "create")
			s, _ := openStore(t, ours, sqlstorage.Options{Form: form})
			s.Close()
			want := schemaOf(t, theirs)
			if len(want) < 30 {
				t.Fatalf("only %d lines: %q", len(want), want)
			}
			if diff := cmp.Diff(want, schemaOf(t, ours)); diff != "" {
				t.Errorf("-RelStorage +ours:\n%s", diff)
			}
			for _, statement := range []string{`SELECT 'tid ' || tid FROM commit_row_lock`} {
				if diff := cmp.Diff(rows(t, theirs, statement), rows(t, ours, statement)); diff != "" {
					t.Errorf("%s: -RelStorage +ours:\n%s", statement, diff)
				}
			}
			if form == sqlstorage.Preserving {
				const special = `SELECT printf('%d %d %d %s %s %s %s', tid, packed, is_empty, typeof(username), username, description, typeof(extension)) FROM "transaction" WHERE tid = 0`
				if diff := cmp.Diff(rows(t, theirs, special), rows(t, ours, special)); diff != "" {
					t.Errorf("the special transaction: -RelStorage +ours:\n%s", diff)
				}
			}
		})
	}
}

// put commits one record.
func put(t testing.TB, s zodb.Storage, oid zodb.OID, data []byte) zodb.TID {
	t.Helper()
	serial := zodb.TID(0)
	if rec, err := s.LoadBefore(t.Context(), oid, zodb.MaxTID); err == nil {
		serial = rec.Serial
	}
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{User: []byte("zari"), Description: []byte("wrote it")})
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	if err := txn.Store(t.Context(), oid, serial, data); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Vote(t.Context()); err != nil {
		t.Fatal(err)
	}
	tid, err := txn.Finish(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return tid
}

// root is a root object as ZODB makes it: a PersistentMapping of simple values.
func root(n int) []byte {
	return fmt.Appendf(nil, "\x80\x03cpersistent.mapping\nPersistentMapping\nq\x00.\x80\x03}q\x01X\x04\x00\x00\x00dataq\x02}q\x03X\x04\x00\x00\x00zariq\x04K%css.", n)
}

// TestTakingTurns has RelStorage and Zari write the same database in turns, each
// reading what the other wrote.
func TestTakingTurns(t *testing.T) {
	for _, form := range forms {
		t.Run(form.String(), func(t *testing.T) {
			dir := t.TempDir()
			o := sqlstorage.Options{Form: form}
			s, engine := openStore(t, dir, o)
			put(t, s, 0, root(7))
			put(t, s, 0, root(8))
			oids, err := engine.NewOIDs(t.Context(), 3)
			if err != nil {
				t.Fatal(err)
			}
			put(t, s, oids[2], storagetest.Object(1))
			s.Close()

			got := relstorage(t, dir, form, "write,python,1", "oids,20", "read")
			theirs := result[[]zodb.OID](t, got[1])
			theirs = append(theirs, result[zodb.OID](t, got[0]))
			for _, oid := range theirs {
				if oid <= oids[2] {
					t.Errorf("RelStorage gave oid %v again", oid)
				}
			}

			s, engine = openStore(t, dir, o)
			ours, err := engine.NewOIDs(t.Context(), 3)
			if err != nil || ours[0] <= slices.Max(theirs) {
				t.Errorf("Zari gave oids %v again: %v", ours, err)
			}
			rec, err := s.LoadBefore(t.Context(), 0, zodb.MaxTID)
			if err != nil || !strings.Contains(string(rec.Data), "python") {
				t.Errorf("the root that RelStorage wrote: %q, %v", rec.Data, err)
			}
			put(t, s, 0, root(9))
			s.Close()
			checkRows(t, dir, form)
			relstorage(t, dir, form, "iterate")
		})
	}
}

// checkRows checks md5, state_size and prev_tid in every row.
func checkRows(t testing.TB, dir string, form sqlstorage.Form) {
	t.Helper()
	if bad := rows(t, dir, `SELECT zoid || ' ' || tid FROM object_state WHERE state_size <> COALESCE(LENGTH(state), 0) OR state IS NOT NULL AND typeof(state) <> 'blob'`); bad != nil {
		t.Errorf("state_size is wrong: %q", bad)
	}
	if bad := rows(t, dir, `SELECT "table" || ' ' || rowid FROM pragma_foreign_key_check`); bad != nil {
		t.Errorf("foreign keys are wrong: %q", bad)
	}
	if form == sqlstorage.Free {
		return
	}
	if bad := rows(t, dir, `SELECT zoid || ' ' || tid FROM object_state o WHERE prev_tid <>
		COALESCE((SELECT MAX(tid) FROM object_state p WHERE p.zoid = o.zoid AND p.tid < o.tid), 0)`); bad != nil {
		t.Errorf("prev_tid is wrong: %q", bad)
	}
	if bad := rows(t, dir, `SELECT zoid || ' ' || tid FROM object_state o WHERE (md5 IS NULL) <> (state IS NULL) OR typeof(md5) NOT IN ('text', 'null')`); bad != nil {
		t.Errorf("md5 is missing or of the wrong type: %q", bad)
	}
	if bad := rows(t, dir, `SELECT c.zoid FROM current_object c WHERE tid <> (SELECT MAX(tid) FROM object_state o WHERE o.zoid = c.zoid)`); bad != nil {
		t.Errorf("current_object is wrong: %q", bad)
	}
	for _, line := range rows(t, dir, `SELECT md5 || ' ' || hex(state) FROM object_state WHERE state IS NOT NULL`) {
		sum, state, _ := strings.Cut(line, " ")
		data, err := hex.DecodeString(state)
		if want := md5.Sum(data); err != nil || sum != hex.EncodeToString(want[:]) {
			t.Errorf("md5 %s of %s: %v", sum, state, err)
		}
	}
}

func TestMismatchedForms(t *testing.T) {
	for _, form := range forms {
		dir := t.TempDir()
		s, _ := openStore(t, dir, sqlstorage.Options{Form: form})
		s.Close()
		db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		_, err = sqlstorage.Open(context.Background(), db, sqlstorage.Options{Form: sqlstorage.Free - form})
		if e, ok := errors.AsType[*sqlstorage.SchemaError](err); !ok || !strings.Contains(e.Reason, "keep-history") {
			t.Errorf("%v opened as %v: %v", form, sqlstorage.Free-form, err)
		}
	}
	if _, err := sqlite.Open(t.Context(), sqlite.Options{Dir: filepath.Join(t.TempDir(), "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
}

// TestPackAsRelStorage packs copies of a database with RelStorage and with Zari: what
// is left must be equal, row by row.
func TestPackAsRelStorage(t *testing.T) {
	for _, form := range forms {
		t.Run(form.String(), func(t *testing.T) {
			dir := t.TempDir()
			source := filepath.Join(dir, "source")
			relstorage(t, source, form, "fill,1")
			tids := rows(t, source, `SELECT DISTINCT '' || tid FROM object_state ORDER BY tid`)
			for _, gc := range []string{"gc", "nogc"} {
				for _, at := range []string{tids[len(tids)/2], tids[len(tids)-1]} {
					t.Run(gc+at, func(t *testing.T) { packBoth(t, source, form, gc, at, tids[len(tids)-1]) })
				}
			}
		})
	}
}

// packBoth packs copies up to a transaction, and then lets RelStorage pack both up to the
// last one: what Zari has noted of references must not mislead it.
func packBoth(t *testing.T, source string, form sqlstorage.Form, gc, at, last string) {
	theirs, ours := t.TempDir(), t.TempDir()
	for _, dir := range []string{theirs, ours} {
		if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
			t.Fatal(err)
		}
	}
	before := len(rows(t, ours, `SELECT '' FROM object_state`))
	relstorage(t, theirs, form, "pack,"+at+","+gc)
	s, engine := openStore(t, ours, sqlstorage.Options{Form: form})
	tid, err := strconv.ParseUint(at, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	var report zodb.PackReport
	if err := engine.Pack(t.Context(), zodb.TID(tid), zodb.PackOptions{GC: gc == "gc", NoGC: gc != "gc", Report: &report}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if gone := before - len(rows(t, ours, `SELECT '' FROM object_state`)); int64(gone) != report.Revisions || (form == sqlstorage.Preserving || gc == "gc") && gone == 0 {
		t.Errorf("%d revisions are gone, the report says %d", gone, report.Revisions)
	}
	samePacked(t, theirs, ours, form)
	if gc != "gc" || t.Failed() {
		return
	}
	missing := func(dir string) [][2]int64 {
		return result[[][2]int64](t, relstorage(t, dir, form, "checkrefs", "pack,"+last+",gc")[0])
	}
	// RelStorage looks at references of revisions that are gone, too. Its own pack leaves
	// more of them.
	theirMissing := missing(theirs)
	for _, ref := range missing(ours) {
		if !slices.Contains(theirMissing, ref) {
			t.Errorf("RelStorage misses %v, but not after its own pack", ref)
		}
	}
	samePacked(t, theirs, ours, form)
}

// samePacked compares what two packs have left.
func samePacked(t *testing.T, theirs, ours string, form sqlstorage.Form) {
	t.Helper()
	statements := []string{
		`SELECT printf('%d %d %d %s', zoid, tid, state_size, hex(state)) FROM object_state ORDER BY zoid, tid`,
		`SELECT printf('%d %d %s', zoid, tid, hex(chunk)) FROM blob_chunk ORDER BY zoid, tid`,
		`SELECT printf('%d %d %d', r.zoid, r.tid, r.to_zoid) FROM object_ref r JOIN object_state o ON o.zoid = r.zoid AND o.tid = r.tid ORDER BY 1`,
	}
	if form == sqlstorage.Preserving {
		statements = append(statements,
			`SELECT printf('%d %d %d', zoid, tid, prev_tid) FROM object_state ORDER BY zoid, tid`,
			`SELECT printf('%d %d %d %s', tid, packed, is_empty, description) FROM "transaction" ORDER BY tid`,
			`SELECT printf('%d %d', zoid, tid) FROM current_object ORDER BY zoid`)
	}
	for _, statement := range statements {
		if diff := cmp.Diff(rows(t, theirs, statement), rows(t, ours, statement)); diff != "" {
			t.Errorf("%s: -RelStorage +ours:\n%s", statement, diff)
		}
	}
	checkRows(t, ours, form)
}

// TestBlobsOfRelStorage has each read the blobs that the other wrote.
func TestBlobsOfRelStorage(t *testing.T) {
	for _, form := range forms {
		t.Run(form.String(), func(t *testing.T) {
			dir := t.TempDir()
			relstorage(t, dir, form, "writeblob,python,from python")
			o := sqlstorage.Options{Form: form, Blobs: &sqlstorage.BlobOptions{Dir: filepath.Join(t.TempDir(), "cache")}}
			s, engine := openStore(t, dir, o)
			oid := zodb.OID(1)
			rec, err := s.LoadBefore(t.Context(), oid, zodb.MaxTID)
			if err != nil {
				t.Fatal(err)
			}
			path, err := engine.LoadBlob(t.Context(), oid, rec.Serial)
			if err != nil {
				t.Fatal(err)
			}
			if data, err := os.ReadFile(path); err != nil || string(data) != "from python" {
				t.Errorf("a blob of RelStorage's: %q, %v", data, err)
			}
			putBlob(t, s, oid, rec, "from zari")
			s.Close()
			checkRows(t, dir, form)
			got := result[map[string]string](t, relstorage(t, dir, form, "read")[0])
			if got["python"] != "from zari" {
				t.Errorf("a blob of Zari's: %q", got)
			}
		})
	}
}

// putBlob writes a new revision of a blob object.
func putBlob(t testing.TB, s *store.Store, oid zodb.OID, rec zodb.Record, text string) {
	t.Helper()
	temp, err := s.BlobTempDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(temp, "staged")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	blobTxn, ok := zodb.As[zodb.BlobTxn](txn)
	if !ok {
		t.Fatal("the transaction takes no blobs")
	}
	if err := blobTxn.StoreBlob(t.Context(), oid, rec.Serial, rec.Data, path); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Vote(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Finish(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}

// transactionOf is what rs.py iterates over.
type transactionOf struct {
	tid                                  uint64
	status, user, description, extension string
	records                              string
}

// theirTransactions returns what RelStorage's iterator yields.
func theirTransactions(t testing.TB, raw json.RawMessage) (list []transactionOf) {
	for _, x := range result[[][]json.RawMessage](t, raw) {
		list = append(list, transactionOf{
			tid: result[uint64](t, x[0]), status: result[string](t, x[1]), user: result[string](t, x[2]), description: result[string](t, x[3]),
			extension: result[string](t, x[4]), records: strings.ReplaceAll(string(x[5]), " ", ""),
		})
	}
	return list
}

func ourTransactions(t testing.TB, e *sqlstorage.Engine) (list []transactionOf) {
	for x, err := range e.Scan(t.Context(), 0, store.Forward) {
		if err != nil {
			t.Fatal(err)
		}
		var records []string
		for _, r := range x.Records {
			data := "null"
			if r.Data != nil {
				data = fmt.Sprintf("%q", hex.EncodeToString(r.Data))
			}
			records = append(records, fmt.Sprintf("[%d,%s]", r.OID, data))
		}
		list = append(list, transactionOf{
			tid: uint64(x.TID), status: string(x.Status), user: string(x.User), description: string(x.Description),
			extension: hex.EncodeToString(x.Extension), records: "[" + strings.Join(records, ",") + "]",
		})
	}
	return list
}

// TestSameHistory compares how RelStorage and Zari tell the history of a database that
// both have written; then RelStorage undoes what Zari wrote, and the other way round.
func TestSameHistory(t *testing.T) {
	dir := t.TempDir()
	relstorage(t, dir, sqlstorage.Preserving, "fill,2", "write,python,1")
	s, _ := openStore(t, dir, sqlstorage.Options{})
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{User: []byte("us\xc3\xa9r"), Description: []byte("by zari"), Extension: []byte("\x80\x03}q\x00X\x01\x00\x00\x00aq\x01K\x01s.")})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := s.LoadBefore(t.Context(), 0, zodb.MaxTID)
	if err != nil {
		t.Fatal(err)
	}
	if err := txn.Store(t.Context(), 0, rec.Serial, root(5)); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Vote(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Finish(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	s.Close()

	got := relstorage(t, dir, sqlstorage.Preserving, "iterate", "undo,0", "iterate", "read")
	after := result[map[string]any](t, got[3])
	if after["python"] != "1" {
		t.Errorf("after RelStorage undid what Zari wrote: %v", after)
	}
	s, engine := openStore(t, dir, sqlstorage.Options{})
	ours := ourTransactions(t, engine)
	if diff := cmp.Diff(theirTransactions(t, got[2]), ours, cmp.AllowUnexported(transactionOf{})); diff != "" {
		t.Errorf("-RelStorage +ours:\n%s", diff)
	}
	undoLast(t, s)
	s.Close()
	checkRows(t, dir, sqlstorage.Preserving)
	after = result[map[string]any](t, relstorage(t, dir, sqlstorage.Preserving, "read")[0])
	if _, there := after["python"]; there || len(after) != 1 {
		t.Errorf("after Zari undid what RelStorage wrote: %v", after)
	}
}

// undoLast undoes the last transaction.
func undoLast(t testing.TB, s *store.Store) {
	t.Helper()
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	undoer, ok := zodb.As[zodb.UndoTxn](txn)
	if !ok {
		t.Fatal("no undo")
	}
	if err := undoer.Undo(t.Context(), s.LastTID()); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Vote(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Finish(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}
