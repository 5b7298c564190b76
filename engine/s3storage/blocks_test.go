package s3storage

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/engine/s3storage/objstore/fake"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// openCached opens a database as a server does, but for what it does by itself.
func openCached(t *testing.T, client objstore.Store, opts Options) *Engine {
	t.Helper()
	opts.Objects, opts.Poll, opts.CheckpointEvery = client, time.Hour, time.Hour
	e, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return e
}

// fill commits objects 1 to n of the given size, ten in a transaction.
func fill(t *testing.T, e *Engine, n, size int) {
	t.Helper()
	for oid := zodb.OID(1); oid <= zodb.OID(n); {
		last, _ := e.Head()
		txn := &txnlog.Txn{TID: last + 1, Status: ' '}
		for range 10 {
			txn.Records = append(txn.Records, txnlog.Record{OID: oid, Data: dataOf(oid, size)})
			oid++
		}
		if _, err := e.Append(context.Background(), []*txnlog.Txn{txn}, nil); err != nil {
			t.Fatalf("Append: %v", err)
		}
	}
}

func dataOf(oid zodb.OID, size int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%v ", oid), size/4+1)[:size]
}

// used loads objects, compares them, and returns the requests that took.
func used(t *testing.T, e *Engine, client *fake.Store, size int, oids ...zodb.OID) objstore.Counts {
	t.Helper()
	before := client.Counts()
	for _, oid := range oids {
		rec, err := e.LoadBefore(t.Context(), oid, zodb.MaxTID)
		if err != nil || !bytes.Equal(rec.Data, dataOf(oid, size)) {
			t.Fatalf("object %v: %d bytes, %v", oid, len(rec.Data), err)
		}
	}
	return client.Counts().Sub(before)
}

// timeless runs a test where requests take no time, so that none is made a second time because
// the first is slow.
func timeless(t *testing.T, run func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, run)
}

func all(n int) (oids []zodb.OID) {
	for i := range n {
		oids = append(oids, zodb.OID(i+1))
	}
	return oids
}

// A cold load of a random object is one ranged GET, and brings what lies around it.
func TestReadAhead(t *testing.T) { timeless(t, testReadAhead) }

func testReadAhead(t *testing.T) {
	const objects, size = 1000, 1000
	for _, compacted := range []bool{false, true} {
		bucket := fake.NewBucket(fake.Options{})
		a := openCached(t, bucket.Open("writer"), Options{})
		fill(t, a, objects, size)
		if compacted {
			if err := a.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		client := bucket.Open("reader")
		b := openCached(t, client, Options{ReadOnly: true})
		got := used(t, b, client, size, objects/2)
		if got.Requests() != 1 || got.Get != 1 || got.BytesOut > blockLen+blockOverlap {
			t.Errorf("compacted %v: a cold load costs %+v", compacted, got)
		}
		want := int64(objects / 10) // objects of the log, of ten records each
		if compacted {
			want = (objects*size*11/10 + blockLen - 1) / blockLen
		}
		if got := used(t, b, client, size, all(objects)...); got.Get > want || got.Requests() != got.Get {
			t.Errorf("compacted %v: loading everything costs %+v, want at most %d GETs", compacted, got, want)
		}
		if got := used(t, b, client, size, all(objects)...); got.Requests() != 0 {
			t.Errorf("compacted %v: loading everything again costs %+v", compacted, got)
		}
	}
}

// Records that begin in one block and end in the next are one GET too; so are those that
// are longer than a block.
func TestColdLoadOfLargeRecords(t *testing.T) { timeless(t, testColdLoadOfLargeRecords) }

func testColdLoadOfLargeRecords(t *testing.T) {
	for _, size := range []int{3000, 20_000, 200_000} {
		bucket := fake.NewBucket(fake.Options{})
		a := openCached(t, bucket.Open("writer"), Options{})
		fill(t, a, 50, size)
		if err := a.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := a.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, oid := range all(50) {
			client := bucket.Open("reader")
			b := openCached(t, client, Options{ReadOnly: true})
			got := used(t, b, client, size, oid)
			if got.Requests() != 1 || got.Get != 1 || got.BytesOut > int64(max(blockLen+blockOverlap, size*9/8+100)) {
				t.Errorf("a cold load of %d bytes costs %+v", size, got)
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Whoever writes has what it wrote in the cache, also when it has moved to a segment.
func TestWriterReadsNothingBack(t *testing.T) { timeless(t, testWriterReadsNothingBack) }

func testWriterReadsNothingBack(t *testing.T) {
	client := fake.New()
	a := openCached(t, client, Options{TailBytes: 1})
	fill(t, a, 200, 1000)
	if err := a.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := used(t, a, client, 1000, all(200)...); got.Requests() != 0 {
		t.Errorf("loading what was just written costs %+v", got)
	}
}

// The cache is on the disk for the next process, and for others; it can be deleted.
func TestCacheDirectory(t *testing.T) { timeless(t, testCacheDirectory) }

func testCacheDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	bucket := fake.NewBucket(fake.Options{})
	a := openCached(t, bucket.Open("writer"), Options{})
	fill(t, a, 200, 1000)
	if err := a.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	fill(t, a, 10, 1000) // some are in the log
	if err := a.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	reader := func() int64 {
		client := bucket.Open("reader")
		b := openCached(t, client, Options{ReadOnly: true, CacheDir: dir, CacheMemory: 1})
		n := used(t, b, client, 1000, all(200)...).Get
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		return n
	}
	first := reader()
	if first == 0 || first > 5 {
		t.Errorf("the first reader: %d GETs", first)
	}
	if n := reader(); n != 0 {
		t.Errorf("the second reader: %d GETs", n)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if n := reader(); n != first {
		t.Errorf("after the cache was deleted: %d GETs, want %d", n, first)
	}
}

// A bucket is restored to what it was, and other objects come to the same slots: what the
// cache has of the first ones is not taken for them.
func TestCacheOutlivesRestoredBucket(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	bucket := fake.NewBucket(fake.Options{})
	a := openCached(t, bucket.Open("writer"), Options{})
	fill(t, a, 10, 1000)
	saved := bucket.Objects()
	for round := range 3 {
		if round > 0 {
			bucket = fake.NewBucket(fake.Options{})
			client := bucket.Open("restore")
			for key, body := range saved {
				if _, err := client.Put(t.Context(), key, body, objstore.Always); err != nil {
					t.Fatal(err)
				}
			}
			a = openCached(t, bucket.Open("writer"), Options{})
		}
		tid, _ := a.Head()
		tid += zodb.TID(1 + round)
		txn := &txnlog.Txn{TID: tid, Status: ' ', Records: []txnlog.Record{{OID: 1, Data: fmt.Appendf(nil, "round %d", round)}}}
		if _, err := a.Append(t.Context(), []*txnlog.Txn{txn}, nil); err != nil {
			t.Fatal(err)
		}
		if err := a.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		b := openCached(t, bucket.Open("reader"), Options{ReadOnly: true, CacheDir: dir})
		rec, err := b.LoadBefore(t.Context(), 1, zodb.MaxTID)
		if err != nil || string(rec.Data) != fmt.Sprintf("round %d", round) || rec.Serial != tid {
			t.Errorf("round %d: %q of %v, %v", round, rec.Data, rec.Serial, err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Every record lies in the block that is read for it.
func TestBlockOf(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 4))
	for range 100_000 {
		p := segmentPlace(&layout.Segment{Size: 200_000 + rnd.Int64N(64<<20), TableLen: rnd.IntN(100_000)})
		off := p.body + rnd.Int64N(p.table-p.body)
		n := min(1+rnd.Int64N(1<<(1+rnd.IntN(20))), p.table-off)
		r := blockOf(p, off, n)
		if r.Off < p.body || r.Off > off || r.Off+r.Len < off+n || r.Off+r.Len > p.table || r.Len > max(n, blockLen+blockOverlap) {
			t.Fatalf("%d bytes at %d of %d to %d: %+v", n, off, p.body, p.table, r)
		}
		if n <= blockOverlap && (r.Off-p.body)%blockLen != 0 {
			t.Fatalf("%d bytes at %d are read by themselves", n, off)
		}
	}
}

// Recall answers as LoadBefore does when it takes no request, and makes none.
func TestRecall(t *testing.T) { timeless(t, testRecall) }

func testRecall(t *testing.T) {
	const size = 1000
	bucket := fake.NewBucket(fake.Options{})
	a := openCached(t, bucket.Open("writer"), Options{})
	fill(t, a, 200, size)
	if err := a.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, a, 1) // behind the checkpoint: it will be in memory
	for _, opts := range []Options{{}, {CacheDir: t.TempDir(), CacheMemory: 1}} {
		client := bucket.Open("reader")
		opts.ReadOnly = true
		b := openCached(t, client, opts)
		before := client.Counts()
		if _, ok := b.Recall(1, zodb.MaxTID); !ok {
			t.Error("what is in memory is not recalled")
		}
		for _, oid := range []zodb.OID{100, 1000} {
			if rec, ok := b.Recall(oid, zodb.MaxTID); ok {
				t.Errorf("object %v, which was never read, is recalled: %+v", oid, rec)
			}
		}
		if got := client.Counts().Sub(before); got.Requests() != 0 {
			t.Errorf("that took %+v", got)
		}
		used(t, b, client, size, all(200)[1:]...)
		b.blocks.Close() // what is on its way to the disk is there
		before = client.Counts()
		for _, oid := range all(200) {
			for _, tid := range []zodb.TID{3, 15, zodb.MaxTID} {
				want, err := b.LoadBefore(t.Context(), oid, tid)
				got, ok := b.Recall(oid, tid)
				if ok != (err == nil) || ok && (!bytes.Equal(got.Data, want.Data) || got.Serial != want.Serial || got.Next != want.Next) {
					t.Errorf("object %v before %v: %v, %v; want %v, %v", oid, tid, got.Serial, ok, want.Serial, err)
				}
			}
		}
		if got := client.Counts().Sub(before); got.Requests() != 0 {
			t.Errorf("that took %+v", got)
		}
	}
}
