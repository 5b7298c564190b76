package client_test

import (
	"slices"
	"testing"
	"time"

	"github.com/zaridb/zari/zeo/client"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// An object that is deleted while current records are gone through is among them,
// also if the storage is slow to tell of it.
func TestCurrentBesideADeletion(t *testing.T) {
	base := memory(t)
	u := serve(t, base, wire.Pickle)
	s := open(t, client.Options{Addresses: []string{u.addr}})
	defer s.Close()
	var serials [4]zodb.TID
	for oid := range serials {
		serials[oid] = put(t, s, zodb.OID(oid), 0, "x")
	}
	told, goOn := make(chan bool, 1), make(chan bool)
	_, stop := s.Observe(func(zodb.Change) {
		told <- true
		<-goOn
	})
	defer stop()
	records, _ := zodb.As[zodb.RecordIterator](zodb.Storage(s))
	var oids []zodb.OID
	for c, err := range records.Current(t.Context(), 0, 0, 10) {
		if err != nil {
			t.Fatal(err)
		}
		oids = append(oids, c.OID)
		if c.OID != 1 {
			continue
		}
		remove(t, base, 2, serials[2])
		<-told
		time.AfterFunc(50*time.Millisecond, func() { close(goOn) })
	}
	if want := []zodb.OID{0, 1, 2, 3}; !slices.Equal(oids, want) {
		t.Errorf("current records of %v, want %v", oids, want)
	}
}

// remove deletes an object.
func remove(t *testing.T, s zodb.Storage, oid zodb.OID, serial zodb.TID) {
	t.Helper()
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	d, _ := zodb.As[zodb.DeleteTxn](txn)
	if err := d.Delete(t.Context(), oid, serial); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Vote(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Finish(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}
