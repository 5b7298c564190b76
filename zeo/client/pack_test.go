package client_test

import (
	"testing"
	"time"

	"github.com/zaridb/zari/zeo/client"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// Whoever has packed looks at the size next: it must be that of afterwards.
func TestSizeAfterPack(t *testing.T) {
	base := file(t)
	u := serve(t, base, wire.Pickle)
	s := open(t, client.Options{Addresses: []string{u.addr}})
	defer s.Close()
	var last zodb.TID
	for range 3 {
		txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
		if err != nil {
			t.Fatal(err)
		}
		if err := txn.Store(t.Context(), 0, last, []byte("a record")); err != nil {
			t.Fatal(err)
		}
		if _, err := txn.Vote(t.Context()); err != nil {
			t.Fatal(err)
		}
		if last, err = txn.Finish(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	before := base.Info().Size
	packer, _ := zodb.As[zodb.Packer](s)
	if err := packer.Pack(t.Context(), time.Now(), zodb.PackOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, want := s.Info().Size, base.Info().Size; got != want || got >= before {
		t.Errorf("%d bytes after the pack, the server has %d, before it had %d", got, want, before)
	}
}
