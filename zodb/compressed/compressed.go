// Package compressed has the form of records that the Python package
// zc.zlibstorage keeps compressed.
//
// A compressed record is the two bytes ".z" and a zlib stream (RFC 1950) of the
// record proper. Every other record is itself. A pickle never begins with ".z",
// since "." ends it, so the two can be told apart and live in one database.
//
// A few bytes can be the zlib stream of gigabytes: whoever reads says how much he
// takes. Beyond that a record is an error that matches [ErrTooLarge], and a stream
// that is broken one that matches [zodb.ErrCorrupt].
package compressed

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zlib"

	"github.com/zaridb/zari/zodb"
)

// ErrTooLarge says that a record is larger than was allowed once decompressed.
var ErrTooLarge = errors.New("the decompressed record is too large")

const (
	prefix   = ".z"
	shortest = 20 // records up to this length are not compressed
	level    = 6  // as in Python: much smaller records take much longer

	// scratchKept is how large a buffer may be that is kept for the next record.
	scratchKept = 1 << 20
)

// Is reports whether a record is in the compressed form.
func Is(data []byte) bool {
	return len(data) >= len(prefix) && string(data[:len(prefix)]) == prefix
}

// Read returns the record proper of a record that may be compressed. A plain one is
// returned as it is; of a compressed one at most limit bytes.
func Read(data []byte, limit int) (plain []byte, err error) {
	if !Is(data) {
		return data, nil
	}
	err = View(data, limit, func(b []byte) error {
		plain = append(make([]byte, 0, len(b)), b...)
		return nil
	})
	return plain, err
}

// View calls fn with what Read would return, and returns its error. fn must not
// keep the record, nor change it.
func View(data []byte, limit int, fn func(plain []byte) error) error {
	if !Is(data) {
		return fn(data)
	}
	i := inflaters.Get().(*inflater)
	defer i.put()
	plain, err := i.inflate(data, limit)
	if err != nil {
		return err
	}
	return fn(plain)
}

// Write returns the compressed form of a record, or the record itself where that is
// not shorter, or could not be told from a compressed one.
func Write(data []byte) []byte {
	if len(data) <= shortest || Is(data) {
		return data
	}
	d := deflaters.Get().(*deflater)
	defer d.put()
	d.buf.Reset()
	d.buf.WriteString(prefix)
	d.w.Reset(&d.buf)
	d.w.Write(data) // a bytes.Buffer takes everything
	d.w.Close()
	if d.buf.Len() >= len(data) {
		return data
	}
	return bytes.Clone(d.buf.Bytes())
}

// deflater compresses one record after the other.
type deflater struct {
	w   *zlib.Writer
	buf bytes.Buffer
}

var deflaters = sync.Pool{New: func() any {
	d := new(deflater)
	d.w, _ = zlib.NewWriterLevel(&d.buf, level) // the level is one that there is
	return d
}}

func (d *deflater) put() {
	if d.buf.Cap() > scratchKept {
		d.buf = bytes.Buffer{}
	}
	deflaters.Put(d)
}

// inflater decompresses one record after the other.
type inflater struct {
	src bytes.Reader
	zr  io.ReadCloser // nil before the first record
	buf []byte
}

var inflaters = sync.Pool{New: func() any { return new(inflater) }}

func (i *inflater) put() {
	i.src.Reset(nil)
	if cap(i.buf) > scratchKept {
		i.buf = nil
	}
	inflaters.Put(i)
}

// inflate returns the record proper of a compressed one, of at most limit bytes.
// It is valid until the next call. As in Python, what follows the stream is not
// looked at.
func (i *inflater) inflate(data []byte, limit int) ([]byte, error) {
	i.src.Reset(data[len(prefix):])
	if err := i.open(); err != nil {
		return nil, broken(err)
	}
	i.buf = i.buf[:0]
	for {
		if len(i.buf) == cap(i.buf) {
			i.grow(4*len(data), limit)
		}
		n, err := i.zr.Read(i.buf[len(i.buf):cap(i.buf)])
		i.buf = i.buf[:len(i.buf)+n]
		switch {
		case len(i.buf) > limit:
			return nil, fmt.Errorf("%d bytes of a compressed record hold more than %d: %w", len(data), limit, ErrTooLarge)
		case err == io.EOF:
			return i.buf, nil
		case err != nil:
			return nil, broken(err)
		}
	}
}

func (i *inflater) open() (err error) {
	if i.zr == nil {
		i.zr, err = zlib.NewReader(&i.src)
		return err
	}
	return i.zr.(zlib.Resetter).Reset(&i.src, nil)
}

// grow makes room for more, but for no more than one byte beyond the limit.
func (i *inflater) grow(guess, limit int) {
	size := min(max(2*cap(i.buf), guess, 512), limit+1)
	i.buf = append(make([]byte, 0, size), i.buf...)
}

func broken(err error) error {
	return fmt.Errorf("compressed record: %w: %w", zodb.ErrCorrupt, err)
}
