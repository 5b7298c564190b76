package vfs

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// Datasync makes the data and the size durable.
func (f osFile) Datasync() error {
	return f.control("fdatasync", unix.Fdatasync)
}

// Reserve has the file system set blocks aside beyond the end of the file.
func (f osFile) Reserve(off, n int64) error {
	if n <= 0 {
		return nil
	}
	return f.control("fallocate", func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
}

// Free tells what users without privileges may write.
func (osFS) Free(name string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(name, &s); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: name, Err: err}
	}
	return int64(s.Bavail) * s.Bsize, nil
}

// control calls a system function on the descriptor, again if a signal came
// between, and names the file in its error.
func (f osFile) control(op string, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var callErr error
	err = conn.Control(func(fd uintptr) {
		for {
			if callErr = call(int(fd)); !errors.Is(callErr, unix.EINTR) {
				return
			}
		}
	})
	if err == nil && callErr != nil {
		err = &fs.PathError{Op: op, Path: f.Name(), Err: callErr}
	}
	return err
}
