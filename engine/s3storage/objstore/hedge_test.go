package objstore_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/engine/s3storage/objstore/delay"
	"github.com/zaridb/zari/engine/s3storage/objstore/fake"
)

// hedged is a Hedger over one object, whose store takes as long as takes says for
// each request.
func hedged(t *testing.T, takes func(n int64) fake.Fault) (*objstore.Hedger, *fake.Store) {
	t.Helper()
	s := fake.New()
	if _, err := s.Put(t.Context(), "k", []byte("0123456789"), objstore.Always); err != nil {
		t.Fatal(err)
	}
	s.SetRule(func(op fake.Op) fake.Fault { return takes(op.N - 1) })
	return objstore.NewHedger(s), s
}

func mustRead(t *testing.T, h *objstore.Hedger) time.Duration {
	t.Helper()
	begin := time.Now()
	data, info, err := h.Read(t.Context(), "k", objstore.Range{Off: 2, Len: 3})
	if err != nil || string(data) != "234" || info.Size != 10 {
		t.Fatalf("%q %+v %v", data, info, err)
	}
	return time.Since(begin)
}

func TestHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := hedged(t, func(n int64) fake.Fault {
			d := 10 * time.Millisecond
			if n%25 == 0 { // 4 in 100
				d = time.Second
			}
			return fake.Fault{Delay: d}
		})
		for range 100 {
			mustRead(t, h)
		}
		var worst time.Duration
		for range 1000 {
			worst = max(worst, mustRead(t, h))
		}
		if worst > 30*time.Millisecond {
			t.Errorf("the slowest took %v", worst)
		}
		stats := h.Stats()
		if stats.Won < 30 || stats.Hedged > 60 || s.Counts().Get > 1160 {
			t.Errorf("%+v, %d requests", stats, s.Counts().Get)
		}
		h.Close()
	})
}

// TestHedgeKeepsWithinItsShare: a store that has become slow as a whole gets at most a
// tenth more requests.
func TestHedgeKeepsWithinItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var delay atomic.Int64
		delay.Store(int64(time.Millisecond))
		h, s := hedged(t, func(int64) fake.Fault { return fake.Fault{Delay: time.Duration(delay.Load())} })
		for range 100 {
			mustRead(t, h)
		}
		for range 1000 { // ever slower: always later than it has learnt
			delay.Store(min(delay.Load()*51/50, int64(time.Minute)))
			mustRead(t, h)
		}
		if n := s.Counts().Get; n > 1100+120 {
			t.Errorf("%d requests for 1100 reads", n)
		}
		if h.Stats().Hedged == 0 {
			t.Error("none was asked for twice: the test proves nothing")
		}
		h.Close()
	})
}

// TestHedgeErrors: one answer of two is enough, unless it says nothing.
func TestHedgeErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faults := make(chan fake.Fault, 2) // of the next requests
		h, _ := hedged(t, func(int64) fake.Fault {
			select {
			case f := <-faults:
				return f
			default:
				return fake.Fault{Delay: time.Millisecond}
			}
		})
		next := func(list ...fake.Fault) {
			for _, f := range list {
				faults <- f
			}
		}
		for range 64 {
			mustRead(t, h)
		}
		slow := fake.Fault{Delay: 50 * time.Millisecond}
		failing := fake.Fault{Delay: 5 * time.Millisecond, Err: fake.ErrSlow}

		next(slow, failing) // the second fails: wait for the first
		if d := mustRead(t, h); d != 50*time.Millisecond {
			t.Errorf("took %v", d)
		}
		slowError := slow
		slowError.Err = fake.ErrSlow
		next(slowError, failing) // both fail
		if _, _, err := h.Read(t.Context(), "k", objstore.Range{Off: 2, Len: 3}); !errors.Is(err, fake.ErrSlow) {
			t.Error(err)
		}
		next(slow)
		if _, _, err := h.Read(t.Context(), "none", objstore.Range{Off: 2, Len: 3}); !errors.Is(err, objstore.ErrNotExist) {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond/2)
		defer cancel()
		if _, _, err := h.Read(ctx, "k", objstore.Range{Off: 2, Len: 3}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		h.Close()
	})
}

// TestHedgeLatencies reads from a store as slow as S3, in simulated time.
func TestHedgeLatencies(t *testing.T) {
	simulate := func(t *testing.T, hedge bool) (p50, p99 time.Duration, gets float64) {
		const reads = 5000
		base := fake.New()
		if _, err := base.Put(t.Context(), "k", []byte("0123456789"), objstore.Always); err != nil {
			t.Fatal(err)
		}
		s := delay.New(base, delay.S3(1))
		h := objstore.NewHedger(s)
		defer h.Close()
		var took []time.Duration
		for range reads {
			begin := time.Now()
			var err error
			if hedge {
				_, _, err = h.Read(t.Context(), "k", objstore.Range{Len: 5})
			} else {
				_, _, err = objstore.Read(t.Context(), s, "k", objstore.Range{Len: 5})
			}
			if err != nil {
				t.Fatal(err)
			}
			took = append(took, time.Since(begin))
		}
		slices.Sort(took)
		return took[reads/2], took[reads*99/100], float64(base.Counts().Get) / reads
	}
	synctest.Test(t, func(t *testing.T) {
		p50, p99, gets := simulate(t, false)
		t.Logf("plain:  p50 %v, p99 %v, %.3f GETs a read", p50, p99, gets)
		hedged50, hedged99, gets := simulate(t, true)
		t.Logf("hedged: p50 %v, p99 %v, %.3f GETs a read", hedged50, hedged99, gets)
		if hedged99 > p99*95/100 || gets > 1.1 {
			t.Error("hedging does not pay")
		}
	})
}
