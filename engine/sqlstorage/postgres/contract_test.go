package postgres_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/postgres"
	"github.com/zaridb/zari/engine/sqlstorage/sqltest"
	"github.com/zaridb/zari/internal/testpg"
	"github.com/zaridb/zari/storagetest"
)

func harness(o sqlstorage.Options, blobFiles bool) storagetest.Harness {
	return sqltest.Contract(o, func(t testing.TB) sqltest.Database {
		dsn := testpg.Database(t)
		return sqltest.Database{Blobs: filepath.Join(t.TempDir(), "blobs"), SharedBlobs: blobFiles,
			Open: func(t testing.TB, _ bool) (sqlstorage.Dialect, error) {
				return postgres.Open(t.Context(), postgres.Options{DSN: dsn, Shared: o.Shared})
			}}
	})
}

func TestContract(t *testing.T) {
	for _, form := range forms {
		t.Run(word(form), func(t *testing.T) { storagetest.Run(t, harness(sqlstorage.Options{Form: form}, false)) })
		t.Run("shared_"+word(form), func(t *testing.T) {
			if testing.Short() && form == sqlstorage.Free {
				t.Skip("one shared form is enough for a short run")
			}
			storagetest.Run(t, harness(sqlstorage.Options{Form: form, Shared: true}, false))
		})
	}
	t.Run("blob_files", func(t *testing.T) {
		if os.Getenv("ZARI_ROUNDS") == "" {
			t.Skip("left to the long proofs: ZARI_ROUNDS is not set")
		}
		for _, form := range forms {
			t.Run(word(form), func(t *testing.T) { storagetest.Run(t, harness(sqlstorage.Options{Form: form, Shared: true}, true)) })
		}
	})
}

func BenchmarkContract(b *testing.B) { storagetest.Bench(b, harness(sqlstorage.Options{}, false)) }

// TestLikeMemory runs generated sequences of operations on a database and in memory:
// the histories must be equal.
func TestLikeMemory(t *testing.T) {
	for _, form := range forms {
		sqltest.LikeMemory(t, 2, harness(sqlstorage.Options{Form: form}, false))
	}
}
