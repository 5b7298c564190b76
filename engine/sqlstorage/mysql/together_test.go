package mysql

import (
	"testing"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/sqltest"
	"github.com/zaridb/zari/internal/testmysql"
)

func TestStartTogether(t *testing.T) {
	sqltest.StartTogether(t, func(t *testing.T) func(bool) (sqlstorage.Dialect, error) {
		opts := options(t, testmysql.Database(t))
		return func(bool) (sqlstorage.Dialect, error) { return Open(t.Context(), opts) }
	})
}
