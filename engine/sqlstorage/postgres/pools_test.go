package postgres_test

import (
	"testing"

	"github.com/zaridb/zari/engine/sqlstorage/postgres"
	"github.com/zaridb/zari/engine/sqlstorage/sqltest"
	"github.com/zaridb/zari/internal/testpg"
)

func TestPoolsAreBounded(t *testing.T) {
	sqltest.PoolsAreBounded(t, open(t, postgres.Options{DSN: testpg.Database(t), Readers: 2}))
}
