package s3storage_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/s3storage"
	"github.com/zaridb/zari/engine/s3storage/objstore/delay"
	"github.com/zaridb/zari/engine/s3storage/objstore/fake"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// offer offers commits of one object of 8 KB at a rate, to a bucket whose PUTs take 30 ms (99 in
// 100 less than 120 ms), for two seconds. (Command bench/s3 has more of that.)
func offer(b *testing.B, rate int, opts s3storage.Options) {
	base := fake.New()
	opts.Objects = delay.New(base, delay.S3(1))
	engine, err := s3storage.Open(b.Context(), opts)
	if err != nil {
		b.Fatal(err)
	}
	s, err := store.Open(b.Context(), engine, store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	const seconds = 2
	data := storagetest.ObjectOf(1, 8000)
	took := make([]time.Duration, rate*seconds)
	before, began := base.Counts(), time.Now()
	var wg sync.WaitGroup
	for i := range took {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		wg.Go(func() {
			start := time.Now()
			if err := commitOne(b, s, zodb.OID(i), data); err != nil {
				b.Error(err)
			}
			took[i] = time.Since(start)
		})
	}
	wg.Wait()
	elapsed := time.Since(began).Seconds()
	used := base.Counts().Sub(before) // with a front, what has been moved until now
	slices.Sort(took)
	b.ReportMetric(float64(len(took))/elapsed, "commits/s")
	b.ReportMetric(float64(used.Put)/elapsed, "PUT/s")
	b.ReportMetric(float64(used.Put)/float64(len(took)), "PUT/commit")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

func commitOne(b testing.TB, s zodb.Storage, oid zodb.OID, data []byte) error {
	txn, err := s.Begin(b.Context(), zodb.TxnMeta{})
	if err != nil {
		return err
	}
	defer txn.Abort()
	if err := txn.Store(b.Context(), oid, 0, data); err != nil {
		return err
	}
	if _, err := txn.Vote(b.Context()); err != nil {
		return err
	}
	_, err = txn.Finish(b.Context(), nil)
	return err
}
