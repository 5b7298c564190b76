package postgres_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/postgres"
	"github.com/zaridb/zari/internal/testpg"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

func txn(tid zodb.TID, records ...txnlog.Record) *txnlog.Txn {
	return &txnlog.Txn{TID: tid, Status: ' ', User: []byte("user"), Description: []byte("description"), Records: records}
}

func data(oid zodb.OID, prev zodb.TID, data string) txnlog.Record {
	return txnlog.Record{OID: oid, Prev: prev, Data: []byte(data)}
}

func batch(form sqlstorage.Form, txns ...*txnlog.Txn) *sqlstorage.Batch {
	return &sqlstorage.Batch{Form: form, Txns: txns, BlobRows: true}
}

func mustAppend(t testing.TB, db *postgres.DB, b *sqlstorage.Batch) {
	t.Helper()
	if err := db.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// stateRow is a row of object_state, with "NULL" for no state.
type stateRow struct {
	oid, tid int64
	state    string
}

func states(t testing.TB, db *postgres.DB) (list []stateRow) {
	t.Helper()
	err := db.Read(t.Context(), func(s sqlstorage.Session) error {
		for row, err := range s.Query(t.Context(), "SELECT zoid, tid, state FROM object_state ORDER BY tid, zoid") {
			if err != nil {
				return err
			}
			var r stateRow
			var state []byte
			if err := row.Scan(&r.oid, &r.tid, &state); err != nil {
				return err
			}
			r.state = string(state)
			if state == nil {
				r.state = "NULL"
			}
			list = append(list, r)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestAppendWritesRows(t *testing.T) {
	eachForm(t, postgres.Options{}, func(t *testing.T, db *postgres.DB, form sqlstorage.Form) {
		b := batch(form,
			txn(10, data(1, 0, "one"), data(2, 0, "")),
			txn(11, data(1, 10, "one again"), txnlog.Record{OID: 2, Prev: 10, Kind: txnlog.Delete}))
		b.Meta = &store.Meta{UUID: [16]byte{1, 2}, Epoch: 3, TIDFloor: 4, NextOID: 5}
		mustAppend(t, db, b)
		want := []stateRow{{1, 10, "one"}, {2, 10, ""}, {1, 11, "one again"}, {2, 11, "NULL"}}
		if form == sqlstorage.Free {
			want = want[2:]
		}
		if got := states(t, db); !slices.Equal(got, want) {
			t.Errorf("object_state is %v, want %v", got, want)
		}
		dsn := dsnOf(t, db)
		if got := query[int64](t, dsn, "SELECT tid_floor*10 + next_oid FROM zari_meta WHERE uuid = '\\x01020000000000000000000000000000'"); got != 45 {
			t.Errorf("meta is %d", got)
		}
		if form == sqlstorage.Free {
			return
		}
		sum := md5.Sum([]byte("one again"))
		got := query[string](t, dsn, "SELECT prev_tid || md5 || state_size FROM object_state WHERE zoid = 1 AND tid = 11")
		if want := "10" + hex.EncodeToString(sum[:]) + "9"; got != want {
			t.Errorf("prev_tid, md5, state_size are %s, want %s", got, want)
		}
		if n := query[int64](t, dsn, "SELECT count(*) FROM current_object WHERE tid = 11"); n != 2 {
			t.Errorf("%d objects of 2 are current", n)
		}
		if n := query[int64](t, dsn, "SELECT count(*) FROM object_state WHERE state IS NULL AND md5 IS NULL AND state_size = 0"); n != 1 {
			t.Errorf("%d rows without a state, want 1", n)
		}
	})
}

// dsnOf returns the DSN of a database of [testpg.Database].
func dsnOf(t testing.TB, db *postgres.DB) string {
	t.Helper()
	var host, port, name string
	err := db.Read(t.Context(), func(s sqlstorage.Session) error {
		const sql = "SELECT current_setting('unix_socket_directories'), current_setting('port'), current_database()"
		for row, err := range s.Query(t.Context(), sql) {
			if err != nil {
				return err
			}
			return row.Scan(&host, &port, &name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return "host=" + host + " port=" + port + " user=postgres dbname=" + name
}

func TestAppendIsWholeOrNotAtAll(t *testing.T) {
	eachForm(t, postgres.Options{}, func(t *testing.T, db *postgres.DB, form sqlstorage.Form) {
		big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		var records []txnlog.Record
		for oid := range zodb.OID(20) { // several pipelines
			records = append(records, txnlog.Record{OID: oid, Data: big})
		}
		b := batch(form, txn(10, records...), txn(11, txnlog.Record{OID: 99, Blob: "/there/is/no/such/file", Data: []byte("x")}))
		if err := db.Append(t.Context(), b); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("Append = %v, want that of a missing file", err)
		}
		if got := states(t, db); len(got) != 0 {
			t.Errorf("%d rows are there after an Append that failed", len(got))
		}
		mustAppend(t, db, batch(form, txn(10, records...)))
		if got := states(t, db); len(got) != 20 || got[7].state != string(big) {
			t.Errorf("%d rows, want 20 with all their bytes", len(got))
		}
	})
}

func TestAppendChecksWhoWrites(t *testing.T) {
	eachForm(t, postgres.Options{}, func(t *testing.T, db *postgres.DB, form sqlstorage.Form) {
		dsn := dsnOf(t, db)
		run(t, dsn, "UPDATE zari_meta SET epoch = 7")
		b := batch(form, txn(10, data(1, 0, "x")))
		b.Epoch, b.Last = 7, 0
		mustAppend(t, db, b)

		b = batch(form, txn(12, data(1, 10, "y")))
		b.Epoch, b.Last = 6, 10
		if err := db.Append(t.Context(), b); !errors.Is(err, zodb.ErrNotPrimary) {
			t.Errorf("Append of an old epoch = %v, want ErrNotPrimary", err)
		}
		mustAppend(t, db, batch(form, txn(11, data(2, 0, "somebody else's"))))
		b.Epoch = 7
		var foreign *sqlstorage.ForeignWriteError
		if err := db.Append(t.Context(), b); !errors.As(err, &foreign) || foreign.Found != 11 {
			t.Errorf("Append after somebody else's = %v, want a ForeignWriteError", err)
		}
		if got := states(t, db); len(got) != 2 {
			t.Errorf("rows are %v", got)
		}
	})
}

func blobFile(t *testing.T, size int) (path string, content []byte) {
	t.Helper()
	content = make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(size)})
	r.Read(content)
	path = filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, content
}

func TestBlobs(t *testing.T) {
	eachForm(t, postgres.Options{}, func(t *testing.T, db *postgres.DB, form sqlstorage.Form) {
		dsn := dsnOf(t, db)
		for i, size := range []int{0, 1, 1 << 20, 5<<20 + 17} {
			tid := zodb.TID(10 + i)
			path, content := blobFile(t, size)
			mustAppend(t, db, batch(form, txn(tid, txnlog.Record{OID: 1, Prev: max(tid-1, 10) % tid, Data: []byte("blob"), Blob: path})))
			var got bytes.Buffer
			if err := db.ReadBlob(t.Context(), form, 1, int64(tid), &got); err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			if !bytes.Equal(got.Bytes(), content) {
				t.Errorf("a blob of %d bytes comes back with %d others", size, got.Len())
			}
		}
		want := int64(4)
		if form == sqlstorage.Free {
			want = 1 // the large objects of what was replaced are gone
		}
		if n := query[int64](t, dsn, "SELECT count(*) FROM pg_largeobject_metadata"); n != want {
			t.Errorf("%d large objects, want %d", n, want)
		}
		var missing *zodb.NoObjectError
		if err := db.ReadBlob(t.Context(), form, 2, 10, new(bytes.Buffer)); !errors.As(err, &missing) {
			t.Errorf("ReadBlob of none = %v, want NoObjectError", err)
		}
	})
}

// What RelStorage's function does when rows share a large object, ours does.
func TestSharedLargeObjectGoesWithItsLastRow(t *testing.T) {
	db := open(t, postgres.Options{DSN: testpg.Database(t)})
	create(t, db, sqlstorage.Preserving)
	dsn := dsnOf(t, db)
	path, _ := blobFile(t, 100)
	mustAppend(t, db, batch(sqlstorage.Preserving,
		txn(10, txnlog.Record{OID: 1, Data: []byte("blob"), Blob: path}), txn(11, data(1, 10, "undone")), txn(12, data(2, 0, "other"))))
	run(t, dsn, "INSERT INTO blob_chunk SELECT zoid, 11, chunk_num, chunk FROM blob_chunk",
		"INSERT INTO blob_chunk SELECT 2, 12, chunk_num, chunk FROM blob_chunk WHERE tid = 10")
	count := func() int64 { return query[int64](t, dsn, "SELECT count(*) FROM pg_largeobject_metadata") }
	run(t, dsn, "DELETE FROM blob_chunk WHERE tid = 10")
	if n := count(); n != 1 {
		t.Fatalf("%d large objects while two rows have it", n)
	}
	run(t, dsn, "DELETE FROM blob_chunk") // two rows at once
	if n := count(); n != 0 {
		t.Errorf("%d large objects are left", n)
	}
}

func TestSnapshotFetchesAndStops(t *testing.T) {
	db := open(t, postgres.Options{DSN: testpg.Database(t)})
	err := db.Snapshot(t.Context(), func(s sqlstorage.Session) error {
		for _, limit := range []int64{0, 1, 31, 32, 33, 96, 5000} {
			n, wanted := int64(0), limit
			for row, err := range s.Query(t.Context(), "SELECT g, 'x' FROM generate_series(1, CAST(? AS bigint)) g", max(limit, 1)*2) {
				if err != nil {
					return err
				}
				if n == wanted {
					break
				}
				n++
				var g int64
				var x string
				if err := row.Scan(&g, &x); err != nil {
					return err
				}
				if g != n || x != "x" {
					t.Errorf("row %d is (%d, %q)", n, g, x)
				}
			}
			if n != wanted {
				t.Errorf("%d rows, want %d", n, wanted)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOIDs(t *testing.T) {
	db := open(t, postgres.Options{DSN: testpg.Database(t)})
	create(t, db, sqlstorage.Free)
	next := func(n int, want int64) {
		t.Helper()
		last, err := db.NextOIDs(t.Context(), n)
		if err != nil || last != want {
			t.Errorf("NextOIDs(%d) = %d, %v; want %d", n, last, err, want)
		}
	}
	next(1, 1)
	next(3, 4)
	for _, step := range []int64{3, 100, 50} {
		if err := db.RaiseOIDs(t.Context(), step); err != nil {
			t.Fatal(err)
		}
	}
	if last, err := db.NextOIDs(t.Context(), 1); err != nil || last <= 100 || last > 103 {
		t.Errorf("after RaiseOIDs(100) NextOIDs = %d, %v", last, err)
	}
}

// Many take steps at once; no step is anybody's twice.
func TestOIDsAreNobodyElses(t *testing.T) {
	db := open(t, postgres.Options{DSN: testpg.Database(t)})
	create(t, db, sqlstorage.Free)
	type span struct{ first, last int64 }
	spans := make(chan span, 1000)
	errs := make(chan error, 8)
	for g := range 4 {
		go func() {
			for range 50 {
				last, err := db.NextOIDs(context.Background(), g+1)
				if err == nil && g == 0 {
					err = db.RaiseOIDs(context.Background(), last+7)
				}
				if err != nil {
					errs <- err
					return
				}
				spans <- span{last - int64(g), last}
			}
			errs <- nil
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	close(spans)
	taken := make(map[int64]bool)
	for s := range spans {
		for step := s.first; step <= s.last; step++ {
			if taken[step] {
				t.Fatalf("step %d was handed out twice", step)
			}
			taken[step] = true
		}
	}
}
