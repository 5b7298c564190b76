package datafs

import (
	"errors"
	"io"
)

// Window reads pieces of a file through a buffer that is filled in large reads.
// It is used by one goroutine at a time.
type Window struct {
	file io.ReaderAt
	base int64  // of buf in the file
	buf  []byte // what is there
	size int    // of one read
}

// NewWindow returns a Window that reads size bytes at a time.
func NewWindow(file io.ReaderAt, size int) *Window {
	return &Window{file: file, size: size}
}

// Forget drops what is in the buffer: for files that are being written to.
func (w *Window) Forget() { w.buf = w.buf[:0] }

// At returns the n bytes at off, valid until the next call. It reads ahead. At
// the end of the file it returns io.ErrUnexpectedEOF.
func (w *Window) At(off int64, n int) ([]byte, error) {
	if b := w.have(off, n); b != nil {
		return b, nil
	}
	return w.fill(off, max(n, w.size), off, n)
}

// AtBack is At for those who go backwards: it reads what is before.
func (w *Window) AtBack(off int64, n int) ([]byte, error) {
	if b := w.have(off, n); b != nil {
		return b, nil
	}
	start := max(0, min(off, off+int64(n)-int64(w.size)))
	return w.fill(start, int(off-start)+n, off, n)
}

func (w *Window) have(off int64, n int) []byte {
	i := off - w.base
	if i < 0 || i+int64(n) > int64(len(w.buf)) {
		return nil
	}
	return w.buf[i : i+int64(n)]
}

// fill reads total bytes at start, of which n at off must be there.
func (w *Window) fill(start int64, total int, off int64, n int) ([]byte, error) {
	if cap(w.buf) < total {
		w.buf = make([]byte, 0, total)
	}
	got, err := w.file.ReadAt(w.buf[:total], start)
	w.base, w.buf = start, w.buf[:got]
	if b := w.have(off, n); b != nil {
		return b, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return nil, err
}

// Copy returns a copy of the n bytes at off. The caller has made sure that the
// file is that long. Large pieces do not go through the buffer.
func (w *Window) Copy(off int64, n int) ([]byte, error) {
	out := make([]byte, n)
	if b := w.have(off, n); b != nil {
		copy(out, b)
		return out, nil
	}
	if n >= w.size/2 {
		got, err := w.file.ReadAt(out, off)
		if got == n {
			return out, nil
		}
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	b, err := w.At(off, n)
	copy(out, b)
	return out, err
}
