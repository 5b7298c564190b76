package txnlog

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/zodb"
)

func sample() *Txn {
	return &Txn{
		TID: 0x0102030405060708, Status: 'p', User: []byte("user"), Description: []byte("why"),
		Extension: []byte("}."), Token: zodb.Token{1, 2, 3},
		Records: []Record{
			{OID: 1, Data: []byte("state")},
			{OID: 2, Prev: 7, Kind: Delete},
			{OID: 3, Prev: 8, Data: []byte("old"), From: 5},
			{OID: 4, Data: []byte{}, Blob: "kept"},
		},
	}
}

func encode(t testing.TB, txn *Txn) []byte {
	t.Helper()
	b, err := txn.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	want := sample()
	b := encode(t, want)
	b = append(b, encode(t, &Txn{TID: 9, Status: ' '})...)
	got, rest, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if second, rest, err := Decode(rest); err != nil || second.TID != 9 || len(rest) != 0 {
		t.Errorf("second: %v, %v, %v", second, rest, err)
	}
}

type inFile []byte

func (f inFile) Len() int              { return len(f) }
func (f inFile) Read() ([]byte, error) { return f, nil }

func TestSpooledDataAreEncodedAlike(t *testing.T) {
	plain, spooled := sample(), sample()
	spooled.Records[0].Spooled, spooled.Records[0].Data = inFile("state"), nil
	if !bytes.Equal(encode(t, plain), encode(t, spooled)) {
		t.Error("the encodings differ")
	}
}

// TestFormat pins the bytes: other programs and old files hold them.
func TestFormat(t *testing.T) {
	got := encode(t, &Txn{TID: 1, Status: ' ', Records: []Record{{OID: 2, Prev: 3, Data: []byte("x")}}})
	want := []byte("\x00\x00\x00\x35\x01 \x00\x00\x00\x00\x00\x00\x00\x01" + string(make([]byte, 16)) +
		"\x00\x00\x00\x01" + "\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x03\x00\x01x")
	if !bytes.Equal(got[:len(got)-checksumLen], want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestEveryDamageIsFound(t *testing.T) {
	b := encode(t, sample())
	for n := range b {
		if _, _, err := Decode(b[:n]); !errors.Is(err, ErrShort) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	for i := range b {
		damaged := bytes.Clone(b)
		damaged[i] ^= 0x10
		if _, _, err := Decode(damaged); err == nil {
			t.Fatalf("byte %d is changed, and nobody notices", i)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(f, sample()))
	f.Add([]byte{0, 0, 0, 4, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		txn, rest, err := Decode(b)
		if err != nil {
			return
		}
		again := encode(t, txn)
		// lengths may be written longer than need be; what is read is the same
		back, _, err := Decode(again)
		if err != nil || !cmp.Equal(txn, back) {
			t.Errorf("%v is written as %v, %v", txn, back, err)
		}
		if len(rest) > len(b) {
			t.Error("more is left than there was")
		}
	})
}

// Whoever knows a transaction knows where in its encoding each record lies.
func TestRecordsAreFound(t *testing.T) {
	txn := sample()
	txn.Records = append(txn.Records, Record{OID: 9, Data: bytes.Repeat([]byte("x"), 300)}, Record{OID: 10, Data: make([]byte, 1<<14)})
	b := encode(t, txn)
	off := txn.HeadLen()
	for i := range txn.Records {
		want := txn.Records[i]
		got, err := DecodeRecord(b[off:])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("record %d: -want +got:\n%s", i, diff)
		}
		if _, err := DecodeRecord(b[off : off+want.EncodedLen()-1]); err == nil {
			t.Errorf("record %d: a cut one is taken", i)
		}
		off += want.EncodedLen()
	}
	if off+ChecksumLen != len(b) {
		t.Errorf("the records end at %d of %d", off, len(b))
	}
}
