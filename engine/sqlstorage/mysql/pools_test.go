package mysql

import (
	"testing"

	"github.com/zaridb/zari/engine/sqlstorage/sqltest"
	"github.com/zaridb/zari/internal/testmysql"
)

func TestPoolsAreBounded(t *testing.T) {
	opts := options(t, testmysql.Database(t))
	opts.Connections = 2
	sqltest.PoolsAreBounded(t, open(t, opts))
}
