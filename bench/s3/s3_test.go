package main

import (
	"testing"
	"time"

	"github.com/zaridb/zari/engine/s3storage/objstore/fake"
)

// TestToy: the counts are those of its source.
func TestToy(t *testing.T) {
	for _, k := range []int{1, 10} {
		s := fake.New()
		if err := requestsOfToy(t.Context(), s, "x", k, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		if c := s.Counts(); c.Put != int64(2*k+3) || c.List != int64(k+2) || c.Requests() != int64(3*k+5) {
			t.Errorf("%d objects: %+v", k, c)
		}
	}
}

// TestOffer: what is counted is what was done.
func TestOffer(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a slow bucket")
	}
	b := &bench{duration: 200 * time.Millisecond, size: 100, seed: 1}
	r, err := b.offer(t.Context(), load{rate: 50, objects: 2})
	if err != nil {
		t.Fatal(err)
	}
	if r.commits != 10 || r.counts.Put == 0 || r.counts.Put > 10 || r.p50 == 0 || r.month() == 0 {
		t.Errorf("%+v", r)
	}
}
