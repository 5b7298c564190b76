package s3storage

import (
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zaridb/zari/engine/s3storage/index"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore/delay"
	"github.com/zaridb/zari/engine/s3storage/objstore/fake"
	"github.com/zaridb/zari/zodb"
)

// indexOf makes a database of so many objects in a bucket, so many of them written in each
// transaction, of which there is only the index.
func indexOf(t testing.TB, bucket *fake.Bucket, objects, perTxn int) *Engine {
	t.Helper()
	e, err := Open(t.Context(), Options{Objects: bucket.Open("writer"), Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	const perPlace = 66_667
	rnd := rand.New(rand.NewPCG(1, 1))
	tid := zodb.TIDAt(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	var p *place
	off := uint32(0)
	for i := range objects {
		if i%perPlace == 0 { // a segment of 64 MiB
			p = e.st.add(segmentPlace(&layout.Segment{ID: layout.NewID(), First: tid + 1, Last: tid + 1, Size: 64 << 20}))
			off = layout.SegmentBody
		}
		if i%perTxn == 0 {
			tid += zodb.TID(1_000_000 + rnd.IntN(1<<30))
			off += 60
		}
		p.last = tid
		n := 200 + rnd.IntN(1500)
		e.st.index.Append(index.Entry{OID: zodb.OID(i), TID: tid, Loc: index.At(p.number, off, index.SizeOf(n))})
		off += uint32(n)
	}
	e.st.last = tid
	mustWrite(t, e)
	if err := e.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e
}

// mustWrite adds an object to the log.
func mustWrite(t testing.TB, e *Engine) {
	t.Helper()
	if _, err := commit(e, 1); err != nil {
		t.Fatal(err)
	}
}

// slow is a bucket whose GETs take 5 ms, and nothing else.
func slow(bucket *fake.Bucket, bytesPerSecond float64) *delay.Store {
	return delay.New(bucket.Open("reader"), delay.Options{
		Get: delay.Lognormal{Median: 5 * time.Millisecond}, BytesPerSecond: bytesPerSecond,
	})
}

// A start takes few requests one after the other, however large the index, and however much
// log there is behind the checkpoint.
func TestStartInRoundTrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket := fake.NewBucket(fake.Options{})
		a := indexOf(t, bucket, 1_200_000, 1) // more than one part of a run
		for _, n := range []int{100, 10} {    // two runs more
			for range n {
				mustWrite(t, a)
			}
			if err := a.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for range 100 {
			mustWrite(t, a)
		}
		if largest := a.st.runs[0].Size; len(a.st.runs) != 3 || largest <= partLen {
			t.Fatalf("%d runs, the largest of %d bytes: the test tests nothing", len(a.st.runs), largest)
		}
		began := time.Now()
		b, err := Open(t.Context(), Options{Objects: slow(bucket, 0), ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		// whether it is a branch; format, floor, hint, checkpoint; the runs; 1, 2, 4 ... 32, 32, 32 slots; the floor
		if trips, want := time.Since(began)/(5*time.Millisecond), time.Duration(1+4+1+8+1); trips != want {
			t.Errorf("a start takes %d requests one after the other, want %d", trips, want)
		}
		if b.Slot() != a.Slot() || b.st.index.Len() != a.st.index.Len() {
			t.Errorf("slot %d with %d revisions, want %d with %d", b.Slot(), b.st.index.Len(), a.Slot(), a.st.index.Len())
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkStart reads a database of a hundred thousand objects, ten million with
// ZARI_S3_SCALE=1, from a bucket whose GETs take 5 ms and bring 80 MB in a second.
func BenchmarkStart(b *testing.B) {
	objects := 100_000
	if os.Getenv("ZARI_S3_SCALE") != "" {
		objects = 10_000_000
	}
	bucket := fake.NewBucket(fake.Options{})
	indexOf(b, bucket, objects, 10)
	for b.Loop() {
		e, err := Open(b.Context(), Options{Objects: slow(bucket, 80e6), ReadOnly: true})
		if err != nil {
			b.Fatal(err)
		}
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// TestTenMillion measures an index of ten million objects, in memory and in the bucket.
// ZARI_S3_SCALE=1 runs it.
func TestTenMillion(t *testing.T) {
	if os.Getenv("ZARI_S3_SCALE") == "" {
		t.Skip("set ZARI_S3_SCALE=1")
	}
	const objects = 10_000_000
	bucket := fake.NewBucket(fake.Options{})
	size := indexOf(t, bucket, objects, 10).st.runs[0].Size
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := Open(t.Context(), Options{Objects: bucket.Open("reader"), ReadOnly: true, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	memory := r.st.index.Memory()
	t.Logf("%d objects: index %.1f MB by count, %.1f MB of heap, %.1f MB in the bucket",
		r.st.index.Len(), float64(memory)/1e6, float64(int64(after.HeapAlloc-before.HeapAlloc))/1e6, float64(size)/1e6)
	if r.st.index.Objects() != objects || memory > 260e6 || size > 90e6 {
		t.Errorf("%d objects, %d bytes in memory, %d in the bucket; want at most 260 MB and 90 MB", r.st.index.Objects(), memory, size)
	}
}
