package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/sqlite"
	"github.com/zaridb/zari/engine/sqlstorage/sqltest"
	"github.com/zaridb/zari/storagetest"
)

// unsynced makes tests fast.
var unsynced = map[string]string{"synchronous": "off"}

func harness(o sqlstorage.Options, sharedBlobs bool) storagetest.Harness {
	h := sqltest.Contract(o, func(t testing.TB) sqltest.Database {
		dir := t.TempDir()
		return sqltest.Database{Blobs: filepath.Join(dir, "blobs"), SharedBlobs: sharedBlobs,
			Open: func(t testing.TB, readOnly bool) (sqlstorage.Dialect, error) {
				return sqlite.Open(t.Context(), sqlite.Options{Dir: dir, Create: true, ReadOnly: readOnly, Pragmas: unsynced})
			}}
	})
	if o.Shared {
		h.Cannot = wholeDatabase(o.Form)
	}
	return h
}

// wholeDatabase is what cannot be had where others write to a SQLite database too: who
// has voted keeps everybody else from voting, and packs from going on, until it is
// finished.
func wholeDatabase(form sqlstorage.Form) map[string]string {
	const why = "SQLite's only lock is that of the whole database, which RelStorage takes when it votes"
	cannot := make(map[string]string)
	for _, name := range []string{
		"sync/Interleaved", "check_current/Shared", "pack/WhileVoted", "pack/WhileUndoVoted",
		"locks/Disjoint", "locks/ConflictsKeepOnlyTheirs", "locks/Cancelled",
	} {
		cannot[name] = why
	}
	if form == sqlstorage.Free {
		delete(cannot, "pack/WhileUndoVoted") // there is no undo
	}
	return cannot
}

func TestContract(t *testing.T) {
	t.Run("preserving", func(t *testing.T) { storagetest.Run(t, harness(sqlstorage.Options{}, false)) })
	t.Run("shared_blobs", func(t *testing.T) { storagetest.Run(t, harness(sqlstorage.Options{}, true)) })
	t.Run("free", func(t *testing.T) { storagetest.Run(t, harness(sqlstorage.Options{Form: sqlstorage.Free}, false)) })
	if testing.Short() {
		t.Skip("others that write, too: left to the full run")
	}
	t.Run("shared", func(t *testing.T) { storagetest.Run(t, harness(sqlstorage.Options{Shared: true}, true)) })
	t.Run("shared_free", func(t *testing.T) {
		storagetest.Run(t, harness(sqlstorage.Options{Form: sqlstorage.Free, Shared: true}, true))
	})
}

func BenchmarkContract(b *testing.B) { storagetest.Bench(b, harness(sqlstorage.Options{}, false)) }

// TestLikeMemory runs generated sequences of operations on a database and in memory:
// the histories must be equal.
func TestLikeMemory(t *testing.T) {
	for _, form := range forms {
		sqltest.LikeMemory(t, 5, harness(sqlstorage.Options{Form: form}, false))
	}
}
