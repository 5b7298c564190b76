package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

var _ File = (*memFile)(nil)

// memFile is an open file of a tree. Its fields are guarded by the tree's mutex.
type memFile struct {
	t      *tree
	n      *node
	name   string
	flag   int
	pos    int64
	closed bool
	locks  bool // it holds the lock of its node
}

var errAppend = errors.New("WriteAt on a file opened with O_APPEND")

func (f *memFile) Name() string { return f.name }

// usable says why the file cannot be used for reading or writing.
func (f *memFile) usable(write bool) error {
	switch access := f.flag & (os.O_RDONLY | os.O_WRONLY | os.O_RDWR); {
	case f.closed:
		return fs.ErrClosed
	case write && access == os.O_RDONLY, !write && access == os.O_WRONLY:
		return syscall.EBADF
	case f.n.mode.IsDir():
		return syscall.EISDIR
	}
	if write {
		return f.t.begin()
	}
	return f.t.look()
}

func (f *memFile) Read(p []byte) (int, error) {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	n, err := f.readAt(p, f.pos)
	f.pos += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.t.mu.RLock()
	defer f.t.mu.RUnlock()
	return f.readAt(p, off)
}

func (f *memFile) readAt(p []byte, off int64) (int, error) {
	err := f.usable(false)
	if off < 0 {
		err = syscall.EINVAL
	}
	if err != nil {
		return 0, pathError("read", f.name, err)
	}
	n := 0
	if off < int64(len(f.n.data)) {
		n = copy(p, f.n.data[off:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) Write(p []byte) (int, error) {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	if f.flag&os.O_APPEND != 0 {
		f.pos = int64(len(f.n.data))
	}
	n, err := f.writeAt(p, f.pos)
	f.pos += int64(n)
	return n, err
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	if f.flag&os.O_APPEND != 0 {
		return 0, pathError("write", f.name, errAppend)
	}
	return f.writeAt(p, off)
}

// writeAt writes as much as there is space for.
func (f *memFile) writeAt(p []byte, off int64) (int, error) {
	err := f.usable(true)
	if off < 0 {
		err = syscall.EINVAL
	}
	if err != nil {
		return 0, pathError("write", f.name, err)
	}
	end := off + int64(len(p))
	if room := f.t.room(f.n); end > room {
		p, err = p[:max(0, room-off)], syscall.ENOSPC
		end = off + int64(len(p))
	}
	if len(p) > 0 {
		f.t.grow(f.n, end)
		copy(f.n.data[off:], p)
		f.t.changed(f.n, off, end)
	}
	return len(p), pathError("write", f.name, err)
}

func (f *memFile) Seek(offset int64, whence int) (int64, error) {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	if f.closed {
		return 0, pathError("seek", f.name, fs.ErrClosed)
	}
	switch whence {
	case io.SeekCurrent:
		offset += f.pos
	case io.SeekEnd:
		offset += int64(len(f.n.data))
	}
	if offset < 0 || whence < io.SeekStart || whence > io.SeekEnd {
		return 0, pathError("seek", f.name, syscall.EINVAL)
	}
	f.pos = offset
	return offset, nil
}

func (f *memFile) Stat() (fs.FileInfo, error) {
	f.t.mu.RLock()
	defer f.t.mu.RUnlock()
	err := f.t.look()
	if f.closed {
		err = fs.ErrClosed
	}
	if err != nil {
		return nil, pathError("stat", f.name, err)
	}
	return f.n.info(f.name), nil
}

// Truncate also gives back what was reserved beyond size, as ext4 does.
func (f *memFile) Truncate(size int64) error {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	err := f.usable(true)
	switch {
	case errors.Is(err, syscall.EBADF):
		err = syscall.EINVAL // ftruncate alone says it so
	case err != nil:
	case size < 0:
		err = syscall.EINVAL
	case size > f.t.room(f.n):
		err = syscall.ENOSPC
	default:
		f.t.resize(f.n, size)
	}
	return pathError("truncate", f.name, err)
}

func (f *memFile) Sync() error     { return f.sync("sync", true) }
func (f *memFile) Datasync() error { return f.sync("fdatasync", false) }

func (f *memFile) sync(op string, all bool) error {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	err := f.t.look()
	if f.closed {
		err = fs.ErrClosed
	}
	if err == nil {
		err = f.t.begin()
	}
	if err == nil && f.t.log != nil {
		f.t.log.sync(f.n, all)
	}
	return pathError(op, f.name, err)
}

func (f *memFile) Reserve(off, n int64) error {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	err := f.usable(true)
	if end := off + n; err == nil && n > 0 && end > f.n.taken() {
		if end <= f.t.room(f.n) {
			f.t.used += end - f.n.taken()
			f.n.reserved = end
		} else {
			err = syscall.ENOSPC
		}
	}
	return pathError("fallocate", f.name, err)
}

func (f *memFile) Close() error {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	if f.closed {
		return pathError("close", f.name, fs.ErrClosed)
	}
	f.closed = true
	f.n.open--
	if f.locks {
		f.n.locked = false
	}
	f.t.free(f.n)
	return nil
}

// lock takes the lock of the file and tells whether it was free.
func (f *memFile) lock() bool {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	if f.n.locked {
		return false
	}
	f.n.locked, f.locks = true, true
	return true
}

// taken is the space that a file uses.
func (n *node) taken() int64 { return max(n.reserved, int64(len(n.data))) }

// room returns up to which offset a file can be written.
func (t *tree) room(n *node) int64 {
	if t.capacity < 0 {
		return 1<<63 - 1
	}
	return max(n.taken(), n.taken()+t.capacity-t.used)
}

// grow makes sure that the file is at least size long.
func (t *tree) grow(n *node, size int64) {
	t.used += max(0, size-n.taken())
	if more := size - int64(len(n.data)); more > 0 {
		n.data = append(n.data, make([]byte, more)...)
	}
	n.modTime = time.Now()
}

// resize makes the file exactly size long.
func (t *tree) resize(n *node, size int64) {
	old := int64(len(n.data))
	t.used += size - n.taken()
	n.reserved = 0
	if size < old {
		clear(n.data[size:]) // so that growing again finds zeros
		n.data = n.data[:size]
	} else {
		n.data = append(n.data, make([]byte, size-old)...)
	}
	n.modTime = time.Now()
	if t.log != nil {
		t.log.resized(n, old, size)
	}
}

// changed tells the log that bytes were written.
func (t *tree) changed(n *node, from, to int64) {
	if t.log != nil {
		t.log.wrote(n, from, to)
	}
}

// free gives back the space of a file that nobody can reach any more.
func (t *tree) free(n *node) {
	if n.links == 0 && n.open == 0 {
		t.used -= n.taken()
	}
}

// SetCapacity limits the bytes that all files may take together, what is
// reserved for them included; -1 lifts the limit. Beyond it writes end short
// with ENOSPC. Files that take more already stay as they are.
func (t *tree) SetCapacity(bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.capacity = bytes
}

// Capacity returns the limit, -1 if there is none.
func (t *tree) Capacity() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.capacity
}

// Free implements FS; without a capacity it returns errors.ErrUnsupported.
func (t *tree) Free(name string) (int64, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.capacity < 0 {
		return 0, &fs.PathError{Op: "statfs", Path: name, Err: errors.ErrUnsupported}
	}
	return max(0, t.capacity-t.used), nil
}

// Used returns the bytes that count against the capacity.
func (t *tree) Used() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.used
}
