package s3storage_test

import (
	"bytes"
	"testing"

	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/zodb"
)

// A Store recalls what LoadBefore would say, and nothing once it is closed.
func TestStoreRecalls(t *testing.T) {
	s := harness(inMemory, busy).New(t)
	r, ok := zodb.As[zodb.Recaller](s)
	if !ok {
		t.Fatal("it does not")
	}
	serial := zodb.TID(0)
	for i := range 20 {
		txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
		if err != nil {
			t.Fatal(err)
		}
		if err := txn.Store(t.Context(), 1, serial, storagetest.ObjectOf(i, 100)); err != nil {
			t.Fatal(err)
		}
		if _, err := txn.Vote(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, ok := r.Recall(1, zodb.MaxTID); ok && got.Serial != serial {
			t.Errorf("revision %v is recalled, and %v is the last one", got.Serial, serial)
		}
		if serial, err = txn.Finish(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		want, err := s.LoadBefore(t.Context(), 1, zodb.MaxTID)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := r.Recall(1, zodb.MaxTID)
		if ok && (!bytes.Equal(got.Data, want.Data) || got.Serial != want.Serial || got.Next != 0 || got.AsOf < serial) {
			t.Errorf("%+v is recalled, want %+v", got, want)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ok := r.Recall(1, zodb.MaxTID); ok {
		t.Error("it recalls something when it is closed")
	}
}
