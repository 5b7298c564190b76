package sqltest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/sqlstorage"
)

// PoolsAreBounded wants the connections for loads of a database that may have two of them
// to be bounded: who finds none waits.
func PoolsAreBounded(t *testing.T, db sqlstorage.Dialect) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	taken := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			err := db.Read(t.Context(), func(sqlstorage.Session) error {
				taken <- struct{}{}
				<-ctx.Done()
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	<-taken
	<-taken
	if got, want := db.Pools()[0], (sqlstorage.Pool{Name: "loads", Open: 2, InUse: 2, Limit: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	soon, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	if err := db.Read(soon, func(sqlstorage.Session) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a third: %v", err)
	}
	cancel()
	wg.Wait()
	if got, want := db.Pools()[0], (sqlstorage.Pool{Name: "loads", Open: 2, Limit: 2}); got != want {
		t.Errorf("given back: %+v, want %+v", got, want)
	}
}
