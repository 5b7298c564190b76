package sqlite_test

import (
	"testing"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/sqlite"
	"github.com/zaridb/zari/engine/sqlstorage/sqltest"
)

func TestStartTogether(t *testing.T) {
	sqltest.StartTogether(t, func(t *testing.T) func(bool) (sqlstorage.Dialect, error) {
		o := sqlite.Options{Dir: t.TempDir(), Create: true, Pragmas: unsynced}
		return func(bool) (sqlstorage.Dialect, error) { return sqlite.Open(t.Context(), o) }
	})
}
