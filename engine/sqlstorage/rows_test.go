package sqlstorage

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// bytesRow is a row whose columns are made of the bytes of a fuzzer: what another
// program may have put there.
type bytesRow []byte

func (r *bytesRow) take(n int) []byte {
	n = min(n, len(*r))
	b := (*r)[:n]
	*r = (*r)[n:]
	return b
}

func (r *bytesRow) Scan(dest ...any) error {
	for _, d := range dest {
		switch d := d.(type) {
		case *int64:
			var b [8]byte
			copy(b[:], r.take(8))
			*d = int64(binary.BigEndian.Uint64(b[:]))
		case *bool:
			b := r.take(1)
			*d = len(b) > 0 && b[0]&1 == 1
		case *[]byte:
			n := r.take(1)
			if len(n) == 0 || n[0] == 255 {
				*d = nil
				continue
			}
			*d = append([]byte{}, r.take(int(n[0]))...)
		default:
			return fmt.Errorf("a column of type %T", d)
		}
	}
	return nil
}

// nowhere is a Dialect with a name.
type nowhere struct{ Dialect }

func (nowhere) Name() string { return "nowhere" }

// What a row of a database says becomes something that can be, or an error.
func FuzzRows(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x01\x03abc\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\x00\x01a\x01b\x01c\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Add([]byte("\x10aaaaaaaaaaaaaaaa\x00\x00\x00\x00\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		row := bytesRow(b)
		if tid, r, err := scanRecord(nowhere{}, &row); err == nil {
			checkRecord(t, tid, r)
		}
		row = bytesRow(b)
		if txn, err := scanHead(nowhere{}, &row); err == nil && (txn.TID == 0 || txn.TID > zodb.MaxTID || txn.Size < 0 || txn.Status != ' ' && txn.Status != 'p') {
			t.Errorf("head %+v", txn)
		}
		row = bytesRow(b)
		if c, err := scanCurrent(nowhere{}, &row); err == nil && (c.Serial == 0 || c.Serial > zodb.MaxTID || c.OID > 1<<63) {
			t.Errorf("current %+v", c)
		}
		row = bytesRow(b)
		if m, err := scanMeta(nowhere{}, &row); err == nil && (m.TIDFloor > zodb.MaxTID) {
			t.Errorf("meta %+v", m)
		}
	})
}

func checkRecord(t *testing.T, tid zodb.TID, r txnlog.Record) {
	t.Helper()
	if tid == 0 || tid > zodb.MaxTID || r.OID >= 1<<63 || r.Prev >= tid || r.From >= tid {
		t.Errorf("record of %v: %+v", tid, r)
	}
	if (r.Data == nil) != (r.Kind == txnlog.Delete) {
		t.Errorf("a record without data: %+v", r)
	}
}
