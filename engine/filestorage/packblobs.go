package filestorage

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/zodb"
)

// The blobs that a pack leaves without a revision are listed in a file before
// the new data file is put in place, and removed after that. So a crash between
// the two only delays it: Open goes through the list again. The first line says
// what to do with them:
//
//	keep
//	00000000000000a1 03d5a1b2c3d4e5f6
const (
	keepBlobs   = "keep"   // move them to the .old directory
	removeBlobs = "remove" // remove them
)

func (s *Storage) packBlobsPath() string { return s.path + ".packblobs" }

// listBlobs notes which blobs there are.
func (p *packer) listBlobs() error {
	if p.blobs == nil {
		return nil
	}
	p.blobIDs = make(map[blobID]bool)
	for id, err := range p.blobs.All() {
		if err != nil {
			return err
		}
		p.blobIDs[id] = true
	}
	return nil
}

// listDropped writes the list of blobs to be removed.
func (p *packer) listDropped() error {
	if p.blobs == nil {
		return nil
	}
	if err := p.emptyOldBlobs(); err != nil {
		return err
	}
	list := []byte(removeBlobs + "\n")
	if p.opts.KeepOld {
		list = []byte(keepBlobs + "\n")
	}
	for _, id := range p.dropped {
		list = fmt.Appendf(list, "%016x %016x\n", uint64(id.OID), uint64(id.TID))
	}
	return p.replaceFile(p.packBlobsPath(), p.packBlobsPath()+".new", list)
}

// removePackedBlobs does what the list says, if there is one, and removes it. A
// blob whose revision is in the data file stays, whatever the list says.
func (s *Storage) removePackedBlobs() error {
	if s.blobs == nil {
		return nil
	}
	f, err := s.fs.OpenFile(s.packBlobsPath(), os.O_RDONLY, 0)
	if err != nil {
		return ifExists(err)
	}
	defer f.Close()
	if err := s.removeListed(f); err != nil {
		return fmt.Errorf("removing blobs that were packed away: %w", err)
	}
	return ifExists(s.fs.Remove(s.packBlobsPath()))
}

func (s *Storage) removeListed(list io.Reader) error {
	v, err := s.view()
	if err != nil {
		return err
	}
	defer v.release()
	lines := bufio.NewScanner(list)
	if !lines.Scan() {
		return lines.Err()
	}
	var old *blobs.Dir
	if lines.Text() == keepBlobs {
		if old, err = s.oldBlobs(); err != nil {
			return err
		}
	}
	for lines.Scan() {
		var oid, tid uint64
		if _, err := fmt.Sscanf(lines.Text(), "%x %x", &oid, &tid); err != nil {
			return fmt.Errorf("%s: %q is not an oid and a tid", s.packBlobsPath(), lines.Text())
		}
		if err := s.removeBlob(&v, old, blobID{OID: zodb.OID(oid), TID: zodb.TID(tid)}); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil || old == nil {
		return err
	}
	return s.linkBlobs(old)
}

// removeBlob removes a blob, or moves it to the old directory, if its revision
// is gone.
func (s *Storage) removeBlob(v *view, old *blobs.Dir, id blobID) error {
	s.mu.RLock()
	pos := v.index.get(id.OID)
	s.mu.RUnlock()
	there, err := v.revision(pos, id.OID, id.TID)
	if there || err != nil {
		return err
	}
	if old != nil {
		err := old.Place(s.blobs.Path(id.OID, id.TID), id.OID, id.TID)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return s.blobs.Remove(id.OID, id.TID)
}

// oldBlobs opens the directory that goes with the .old file.
func (s *Storage) oldBlobs() (*blobs.Dir, error) {
	return blobs.Open(s.fs, s.blobs.Root()+".old", s.blobs.Layout())
}

// emptyOldBlobs removes the blobs that an earlier pack kept.
func (s *Storage) emptyOldBlobs() error {
	if _, err := s.fs.Stat(s.blobs.Root() + ".old"); err != nil {
		return ifExists(err)
	}
	old, err := s.oldBlobs()
	if err != nil {
		return err
	}
	return emptyDir(old)
}

func emptyDir(d *blobs.Dir) error {
	for id, err := range d.All() {
		if err != nil {
			return err
		}
		if err := d.Remove(id.OID, id.TID); err != nil {
			return err
		}
	}
	return nil
}

// linkBlobs gives the blobs that stay a second name in the old directory, so that
// it is whole together with the .old file.
func (s *Storage) linkBlobs(old *blobs.Dir) error {
	for id, err := range s.blobs.All() {
		if err != nil {
			return err
		}
		if _, err := old.OIDDir(id.OID); err != nil {
			return err
		}
		err := s.fs.Link(s.blobs.Path(id.OID, id.TID), old.Path(id.OID, id.TID))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}
