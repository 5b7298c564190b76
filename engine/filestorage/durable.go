package filestorage

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/zodb"
)

type blobID = blobs.ID

// doubt is a sync after which the kernel did not say what is on the disk.
type doubt struct {
	last *appending // was there, but for the removal of its mark; or nil
	next *appending // was to be there with its mark; or nil
}

// begin is where what is in doubt begins.
func (d *doubt) begin() int64 {
	if d.last != nil {
		return d.last.begin
	}
	return d.next.begin
}

// sync writes next with the mark of an unfinished transaction and removes the mark of
// last, whose data are synced, and then syncs both; either may be nil. A batch with an
// error is not there, and will not be after a restart, unless the storage is in doubt
// then.
func (s *Storage) sync(last, next *appending) (lastErr, nextErr error) {
	left := false // something of next that could not be cut off
	if next != nil {
		if nextErr = s.writeBehind(last, next); nextErr != nil {
			next, left = nil, s.dirty
		}
	}
	s.dirty = s.dirty || last != nil
	if last != nil {
		if err := s.removeMark(last.plan); err != nil {
			// The mark is on the disk, so nobody will take the batch for a whole one.
			err = errors.Join(noSpace(err), s.trim(last.begin))
			return err, errors.Join(nextErr, err)
		}
	}
	if last == nil && next == nil {
		return nil, nextErr
	}
	if err := s.w.Datasync(); err != nil {
		err = s.giveUp(&doubt{last, next}, err)
		return err, errors.Join(nextErr, err)
	}
	s.dirty = next != nil || left
	return nil, nextErr
}

// writeBehind writes a batch behind last, which may be nil.
func (s *Storage) writeBehind(last, next *appending) error {
	if last == nil {
		if err := s.trim(next.begin); err != nil {
			return err
		}
	}
	s.dirty = true
	if err := s.write(next.plan); err != nil {
		return errors.Join(noSpace(err), s.trim(next.begin))
	}
	return nil
}

// trim cuts off what a failed append may have left behind the end. What stays
// there until that works begins with the mark of an unfinished transaction.
func (s *Storage) trim(end int64) error {
	if !s.dirty {
		return nil
	}
	if err := s.cut(end); err != nil {
		return fmt.Errorf("cutting off a failed append: %w", err)
	}
	s.dirty = false
	return nil
}

func (s *Storage) cut(end int64) error {
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	s.space.upTo = 0 // what was set aside is given back too
	return s.w.Truncate(end)
}

func (s *Storage) removeMark(p *plan) error {
	first := &p.txns[0]
	_, err := s.w.WriteAt([]byte{first.Status}, first.pos+datafs.StatusOffset)
	return err
}

// giveUp closes the file for writing after a failed sync: the kernel may have
// dropped what it could not write, and the next sync would not tell.
func (s *Storage) giveUp(d *doubt, err error) error {
	s.doubt = d
	w := s.w
	s.setWriter(nil)
	s.opts.Logger.Error("the data file could not be synced; no commits until it is settled what is on the disk",
		"file", s.path, "offset", d.begin(), "error", err)
	return fmt.Errorf("%w: %w", zodb.ErrCommitUnknown, errors.Join(err, w.Close()))
}

// Settle opens the file anew after a failed sync. If the batch had reached the
// disk but for the removal of its mark, that is written again and the batch is
// kept; else it is cut off. Either is synced before Settle returns.
func (s *Storage) Settle(ctx context.Context) (zodb.TID, error) {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.mu.RLock()
	closed := s.gen == nil
	s.mu.RUnlock()
	if closed {
		return 0, zodb.ErrClosed
	}
	if s.doubt != nil {
		if err := s.settle(); err != nil {
			return 0, fmt.Errorf("settling the last append: %w", err)
		}
	}
	head, _ := s.Head()
	return head, nil
}

func (s *Storage) settle() error {
	f, err := s.fs.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	s.setWriter(f)
	d := s.doubt
	keep := d.last != nil && s.isWhole(d.last.plan)
	if keep {
		err = s.removeMark(d.last.plan)
	} else {
		err = s.trim(d.begin())
	}
	if err == nil {
		err = s.w.Sync()
	}
	if err != nil {
		// This handle may have lost the error of a sync too.
		s.setWriter(nil)
		s.dirty = true
		return errors.Join(err, f.Close())
	}
	s.doubt, s.dirty = nil, false
	if keep {
		s.publish(d.last.plan)
	} else if d.last != nil {
		s.removeBlobs(d.last.placed)
	}
	if d.next != nil {
		s.removeBlobs(d.next.placed)
	}
	s.opts.Logger.Info("the data file is settled", "file", s.path, "kept", keep)
	return nil
}

// isWhole cuts off what is behind a batch, and reads it back through the new handle.
func (s *Storage) isWhole(p *plan) bool {
	fi, err := s.w.Stat()
	if err != nil || fi.Size() < p.end { // what is missing must not become zeros
		return false
	}
	if errors.Join(s.cut(p.end), s.removeMark(p)) != nil {
		return false
	}
	sc := datafs.NewScanner(datafs.NewWindow(s.w, writePiece), s.path, p.begin, p.end, 0)
	n := 0
	for sc.Txn() {
		for sc.Record() {
		}
		n++
	}
	return sc.Err() == nil && n == len(p.txns)
}
