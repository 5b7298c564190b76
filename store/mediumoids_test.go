package store_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// sequence is an engine whose medium hands out oids, in blocks.
type sequence struct {
	*memstorage.Engine
	mu     sync.Mutex
	last   zodb.OID
	raises []zodb.OID
	fail   error
}

const sequenceBlock = 16

func (q *sequence) NewOIDs(_ context.Context, n int) (oids []zodb.OID, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(oids) < n {
		for range sequenceBlock {
			q.last++
			oids = append(oids, q.last)
		}
	}
	return oids, q.fail
}

func (q *sequence) RaiseOIDs(_ context.Context, largest zodb.OID) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last = max(q.last, largest)
	q.raises = append(q.raises, largest)
	return q.fail
}

func TestOIDsOfTheMedium(t *testing.T) {
	q := &sequence{Engine: memstorage.New(memstorage.Options{})}
	s, err := store.Open(t.Context(), q, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, 1000, 0, "x")
	s.Close()
	q.last, q.raises = 0, nil // as an import that did not care for the sequence leaves it
	s, err = store.Open(t.Context(), q, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	seen := make(map[zodb.OID]bool)
	take := func(n int) []zodb.OID {
		oids, err := s.NewOIDs(t.Context(), n)
		if err != nil || len(oids) == 0 || len(oids) > n || !slices.IsSorted(oids) {
			t.Fatalf("NewOIDs(%d): %v, %v", n, oids, err)
		}
		for _, oid := range oids {
			if seen[oid] || oid <= 1000 {
				t.Fatalf("NewOIDs(%d): %v, which was taken", n, oid)
			}
			seen[oid] = true
		}
		return oids
	}
	for range sequenceBlock / 2 {
		take(1)
	}
	if q.last != 1000+sequenceBlock {
		t.Errorf("the sequence is at %v after half a block", q.last)
	}
	mine := q.last // in the block, and not handed out
	put(t, s, mine, 0, "chosen by a client")
	put(t, s, 5000, 0, "and one far away")
	seen[mine], seen[5000] = true, true
	for i := range 200 {
		take(i%40 + 1)
	}
	if !slices.Equal(q.raises, []zodb.OID{1000, 5000}) {
		t.Errorf("raised to %v", q.raises)
	}
	if q.last <= 5000 {
		t.Errorf("the sequence is at %v", q.last)
	}
	q.fail = errors.New("no connection")
	txn, _ := s.Begin(t.Context(), zodb.TxnMeta{})
	txn.Store(t.Context(), 1<<40, 0, []byte("x"))
	if _, err := txn.Vote(t.Context()); !errors.Is(err, q.fail) {
		t.Errorf("Vote whose oid cannot be taken: %v", err)
	}
}
