package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// DefaultMaxFrame is the largest frame that a Reader takes unless told otherwise.
// A frame holds one record at most, or one piece of a blob.
const DefaultMaxFrame = 64 << 20

const (
	headerSize = 4
	bufferSize = 64 << 10
	keepSize   = 1 << 20 // a larger buffer is given back after its frame
)

// FrameSizeError says that a frame is announced to be larger than the limit.
type FrameSizeError struct{ Size, Limit int64 }

func (e *FrameSizeError) Error() string {
	return fmt.Sprintf("wire: a frame of %d bytes, the limit is %d", e.Size, e.Limit)
}

// Reader reads frames. It reads ahead as far as its buffer goes, and lets the
// buffer grow only as the bytes of a larger frame really come.
type Reader struct {
	src   io.Reader
	limit int
	buf   []byte
	r, w  int // buf[r:w] is read and not yet returned
	err   error
}

// NewReader returns a reader of frames of at most limit bytes; 0 means
// [DefaultMaxFrame].
func NewReader(src io.Reader, limit int) *Reader {
	if limit <= 0 {
		limit = DefaultMaxFrame
	}
	return &Reader{src: src, limit: limit, buf: make([]byte, bufferSize)}
}

// Next returns the contents of the next frame, which are good until the next
// call. It returns io.EOF at the end between two frames, io.ErrUnexpectedEOF
// within one, and *[FrameSizeError] for one that is too large.
func (r *Reader) Next() ([]byte, error) {
	if err := r.need(headerSize); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(r.buf[r.r:])
	if int64(n) > int64(r.limit) {
		return nil, &FrameSizeError{int64(n), int64(r.limit)}
	}
	if err := r.need(headerSize + int(n)); err != nil {
		return nil, err
	}
	frame := r.buf[r.r+headerSize : r.r+headerSize+int(n) : r.r+headerSize+int(n)]
	r.r += headerSize + int(n)
	return frame, nil
}

// Buffered reports whether the next frame has been read in full already, so that
// Next will not wait.
func (r *Reader) Buffered() bool {
	have := r.w - r.r
	if have < headerSize {
		return false
	}
	return uint64(have) >= headerSize+uint64(binary.BigEndian.Uint32(r.buf[r.r:]))
}

// need reads until n bytes are there.
func (r *Reader) need(n int) error {
	for r.w-r.r < n {
		if r.err != nil {
			return r.ended()
		}
		r.makeRoom(n)
		var k int
		k, r.err = r.src.Read(r.buf[r.w:])
		r.w += k
	}
	return nil
}

func (r *Reader) ended() error {
	if r.err == io.EOF && r.w > r.r {
		return io.ErrUnexpectedEOF
	}
	return r.err
}

// makeRoom makes sure that there is some room behind w, towards n bytes from r.
func (r *Reader) makeRoom(n int) {
	if r.r == r.w {
		r.r, r.w = 0, 0
		if len(r.buf) > keepSize && n <= bufferSize {
			r.buf = make([]byte, bufferSize)
		}
	}
	if r.r+n <= len(r.buf) || (r.r == 0 && r.w < len(r.buf)) {
		return
	}
	to := r.buf
	if have := r.w - r.r; n > len(r.buf) && have > len(r.buf)/2 {
		to = make([]byte, min(n, 2*len(r.buf)))
	}
	r.w = copy(to, r.buf[r.r:r.w])
	r.r, r.buf = 0, to
}

// AppendFrame appends a frame with the given contents.
func AppendFrame(dst, contents []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(contents)))
	return append(dst, contents...)
}

// open appends room for a header, and close fills it in.
func open(dst []byte) ([]byte, int) {
	return append(dst, 0, 0, 0, 0), len(dst)
}

func closeFrame(dst []byte, at int) []byte {
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-headerSize))
	return dst
}
