package memcached_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/internal/testmemcached"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/wrapper/delay"
	"github.com/zaridb/zari/wrapper/memcached"
	"github.com/zaridb/zari/zodb"
)

// BenchmarkRestart loads all objects once with a server that has just been started, as 16
// clients, from a database that is some way off: without memcached, and with one on this
// machine that another server has filled. An operation is one load.
func BenchmarkRestart(b *testing.B) {
	const objects, clients = 4000, 16
	ctx := context.Background()
	base, err := store.Open(ctx, memstorage.New(memstorage.Options{}), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer base.Close()
	txn, err := base.Begin(ctx, zodb.TxnMeta{})
	if err != nil {
		b.Fatal(err)
	}
	for oid := range zodb.OID(objects) {
		if err := txn.Store(ctx, oid, 0, make([]byte, 1000)); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := txn.Vote(ctx); err != nil {
		b.Fatal(err)
	}
	if _, err := txn.Finish(ctx, nil); err != nil {
		b.Fatal(err)
	}
	o := memcached.Options{Servers: []string{testmemcached.Start(b)}, Timeout: 10 * time.Second}
	loadAll := func(s zodb.Storage, n int) {
		var wg sync.WaitGroup
		for c := range clients {
			wg.Go(func() {
				for i := c; i < n; i += clients {
					if _, err := s.LoadBefore(ctx, zodb.OID(i%objects), zodb.MaxTID); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
	filler := wrap(b, kept{base}, o)
	for missed := int64(-1); missed != filler.Stats().Misses; time.Sleep(100 * time.Millisecond) { // what had to wait was not written
		missed = filler.Stats().Misses
		loadAll(filler, objects)
	}
	filler.Close()
	for _, away := range []time.Duration{0, 200 * time.Microsecond, time.Millisecond, 5 * time.Millisecond} {
		var far zodb.Storage = kept{base}
		if away > 0 {
			far = delay.New(far, away)
		}
		b.Run(fmt.Sprintf("away=%v/memcached=no", away), func(b *testing.B) { loadAll(far, b.N) })
		b.Run(fmt.Sprintf("away=%v/memcached=warm", away), func(b *testing.B) {
			s := wrap(b, far, o)
			defer s.Close()
			b.ResetTimer()
			loadAll(s, b.N)
			b.StopTimer()
			if stats := s.Stats(); stats.Hits < int64(b.N) {
				b.Errorf("%+v", stats)
			}
		})
	}
}

// kept is a storage that outlives its wrappers.
type kept struct{ zodb.Storage }

func (k kept) As(target any) bool { return zodb.PassOn(k.Storage, target) }
func (k kept) Close() error       { return nil }
