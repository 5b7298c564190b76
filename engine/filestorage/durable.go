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

// doubt is an append after which the kernel did not say what is on the disk.
type doubt struct {
	plan  *plan
	blobs []blobID
	// synced says that the batch itself is on the disk, and that only the removal
	// of the mark is not certain.
	synced bool
}

// writeDurably writes the batch, syncs it, removes the mark of an unfinished
// transaction from it, and syncs that. With an error the batch is not there, and
// will not be after a restart, unless the storage is in doubt then.
func (s *Storage) writeDurably(p *plan, placed []blobID) error {
	if err := s.trim(p.begin); err != nil {
		return err
	}
	s.dirty = true
	if err := s.write(p); err != nil {
		return errors.Join(noSpace(err), s.trim(p.begin))
	}
	if err := s.w.Datasync(); err != nil {
		return s.giveUp(&doubt{plan: p, blobs: placed}, err)
	}
	if err := s.removeMark(p); err != nil {
		// The mark is on the disk, so nobody will take the batch for a whole one.
		return errors.Join(noSpace(err), s.trim(p.begin))
	}
	if err := s.w.Datasync(); err != nil {
		return s.giveUp(&doubt{plan: p, blobs: placed, synced: true}, err)
	}
	s.dirty = false
	return nil
}

// trim cuts off what a failed append may have left behind the end. What stays
// there until that works begins with the mark of an unfinished transaction.
func (s *Storage) trim(end int64) error {
	if !s.dirty {
		return nil
	}
	if err := s.w.Truncate(end); err != nil {
		return fmt.Errorf("cutting off a failed append: %w", err)
	}
	s.dirty = false
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	s.space.upTo = 0 // what was set aside is given back too
	return nil
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
		"file", s.path, "offset", d.plan.begin, "error", err)
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
	keep := d.synced && s.isWhole(d.plan)
	if keep {
		err = s.removeMark(d.plan)
	} else {
		err = s.trim(d.plan.begin)
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
		s.publish(d.plan)
	} else {
		s.removeBlobs(d.blobs)
	}
	s.opts.Logger.Info("the data file is settled", "file", s.path, "kept", keep)
	return nil
}

// isWhole reads the batch back through the new handle.
func (s *Storage) isWhole(p *plan) bool {
	if err := s.removeMark(p); err != nil {
		return false
	}
	fi, err := s.w.Stat()
	if err != nil || fi.Size() != p.end {
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
