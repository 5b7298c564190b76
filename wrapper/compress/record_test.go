package compress_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/storagetest/bases"
	"github.com/zaridb/zari/wrapper/compress"
	"github.com/zaridb/zari/zodb"
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

func TestUntransform(t *testing.T) {
	plain := bytes.Repeat([]byte("some state "), 50)
	z := stream(t, plain)
	for _, c := range []struct {
		name       string
		data, want []byte
	}{
		{"nothing", nil, nil},
		{"plain", plain, plain},
		{"almost a mark", []byte("."), []byte(".")},
		{"compressed", z, plain},
		{"with something behind", append(bytes.Clone(z), "rest"...), plain},
		{"compressed twice", stream(t, z), z},
		{"empty", stream(t, nil), []byte{}},
	} {
		got, err := compress.Untransform(c.data)
		if err != nil || !bytes.Equal(got, c.want) || (got == nil) != (c.want == nil) {
			t.Errorf("%s: %.40q, %v; want %.40q", c.name, got, err, c.want)
		}
	}
}

func TestUntransformBroken(t *testing.T) {
	z := stream(t, bytes.Repeat([]byte("some state "), 50))
	wrongSum := bytes.Clone(z)
	wrongSum[len(wrongSum)-1]++
	dictionary := append([]byte(".z\x78\xbb"), z[4:]...)
	for name, data := range map[string][]byte{
		"nothing behind the mark": []byte(".z"), "no zlib header": []byte(".zzzzzz"),
		"cut in the data": z[:len(z)/2], "cut in the checksum": z[:len(z)-1], "wrong checksum": wrongSum,
		"needs a dictionary": dictionary,
	} {
		if got, err := compress.Untransform(data); !errors.Is(err, zodb.ErrCorrupt) {
			t.Errorf("%s: %d bytes, error %v; want one that matches ErrCorrupt", name, len(got), err)
		}
	}
	if _, err := compress.Untransform(z); err != nil {
		t.Errorf("a good record after broken ones: %v", err)
	}
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
	if !errors.Is(err, compress.ErrTooLarge) {
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
	if err := txn.Store(ctx, 3, 0, bomb(t, 64*limit)); !errors.Is(err, compress.ErrTooLarge) {
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
		want, err := compress.Untransform(c.data)
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
		plain, err := compress.Untransform(merged)
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

// FuzzUntransform compares with the standard library, and bounds what comes out.
func FuzzUntransform(f *testing.F) {
	f.Add([]byte("plain"))
	f.Add([]byte(".z"))
	f.Add(stream(f, bytes.Repeat([]byte("some state "), 50)))
	const limit = 1 << 16
	f.Add(bomb(f, 2*limit))
	base := bases.Memory(bases.Options{})(f)(f, false)
	defer base.Close()
	f.Fuzz(func(t *testing.T, data []byte) {
		want, wantErr := reference(data, limit)
		s := compress.New(constant{base, data}, compress.Options{MaxRecord: limit})
		rec, err := s.LoadBefore(context.Background(), 1, zodb.MaxTID)
		if (err == nil) != (wantErr == nil) || !bytes.Equal(rec.Data, want) {
			t.Errorf("%d bytes, %v; the standard library: %d bytes, %v", len(rec.Data), err, len(want), wantErr)
		}
	})
}

// constant answers every load with the same data.
type constant struct {
	zodb.Storage
	data []byte
}

func (c constant) LoadBefore(context.Context, zodb.OID, zodb.TID) (zodb.Record, error) {
	return zodb.Record{Data: c.data, Serial: 1}, nil
}

func reference(data []byte, limit int) ([]byte, error) {
	if !bytes.HasPrefix(data, []byte(".z")) {
		return data, nil
	}
	r, err := zlib.NewReader(bytes.NewReader(data[2:]))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(r); err != nil {
		return nil, err
	}
	if b.Len() > limit {
		return nil, fmt.Errorf("%d bytes", b.Len())
	}
	return b.Bytes(), nil
}

// python runs a program text with its input, or skips the test without a Python
// that has ZODB.
func python(t testing.TB, program string, args ...string) string {
	t.Helper()
	path := os.Getenv("ZARI_PYTHON")
	if path == "" {
		path = filepath.Join("..", "..", ".venv", "bin", "python")
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no Python: %v (make venv, or set ZARI_PYTHON)", err)
		}
		t.Skipf("no Python: %v (make venv, or set ZARI_PYTHON)", err)
	}
	out, err := exec.Command(path, append([]string{"-c", program}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("python: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}
