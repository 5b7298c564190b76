package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zaridb/zari/engine/s3storage"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/engine/s3storage/objstore/delay"
	"github.com/zaridb/zari/engine/s3storage/objstore/fake"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// load is a rate of commits.
type load struct {
	rate    int // commits in a second
	window  time.Duration
	objects int // in each commit
}

func (l load) String() string {
	return fmt.Sprintf("%d commits/s of %d objects, window %v", l.rate, l.objects, l.window)
}

// result is what became of a load.
type result struct {
	commits  int
	elapsed  time.Duration
	p50, p99 time.Duration
	counts   objstore.Counts
}

// billed says what one commit costs in requests.
func (r result) billed() string {
	var parts []string
	for _, c := range []struct {
		name string
		n    int64
	}{{"PUT", r.counts.Put}, {"GET", r.counts.Get + r.counts.Head}, {"LIST", r.counts.List}} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%.3g %s", float64(c.n)/float64(r.commits), c.name))
		}
	}
	return strings.Join(parts, " + ")
}

// month returns the cost of a month of such requests, in dollars.
func (r result) month() float64 {
	return objstore.KnownPrices()[0].Month(r.counts, r.elapsed, 0).Total
}

// offer offers commits to Zari. What it does beside them, such as its lease, counts.
func (b *bench) offer(ctx context.Context, l load) (r result, err error) {
	base := fake.New()
	engine, err := s3storage.Open(ctx, s3storage.Options{Objects: delay.New(base, delay.S3(b.seed)), Window: l.window})
	if err != nil {
		return r, err
	}
	s, err := store.Open(ctx, engine, store.Options{})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	oids, err := s.NewOIDs(ctx, 1) // they are reserved in the log
	if err != nil {
		return r, err
	}
	before := base.Counts()
	r, err = b.each(l, func(i int) error {
		return commit(ctx, s, oids[0]+zodb.OID(i*l.objects), l.objects, b.object())
	})
	r.counts = base.Counts().Sub(before)
	return r, err
}

// each calls do so often in a second, and takes its times.
func (b *bench) each(l load, do func(i int) error) (result, error) {
	took := make([]time.Duration, max(1, int(float64(l.rate)*b.duration.Seconds())))
	errs := make([]error, len(took))
	began := time.Now()
	var wg sync.WaitGroup
	for i := range took {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(l.rate))))
		wg.Go(func() {
			start := time.Now()
			errs[i] = do(i)
			took[i] = time.Since(start)
		})
	}
	wg.Wait()
	// A load is offered until its time is over, even if the last commit came before.
	elapsed := max(time.Since(began), time.Duration(len(took))*time.Second/time.Duration(l.rate))
	slices.Sort(took)
	return result{commits: len(took), elapsed: elapsed, p50: took[len(took)/2], p99: took[len(took)*99/100]}, errors.Join(errs...)
}

func (b *bench) object() []byte {
	return []byte(strings.Repeat("a ZODB record ", b.size/14+1))[:b.size]
}

// commit writes new objects.
func commit(ctx context.Context, s zodb.Storage, first zodb.OID, n int, data []byte) error {
	txn, err := s.Begin(ctx, zodb.TxnMeta{})
	if err != nil {
		return err
	}
	defer txn.Abort()
	for i := range n {
		if err := txn.Store(ctx, first+zodb.OID(i), 0, data); err != nil {
			return err
		}
	}
	if _, err := txn.Vote(ctx); err != nil {
		return err
	}
	_, err = txn.Finish(ctx, nil)
	return err
}
