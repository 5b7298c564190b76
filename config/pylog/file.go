package pylog

import (
	"errors"
	"io"
	"os"
	"sync"
)

// File is a log file that is appended to, and that can be opened anew after a
// log rotation has moved it away. It may be used concurrently.
type File struct {
	path string

	mu     sync.Mutex
	f      *os.File // nil: not opened yet, or closed
	closed bool
}

var _ io.WriteCloser = (*File)(nil)

// Open opens the log file at path, and makes it if it is not there. With delay
// that happens at the first write.
func Open(path string, delay bool) (*File, error) {
	f := &File{path: path}
	if delay {
		return f, nil
	}
	return f, f.Reopen()
}

// Write appends to the file.
func (f *File) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, os.ErrClosed
	}
	if f.f == nil {
		if err := f.open(); err != nil {
			return 0, err
		}
	}
	return f.f.Write(p)
}

// Reopen opens the file that is now at the path, and closes the one that was
// open, which stays in use if there is an error.
func (f *File) Reopen() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return os.ErrClosed
	}
	old := f.f
	if err := f.open(); err != nil || old == nil {
		return err
	}
	return old.Close()
}

func (f *File) open() error {
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	f.f = file
	return nil
}

// Close closes the file. Writes fail from then on.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.f == nil {
		return nil
	}
	err := f.f.Close()
	f.f = nil
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
