package compress

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zlib"

	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// ErrTooLarge says that a record is larger than was allowed once decompressed.
var ErrTooLarge = errors.New("the decompressed record is too large")

const (
	prefix   = ".z"
	shortest = 20 // records up to this length are not compressed
	level    = 6  // as in Python: much smaller records take much longer

	// defaultMaxRecord is what one message of a client can carry.
	defaultMaxRecord = 256 << 20

	// scratchKept is how large a buffer may be that is kept for the next record.
	scratchKept = 1 << 20
)

// compressed reports whether a record is in the compressed form.
func compressed(data []byte) bool {
	return len(data) >= len(prefix) && string(data[:len(prefix)]) == prefix
}

// Untransform returns the record proper of a record that may be compressed. A
// plain one is returned as it is.
func Untransform(data []byte) ([]byte, error) { return untransform(data, defaultMaxRecord) }

func untransform(data []byte, limit int) ([]byte, error) {
	if !compressed(data) {
		return data, nil
	}
	i := inflaters.Get().(*inflater)
	defer i.put()
	plain, err := i.inflate(data, limit)
	if err != nil {
		return nil, err
	}
	return append(make([]byte, 0, len(plain)), plain...), nil // the buffer is used again
}

// References makes a scanner of plain records, which must not keep what it is
// given, one of records that may be compressed.
func References(scan func(data []byte, dst []zodb.OID) ([]zodb.OID, error)) func(data []byte, dst []zodb.OID) ([]zodb.OID, error) {
	return func(data []byte, dst []zodb.OID) ([]zodb.OID, error) {
		if !compressed(data) {
			return scan(data, dst)
		}
		i := inflaters.Get().(*inflater)
		defer i.put()
		plain, err := i.inflate(data, defaultMaxRecord)
		if err != nil {
			return dst, err
		}
		return scan(plain, dst)
	}
}

// Resolver makes a resolver of plain records one of records that may be
// compressed. The merged record is compressed if the one was that was to be
// written.
func Resolver(r store.Resolver) store.Resolver { return resolver{r} }

type resolver struct{ plain store.Resolver }

var _ store.UndoResolver = resolver{}

func (r resolver) Resolve(base, committed, wanted []byte) (merged []byte, ok bool) {
	return throughCompression(r.plain.Resolve, base, committed, wanted)
}

// ResolveUndo merges in an undo, if that makes a difference to the resolver.
func (r resolver) ResolveUndo(base, committed, wanted []byte) (merged []byte, ok bool) {
	if u, ok := r.plain.(store.UndoResolver); ok {
		return throughCompression(u.ResolveUndo, base, committed, wanted)
	}
	return r.Resolve(base, committed, wanted)
}

func throughCompression(merge func(base, committed, wanted []byte) ([]byte, bool), base, committed, wanted []byte) ([]byte, bool) {
	var plain [3][]byte
	for i, data := range [][]byte{base, committed, wanted} {
		var err error
		if plain[i], err = Untransform(data); err != nil {
			return nil, false
		}
	}
	merged, ok := merge(plain[0], plain[1], plain[2])
	if ok && compressed(wanted) {
		merged = Transform(merged)
	}
	return merged, ok
}

// Transform returns the compressed form of a record, or the record itself where
// that is not shorter or could not be read again.
func Transform(data []byte) []byte { return transform(data, defaultMaxRecord) }

func transform(data []byte, limit int) []byte {
	if len(data) <= shortest || len(data) > limit || compressed(data) {
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
