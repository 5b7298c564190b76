package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// finish is a commit of this client whose place among the server's commits is
// looked for. Its fields below done are set before done is closed.
type finish struct {
	oids      map[zodb.OID]bool
	vague     bool // the server may not name all of them: deletions, restored objects
	token     zodb.Token
	committed func(zodb.TID)
	done      chan struct{} // closed when the server has answered, or never will

	tid  zodb.TID // 0: the answer is an error, or lost
	err  error
	at   time.Time // when it came
	told bool      // published; changed under Storage.mu and observers

	overdue bool // to be told of at the server's next sign of life; the publisher's own
}

// overdue is how long the server's word on a commit that it has acknowledged is
// waited for, before it is asked for a sign of life. It only matters where a server
// does not tell of a commit at all.
const overdue = time.Second

// serve tells of what happened while there was no session, and then of what the
// server says, until the main connection is lost. It returns why.
func (s *Storage) serve(x *session) error {
	if err := s.catchUp(x); err != nil {
		return err
	}
	s.setSession(x)
	better := s.lookForBetter(x)
	tick := time.NewTicker(overdue)
	defer tick.Stop()
	var sign *call // what is overdue is told of when the server answers it
	for {
		var answered chan struct{}
		if sign != nil {
			answered = sign.done
		}
		select {
		case <-s.ctx.Done():
			return zodb.ErrClosed
		case <-x.main.done:
			return x.main.lost()
		case <-better:
			return errors.New("there is a server that can be written")
		case <-x.wake:
		case now := <-tick.C:
			if sign == nil && s.someOverdue(now) {
				sign = x.main.start("ping", nil)
			}
		case <-answered:
		}
		over := sign != nil && isClosed(sign.done) // all that was said before it is in the queue by now
		if err := s.hearAll(x); err != nil {
			return err
		}
		if over && sign.err == nil {
			s.publishOverdue()
		}
		if over {
			sign = nil
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// hearAll tells of what the server has said.
func (s *Storage) hearAll(x *session) error {
	for _, c := range x.take() {
		if err := s.hear(x, c); err != nil {
			return err
		}
	}
	return nil
}

// hear tells of one change, unless it is known from before the session.
func (s *Storage) hear(x *session, c zodb.Change) error {
	switch last := s.LastTID(); {
	case c.TID <= x.begin || c.TID == last:
		return nil
	case c.TID < last:
		s.gap = true
		return fmt.Errorf("the server tells of transaction %v after %v", c.TID, last)
	}
	for _, f := range s.candidates(c) {
		select {
		case <-f.done:
		case <-s.ctx.Done():
			return zodb.ErrClosed
		}
	}
	for _, f := range s.before(c.TID) { // the server has not told of them, and will not
		s.publish(f.change(), f)
	}
	own := s.own(c.TID)
	if own != nil {
		c = own.merge(c)
	}
	s.publish(c, own)
	return nil
}

// candidates are the commits under way that a change may be. The objects of a
// commit are locked on the server, so that a change of others is not.
func (s *Storage) candidates(c zodb.Change) (list []*finish) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.finishing {
		if f.vague || len(f.oids) == 0 || slices.ContainsFunc(c.OIDs, func(oid zodb.OID) bool { return f.oids[oid] }) {
			list = append(list, f)
		}
	}
	return list
}

// acknowledged returns the commits that the server has acknowledged, that are not
// published, and that ok accepts, in the order of their tids.
func (s *Storage) acknowledged(ok func(f *finish) bool) (list []*finish) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.finishing {
		select {
		case <-f.done:
			if f.tid != 0 && !f.told && ok(f) {
				list = append(list, f)
			}
		default:
		}
	}
	slices.SortFunc(list, func(a, b *finish) int { return int(int64(a.tid) - int64(b.tid)) })
	return list
}

func (s *Storage) before(tid zodb.TID) []*finish {
	return s.acknowledged(func(f *finish) bool { return f.tid < tid })
}

func (s *Storage) own(tid zodb.TID) *finish {
	for _, f := range s.acknowledged(func(f *finish) bool { return f.tid == tid }) {
		return f
	}
	return nil
}

// someOverdue reports whether the server has acknowledged a commit long ago and says
// nothing of it. It marks those that are to be told of without its word: when it has
// shown a sign of life, so that what it said before surely has come. A connection that
// is held up may be what keeps its word away, and that of others' commits before.
func (s *Storage) someOverdue(now time.Time) bool {
	list := s.acknowledged(func(f *finish) bool { return now.Sub(f.at) > overdue })
	for _, f := range list {
		f.overdue = true
	}
	return len(list) > 0
}

func (s *Storage) publishOverdue() {
	for _, f := range s.acknowledged(func(f *finish) bool { return f.overdue }) {
		s.publish(f.change(), f)
	}
}

// change is what a commit changed, as far as this client knows.
func (f *finish) change() zodb.Change { return f.merge(zodb.Change{TID: f.tid}) }

// merge adds to what the server says of a commit what this client knows of it.
func (f *finish) merge(c zodb.Change) zodb.Change {
	c.Token = f.token
	for oid := range f.oids {
		if !slices.Contains(c.OIDs, oid) {
			c.OIDs = append(c.OIDs, oid)
		}
	}
	return c
}

// publish makes a change visible, tells of it, and moves LastTID. own are the
// commits of this client that it covers.
func (s *Storage) publish(c zodb.Change, own ...*finish) {
	s.observers.Lock()
	defer s.observers.Unlock()
	last := s.LastTID()
	if c.TID > last || c.Missed != zodb.NothingMissed {
		s.cache.Change(c)
		for _, o := range s.observers.list {
			o.fn(c)
		}
	}
	for _, f := range own {
		if f != nil && f.committed != nil && !f.told { // whoever settles it, and the session, may both find that it is due
			f.committed(f.tid)
		}
	}
	s.last.Store(uint64(max(c.TID, last)))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range own {
		if f != nil {
			f.told = true
		}
	}
	s.notify()
}

// catchUp finds out what was committed before the session, and tells of it as one
// change.
func (s *Storage) catchUp(x *session) error {
	last := s.LastTID()
	s.mu.Lock()
	first := !s.joined
	s.mu.Unlock()
	c := zodb.Change{TID: x.begin, Missed: zodb.MissedListed}
	if first && x.begin == 0 {
		return nil
	}
	if first || s.gap {
		c.Missed = zodb.MissedUnknown
	} else if x.begin > last {
		ctx, cancel := context.WithTimeout(s.ctx, s.opts.WaitTimeout)
		defer cancel()
		oids, upTo, err := x.invalidations(ctx, last)
		switch {
		case errors.Is(err, zodb.ErrUnknownPosition) || err == nil && upTo < x.begin:
			s.opts.Logger.Warn("the server does not know what changed meanwhile: all caches are dropped", "since", last, "now", x.begin)
			c.Missed = zodb.MissedUnknown
		case err != nil:
			return err
		default:
			c.OIDs, c.TID = oids, upTo
		}
	}
	x.begin, s.gap = c.TID, false
	s.publish(c, s.before(c.TID+1)...)
	return nil
}

// invalidations asks what changed after a transaction, and up to which.
func (x *session) invalidations(ctx context.Context, after zodb.TID) (oids []zodb.OID, upTo zodb.TID, err error) {
	known := true
	err = x.main.call(ctx, "getInvalidations", func(m *wire.Message) (err error) {
		if m.IsNone(0) { // Python's server also says (None, []) for nothing
			known = false
			return nil
		}
		if upTo, err = tidOf(m); err != nil {
			return err
		}
		oids, err = m.OIDs(1, nil)
		return err
	}, after)
	if err == nil && !known {
		err = zodb.ErrUnknownPosition
	}
	return oids, upTo, err
}

// lookForBetter tries, while the session is a fallback, to find a server that can
// be written; the channel is closed when there is one.
func (s *Storage) lookForBetter(x *session) <-chan struct{} {
	if !x.readOnly || s.opts.ReadOnly {
		return nil
	}
	found := make(chan struct{})
	s.wg.Go(func() {
		for {
			select {
			case <-s.ctx.Done():
				return
			case <-x.main.done:
				return
			case <-time.After(s.opts.MaxRetry):
			}
			if y, err := s.connect(s.ctx, true); err == nil {
				y.end(errOver)
				close(found)
				return
			}
		}
	})
	return found
}

// Sync implements zodb.Syncer.
func (s *Storage) Sync(ctx context.Context) error {
	return s.retry(ctx, func(x *session) error {
		var last zodb.TID
		if err := x.main.call(ctx, "ping", nil); err != nil {
			return err
		}
		err := x.main.call(ctx, "lastTransaction", func(m *wire.Message) (err error) {
			last, err = tidOf(m)
			return err
		})
		if err != nil {
			return err
		}
		return s.published(ctx, x, last)
	})
}

// published waits until everything up to tid is told. Python's server may answer
// before it tells of what the answer shows.
func (s *Storage) published(ctx context.Context, x *session, tid zodb.TID) error {
	if s.LastTID() >= tid {
		return nil
	}
	x.hurry()
	return s.await(ctx, func() (bool, error) {
		if s.LastTID() >= tid {
			return true, nil
		}
		if s.session != x {
			return false, fmt.Errorf("%w: %w", ErrDisconnected, errOver)
		}
		return false, nil
	})
}

// hurry makes the server send what it holds back: it goes out with the answer.
func (x *session) hurry() { x.main.start("ping", nil) }

// ChangesSince implements zodb.Watcher by asking the server.
func (s *Storage) ChangesSince(ctx context.Context, after zodb.TID) (oids []zodb.OID, upTo zodb.TID, err error) {
	if after > s.LastTID() {
		return nil, 0, zodb.ErrUnknownPosition
	}
	if s.can().interfaces["IStorageIteration"] {
		if err := s.member(ctx, after); err != nil {
			return nil, 0, err
		}
	}
	err = s.retry(ctx, func(x *session) (err error) {
		if oids, upTo, err = x.invalidations(ctx, after); err != nil {
			return err
		}
		return s.published(ctx, x, upTo)
	})
	return oids, max(upTo, after), err
}

// member returns ErrUnknownPosition if there is no such transaction.
func (s *Storage) member(ctx context.Context, tid zodb.TID) error {
	for t, err := range s.Transactions(ctx, tid, tid) {
		if err != nil {
			return err
		}
		if t.TID == tid {
			return nil
		}
	}
	return zodb.ErrUnknownPosition
}
