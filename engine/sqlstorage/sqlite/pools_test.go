package sqlite_test

import (
	"testing"

	"github.com/zaridb/zari/engine/sqlstorage/sqlite"
	"github.com/zaridb/zari/engine/sqlstorage/sqltest"
)

func TestPoolsAreBounded(t *testing.T) {
	db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir(), Create: true, Readers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	sqltest.PoolsAreBounded(t, db)
}
