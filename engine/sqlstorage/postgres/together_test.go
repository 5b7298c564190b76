package postgres_test

import (
	"testing"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/postgres"
	"github.com/zaridb/zari/engine/sqlstorage/sqltest"
	"github.com/zaridb/zari/internal/testpg"
)

func TestStartTogether(t *testing.T) {
	sqltest.StartTogether(t, func(t *testing.T) func(bool) (sqlstorage.Dialect, error) {
		dsn := testpg.Database(t)
		return func(shared bool) (sqlstorage.Dialect, error) {
			return postgres.Open(t.Context(), postgres.Options{DSN: dsn, Shared: shared})
		}
	})
}
