package store

import (
	"context"
	"time"
)

// doubtPoll is how often a vote looks whether the medium has made up its mind.
const doubtPoll = 10 * time.Millisecond

// untilSettled waits while it is not known what became of a commit, as long as a vote
// waits for locks. So when a database is replaced by its standby a client sees the
// error of the transaction that was being committed, and the next ones are late.
func (s *Store) untilSettled(ctx context.Context) error {
	err := s.committer.ready()
	if err != errInDoubt {
		return err
	}
	limit := time.NewTimer(s.opts.LockWait)
	defer limit.Stop()
	for err == errInDoubt {
		select {
		case <-time.After(doubtPoll):
			err = s.committer.ready()
		case <-limit.C:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}
