package store

import (
	"context"
	"sync/atomic"

	"github.com/zaridb/zari/zodb"
)

// turn wakes those who wait for something to happen. Nobody who makes it happen is
// held up by it.
type turn struct {
	next atomic.Pointer[chan struct{}] // nil if nobody waits
}

// wait returns a channel that is closed at the next happening.
func (t *turn) wait() <-chan struct{} {
	for {
		if c := t.next.Load(); c != nil {
			return *c
		}
		c := make(chan struct{})
		if t.next.CompareAndSwap(nil, &c) {
			return c
		}
	}
}

// happened wakes all who wait.
func (t *turn) happened() {
	if t.next.Load() == nil {
		return
	}
	if c := t.next.Swap(nil); c != nil {
		close(*c)
	}
}

// awaitPublished waits until a transaction that is durable is published, or why it will
// not be soon.
func (s *Store) awaitPublished(ctx context.Context, tid zodb.TID) error {
	if s.LastTID() < tid {
		s.committer.hurry()
	}
	for {
		turn := s.published.wait()
		if s.LastTID() >= tid {
			return nil
		}
		if err := s.committer.ready(); err != nil {
			return err
		}
		select {
		case <-turn:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
