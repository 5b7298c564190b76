package importing

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/zaridb/zari/zodb"
)

// run copies until the import is done or the storage closed.
func (s *Storage) run() {
	s.log.Info("importing: clients are served from the source meanwhile",
		"source", s.opts.Source.Info().Name, "destination", s.dst.Info().Name, "copied", s.dst.LastTID(), "last", s.front.LastTID())
	for s.ctx.Err() == nil {
		done, err := s.attempt(s.ctx)
		if done {
			s.log.Info("the import is done: the destination is the database", "destination", s.dst.Info().Name, "last", s.LastTID())
			return
		}
		if s.ctx.Err() != nil {
			return
		}
		if err != nil {
			s.failure.Store(&err)
			s.log.Error("the import does not get on; clients are served as before", "err", err, "again_in", s.opts.Retry)
		} else {
			s.putOff++
			s.log.Info("the end of the import waits for transactions that are under way", "again_in", s.opts.Retry)
		}
		sleep(s.ctx, s.opts.Retry)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

const (
	smallRest = 500 * time.Millisecond // a round that takes no longer leaves little for the next one
	maxRounds = 20                     // then clients commit as fast as is copied, and have to wait
)

// attempt copies what there is, again and again until the rest is small, and then
// completes the import. It reports whether that came about.
func (s *Storage) attempt(ctx context.Context) (done bool, err error) {
	for range maxRounds {
		began := time.Now()
		if err := s.opts.Copy(ctx, s.dst, paced{s.front, s}); err != nil {
			return false, fmt.Errorf("copying: %w", err)
		}
		if time.Since(began) < smallRest {
			break
		}
	}
	if err := s.verify(ctx); err != nil {
		return false, err
	}
	if !s.gate.close(ctx, s.opts.Grace, s.putOff >= s.opts.Attempts) {
		return false, nil
	}
	defer s.gate.open()
	err = s.complete(ctx)
	return err == nil, err
}

// complete copies the rest, while nothing is written, and makes the destination
// the database.
func (s *Storage) complete(ctx context.Context) error {
	if s.doubt.Load() {
		if err := s.settle(ctx); err != nil {
			return err
		}
	}
	if err := s.opts.Copy(ctx, s.dst, s.front); err != nil {
		return fmt.Errorf("copying the rest: %w", err)
	}
	if have, last := s.dst.LastTID(), s.front.LastTID(); have != last {
		return fmt.Errorf("the copy ends at %v, and the last transaction is %v", have, last)
	}
	if err := s.verify(ctx); err != nil {
		return err
	}
	if err := s.oids.finish(ctx, s.dst); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moveObservers()
	s.done.Store(true)
	return nil
}

// settle returns when everything is published that may have been committed, though
// its committer was not told: it commits an empty transaction, which comes after.
func (s *Storage) settle(ctx context.Context) error {
	t, err := s.front.Begin(ctx, zodb.TxnMeta{Description: []byte("end of an import")})
	if err != nil {
		return err
	}
	defer t.Abort()
	if _, err := t.Vote(ctx); err != nil {
		return err
	}
	if _, err := t.Finish(ctx, nil); err != nil {
		return err
	}
	s.doubt.Store(false)
	return nil
}

// verify makes sure that nobody writes to the source.
func (s *Storage) verify(ctx context.Context) error {
	if y, ok := zodb.As[zodb.Syncer](s.opts.Source); ok {
		if err := y.Sync(ctx); err != nil {
			return fmt.Errorf("asking the source for its last transaction: %w", err)
		}
	}
	if last := s.opts.Source.LastTID(); last != s.source {
		return fmt.Errorf("the source was written since the import began: its last transaction was %v and is %v; what was written there is not served",
			s.source, last)
	}
	if s.opts.Verify != nil {
		return s.opts.Verify(ctx)
	}
	return nil
}

// saveDone saves that the import is done. From the first attempt on it cannot be
// known which state a crash would leave, so it must succeed before anything is
// written again, here or there.
func (s *Storage) saveDone(ctx context.Context, state State) error {
	for {
		err := s.opts.State.Save(state)
		if err == nil {
			return nil
		}
		s.log.Error("nothing can be committed until this succeeds", "err", err)
		sleep(ctx, time.Second)
		if ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
	}
}

// report logs now and then how far the import is.
func (s *Storage) report() {
	for {
		sleep(s.ctx, 10*time.Second)
		if s.ctx.Err() != nil || s.done.Load() {
			return
		}
		st := s.Status()
		percent := int64(100)
		if st.Total > 0 {
			percent = min(st.Bytes*100/st.Total, 100)
		}
		s.log.Info("importing", "percent", percent, "copied", st.Copied.Time().Format(time.RFC3339))
	}
}

// paced is source and journal for the copy, which rests half of the time while
// clients are there.
type paced struct {
	zodb.Storage
	s *Storage
}

var _ zodb.Asser = paced{}

// As finds the abilities of what it wraps.
func (p paced) As(target any) bool {
	if it, ok := target.(*zodb.Iterator); ok {
		return zodb.Adapt(p.Storage, it, func(i zodb.Iterator) zodb.Iterator { return pacedIterator{i, p.s} })
	}
	return zodb.PassOn(p.Storage, target)
}

type pacedIterator struct {
	zodb.Iterator
	s *Storage
}

// stint is how long the copy works before it looks for clients.
const stint = 20 * time.Millisecond

func (p pacedIterator) Transactions(ctx context.Context, start, stop zodb.TID) iter.Seq2[*zodb.Transaction, error] {
	return func(yield func(*zodb.Transaction, error) bool) {
		began, calls := time.Now(), p.s.calls.Load()
		for t, err := range p.Iterator.Transactions(ctx, start, stop) {
			if !yield(t, err) {
				return
			}
			worked := time.Since(began)
			if worked < stint {
				continue
			}
			if p.s.calls.Load() != calls {
				sleep(ctx, min(worked, time.Second))
			}
			began, calls = time.Now(), p.s.calls.Load()
		}
	}
}
