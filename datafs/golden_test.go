package datafs

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/zodb"
)

// golden is a transaction as testdata/gen.py had Python print it.
type golden struct {
	TID         string         `json:"tid"`
	Status      string         `json:"status"`
	User        string         `json:"user"`
	Description string         `json:"description"`
	Extension   string         `json:"extension"`
	Pos         int64          `json:"pos"`
	End         int64          `json:"end"`
	Records     []goldenRecord `json:"records"`
}

type goldenRecord struct {
	OID string `json:"oid"`
	Pos int64  `json:"pos"`
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func scanner(data []byte, size int) *Scanner {
	return NewScanner(NewWindow(bytes.NewReader(data), size), "small.fs", MagicSize, int64(len(data)), 0)
}

func hexed(b [8]byte) string { return hex.EncodeToString(b[:]) }

func TestScannerReadsWhatPythonWrote(t *testing.T) {
	data := read(t, "small.fs")
	var want []golden
	if err := json.Unmarshal(read(t, "small.json"), &want); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 30, 60, 4096} {
		var got []golden
		sc := scanner(data, size)
		for sc.Txn() {
			h := sc.Head
			text := data[sc.TxnPos+TxnHeaderSize:]
			g := golden{
				TID: hexed(h.TID.Bytes()), Status: string(h.Status), Pos: sc.TxnPos, End: sc.TxnPos + h.Len,
				User: string(text[:h.User]), Description: string(text[h.User:][:h.Description]),
				Extension: hex.EncodeToString(text[h.User+h.Description:][:h.Extension]),
			}
			for sc.Record() {
				g.Records = append(g.Records, goldenRecord{hexed(sc.Rec.OID.Bytes()), sc.Pos})
			}
			got = append(got, g)
		}
		if sc.Err() != nil || sc.Next() != int64(len(data)) {
			t.Errorf("window of %d: ended at %d of %d: %v", size, sc.Next(), len(data), sc.Err())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("window of %d (-want +got):\n%s", size, diff)
		}
	}
}

// What is read is written again to the same bytes.
func TestHeadersKeepTheirBytes(t *testing.T) {
	data := read(t, "small.fs")
	if !KnownMagic(data) || string(data[:MagicSize]) != Magic {
		t.Errorf("the file begins with %q", data[:MagicSize])
	}
	sc := scanner(data, 4096)
	pointers := 0
	for sc.Txn() {
		if got, want := sc.Head.Append(nil), data[sc.TxnPos:][:TxnHeaderSize]; !bytes.Equal(got, want) {
			t.Errorf("transaction at %d: %x, want %x", sc.TxnPos, got, want)
		}
		for sc.Record() {
			n := DataHeaderSize
			if sc.Rec.DataLen == 0 {
				n += BackSize
			}
			if sc.Rec.Back != 0 {
				pointers++
			}
			if got, want := sc.Rec.Append(nil), data[sc.Pos:][:n]; !bytes.Equal(got, want) {
				t.Errorf("record at %d: %x, want %x", sc.Pos, got, want)
			}
		}
	}
	if pointers != 1 {
		t.Errorf("%d records with a back pointer, want the undo's", pointers)
	}
}

func TestScannerStopsAtUnfinished(t *testing.T) {
	whole, data := read(t, "small.fs"), read(t, "unfinished.fs")
	sc := scanner(data, 4096)
	for sc.Txn() {
		for sc.Record() {
		}
	}
	if sc.Next() != int64(len(whole)) {
		t.Errorf("stopped at %d, want %d", sc.Next(), len(whole))
	}
	wantCorrupt(t, sc.Err(), int64(len(whole)), errUnfinished)
}

func TestIndexAsPythonWritesIt(t *testing.T) {
	for name, covers := range map[string]int64{"small.fs.index": int64(len(read(t, "small.fs"))), "wide.index": 1 << 45} {
		data := read(t, name)
		var out bytes.Buffer
		w := NewIndexWriter(&out, covers)
		got := make(map[zodb.OID]int64)
		pos, err := ReadIndex(bytes.NewReader(data), func(b *Bucket) {
			for i := range b.Len() {
				suffix, pos := b.At(i)
				got[zodb.OID(b.Prefix<<16|uint64(suffix))] = pos
			}
			if err := w.Bucket(b); err != nil {
				t.Error(err)
			}
		})
		if err != nil || pos != covers {
			t.Errorf("%s: covers %d, %v; want %d", name, pos, err, covers)
		}
		if err := w.Close(); err != nil || !bytes.Equal(out.Bytes(), data) {
			t.Errorf("%s: written again it is not the same: %v", name, err)
		}
		if name == "wide.index" {
			wantWide(t, got)
		}
	}
}

// wantWide checks the entries that gen.py makes.
func wantWide(t *testing.T, got map[zodb.OID]int64) {
	t.Helper()
	want := make(map[zodb.OID]int64)
	add := func(oid zodb.OID) { want[oid] = int64(oid%1000003) + 27 }
	for oid := range zodb.OID(40) {
		add(oid)
	}
	for oid := range zodb.OID(300) {
		add(65536 + oid)
	}
	add(1 << 40)
	add(1<<63 + 5)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("wide.index (-want +got):\n%s", diff)
	}
}

// Python 2 wrote pickles of protocol 1, with memos and str instead of bytes.
func TestIndexOfPython2(t *testing.T) {
	data := "J\x00\x10\x00\x00.(U\x06\x00\x00\x00\x00\x00\x00q\x00U\x08\x00\x07\x00\x00\x00\x00\x01\x00q\x01t.N."
	var got []int64
	pos, err := ReadIndex(bytes.NewReader([]byte(data)), func(b *Bucket) {
		suffix, at := b.At(0)
		got = append(got, int64(b.Len()), int64(suffix), at)
	})
	if err != nil || pos != 4096 {
		t.Errorf("covers %d, %v", pos, err)
	}
	if diff := cmp.Diff([]int64{1, 7, 256}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestIndexPositions(t *testing.T) {
	for _, pos := range []int64{0, 255, 256, 65535, 65536, 1<<31 - 1, 1 << 31, 1 << 39, MaxPos} {
		var out bytes.Buffer
		if err := NewIndexWriter(&out, pos).Close(); err != nil {
			t.Fatal(err)
		}
		got, err := ReadIndex(&out, func(*Bucket) {})
		if got != pos || err != nil {
			t.Errorf("%d is read as %d, %v", pos, got, err)
		}
	}
}
