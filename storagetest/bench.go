package storagetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/zaridb/zari/zodb"
)

const (
	benchObjects = 1000
	benchSize    = 1024 // bytes of payload of an ordinary object
)

// Bench measures loads, commits and iteration. Every figure is for objects of
// 1 KB, unless its name says otherwise.
func Bench(b *testing.B, h Harness) {
	h = h.withDefaults()
	b.Run("Load", func(b *testing.B) { benchLoad(b, h) })
	b.Run("LoadParallel", func(b *testing.B) { benchLoadParallel(b, h) })
	b.Run("LoadOld", func(b *testing.B) { benchLoadOld(b, h) })
	for _, size := range []int{100, benchSize, 100 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("Commit/1x%d", size), func(b *testing.B) { benchCommit(b, h, 1, size) })
	}
	for _, objects := range []int{10, 100} {
		b.Run(fmt.Sprintf("Commit/%dx%d", objects, benchSize), func(b *testing.B) { benchCommit(b, h, objects, benchSize) })
	}
	for _, clients := range []int{4, 16, 64} {
		b.Run(fmt.Sprintf("CommitParallel/%d", clients), func(b *testing.B) { benchCommitParallel(b, h, clients) })
	}
	b.Run("Iterate", func(b *testing.B) { benchIterate(b, h) })
	b.Run("Records", func(b *testing.B) { benchRecords(b, h) })
	b.Run("NewOIDs", func(b *testing.B) { benchNewOIDs(b, h) })
}

// filled returns a storage with benchObjects objects, each with two revisions.
func filled(b *testing.B, h Harness) zodb.Storage {
	b.Helper()
	s := h.New(b)
	b.Cleanup(func() { closeTwice(b, s) })
	var serial zodb.TID
	for rev := range 2 {
		var writes []write
		for i := range benchObjects {
			writes = append(writes, write{zodb.OID(i), serial, ObjectOf(i+rev, benchSize)})
		}
		serial = must(b, "commit")(commit(b.Context(), s, nil, writes...))
	}
	return s
}

func must(b *testing.B, what string) func(zodb.TID, error) zodb.TID {
	return func(tid zodb.TID, err error) zodb.TID {
		b.Helper()
		if err != nil {
			b.Fatalf("%s: %v", what, err)
		}
		return tid
	}
}

func benchLoad(b *testing.B, h Harness) {
	s := filled(b, h)
	rnd := rand.New(rand.NewPCG(h.Seed, 0))
	b.ReportAllocs()
	b.SetBytes(benchSize)
	for b.Loop() {
		if _, err := s.LoadBefore(b.Context(), zodb.OID(rnd.IntN(benchObjects)), zodb.MaxTID); err != nil {
			b.Fatal(err)
		}
	}
}

func benchLoadParallel(b *testing.B, h Harness) {
	s := filled(b, h)
	ctx := b.Context()
	var seed atomic.Uint64
	b.ReportAllocs()
	b.SetBytes(benchSize)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		rnd := rand.New(rand.NewPCG(h.Seed, seed.Add(1)))
		for pb.Next() {
			if _, err := s.LoadBefore(ctx, zodb.OID(rnd.IntN(benchObjects)), zodb.MaxTID); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func benchLoadOld(b *testing.B, h Harness) {
	s := filled(b, h)
	if !finds[zodb.Historian](s) {
		b.Skipf("the storage has no %s", CapHistorian)
	}
	last := s.LastTID()
	rnd := rand.New(rand.NewPCG(h.Seed, 0))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.LoadBefore(b.Context(), zodb.OID(rnd.IntN(benchObjects)), last); err != nil {
			b.Fatal(err)
		}
	}
}

// benchCommit measures one client that commits again and again.
func benchCommit(b *testing.B, h Harness, objects, size int) {
	s := h.New(b)
	b.Cleanup(func() { closeTwice(b, s) })
	writes := make([]write, objects)
	for i := range writes {
		writes[i] = write{zodb.OID(i + 1), 0, ObjectOf(i, size)}
	}
	b.ReportAllocs()
	b.SetBytes(int64(objects * size))
	for b.Loop() {
		tid := must(b, "commit")(commit(b.Context(), s, nil, writes...))
		for i := range writes {
			writes[i].serial = tid
		}
	}
}

// benchCommitParallel measures clients that each change one object of their own.
func benchCommitParallel(b *testing.B, h Harness, clients int) {
	s := h.New(b)
	b.Cleanup(func() { closeTwice(b, s) })
	data := ObjectOf(1, benchSize)
	var left atomic.Int64
	errs := make(chan error, clients)
	ctx := b.Context()
	b.ReportAllocs()
	left.Store(int64(b.N))
	b.ResetTimer()
	for i := range clients {
		go func() { errs <- commitMany(ctx, s, zodb.OID(i+1), data, &left) }()
	}
	for range clients {
		if err := <-errs; err != nil {
			b.Error(err)
		}
	}
}

func commitMany(ctx context.Context, s zodb.Storage, oid zodb.OID, data []byte, left *atomic.Int64) error {
	var serial zodb.TID
	for left.Add(-1) >= 0 {
		tid, err := commit(ctx, s, nil, write{oid, serial, data})
		if err != nil {
			return err
		}
		serial = tid
	}
	return nil
}

func benchIterate(b *testing.B, h Harness) {
	s := filled(b, h)
	it, ok := zodb.As[zodb.Iterator](s)
	if !ok {
		b.Skipf("the storage has no %s", CapIterator)
	}
	b.ReportAllocs()
	b.SetBytes(2 * benchObjects * benchSize)
	for b.Loop() {
		for _, err := range it.Transactions(b.Context(), 0, 0) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func benchRecords(b *testing.B, h Harness) {
	s := filled(b, h)
	it, ok := zodb.As[zodb.RecordIterator](s)
	if !ok {
		b.Skipf("the storage has no %s", CapRecordIterator)
	}
	b.ReportAllocs()
	b.SetBytes(benchObjects * benchSize)
	for b.Loop() {
		for _, err := range it.Current(b.Context(), 0, 0, maxOID) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func benchNewOIDs(b *testing.B, h Harness) {
	s := h.New(b)
	b.Cleanup(func() { closeTwice(b, s) })
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.NewOIDs(b.Context(), 100); err != nil {
			b.Fatal(err)
		}
	}
}
