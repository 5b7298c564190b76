package client_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/zaridb/zari/zeo/client"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// heldUp is a connection that delivers nothing while mu is held.
type heldUp struct {
	net.Conn
	mu *sync.RWMutex
}

func (c heldUp) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.RLock()
	defer c.mu.RUnlock()
	return n, err
}

// A commit that the server acknowledges on a connection beside the main one is not
// told of before those of others that came before it, also while the main
// connection is held up for long.
func TestMainConnectionHeldUp(t *testing.T) {
	base := memory(t)
	u := serve(t, base, wire.Pickle)
	var mu sync.RWMutex
	var first sync.Once
	s := open(t, client.Options{
		Addresses: []string{u.addr}, MinRetry: time.Millisecond, MaxRetry: 10 * time.Millisecond,
		Dial: func(_ context.Context, network, addr string) (c net.Conn, err error) {
			c, err = net.Dial(network, addr)
			first.Do(func() { c = heldUp{c, &mu} })
			return c, err
		},
	})
	defer s.Close()
	old := put(t, s, 1, 0, "old")
	if _, err := s.LoadBefore(t.Context(), 1, zodb.MaxTID); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	theirs := put(t, base, 1, old, "theirs")
	own := make(chan zodb.TID, 1)
	go func() { own <- put(t, s, 2, 0, "own") }()
	time.Sleep(2500 * time.Millisecond) // long enough for the commit to be overdue
	rec, err := s.LoadBefore(t.Context(), 1, zodb.MaxTID)
	if err != nil || rec.Serial == old && rec.AsOf >= theirs {
		t.Errorf("while nothing is heard: %+v, %v; transaction %v replaced it", rec, err, theirs)
	}
	mu.Unlock()
	tid := <-own
	if rec, err := s.LoadBefore(t.Context(), 1, zodb.MaxTID); err != nil || rec.Serial != theirs || s.LastTID() < tid {
		t.Errorf("after transaction %v, at %v: %+v, %v; want the revision of %v", tid, s.LastTID(), rec, err, theirs)
	}
}
