package mysql

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/sqltest"
	"github.com/zaridb/zari/internal/testmysql"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

func BenchmarkContract(b *testing.B) { storagetest.Bench(b, harness(sqlstorage.Options{})) }

// BenchmarkCommits commits transactions of one object from 16 writers, with the
// server syncing each commit. It reports how many share one.
func BenchmarkCommits(b *testing.B) {
	srv := testmysql.Start(b, testmysql.Options{Fsync: true})
	for _, form := range forms {
		b.Run(form.String(), func(b *testing.B) {
			h := sqltest.Contract(sqlstorage.Options{Form: form}, func(t testing.TB) sqltest.Database {
				return database(t, options(t, srv.Database(t)))
			})
			s := h.New(b).(*store.Store)
			b.Cleanup(func() { s.Close() })
			var oids atomic.Int64
			b.SetParallelism(8)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				oid, serial := zodb.OID(oids.Add(1)), zodb.TID(0)
				for n := 0; pb.Next(); n++ {
					x, err := s.Begin(b.Context(), zodb.TxnMeta{})
					if err != nil {
						b.Fatal(err)
					}
					x.Store(b.Context(), oid, serial, fmt.Appendf(nil, "%0200d", n))
					if _, err := x.Vote(b.Context()); err != nil {
						b.Fatal(err)
					}
					if serial, err = x.Finish(b.Context(), nil); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.ReportMetric(float64(s.Stats().Commits)/float64(max(1, s.Stats().Batches)), "commits/batch")
		})
	}
}

// BenchmarkLoads loads current records by their oids.
func BenchmarkLoads(b *testing.B) {
	d := create(b, sqlstorage.Free)
	exec(b, d, "INSERT INTO object_state SELECT seq, 1, 500, REPEAT('x', 500) FROM seq_1_to_20000")
	h := sqltest.Contract(sqlstorage.Options{Form: sqlstorage.Free}, func(t testing.TB) sqltest.Database { return database(t, d.opts) })
	s := h.New(b)
	b.Cleanup(func() { s.Close() })
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for n := zodb.OID(1); pb.Next(); n++ {
			if _, err := s.LoadBefore(b.Context(), n*7919%20000+1, zodb.MaxTID); err != nil {
				b.Fatal(err)
			}
		}
	})
}
