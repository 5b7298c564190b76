package compress_test

import (
	"bytes"
	"compress/zlib"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/storagetest/bases"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/wrapper/compress"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/compressed"
	"github.com/zaridb/zari/zodb/pickle"
)

// stream is a record in the compressed form, made by the standard library.
func stream(t testing.TB, plain []byte) []byte {
	t.Helper()
	b := bytes.NewBufferString(".z")
	w := zlib.NewWriter(b)
	w.Write(plain)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// bomb is a small record that holds n bytes.
func bomb(t testing.TB, n int) []byte { return stream(t, make([]byte, n)) }

func TestBomb(t *testing.T) {
	const limit = 1 << 20
	ctx := t.Context()
	base := bases.Memory(bases.Options{})(t)(t, false)
	s := compress.New(base, compress.Options{MaxRecord: limit})
	defer s.Close()
	put(t, base, 1, bomb(t, limit))
	put(t, base, 2, bomb(t, 64*limit))
	if rec, err := s.LoadBefore(ctx, 1, zodb.MaxTID); err != nil || len(rec.Data) != limit {
		t.Errorf("a record at the limit: %d bytes, %v", len(rec.Data), err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := s.LoadBefore(ctx, 2, zodb.MaxTID)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, compressed.ErrTooLarge) {
		t.Errorf("a record beyond the limit: %v, want ErrTooLarge", err)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 8*limit {
		t.Errorf("refusing a record took %d bytes, for a limit of %d", grown, limit)
	}
	txn, err := s.Begin(ctx, zodb.TxnMeta{})
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	if err := txn.Store(ctx, 3, 0, bomb(t, 64*limit)); !errors.Is(err, compressed.ErrTooLarge) {
		t.Errorf("storing a record beyond the limit: %v, want ErrTooLarge", err)
	}
	if err := txn.Store(ctx, 3, 0, []byte(".z and no stream")); !errors.Is(err, zodb.ErrCorrupt) {
		t.Errorf("storing what cannot be read again: %v, want ErrCorrupt", err)
	}
}

// put commits one new object.
func put(t testing.TB, s zodb.Storage, oid zodb.OID, data []byte) zodb.TID {
	t.Helper()
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	if err := txn.Store(t.Context(), oid, 0, data); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Vote(t.Context()); err != nil {
		t.Fatal(err)
	}
	tid, err := txn.Finish(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return tid
}

func load(t testing.TB, s zodb.Storage, oid zodb.OID) []byte {
	t.Helper()
	rec, err := s.LoadBefore(t.Context(), oid, zodb.MaxTID)
	if err != nil {
		t.Fatalf("object %v: %v", oid, err)
	}
	return rec.Data
}

// TestWhatIsKept looks below the wrapper.
func TestWhatIsKept(t *testing.T) {
	long := bytes.Repeat([]byte("some state "), 50)
	noise := make([]byte, 500)
	for i := range noise {
		noise[i] = byte(rand.IntN(256))
	}
	already := stream(t, long)
	large := bytes.Repeat([]byte("x"), 5000)
	for name, c := range map[string]struct {
		opts       compress.Options
		data       []byte
		compressed bool
	}{
		"long":                        {data: long, compressed: true},
		"21 bytes":                    {data: long[:21], compressed: false}, // does not get shorter
		"a hundred bytes alike":       {data: bytes.Repeat([]byte("a"), 100), compressed: true},
		"20 bytes":                    {data: bytes.Repeat([]byte("a"), 20), compressed: false},
		"noise":                       {data: noise, compressed: false},
		"already compressed":          {data: already, compressed: true},
		"too large to be read again":  {data: large, opts: compress.Options{MaxRecord: 4999}, compressed: false},
		"not compressing":             {data: long, opts: compress.Options{Keep: true}, compressed: false},
		"not compressing, compressed": {data: already, opts: compress.Options{Keep: true}, compressed: true},
	} {
		base := bases.Memory(bases.Options{})(t)(t, false)
		s := compress.New(base, c.opts)
		put(t, s, 1, c.data)
		kept := load(t, base, 1)
		if bytes.HasPrefix(kept, []byte(".z")) != c.compressed {
			t.Errorf("%s: kept as %.20q, want compressed: %v", name, kept, c.compressed)
		}
		want, err := read(c.data)
		if err != nil {
			t.Fatal(err)
		}
		if got := load(t, s, 1); !bytes.Equal(got, want) {
			t.Errorf("%s: read as %.20q", name, got)
		}
		s.Close()
	}
}

// TestGarbageCollection packs a database whose references stand in compressed
// records, plain ones, and both in turn.
func TestGarbageCollection(t *testing.T) {
	looking := bases.Options{References: compress.References(pickle.References)}
	for name, medium := range map[string]bases.Medium{"memory": bases.Memory(looking), "file": bases.File(looking)} {
		base := medium(t)(t, false)
		s := compress.New(base, compress.Options{})
		for oid := range zodb.OID(20) { // a chain from the root; the even ones are compressed
			data := storagetest.Object(int(oid), oid+1, oid+1, oid+1, oid+1)
			if oid%2 == 1 {
				put(t, base, oid, data)
				continue
			}
			put(t, s, oid, data)
			if !bytes.HasPrefix(load(t, base, oid), []byte(".z")) {
				t.Fatalf("%s: object %v is not compressed: this tests nothing", name, oid)
			}
		}
		put(t, s, 20, storagetest.Object(20))
		last := put(t, s, 100, storagetest.Object(100, 101, 101, 101, 101)) // nothing refers to it
		p, ok := zodb.As[zodb.Packer](s)
		if !ok {
			t.Fatal("no Packer")
		}
		if err := p.Pack(t.Context(), (last + 1<<32).Time(), zodb.PackOptions{GC: true}); err != nil {
			t.Fatalf("%s: Pack: %v", name, err)
		}
		for oid := range zodb.OID(21) {
			load(t, s, oid)
		}
		if _, err := s.LoadBefore(t.Context(), 100, zodb.MaxTID); err == nil {
			t.Errorf("%s: the garbage is still there", name)
		}
		s.Close()
	}
}

// TestResolver merges records in every mixture of forms.
func TestResolver(t *testing.T) {
	r := compress.Resolver(counters{})
	z := func(n int) []byte { return stream(t, counter(n)) }
	for i, c := range []struct{ base, committed, wanted []byte }{
		{counter(1), counter(3), counter(6)}, {z(1), counter(3), counter(6)},
		{counter(1), z(3), z(6)}, {z(1), z(3), z(6)},
	} {
		merged, ok := r.Resolve(c.base, c.committed, c.wanted)
		plain, err := read(merged)
		if !ok || err != nil || !bytes.Equal(plain, counter(8)) {
			t.Errorf("%d: merged: %v, %.40q, %v", i, ok, plain, err)
		}
		if bytes.HasPrefix(merged, []byte(".z")) != bytes.HasPrefix(c.wanted, []byte(".z")) {
			t.Errorf("%d: the merged record does not have the form of what was to be written", i)
		}
	}
	if _, ok := r.Resolve(z(1), z(3)[:9], z(6)); ok {
		t.Error("merged with a broken record")
	}
}

func read(data []byte) ([]byte, error) { return compressed.Read(data, 1<<20) }

// txnCounters merges in one vote too, whatever the transaction.
type txnCounters struct{ counters }

func (c txnCounters) ForTxn(t store.Pending) store.TxnMerger {
	if t == nil {
		return nil
	}
	return txnCountersMerger(c)
}

type txnCountersMerger struct{ counters }

func (txnCountersMerger) Passes(oid zodb.OID) bool { return oid == 1 }

func (m txnCountersMerger) Merge(base, committed, wanted []byte) ([]byte, bool) {
	return m.Resolve(base, committed, wanted)
}

// TestTxnResolver: what merges in one vote is handed on, and reads and makes compressed
// records; where nothing does, nothing is handed on.
func TestTxnResolver(t *testing.T) {
	var some struct{ store.Pending }
	r := compress.Resolver(txnCounters{}).(store.TxnResolver)
	m := r.ForTxn(some)
	if m == nil || !m.Passes(1) || m.Passes(2) {
		t.Fatalf("not handed on: %v", m)
	}
	merged, ok := m.Merge(stream(t, counter(1)), counter(3), stream(t, counter(6)))
	plain, err := read(merged)
	if !ok || err != nil || !bytes.Equal(plain, counter(8)) || !bytes.HasPrefix(merged, []byte(".z")) {
		t.Errorf("merged: %v, %.40q, %v", ok, merged, err)
	}
	if r.ForTxn(nil) != nil || compress.Resolver(counters{}).(store.TxnResolver).ForTxn(some) != nil {
		t.Error("something merges")
	}
}
