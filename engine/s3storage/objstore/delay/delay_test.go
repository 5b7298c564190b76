package delay

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/engine/s3storage/objstore/fake"
	"github.com/zaridb/zari/engine/s3storage/objstore/objstoretest"
)

func TestContract(t *testing.T) {
	var base *fake.Store
	opts := Options{Put: Lognormal{100 * time.Microsecond, time.Millisecond}, Get: Lognormal{100 * time.Microsecond, time.Millisecond}}
	objstoretest.Run(t, objstoretest.Harness{
		New: func(testing.TB) objstore.Store {
			base = fake.New()
			return New(base, opts)
		},
		Peer: func(testing.TB, objstore.Store) objstore.Store { return New(base.Bucket().Open("peer"), opts) },
	})
}

func TestLatencies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(fake.New(), S3(1))
		var took []time.Duration
		for range 10_000 {
			begin := time.Now()
			if _, err := s.Put(t.Context(), "k", nil, objstore.Always); err != nil {
				t.Fatal(err)
			}
			took = append(took, time.Since(begin))
		}
		slices.Sort(took)
		median, p99 := took[5000], took[9900]
		if (median-30*time.Millisecond).Abs() > time.Millisecond || (p99-120*time.Millisecond).Abs() > 10*time.Millisecond {
			t.Errorf("median %v, p99 %v", median, p99)
		}
	})
}

// TestContextEndsMidway: before the middle nothing was done, after it the outcome is not known.
func TestContextEndsMidway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := fake.New()
		s := New(base, Options{Put: Lognormal{Median: 10 * time.Millisecond}})
		for after, keys := range map[time.Duration]int{3 * time.Millisecond: 0, 7 * time.Millisecond: 1} {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			_, err := s.Put(ctx, "k", nil, objstore.IfAbsent)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || len(base.Bucket().Keys()) != keys {
				t.Errorf("after %v: %v, %d keys", after, err, len(base.Bucket().Keys()))
			}
			_ = base.Delete(t.Context(), "k")
		}
	})
}
