package storages

import (
	"testing"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// A use of a shared storage keeps the contract of the storage, beside another one.
func TestContract(t *testing.T) {
	storagetest.Run(t, storagetest.Harness{
		New: func(t testing.TB) zodb.Storage {
			s, err := store.Open(t.Context(), memstorage.New(memstorage.Options{}), store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return (&shared{Storage: s}).handle()
		},
		Peer: func(_ testing.TB, s zodb.Storage) zodb.Storage { return s.(*handle).handle() },
		Caps: storagetest.Without(storagetest.AllCaps(), storagetest.CapSyncer, storagetest.CapPrefetcher, storagetest.CapBlobStore),
	})
}
