//go:build !linux

package vfs

import (
	"errors"
	"io/fs"
)

// Datasync is Sync: few systems tell the two apart, and on macOS only Sync
// reaches the medium.
func (f osFile) Datasync() error { return f.Sync() }

// Free is not asked for here: systems differ too much in how they tell.
func (osFS) Free(name string) (int64, error) {
	return 0, &fs.PathError{Op: "statfs", Path: name, Err: errors.ErrUnsupported}
}

// Reserve cannot set space aside without changing the file's size here.
func (f osFile) Reserve(_, n int64) error {
	if n <= 0 {
		return nil
	}
	return &fs.PathError{Op: "reserve", Path: f.Name(), Err: errors.ErrUnsupported}
}
