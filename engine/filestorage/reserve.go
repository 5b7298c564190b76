package filestorage

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// reserveAhead is how much is set aside beyond what was asked for, to spare
// asking the file system at every vote.
const reserveAhead = 4 << 20

// space is what was promised and what the file system has set aside for it.
type space struct {
	quota int64

	mu          sync.Mutex
	file        vfs.File // the data file; nil while there is none to write
	unsupported bool
	promised    int64 // bytes that may yet be appended
	upTo        int64 // the file system has set space aside up to this offset
}

func (p *space) allocated() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.upTo > 0
}

// Space returns the bytes of the transaction in the file.
func (s *Storage) Space(t *txnlog.Txn) int64 { return txnSize(t) }

// txnSize is the length of a transaction none of whose records is a back pointer.
func txnSize(t *txnlog.Txn) int64 {
	n := int64(datafs.TxnHeaderSize + len(t.User) + len(t.Description) + len(t.Extension) + datafs.TrailerSize)
	for i := range t.Records {
		n += datafs.DataHeaderSize + int64(max(t.Records[i].Len(), datafs.BackSize))
	}
	return n
}

// Reserve promises space within the quota and on the disk. Where the file system
// cannot set space aside, only the quota is kept; Open has told so.
func (s *Storage) Reserve(n int64) (release func(), err error) {
	p := &s.space
	p.mu.Lock()
	defer p.mu.Unlock()
	// A promise that is kept moves from promised to the end, and must be seen in one of them.
	s.mu.RLock()
	closed := s.gen == nil
	end := int64(0)
	if !closed {
		end = s.gen.end
	}
	s.mu.RUnlock()
	switch {
	case closed:
		return nil, zodb.ErrClosed
	case s.opts.ReadOnly:
		return nil, zodb.ErrReadOnly
	}
	need := end + p.promised + n
	if p.quota > 0 && need > p.quota {
		return nil, fmt.Errorf("the quota of %d bytes is used up: %w", p.quota, zodb.ErrNoSpace)
	}
	if need > p.upTo && !p.unsupported {
		if err := s.allocate(end, need); err != nil {
			return nil, err
		}
	}
	p.promised += n
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.promised -= n
	}), nil
}

// setWriter makes f the file that is written; nil says that there is none.
func (s *Storage) setWriter(f vfs.File) {
	s.w = f
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	s.space.file, s.space.upTo = f, 0
}

// allocate sets space aside up to need, and some more if there is. p.mu is held.
func (s *Storage) allocate(end, need int64) error {
	s.space.upTo = max(s.space.upTo, end)
	w := s.space.file
	if w == nil {
		return errors.New("the data file is closed after a failure")
	}
	for _, to := range []int64{need + reserveAhead, need} {
		err := w.Reserve(s.space.upTo, to-s.space.upTo)
		switch {
		case err == nil:
			s.space.upTo = to
			return nil
		case errors.Is(err, errors.ErrUnsupported):
			s.space.unsupported = true
			return nil
		case to == need:
			return noSpace(err)
		}
	}
	return nil
}

// tryReserve finds out at open whether space can be set aside.
func (s *Storage) tryReserve() {
	if release, err := s.Reserve(1); err == nil {
		release()
	}
	if s.space.unsupported {
		s.opts.Logger.Warn("the file system cannot set space aside; a full disk will be noticed at commit only", "file", s.path)
	}
}

// noSpace makes errors that say that the disk is full match zodb.ErrNoSpace.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) {
		return fmt.Errorf("%w: %w", zodb.ErrNoSpace, err)
	}
	return err
}
