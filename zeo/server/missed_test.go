package server

import (
	"context"
	"testing"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// forgetful is a storage that changes what it tells of commits.
type forgetful struct {
	*store.Store
	tell  func(zodb.Change) zodb.Change
	inner func(zodb.Change) // what the server observes with
}

func (s *forgetful) As(target any) bool {
	switch target.(type) {
	case *zodb.Watcher:
		return zodb.SetAs[zodb.Watcher](target, s)
	}
	return s.Store.As(target)
}

func (s *forgetful) Observe(fn func(zodb.Change)) (zodb.TID, func()) {
	s.inner = fn
	return s.Store.Observe(func(c zodb.Change) { fn(s.tell(c)) })
}

func serveForgetful(t *testing.T, tell func(zodb.Change) zodb.Change) (*service, *forgetful) {
	t.Helper()
	st, err := store.Open(context.Background(), memstorage.New(memstorage.Options{}), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &forgetful{Store: st, tell: tell}
	srv, err := New(Options{Storages: map[string]zodb.Storage{"1": s}})
	if err != nil {
		t.Fatal(err)
	}
	l := newPipeListener()
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close(); st.Close() })
	return &service{srv, l, st}, s
}

// A commit that is published as somebody's has no place for its answer: the client
// is sent away, and does not wait for ever.
func TestCommitPublishedAsAnothers(t *testing.T) {
	s, _ := serveForgetful(t, func(c zodb.Change) zodb.Change {
		c.Token = zodb.Token{}
		return c
	})
	c := s.register(t, wire.Pickle)
	c.begin(1, 7, 0, "one")
	c.mustCall("vote", int64(1))
	c.send("tpc_finish", int64(1))
	c.closed()
}

// When a storage has missed something all clients are sent away. They come back and
// ask what changed, which is known or not.
func TestStorageHasMissedSomething(t *testing.T) {
	s, f := serveForgetful(t, func(c zodb.Change) zodb.Change { return c })
	a, b := s.register(t, wire.Pickle), s.register(t, wire.Msgpack)
	first := a.commit(1, 7, 0, "one")
	f.inner(zodb.Change{TID: first + 5, OIDs: []zodb.OID{7, 8}, Missed: zodb.MissedListed})
	a.closed()
	b.closed()
	c := s.register(t, wire.Pickle)
	if got := asTID(t, c.mustCall("lastTransaction")); got != first+5 {
		t.Errorf("lastTransaction: %v, want %v", got, first+5)
	}
	if oids := changedSince(t, c, first); len(oids) != 2 {
		t.Errorf("changed since %v: %v, want 7 and 8", first, oids)
	}
	f.inner(zodb.Change{TID: first + 9, Missed: zodb.MissedUnknown})
	c.closed()
	c = s.register(t, wire.Pickle)
	if oids := changedSince(t, c, first+5); oids != nil {
		t.Errorf("changed since %v: %v, though that cannot be known", first+5, oids)
	}
}

// changedSince asks for invalidations; nil stands for an answer of None.
func changedSince(t *testing.T, c *client, tid zodb.TID) []any {
	t.Helper()
	v := c.mustCall("getInvalidations", tid)
	if v == nil {
		return nil
	}
	items, ok := itemsIn(v)
	if !ok || len(items) != 2 {
		t.Fatalf("getInvalidations: %v", v)
	}
	oids, _ := itemsIn(items[1])
	return oids
}

func itemsIn(v any) ([]any, bool) {
	switch v := v.(type) {
	case pickle.Tuple:
		return v, true
	case *pickle.List:
		return v.Items, true
	}
	return nil, false
}
