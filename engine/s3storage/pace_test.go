package s3storage_test

import (
	"sync"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/s3storage"
	"github.com/zaridb/zari/engine/s3storage/objstore/fake"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// With a window there is one PUT for each, however many commit.
func TestWindow(t *testing.T) {
	const window, clients, each = 20 * time.Millisecond, 16, 20
	objects := fake.New()
	engine, err := s3storage.Open(t.Context(), s3storage.Options{Objects: objects, Window: window})
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), engine, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	before, began := objects.Counts().Put, time.Now()
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			last := zodb.TID(0)
			for i := range each {
				txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
				if err != nil {
					t.Error(err)
					return
				}
				if err := txn.Store(t.Context(), zodb.OID(client), last, storagetest.Object(i)); err != nil {
					t.Error(err)
				}
				if _, err := txn.Vote(t.Context()); err != nil {
					t.Error(err)
					return
				}
				if last, err = txn.Finish(t.Context(), nil); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	puts, windows := objects.Counts().Put-before, int64(time.Since(began)/window)
	if puts > windows+2 || puts > clients*each/4 {
		t.Errorf("%d commits took %d PUTs in %d windows", clients*each, puts, windows)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
