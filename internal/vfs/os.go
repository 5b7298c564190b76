package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"syscall"
)

// ErrLocked says that another has the lock on a file.
var ErrLocked = errors.New("locked by another process")

var (
	_ FS   = osFS{}
	_ File = osFile{}
)

// OS returns the file system of the machine. The files it opens also have the
// methods of *os.File.
func OS() FS { return osFS{} }

type osFS struct{}

// osFile adds Datasync and Reserve, which differ between systems.
type osFile struct{ *os.File }

func (osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err // not a File that holds a nil *os.File
	}
	return osFile{f}, nil
}

func (osFS) Stat(name string) (fs.FileInfo, error)        { return os.Stat(name) }
func (osFS) ReadDir(name string) ([]fs.DirEntry, error)   { return os.ReadDir(name) }
func (osFS) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }
func (osFS) Rename(oldname, newname string) error         { return os.Rename(oldname, newname) }
func (osFS) Remove(name string) error                     { return os.Remove(name) }
func (osFS) Link(oldname, newname string) error           { return os.Link(oldname, newname) }
func (osFS) Chmod(name string, perm fs.FileMode) error    { return os.Chmod(name, perm) }

// SyncDir counts it as done where a file system has no way to sync a directory:
// such ones refuse with EINVAL, and leave a program nothing else to do.
func (osFS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

// Lock does not remove the file when the lock is given back, and neither does
// zc.lockfile: a process might be waiting on the very file, and then hold a lock
// that nobody else can see.
func (osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	if err := flock(f); err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	content := lockContent(os.Getpid())
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Truncate(int64(len(content)))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil // closing the only descriptor frees the lock
}

// lockContent is what zc.lockfile writes: a space, the process id, a newline.
func lockContent(pid int) []byte { return []byte(" " + strconv.Itoa(pid) + "\n") }
