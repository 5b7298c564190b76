package pylog

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// File is a log file that is appended to. It is opened anew after a log rotation
// has moved it away, or moves itself away. It may be used concurrently.
type File struct {
	path     string
	rotation Rotation
	now      func() time.Time

	mu      sync.Mutex
	f       *os.File // nil: not opened yet, or closed
	regular bool     // and not a pipe or a device: it can be rotated
	size    int64
	next    time.Time // when the schedule rotates it
	closed  bool
}

var _ io.WriteCloser = (*File)(nil)

// Open opens the log file at path, and makes it if it is not there. With delay
// that happens at the first write.
func Open(path string, delay bool, r Rotation) (*File, error) {
	return open(path, delay, r, time.Now)
}

func open(path string, delay bool, r Rotation, now func() time.Time) (*File, error) {
	f := &File{path: path, rotation: r, now: now}
	if delay {
		return f, nil
	}
	return f, f.open()
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
	if f.due(len(p)) {
		_ = f.rotate() // the file grows on if it cannot be moved: lines are worth more
	}
	n, err := f.f.Write(p)
	f.size += int64(n)
	return n, err
}

// Reopen opens the file that is now at the path, and closes the one that was
// open, which stays in use if there is an error. A file that rotates itself is
// rotated, as ZConfig does.
func (f *File) Reopen() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return os.ErrClosed
	}
	if f.rotation.On() && f.f != nil && f.regular && f.size > 0 {
		return f.rotate()
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
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.f, f.regular, f.size = file, info.Mode().IsRegular(), info.Size()
	if s := f.rotation.Schedule; s != nil {
		begun := f.now()
		if f.size > 0 {
			begun = info.ModTime()
		}
		f.next = s.next(begun)
	}
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
