package datafs

import (
	"bytes"
	"errors"
	"testing"

	"github.com/zaridb/zari/zodb"
)

// Whatever is in a file, the scanner ends, stays within it, and says that it is
// corrupt or has read it to the end.
func FuzzScanner(f *testing.F) {
	f.Add(read(f, "small.fs"))
	f.Add(read(f, "unfinished.fs"))
	f.Add([]byte(Magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		sc := NewScanner(NewWindow(bytes.NewReader(data), 512), "fuzz", MagicSize, int64(len(data)), 0)
		end := int64(MagicSize)
		for sc.Txn() {
			if sc.TxnPos != end {
				t.Fatalf("transaction at %d, and the last one ended at %d", sc.TxnPos, end)
			}
			end = sc.TxnPos + sc.Head.Size()
			pos := sc.TxnPos + sc.Head.HeaderLen()
			for sc.Record() {
				if sc.Pos != pos || pos+sc.Rec.Len() > end-TrailerSize {
					t.Fatalf("record at %d of %d bytes, in a transaction up to %d", sc.Pos, sc.Rec.Len(), end)
				}
				pos += sc.Rec.Len()
			}
		}
		switch {
		case sc.Err() == nil && len(data) >= MagicSize && sc.Next() != int64(len(data)):
			t.Fatalf("stopped at %d of %d without an error", sc.Next(), len(data))
		case sc.Err() != nil && !errors.Is(sc.Err(), zodb.ErrCorrupt):
			t.Fatal(sc.Err())
		}
	})
}

// What can be read as an index can be written again and means the same.
func FuzzReadIndex(f *testing.F) {
	f.Add(read(f, "small.fs.index"))
	f.Add(read(f, "wide.index"))
	f.Add([]byte("J\x00\x10\x00\x00.(U\x06\x00\x00\x00\x00\x00\x00q\x00U\x08\x00\x07\x00\x00\x00\x00\x01\x00q\x01t.N."))
	f.Add([]byte("I12\n.N."))
	f.Fuzz(func(t *testing.T, data []byte) {
		var buckets []Bucket
		pos, err := ReadIndex(bytes.NewReader(data), func(b *Bucket) {
			buckets = append(buckets, Bucket{b.Prefix, bytes.Clone(b.Suffixes), bytes.Clone(b.Positions)})
		})
		if err != nil {
			return
		}
		var out bytes.Buffer
		w := NewIndexWriter(&out, pos)
		for i := range buckets {
			w.Bucket(&buckets[i])
		}
		w.Close()
		again, err := ReadIndex(&out, func(b *Bucket) {
			if want := buckets[0]; b.Prefix != want.Prefix || !bytes.Equal(b.Suffixes, want.Suffixes) || !bytes.Equal(b.Positions, want.Positions) {
				t.Fatalf("bucket %x differs", b.Prefix)
			}
			buckets = buckets[1:]
		})
		if err != nil || again != pos || len(buckets) != 0 {
			t.Fatalf("read again: covers %d and not %d, %d buckets missing: %v", again, pos, len(buckets), err)
		}
	})
}
