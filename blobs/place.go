package blobs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

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

// Place moves the file src into the place of the blob, in the place of what may
// be there, and takes away the permission to write it. When it returns nil, the
// blob's bytes, name and folders are durable, and src is gone.
//
// After an error the blob may or may not be in place, and src may be gone:
// [Dir.Remove] makes sure that it is not there.
func (d *Dir) Place(src string, oid zodb.OID, tid zodb.TID) error {
	dir, err := d.OIDDir(oid)
	if err != nil {
		return err
	}
	if err := d.seal(src, dir); err != nil {
		return err
	}
	err = d.move(src, oid, tid)
	if errors.Is(err, syscall.EXDEV) {
		err = d.moveAcross(src, dir, oid, tid)
	}
	if err != nil {
		return err
	}
	return d.syncUp(dir)
}

// seal makes a file read-only and its bytes durable. The folder dir says who may
// read it.
func (d *Dir) seal(name, dir string) error {
	folder, err := d.fs.Stat(dir)
	if err != nil {
		return err
	}
	file, err := d.fs.Stat(name)
	if err != nil {
		return err
	}
	if !file.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file: it cannot be a blob", name)
	}
	perm := file.Mode().Perm()&^0o222 | folder.Mode().Perm()&0o444
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
func (d *Dir) moveAcross(src, dir string, oid zodb.OID, tid zodb.TID) error {
	near, err := d.copyNear(src, fmt.Sprintf("%v-%v.copy", oid, tid))
	if err == nil {
		err = d.seal(near, dir)
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

// syncUp makes the entries of dir and of all folders above it durable. It does
// not ask which of them are new: another process that shares the directory may
// have made them, and not have synced them. Syncing what is clean costs little.
func (d *Dir) syncUp(dir string) error {
	for {
		if err := d.fs.SyncDir(dir); err != nil {
			return err
		}
		if dir == d.root {
			return nil
		}
		dir = filepath.Dir(dir)
	}
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
