package s3storage

import (
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/s3storage/index"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore/fake"
	"github.com/zaridb/zari/zodb"
)

// TestTenMillion measures an index of ten million objects: in memory, in the bucket, and how long
// a start takes. ZARI_S3_SCALE=1 runs it.
func TestTenMillion(t *testing.T) {
	if os.Getenv("ZARI_S3_SCALE") == "" {
		t.Skip("set ZARI_S3_SCALE=1")
	}
	const objects, perTxn = 10_000_000, 10
	bucket := fake.NewBucket(fake.Options{})
	e, err := Open(t.Context(), Options{Objects: bucket.Open("writer"), Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	tid, perPlace := zodb.TIDAt(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)), objects/150
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
		e.st.index.Put(zodb.OID(i), tid, index.At(p.number, off, index.SizeOf(n)))
		off += uint32(n)
	}
	e.st.last, e.st.slot = tid, e.st.slot+1
	if err := e.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	size := e.st.runs[0].Size
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	r, err := Open(t.Context(), Options{Objects: bucket.Open("reader"), ReadOnly: true, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	runtime.GC()
	runtime.ReadMemStats(&after)
	memory := r.st.index.Memory()
	t.Logf("%d objects: index %.1f MB by count, %.1f MB of heap, %.1f MB in the bucket, start %v",
		r.st.index.Len(), float64(memory)/1e6, float64(after.HeapAlloc-before.HeapAlloc)/1e6, float64(size)/1e6, took.Round(time.Millisecond))
	if r.st.index.Len() != objects || memory > 260e6 || size > 90e6 {
		t.Errorf("%d objects, %d bytes in memory, %d in the bucket; want at most 260 MB and 90 MB", r.st.index.Len(), memory, size)
	}
}
