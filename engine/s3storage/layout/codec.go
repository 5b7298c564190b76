package layout

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/zaridb/zari/zodb"
)

const (
	version     = 1
	magicLen    = 8
	checksumLen = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Error says what is wrong with the bytes of an object. It matches zodb.ErrCorrupt.
type Error struct {
	What   string // "log object" ...
	Reason string
}

func (e *Error) Error() string { return e.What + ": " + e.Reason }

// Is reports true for zodb.ErrCorrupt.
func (e *Error) Is(target error) bool { return target == zodb.ErrCorrupt }

// begin starts an object.
func begin(magic string) []byte { return append([]byte(magic), version) }

// seal ends an object, or a part of one, with its checksum.
func seal(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func putUint64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }
func putUint32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }
func putUvarint(b []byte, v uint64) []byte {
	return binary.AppendUvarint(b, v)
}

func putZigzag(b []byte, v int64) []byte { return binary.AppendVarint(b, v) }

func putBytes(b, v []byte) []byte { return append(putUvarint(b, uint64(len(v))), v...) }

// reader takes pieces off b until something is wrong.
type reader struct {
	what string
	b    []byte
	err  error
}

// unseal checks the checksum of what lies in b and returns a reader of the rest.
func unseal(what string, b []byte) *reader {
	r := &reader{what: what}
	n := len(b) - checksumLen
	switch {
	case n < 0:
		r.fail("it is cut off")
	case crc32.Checksum(b[:n], castagnoli) != binary.BigEndian.Uint32(b[n:]):
		r.fail("the checksum is wrong")
	default:
		r.b = b[:n:n]
	}
	return r
}

// open is unseal of an object that begins with magic.
func open(what, magic string, b []byte) *reader {
	r := unseal(what, b)
	if string(r.take(magicLen)) != magic {
		r.fail("it is something else")
	}
	if v := r.byte(); v != version {
		r.fail(fmt.Sprintf("version %d is not known", v))
	}
	return r
}

func (r *reader) fail(reason string) {
	if r.err == nil {
		r.err = &Error{r.what, reason}
	}
}

// end returns what went wrong. Bytes that are left over are wrong too.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.fail("it has bytes too many")
	}
	return r.err
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail("a length beyond the end")
	}
	if r.err != nil {
		return nil
	}
	piece := r.b[:n:n]
	r.b = r.b[n:]
	return piece
}

func (r *reader) byte() byte {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if p := r.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if p := r.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("a bad number")
		return 0
	}
	r.take(n)
	return v
}

func (r *reader) zigzag() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail("a bad number")
		return 0
	}
	r.take(n)
	return v
}

// length reads a number of bytes that must be there.
func (r *reader) length() int {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail("a length beyond the end")
		return 0
	}
	return int(n)
}

// count reads a number of things that take at least size bytes each.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.fail("more entries than bytes")
		return 0
	}
	return int(n)
}

func (r *reader) bytes() []byte { return r.take(r.length()) }

func (r *reader) id() (id ID) {
	copy(id[:], r.take(len(id)))
	return id
}

func (r *reader) hash() (h Hash) {
	copy(h[:], r.take(len(h)))
	return h
}

func (r *reader) tid() zodb.TID { return zodb.TID(r.uint64()) }
func (r *reader) oid() zodb.OID { return zodb.OID(r.uint64()) }
