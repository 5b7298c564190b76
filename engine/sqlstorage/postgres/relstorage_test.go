package postgres_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/postgres"
	"github.com/zaridb/zari/internal/testpg"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// exclusive opens a store that is the only writer.
func exclusive(t testing.TB, dsn string, form sqlstorage.Form) *store.Store {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgres.Options{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := sqlstorage.Open(t.Context(), db, sqlstorage.Options{
		Form: form, Create: true, References: pickle.OwnReferences, Blobs: &sqlstorage.BlobOptions{Dir: t.TempDir()},
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), engine, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func current(t testing.TB, s zodb.Storage, oid zodb.OID) zodb.Record {
	t.Helper()
	rec, err := s.LoadBefore(t.Context(), oid, zodb.MaxTID)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func blobOf(t testing.TB, s *store.Store, oid zodb.OID) string {
	t.Helper()
	path, err := s.LoadBlob(t.Context(), oid, current(t, s, oid).Serial)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// change sets the counter, and replaces a blob.
func change(t testing.TB, s *store.Store, counter, blob zodb.OID, n int64, content string) {
	t.Helper()
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{Description: []byte("by Zari")})
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	rec := current(t, s, counter)
	data, err := withNumber(rec.Data, n)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := s.BlobTempDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "new")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	old := current(t, s, blob)
	err = errors.Join(txn.Store(t.Context(), counter, rec.Serial, data),
		txn.(zodb.BlobTxn).StoreBlob(t.Context(), blob, old.Serial, old.Data, path))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Vote(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Finish(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}

// What RelStorage has written is served, and what Zari has written RelStorage reads,
// undoes and packs; then Zari again.
func TestToAndFro(t *testing.T) {
	for _, form := range forms {
		t.Run(word(form), func(t *testing.T) { toAndFro(t, form) })
	}
}

func toAndFro(t *testing.T, form sqlstorage.Form) {
	dsn, cache := testpg.Database(t), t.TempDir()
	var oids map[string]zodb.OID
	if err := json.Unmarshal([]byte(runRelstorage(t, "with_blob", dsn, word(form), cache)), &oids); err != nil {
		t.Fatal(err)
	}
	s := exclusive(t, dsn, form)
	if got := blobOf(t, s, oids["blob"]); got != strings.Repeat("relstorage ", 300_000) {
		t.Errorf("RelStorage's blob comes as %d bytes", len(got))
	}
	const mine = "zari's"
	change(t, s, oids["c"], oids["blob"], start+7, mine)
	s.Close()

	read := func() (got struct {
		N                      int64
		Described, Blob, Small string
	}) {
		t.Helper()
		if err := json.Unmarshal([]byte(runRelstorage(t, "read", dsn, word(form), cache)), &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := read(); got.N != start+7 || got.Blob != mine || got.Small != "old" || form == sqlstorage.Preserving && got.Described != "by Zari" {
		t.Errorf("RelStorage reads %+v", got)
	}
	checkRows(t, dsn, form)
	want := int64(start + 7)
	if form == sqlstorage.Preserving {
		runRelstorage(t, "undo", dsn, word(form), cache)
		want = start
	}
	s = exclusive(t, dsn, form)
	if n, err := numberIn(current(t, s, oids["c"]).Data); n != want || err != nil {
		t.Errorf("after RelStorage's turn the counter is %d, %v; want %d", n, err, want)
	}
	oid, err := s.NewOIDs(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()

	var added zodb.OID
	if err := json.Unmarshal([]byte(runRelstorage(t, "repack", dsn, word(form), cache)), &added); err != nil {
		t.Fatal(err)
	}
	if added == oid[0] {
		t.Errorf("oid %v was given by both", added)
	}
	s = exclusive(t, dsn, form)
	current(t, s, added)
	if _, err := s.LoadBefore(t.Context(), oids["small"], zodb.MaxTID); err == nil {
		t.Error("what RelStorage has packed away is still there")
	}
	change(t, s, oids["c"], oids["blob"], start+9, mine+" again")
	if err := s.Pack(t.Context(), time.Now().Add(time.Second), zodb.PackOptions{GC: true}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if n := query[int64](t, dsn, "SELECT count(*) FROM pg_largeobject_metadata"); n != 1 {
		t.Errorf("%d large objects are left, want that of the blob", n)
	}
	checkRows(t, dsn, form)
	s = exclusive(t, dsn, form)
	if got := blobOf(t, s, oids["blob"]); got != mine+" again" {
		t.Errorf("the blob is %q", got)
	}
}

// A RelStorage client that writes although Zari believes to be alone is found out
// before anything is lost.
func TestExclusiveFindsAnotherWriter(t *testing.T) {
	for _, form := range forms {
		t.Run(word(form), func(t *testing.T) {
			dsn := testpg.Database(t)
			s := exclusive(t, dsn, form)
			var oids map[string]zodb.OID
			if err := json.Unmarshal([]byte(runRelstorage(t, "setup", dsn, word(form))), &oids); err != nil {
				t.Fatal(err)
			}
			txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
			if err != nil {
				t.Fatal(err)
			}
			defer txn.Abort()
			if err := txn.Store(t.Context(), 1000, 0, []byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err = txn.Vote(t.Context()); err == nil {
				_, err = txn.Finish(t.Context(), nil)
			}
			if !errors.Is(err, zodb.ErrNotPrimary) || !strings.Contains(err.Error(), "shared") {
				t.Errorf("a commit after RelStorage's = %v, want one that says: open it shared", err)
			}
		})
	}
}
