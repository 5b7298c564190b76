package objstoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/zaridb/zari/engine/s3storage/objstore"
)

// write tries until the outcome is known, and reports whether it won. What a store does
// not say is looked up: a server that refuses early may reset the connection before its
// answer is read. body must be nobody else's.
func (t *suite) write(s objstore.Store, key string, body []byte, cond objstore.Cond) (won bool) {
	for tries := 0; ; tries++ {
		_, err := s.Put(t.Context(), key, body, cond)
		switch {
		case err == nil:
			return true
		case errors.Is(err, objstore.ErrExists):
			return false
		case errors.Is(err, objstore.ErrConflict):
			continue
		case cond != objstore.IfAbsent || tries == 10:
			t.Error(err)
			return false
		}
		data, _, err := objstore.Read(t.Context(), s, key, objstore.Range{})
		if err == nil {
			return bytes.Equal(data, body)
		}
		if !errors.Is(err, objstore.ErrNotExist) {
			t.Error(err)
			return false
		}
	}
}

// race: of twenty who create one object one does, and the bytes are the winner's.
func (t *suite) race() { t.raceOf(20, t.Rounds, 100) }

// raceLarge: the same with bodies that take a while.
func (t *suite) raceLarge() { t.raceOf(4, min(t.Rounds, 5), 2<<20) }

func (t *suite) raceOf(racers, rounds int, size int64) {
	for round := range rounds {
		key := fmt.Sprintf("race/%04d", round)
		var wg sync.WaitGroup
		var winners atomic.Int32
		var winner atomic.Int32
		start := make(chan struct{})
		for i := range racers {
			body := bytesOf(uint64(i), size)
			s := t.s
			if i%2 == 1 {
				s = t.peer
			}
			wg.Go(func() {
				<-start
				if t.write(s, key, body, objstore.IfAbsent) {
					winners.Add(1)
					winner.Store(int32(i))
				}
			})
		}
		close(start)
		wg.Wait()
		if winners.Load() != 1 {
			t.Fatalf("round %d: %d of %d created the object", round, winners.Load(), racers)
		}
		t.mustBe(key, bytesOf(uint64(winner.Load()), size))
	}
}

// swap: a counter that ten count up with IfMatch loses nothing.
func (t *suite) swap() {
	const counters = 10
	each := max(t.Rounds/4, 2)
	t.mustPut("swap/k", []byte("0"), objstore.IfAbsent)
	var wg sync.WaitGroup
	for i := range counters {
		s := t.s
		if i%2 == 1 {
			s = t.peer
		}
		wg.Go(func() {
			for n := 0; n < each && !t.Failed(); {
				data, info, err := objstore.Read(t.Context(), s, "swap/k", objstore.Range{})
				if err != nil {
					continue // a store may break off a body that is being replaced
				}
				old, err := strconv.Atoi(string(data))
				if err != nil {
					t.Errorf("not a number: %q", data)
					return
				}
				if t.write(s, "swap/k", []byte(strconv.Itoa(old+1)), objstore.IfMatch(info.ETag)) {
					n++
				}
			}
		})
	}
	wg.Wait()
	t.mustBe("swap/k", []byte(strconv.Itoa(counters*each)))
}

// overwrite: who reads what is being replaced reads one of the two or an error.
func (t *suite) overwrite() {
	bodies := [][]byte{bytesOf(1, 300_000), bytesOf(2, 300_000), bytesOf(3, 200_000)}
	t.mustPut("o/k", bodies[0], objstore.Always)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var reads, broken atomic.Int64
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				got, _, err := objstore.Read(t.Context(), t.peer, "o/k", objstore.Range{})
				reads.Add(1)
				if err != nil {
					broken.Add(1)
				} else if !slices.ContainsFunc(bodies, func(b []byte) bool { return bytes.Equal(b, got) }) {
					t.Errorf("read %s, which nobody wrote", short(got))
					return
				}
			}
		})
	}
	for i := range t.Rounds * 2 {
		t.mustPut("o/k", bodies[i%len(bodies)], objstore.Always)
	}
	cancel()
	wg.Wait()
	t.Logf("%d reads, %d of them broke off", reads.Load(), broken.Load())
}
