package compressed_test

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"testing"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/compressed"
)

func read(data []byte) ([]byte, error) { return compressed.Read(data, 1<<20) }

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

func TestRead(t *testing.T) {
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
		got, err := read(c.data)
		if err != nil || !bytes.Equal(got, c.want) || (got == nil) != (c.want == nil) {
			t.Errorf("%s: %.40q, %v; want %.40q", c.name, got, err, c.want)
		}
	}
}

func TestReadBroken(t *testing.T) {
	z := stream(t, bytes.Repeat([]byte("some state "), 50))
	wrongSum := bytes.Clone(z)
	wrongSum[len(wrongSum)-1]++
	dictionary := append([]byte(".z\x78\xbb"), z[4:]...)
	for name, data := range map[string][]byte{
		"nothing behind the mark": []byte(".z"), "no zlib header": []byte(".zzzzzz"),
		"cut in the data": z[:len(z)/2], "cut in the checksum": z[:len(z)-1], "wrong checksum": wrongSum,
		"needs a dictionary": dictionary,
	} {
		if got, err := read(data); !errors.Is(err, zodb.ErrCorrupt) {
			t.Errorf("%s: %d bytes, error %v; want one that matches ErrCorrupt", name, len(got), err)
		}
	}
	if _, err := read(z); err != nil {
		t.Errorf("a good record after broken ones: %v", err)
	}
}

// FuzzRead compares with the standard library, and bounds what comes out.
func FuzzRead(f *testing.F) {
	f.Add([]byte("plain"))
	f.Add([]byte(".z"))
	f.Add(stream(f, bytes.Repeat([]byte("some state "), 50)))
	const limit = 1 << 16
	f.Add(stream(f, make([]byte, 2*limit)))
	f.Fuzz(func(t *testing.T, data []byte) {
		want, wantErr := reference(data, limit)
		got, err := compressed.Read(data, limit)
		if (err == nil) != (wantErr == nil) || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v; the standard library: %d bytes, %v", len(got), err, len(want), wantErr)
		}
	})
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
