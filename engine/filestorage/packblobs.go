package filestorage

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

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

// listBlobs notes which objects have blobs, and begins the list.
func (p *packer) listBlobs() error {
	if p.blobs == nil || p.opts.DryRun {
		return nil
	}
	if _, err := p.removePackedBlobs(); err != nil { // of an earlier pack that could not: its list goes
		return err
	}
	p.blobOID = newIndex()
	for id, err := range p.blobs.All() {
		if err == nil {
			err = p.ctx.Err()
		}
		if err != nil {
			return err
		}
		p.blobOID.set(id.OID, 1)
	}
	name := p.packBlobsPath() + newList
	f, err := p.fs.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	p.dropped = &packFile{file: f, name: name}
	what := removeBlobs
	if p.opts.KeepOld {
		what = keepBlobs
	}
	p.dropped.buf = append(p.dropped.buf, what+"\n"...)
	return nil
}

// newList is what the name of the list ends in while it is written.
const newList = ".new"

// dropBlob puts a revision on the list. That it has no blob does no harm.
func (p *packer) dropBlob(oid zodb.OID, tid zodb.TID) error {
	p.dropped.buf = fmt.Appendf(p.dropped.buf, "%016x %016x\n", uint64(oid), uint64(tid))
	return p.dropped.flushFull()
}

// saveList puts the list of blobs to be removed in place.
func (p *packer) saveList() error {
	if p.dropped == nil {
		return nil
	}
	if err := p.emptyOldBlobs(); err != nil {
		return err
	}
	if err := p.dropped.sync(); err != nil {
		return noSpace(err)
	}
	if err := p.fs.Rename(p.dropped.name, p.packBlobsPath()); err != nil {
		return err
	}
	return p.fs.SyncDir(filepath.Dir(p.path))
}

// dropList closes the list, and removes it unless the pack is done. One that is in
// place already does no harm: the blobs have their revisions.
func (p *packer) dropList(done bool) {
	if p.dropped == nil {
		return
	}
	p.dropped.file.Close() // it is synced, or of no use
	if !done {
		p.fs.Remove(p.dropped.name)
	}
}

// removePackedBlobs does what the list says, if there is one, and removes it. It
// returns how many blobs there were. A blob whose revision is in the data file
// stays, whatever the list says.
func (s *Storage) removePackedBlobs() (n int64, err error) {
	if s.blobs == nil {
		return 0, nil
	}
	f, err := s.fs.OpenFile(s.packBlobsPath(), os.O_RDONLY, 0)
	if err != nil {
		return 0, ifExists(err)
	}
	defer f.Close()
	if n, err = s.removeListed(f); err != nil {
		return n, fmt.Errorf("removing blobs that were packed away: %w", err)
	}
	return n, ifExists(s.fs.Remove(s.packBlobsPath()))
}

func (s *Storage) removeListed(list io.Reader) (n int64, err error) {
	lines := bufio.NewScanner(list)
	if !lines.Scan() {
		return 0, lines.Err()
	}
	var old *blobs.Dir
	if lines.Text() == keepBlobs {
		if old, err = s.oldBlobs(); err != nil {
			return 0, err
		}
	}
	for lines.Scan() {
		var oid, tid uint64
		if _, err := fmt.Sscanf(lines.Text(), "%x %x", &oid, &tid); err != nil {
			return n, fmt.Errorf("%s: %q is not an oid and a tid", s.packBlobsPath(), lines.Text())
		}
		removed, err := s.removeBlob(old, blobID{OID: zodb.OID(oid), TID: zodb.TID(tid)})
		if err != nil {
			return n, err
		}
		if removed {
			n++
		}
	}
	if err := lines.Err(); err != nil || old == nil {
		return n, err
	}
	return n, s.linkBlobs(old)
}

// removeBlob removes a blob, or moves it to the old directory, if there is one and
// its revision is gone.
func (s *Storage) removeBlob(old *blobs.Dir, id blobID) (removed bool, err error) {
	path, err := s.blobs.Load(id.OID, id.TID)
	if _, missing := errors.AsType[*zodb.NoObjectError](err); missing {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	v, pos, err := s.lookup(id.OID) // as it is now: commits go on
	if err != nil {
		return false, err
	}
	defer v.release()
	there, err := v.revision(pos, id.OID, id.TID)
	if there || err != nil {
		return false, err
	}
	if old != nil {
		// Not synced, one by one, as blobs are that have no other place: what the old
		// directory is short of after a power failure was packed away.
		if _, err := old.OIDDir(id.OID); err != nil {
			return false, err
		}
		if err := s.fs.Rename(path, old.Path(id.OID, id.TID)); err != nil {
			return false, err
		}
	}
	return true, s.blobs.Remove(id.OID, id.TID) // and the folders that it leaves empty
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
