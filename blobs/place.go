package blobs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/zaridb/zari/zodb"
)

// Load returns the path of the blob, which must not be written. A blob that is
// not there is a *[zodb.NoObjectError].
func (d *Dir) Load(oid zodb.OID, tid zodb.TID) (string, error) {
	path := d.Path(oid, tid)
	_, err := d.fs.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", &zodb.NoObjectError{OID: oid, Before: tid + 1}
	}
	if err != nil {
		return "", err
	}
	return path, nil
}

// Staged is a file that is to become a blob.
type Staged struct {
	Path string
	ID
}

// Place moves the file src into the place of the blob, in the place of what may
// be there, and takes away the permission to write it. When it returns nil, the
// blob's bytes, name and folders are durable, and src is gone.
//
// After an error the blob may or may not be in place, and src may be gone:
// [Dir.Remove] makes sure that it is not there.
func (d *Dir) Place(src string, oid zodb.OID, tid zodb.TID) error {
	return d.PlaceAll([]Staged{{src, ID{oid, tid}}})
}

// PlaceAll is Place for several blobs. It costs less than placing one after the
// other: files are synced at the same time, and each folder once. After an error
// any of them may or may not be in place.
func (d *Dir) PlaceAll(list []Staged) error {
	if err := d.sealAll(list); err != nil {
		return err
	}
	for _, s := range list {
		err := d.move(s.Path, s.OID, s.TID)
		if errors.Is(err, syscall.EXDEV) {
			err = d.moveAcross(s.Path, s.OID, s.TID)
		}
		if err != nil {
			return err
		}
	}
	return d.syncUp(list)
}

// sealers is how many files, or folders, are synced at a time: file systems write
// one record of their journal for all of them.
const sealers = 8

// sealAll makes the folders of the blobs, and seals the files.
func (d *Dir) sealAll(list []Staged) error {
	var g errgroup.Group
	g.SetLimit(sealers)
	for _, s := range list {
		mode, err := d.folderMode(s.OID)
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		g.Go(func() error { return d.seal(s.Path, mode) })
	}
	return g.Wait()
}

// folderMode returns the mode of the folder of oid, which it makes if need be.
func (d *Dir) folderMode(oid zodb.OID) (fs.FileMode, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir := d.oidDir(oid)
	if err := d.fs.MkdirAll(dir, dirPerm); err != nil {
		return 0, err
	}
	folder, err := d.fs.Stat(dir)
	if err != nil {
		return 0, err
	}
	return folder.Mode(), nil
}

// seal makes a file read-only and its bytes durable. The mode of its folder says
// who may read it.
func (d *Dir) seal(name string, folder fs.FileMode) error {
	file, err := d.fs.Stat(name)
	if err != nil {
		return err
	}
	if !file.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file: it cannot be a blob", name)
	}
	perm := file.Mode().Perm()&^0o222 | folder.Perm()&0o444
	if err := d.fs.Chmod(name, perm); err != nil {
		return err
	}
	f, err := d.fs.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d *Dir) move(src string, oid zodb.OID, tid zodb.TID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	// The folder may have been removed since it was made.
	if err := d.fs.MkdirAll(d.oidDir(oid), dirPerm); err != nil {
		return err
	}
	return d.fs.Rename(src, d.Path(oid, tid))
}

// moveAcross places a file that lies in another file system: a copy beside the
// blobs is made, so that the blob still appears whole or not at all.
func (d *Dir) moveAcross(src string, oid zodb.OID, tid zodb.TID) error {
	near, err := d.copyNear(src, fmt.Sprintf("%v-%v.copy", oid, tid))
	if err == nil {
		var mode fs.FileMode
		if mode, err = d.folderMode(oid); err == nil {
			err = d.seal(near, mode)
		}
	}
	if err == nil {
		err = d.move(near, oid, tid)
	}
	if err != nil {
		_ = d.fs.Remove(near) // not there, if it could not be made
		return fmt.Errorf("copy %s into blob directory %s: %w", src, d.root, err)
	}
	return d.fs.Remove(src)
}

func (d *Dir) copyNear(src, name string) (near string, err error) {
	temp, err := d.TempDir()
	if err != nil {
		return "", err
	}
	near = filepath.Join(temp, name)
	in, err := d.fs.OpenFile(src, os.O_RDONLY, 0)
	if err != nil {
		return near, err
	}
	defer in.Close()
	// What an earlier, interrupted copy left may be read-only by now.
	if err := d.fs.Remove(near); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return near, err
	}
	out, err := d.fs.OpenFile(near, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return near, err
	}
	_, err = io.Copy(out, in)
	return near, errors.Join(err, out.Close())
}

// syncUp makes the entries of the blobs' folders and of all folders above them
// durable, from the deepest up. It does not ask which of them are new: another
// process that shares the directory may have made them, and not have synced them.
// Syncing what is clean costs little.
func (d *Dir) syncUp(list []Staged) error {
	level := make(map[string]bool, len(list))
	for _, s := range list {
		level[d.oidDir(s.OID)] = true
	}
	for len(level) > 0 {
		var g errgroup.Group
		g.SetLimit(sealers)
		above := make(map[string]bool)
		for dir := range level {
			g.Go(func() error { return d.fs.SyncDir(dir) })
			if dir != d.root {
				above[filepath.Dir(dir)] = true
			}
		}
		if err := g.Wait(); err != nil {
			return err
		}
		level = above
	}
	return nil
}

// Remove removes the blob, and the folders that become empty by it. There being
// no such blob is no error. The removal is not made durable: after a power loss
// the blob may be there again.
func (d *Dir) Remove(oid zodb.OID, tid zodb.TID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.fs.Remove(d.Path(oid, tid))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for dir := d.oidDir(oid); dir != d.root; dir = filepath.Dir(dir) {
		entries, err := d.fs.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || len(entries) > 0 {
			return err
		}
		// A client that shares the directory may have put a file there just now.
		if d.fs.Remove(dir) != nil {
			return nil
		}
	}
	return nil
}
