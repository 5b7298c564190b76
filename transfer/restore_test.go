package transfer_test

import (
	"bytes"
	"errors"
	"iter"
	"strings"
	"testing"

	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/transfer"
	"github.com/zaridb/zari/transfer/zodbdump"
	"github.com/zaridb/zari/zodb"
)

// dump is a storage in the form of zodbtools.
func dump(t *testing.T, s *store.Store) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zodbdump.NewWriter(&out)
	for txn, err := range s.Transactions(t.Context(), 0, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(txn); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func read(dump []byte) iter.Seq2[*zodb.Transaction, error] {
	return zodbdump.NewReader(bytes.NewReader(dump)).All()
}

// What is restored from a dump is what was dumped, but for the blobs.
func TestRestore(t *testing.T) {
	for kind, open := range kinds {
		for _, batch := range []int64{1, 16 << 20} {
			w := newWorld(t, open(t), 30)
			w.grow(120)
			w.pack()
			w.grow(40)
			dst := open(t)
			r, err := transfer.Restore(t.Context(), dst, read(dump(t, w.s)), transfer.Options{BatchBytes: batch})
			if err != nil || r.Last != w.s.LastTID() {
				t.Fatalf("%s: Restore: %+v, %v", kind, r, err)
			}
			v, err := transfer.Verify(t.Context(), dst, w.s, transfer.VerifyOptions{WithoutBlobs: true})
			if err != nil || !v.Equal() || v.Transactions != r.Transactions {
				t.Errorf("%s: %+v, %v", kind, v, err)
			}
		}
	}
}

func TestRestoreRefuses(t *testing.T) {
	w := newWorld(t, memory(t), 31)
	w.grow(20)
	text := dump(t, w.s)
	if _, err := transfer.Restore(t.Context(), w.s, read(text), transfer.Options{}); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("Restore to where there is something: %v", err)
	}
	dst := memory(t)
	r, err := transfer.Restore(t.Context(), dst, read(text[:len(text)/2]), transfer.Options{BatchBytes: 1})
	if _, ok := errors.AsType[*zodbdump.SyntaxError](err); !ok || r.Last != dst.LastTID() || r.Transactions == 0 {
		t.Errorf("Restore of half a dump: %+v, %v", r, err)
	}
	missing := []*zodb.Transaction{{TID: 1000, Status: ' ', Records: []zodb.TxnRecord{{OID: 1, From: 500}}}}
	if _, err := transfer.Restore(t.Context(), memory(t), func(yield func(*zodb.Transaction, error) bool) { yield(missing[0], nil) }, transfer.Options{}); err == nil {
		t.Error("an undo goes back to what is not there")
	}
	if _, err := transfer.Restore(t.Context(), plain{memory(t)}, read(text), transfer.Options{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Restore to where nothing can be restored: %v", err)
	}
}
