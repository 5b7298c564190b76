package mysql

import (
	"bytes"
	"testing"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/sqltest"
	"github.com/zaridb/zari/internal/testmysql"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/zodb"
)

func harness(o sqlstorage.Options) storagetest.Harness {
	return sqltest.Contract(o, func(t testing.TB) sqltest.Database { return database(t, options(t, testmysql.Database(t))) })
}

func database(t testing.TB, opts Options) sqltest.Database {
	return sqltest.Database{
		Blobs: t.TempDir(),
		Open:  func(t testing.TB, _ bool) (sqlstorage.Dialect, error) { return Open(t.Context(), opts) },
	}
}

func TestContract(t *testing.T) {
	eachForm(t, func(t *testing.T, form sqlstorage.Form) { storagetest.Run(t, harness(sqlstorage.Options{Form: form})) })
}

// TestSharedContract has every database open for other writers, too; the group peer has
// two servers on one.
func TestSharedContract(t *testing.T) {
	if testing.Short() {
		t.Skip("left to the full run; TestBank has two servers, too")
	}
	eachForm(t, func(t *testing.T, form sqlstorage.Form) {
		storagetest.Run(t, harness(sqlstorage.Options{Form: form, Shared: true}))
	})
}

// TestLikeMemory runs generated sequences of operations on a database and in memory:
// the histories must be equal.
func TestLikeMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("left to the full run")
	}
	sqltest.LikeMemory(t, 5, harness(sqlstorage.Options{}))
}

// TestTooLargeFailsTheVote has what the database cannot hold refused before anything
// is promised.
func TestTooLargeFailsTheVote(t *testing.T) {
	s := harness(sqlstorage.Options{}).New(t)
	defer s.Close()
	vote := func(meta zodb.TxnMeta, size int) error {
		t.Helper()
		x, err := s.Begin(t.Context(), meta)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Abort()
		if err := x.Store(t.Context(), 1, 0, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		_, err = x.Vote(t.Context())
		return err
	}
	if err := vote(zodb.TxnMeta{Description: make([]byte, 1<<16-1)}, 1<<24-rowFrame); err != nil {
		t.Errorf("what it can just hold: %v", err)
	}
	if err := vote(zodb.TxnMeta{Description: make([]byte, 1<<16)}, 1); err == nil {
		t.Error("a description that is too long is voted for")
	}
	if err := vote(zodb.TxnMeta{}, 1<<24); err == nil {
		t.Error("a state that is too long is voted for")
	}
	x, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		t.Fatal(err)
	}
	state := bytes.Repeat([]byte{0}, 1<<24-rowFrame)
	x.Store(t.Context(), 1, 0, state)
	if _, err := x.Vote(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Finish(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if rec, err := s.LoadBefore(t.Context(), 1, zodb.MaxTID); err != nil || !bytes.Equal(rec.Data, state) {
		t.Errorf("the longest state comes back with %d bytes, %v", len(rec.Data), err)
	}
}
