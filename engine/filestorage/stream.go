package filestorage

import (
	"context"
	"errors"
	"fmt"

	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// Stream implements store.Streamer. As long as batches come, each costs one sync.
func (s *Storage) Stream(_ context.Context, next func() []*txnlog.Txn, answer func(int, error)) {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	s.stream(next, answer)
}

// appending is a batch on its way into the file. When its data are synced, the mark of
// an unfinished transaction is still to be removed.
type appending struct {
	*plan
	placed []blobID
	unfit  error // why the rest of what was given is refused
}

// stream appends one batch after the other. The sync of each is that of the removal of
// the last one's mark as well, if the two do not depend on each other. writeMu is held.
func (s *Storage) stream(next func() []*txnlog.Txn, answer func(int, error)) {
	var last *appending // its data are synced
	for batch := next(); ; batch = s.more(last, next) {
		if last != nil && !s.joins(batch) {
			err := s.finish(last, answer)
			if err != nil && len(batch) > 0 {
				answer(0, fmt.Errorf("the append before failed: %v", err))
			}
			if err != nil {
				return
			}
			last = nil
		}
		if len(batch) == 0 {
			return
		}
		if last = s.begin(last, batch, answer); last == nil {
			return
		}
	}
}

// more asks for another batch, if one may follow.
func (s *Storage) more(last *appending, next func() []*txnlog.Txn) []*txnlog.Txn {
	if last.unfit != nil || s.waiting.Load() > 0 {
		return nil
	}
	return next()
}

// joins reports whether a batch can be written before the mark of the one that was
// planned last is removed: what takes long would hold up that one, and what writes the
// same objects depends on it.
func (s *Storage) joins(batch []*txnlog.Txn) bool {
	size := 0
	for _, t := range batch {
		for i := range t.Records {
			r := &t.Records[i]
			if size += r.Len(); size > writePiece || r.Blob != "" {
				return false
			}
			if _, same := s.planned[r.OID]; same {
				return false
			}
		}
	}
	return len(batch) > 0
}

// begin writes a batch behind last, which may be nil and is whole then. It returns nil if
// nothing can follow.
func (s *Storage) begin(last *appending, batch []*txnlog.Txn, answer func(int, error)) *appending {
	x, err := s.prepare(batch, last)
	lastErr, xErr := s.sync(last, x)
	if last != nil {
		answer(s.appended(last, lastErr))
	}
	if err = errors.Join(err, xErr); err == nil {
		return x
	}
	if x != nil {
		_, err = s.appended(x, err)
	}
	answer(0, err)
	return nil
}

// finish makes the last batch whole.
func (s *Storage) finish(last *appending, answer func(int, error)) error {
	err, _ := s.sync(last, nil)
	answer(s.appended(last, err))
	return err
}

// prepare makes sure that a batch can be appended behind last, which may be nil.
func (s *Storage) prepare(batch []*txnlog.Txn, last *appending) (*appending, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	v, err := s.view()
	if err != nil {
		return nil, err
	}
	defer v.release()
	begin, head := v.end, v.head
	if last != nil {
		begin, head = last.end, last.head
	}
	n, unfit := fit(batch, head)
	if n == 0 {
		return nil, unfit
	}
	batch = batch[:n]
	p, err := s.plan(&v, batch, begin)
	if err != nil {
		return nil, err
	}
	if p.end > datafs.MaxPos {
		return nil, fmt.Errorf("the data file cannot grow beyond %d bytes: %w", int64(datafs.MaxPos), zodb.ErrNoSpace)
	}
	placed, err := s.placeBlobs(batch)
	if err != nil {
		s.removeBlobs(placed)
		return nil, err
	}
	return &appending{plan: p, placed: placed, unfit: unfit}, nil
}

// appended publishes a batch that is durable, and otherwise removes its blobs, unless it
// is in doubt. It returns what Append does.
func (s *Storage) appended(a *appending, err error) (int, error) {
	if err != nil {
		if s.doubt == nil {
			s.removeBlobs(a.placed)
		}
		return 0, err
	}
	s.publish(a.plan)
	s.saveIndexLater(a.end)
	return len(a.txns), a.unfit
}
