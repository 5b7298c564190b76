package s3storage

import (
	"errors"
	"strings"
	"testing"

	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore/fake"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// largeBatch returns transactions of about 1000 bytes.
func largeBatch(e *Engine, n int) (batch []*txnlog.Txn) {
	last, _ := e.Head()
	for i := range n {
		oid := zodb.OID(i + 1)
		batch = append(batch, &txnlog.Txn{
			TID: last + zodb.TID(i+1), Status: ' ', Records: []txnlog.Record{{OID: oid, Data: dataOf(oid, 1000)}},
		})
	}
	return batch
}

func lower(o *Options) { o.MaxTransaction = 3500 }

// Transactions that are too many bytes for one object of the log are in several.
func TestLargeBatch(t *testing.T) {
	w := newWorld()
	client := w.bucket.Open("writer")
	a := w.open(t, client, lower)
	before := client.Counts()
	meta := store.Meta{NextOID: 99}
	if n, err := a.Append(t.Context(), largeBatch(a, 10), &meta); n != 10 || err != nil {
		t.Fatalf("Append = %d, %v", n, err)
	}
	if got := client.Counts().Sub(before); got.Put != 4 {
		t.Errorf("10 transactions, three of which fit into an object: %+v", got)
	}
	b := w.open(t, w.bucket.Open("reader"), func(o *Options) { o.ReadOnly = true })
	if got, err := b.Meta(t.Context()); err != nil || got != meta {
		t.Errorf("meta %+v, %v", got, err)
	}
	for _, oid := range all(10) {
		if rec, err := b.LoadBefore(t.Context(), oid, zodb.MaxTID); err != nil || string(rec.Data) != string(dataOf(oid, 1000)) {
			t.Errorf("object %v: %d bytes, %v", oid, len(rec.Data), err)
		}
	}
}

// The first objects of a large batch are there, the next one is in doubt, and the others are
// never written.
func TestLargeBatchInDoubt(t *testing.T) {
	for _, landed := range []bool{false, true} {
		w := newWorld()
		client := w.bucket.Open("writer")
		a := w.open(t, client, lower)
		second := layout.LogKey(a.Slot() + 2)
		client.SetRule(func(op fake.Op) fake.Fault {
			switch {
			case op.Key != second:
				return fake.Fault{}
			case op.Kind == fake.Put && landed:
				return fake.Fault{Lost: true}
			}
			return fake.Fault{Err: fake.ErrSlow}
		})
		batch := largeBatch(a, 10)
		if n, err := a.Append(t.Context(), batch, nil); n != 3 || !errors.Is(err, zodb.ErrCommitUnknown) {
			t.Fatalf("Append = %d, %v; want 3, and that the others are not known", n, err)
		}
		client.SetRule(nil)
		if head, err := a.Settle(t.Context()); err != nil || head != batch[5].TID {
			t.Errorf("Settle = %v, %v; want %v", head, err, batch[5].TID)
		}
	}
}

// A batch whose next object has become somebody else's is there up to that.
func TestLargeBatchLost(t *testing.T) {
	w := newWorld()
	client := w.bucket.Open("writer")
	a := w.open(t, client, lower)
	second := layout.LogKey(a.Slot() + 2)
	client.SetRule(func(op fake.Op) fake.Fault {
		if op.Kind == fake.Put && op.Key == second {
			client.SetRule(nil)
			w.open(t, w.bucket.Open("next"), nil)
		}
		return fake.Fault{}
	})
	batch := largeBatch(a, 10)
	n, err := a.Append(t.Context(), batch, nil)
	if n != 3 || !errors.Is(err, zodb.ErrNotPrimary) || errors.Is(err, zodb.ErrCommitUnknown) {
		t.Errorf("Append = %d, %v; want 3, and that the others are surely not there", n, err)
	}
	b := w.open(t, w.bucket.Open("reader"), func(o *Options) { o.ReadOnly = true })
	if head, _ := b.Head(); head != batch[2].TID {
		t.Errorf("the last transaction is %v, want %v", head, batch[2].TID)
	}
}

// A transaction that no object of the log could hold is refused at its vote, and told what to do.
func TestTransactionTooLarge(t *testing.T) {
	w := newWorld()
	a := w.open(t, w.bucket.Open("writer"), func(o *Options) { o.MaxTransaction = 900 })
	err := a.Check(largeBatch(a, 1)[0])
	if err == nil || !strings.Contains(err.Error(), "at most 900: commit in smaller steps") {
		t.Errorf("Check: %v", err)
	}
	a.opts.MaxTransaction = 1100
	if err := a.Check(largeBatch(a, 1)[0]); err != nil {
		t.Errorf("Check of one that is not too large: %v", err)
	}
	if a.opts.MaxTransaction = 1 << 40; a.maxObject() != formatMax {
		t.Errorf("the bound is %d, and offsets have 32 bits", a.maxObject())
	}
}
