// Package vfs is the seam between storages and the file system.
//
// Storages do all their file work through an [FS], so that tests can put a file
// system under them that runs out of space, returns errors, or forgets what was
// not synced when the power fails. Programs use [OS].
package vfs

import (
	"io"
	"io/fs"
)

// FS is a file system. Its methods mean what their namesakes in package os mean.
type FS interface {
	// OpenFile takes the flags of os.OpenFile.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	Stat(name string) (fs.FileInfo, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	MkdirAll(name string, perm fs.FileMode) error
	Rename(oldname, newname string) error
	Remove(name string) error
	// Link makes newname another name of the file oldname.
	Link(oldname, newname string) error
	Chmod(name string, perm fs.FileMode) error

	// Free returns how many bytes may yet be written to the file system that the
	// file or directory name is on. It returns errors.ErrUnsupported where that
	// cannot be told.
	Free(name string) (int64, error)

	// SyncDir makes the entries of a directory durable: files created, renamed
	// or removed in it before the call.
	SyncDir(name string) error

	// Lock takes the exclusive lock on the file name, creating it, as Python's
	// zc.lockfile does: flock, with the process id written into it. It does not
	// wait; an *os.PathError that matches ErrLocked says that another has it.
	Lock(name string) (io.Closer, error)
}

// File is an open file. ReadAt and WriteAt may be used concurrently.
type File interface {
	io.Reader
	io.Writer
	io.ReaderAt
	io.WriterAt
	io.Seeker
	io.Closer
	Name() string
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error

	// Sync makes data and all metadata durable, Datasync the data and the size.
	Sync() error
	Datasync() error

	// Reserve makes sure that bytes up to off+n can be written without running
	// out of space, and leaves the file's size as it is. It returns
	// errors.ErrUnsupported where the file system cannot promise that.
	Reserve(off, n int64) error
}
