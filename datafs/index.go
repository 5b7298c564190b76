package datafs

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Sizes in an index file.
const (
	prefixSize   = 6
	suffixSize   = 2
	positionSize = 6
	entrySize    = suffixSize + positionSize

	// MaxBucket is the largest number of entries of a bucket.
	MaxBucket = 1 << (8 * suffixSize)
)

// Bucket is the part of an index for the oids with the same first six bytes.
// The slices hold Len() entries in the form that they have in the file.
type Bucket struct {
	Prefix    uint64 // oid >> 16
	Suffixes  []byte // two bytes each, ascending
	Positions []byte // six bytes each
}

// Len returns the number of entries.
func (b *Bucket) Len() int { return len(b.Suffixes) / suffixSize }

// At returns the last 16 bits of the oid, and the position, of entry i.
func (b *Bucket) At(i int) (suffix uint16, pos int64) {
	suffix = binary.BigEndian.Uint16(b.Suffixes[i*suffixSize:])
	p := b.Positions[i*positionSize:]
	return suffix, int64(binary.BigEndian.Uint16(p))<<32 | int64(binary.BigEndian.Uint32(p[2:]))
}

// Add appends an entry.
func (b *Bucket) Add(suffix uint16, pos int64) {
	b.Suffixes = binary.BigEndian.AppendUint16(b.Suffixes, suffix)
	b.Positions = binary.BigEndian.AppendUint16(b.Positions, uint16(pos>>32))
	b.Positions = binary.BigEndian.AppendUint32(b.Positions, uint32(pos))
}

// Reset empties the bucket and keeps its memory.
func (b *Bucket) Reset(prefix uint64) {
	b.Prefix, b.Suffixes, b.Positions = prefix, b.Suffixes[:0], b.Positions[:0]
}

// Opcodes of the pickles that an index is made of. Python 3 writes protocol 3,
// Python 2 wrote protocol 1 and kept memos.
const (
	opProto      = 0x80
	opFrame      = 0x95
	opMemoize    = 0x94
	opPut        = 'q'
	opLongPut    = 'r'
	opStop       = '.'
	opNone       = 'N'
	opMark       = '('
	opTuple      = 't'
	opTuple2     = 0x86
	opInt1       = 'K'
	opInt2       = 'M'
	opInt4       = 'J'
	opLong1      = 0x8a
	opIntText    = 'I'
	opLongText   = 'L'
	opBytes1     = 'C'
	opBytes4     = 'B'
	opString1    = 'U'
	opString4    = 'T'
	pickleHeader = "\x80\x03"
)

var errIndex = errors.New("not an index in the known form")

// ReadIndex reads an index file and hands its buckets to add, which must not
// keep them. It returns the position up to which the index covers the data file;
// all positions in the index are checked to be before that. It holds one bucket
// in memory.
func ReadIndex(r io.Reader, add func(*Bucket)) (covers int64, err error) {
	p := &indexReader{r: bufio.NewReaderSize(r, 1<<16)}
	covers, err = p.position()
	if err != nil {
		return 0, err
	}
	last := int64(-1)
	var b Bucket
	for {
		more, err := p.bucket(&b)
		if err != nil {
			return 0, err
		}
		if !more {
			return covers, nil
		}
		if int64(b.Prefix) <= last || !ascending(b.Suffixes) {
			return 0, fmt.Errorf("%w: its oids are not in order", errIndex)
		}
		last = int64(b.Prefix)
		if !b.within(covers) {
			return 0, fmt.Errorf("%w: a position is not in the part of the file that it covers", errIndex)
		}
		add(&b)
	}
}

// within reports whether all positions are those of records before end.
func (b *Bucket) within(end int64) bool {
	for i := range b.Len() {
		if _, pos := b.At(i); pos < MagicSize+TxnHeaderSize || pos >= end {
			return false
		}
	}
	return true
}

func ascending(suffixes []byte) bool {
	last := -1
	for i := 0; i < len(suffixes); i += suffixSize {
		s := int(binary.BigEndian.Uint16(suffixes[i:]))
		if s <= last {
			return false
		}
		last = s
	}
	return true
}

// indexReader reads the few kinds of pickles that occur.
type indexReader struct {
	r      *bufio.Reader
	prefix [prefixSize]byte
	data   []byte
}

// op returns the next opcode that builds something.
func (p *indexReader) op() (byte, error) {
	for {
		op, err := p.r.ReadByte()
		if err != nil {
			return 0, noEOF(err)
		}
		skip := 0
		switch op {
		case opProto, opPut:
			skip = 1
		case opLongPut:
			skip = 4
		case opFrame:
			skip = 8
		case opMemoize:
		default:
			return op, nil
		}
		if _, err := p.r.Discard(skip); err != nil {
			return 0, noEOF(err)
		}
	}
}

func (p *indexReader) expect(want byte) error {
	op, err := p.op()
	if err == nil && op != want {
		err = fmt.Errorf("%w: opcode 0x%02x", errIndex, op)
	}
	return err
}

// number reads n little-endian bytes, n <= 8.
func (p *indexReader) number(n int) (uint64, error) {
	var b [8]byte
	_, err := io.ReadFull(p.r, b[:n])
	return binary.LittleEndian.Uint64(b[:]), noEOF(err)
}

func (p *indexReader) position() (int64, error) {
	op, err := p.op()
	if err != nil {
		return 0, err
	}
	var v uint64
	switch op {
	case opInt1:
		v, err = p.number(1)
	case opInt2:
		v, err = p.number(2)
	case opInt4: // signed
		if v, err = p.number(4); v > math.MaxInt32 {
			return 0, fmt.Errorf("%w: it covers less than nothing", errIndex)
		}
	case opLong1:
		v, err = p.long()
	case opIntText, opLongText:
		v, err = p.text()
	default:
		err = fmt.Errorf("%w: opcode 0x%02x", errIndex, op)
	}
	if err != nil {
		return 0, err
	}
	if v > MaxPos {
		return 0, fmt.Errorf("%w: it covers %d bytes", errIndex, v)
	}
	return int64(v), p.expect(opStop)
}

func (p *indexReader) long() (uint64, error) {
	n, err := p.number(1)
	if err != nil {
		return 0, err
	}
	if n > 8 {
		return 0, errIndex
	}
	return p.number(int(n))
}

// text reads a decimal number up to a newline.
func (p *indexReader) text() (v uint64, err error) {
	for range 20 {
		c, err := p.r.ReadByte()
		switch {
		case err != nil:
			return 0, noEOF(err)
		case c == '\n':
			return v, nil
		case c == 'L':
			continue
		case c < '0' || c > '9' || v > MaxPos:
			return 0, errIndex
		}
		v = v*10 + uint64(c-'0')
	}
	return 0, errIndex
}

// bucket reads one bucket, or the None at the end.
func (p *indexReader) bucket(b *Bucket) (more bool, err error) {
	op, err := p.op()
	if err != nil {
		return false, err
	}
	closing := byte(opTuple2)
	switch op {
	case opNone:
		return false, p.expect(opStop)
	case opMark:
		closing = opTuple
		if op, err = p.op(); err != nil {
			return false, err
		}
	}
	prefix, err := p.bytes(op, p.prefix[:0], prefixSize)
	if err != nil {
		return false, err
	}
	if op, err = p.op(); err != nil {
		return false, err
	}
	p.data, err = p.bytes(op, p.data[:0], MaxBucket*entrySize)
	if err != nil {
		return false, err
	}
	if len(prefix) != prefixSize || len(p.data)%entrySize != 0 {
		return false, fmt.Errorf("%w: a bucket of %d bytes", errIndex, len(p.data))
	}
	n := len(p.data) / entrySize
	b.Prefix = uint64(binary.BigEndian.Uint16(prefix))<<32 | uint64(binary.BigEndian.Uint32(prefix[2:]))
	b.Suffixes, b.Positions = p.data[:n*suffixSize], p.data[n*suffixSize:]
	if err := p.expect(closing); err != nil {
		return false, err
	}
	return true, p.expect(opStop)
}

// bytes reads a byte string of at most limit bytes into dst.
func (p *indexReader) bytes(op byte, dst []byte, limit int) ([]byte, error) {
	size := 0
	switch op {
	case opBytes1, opString1:
		size = 1
	case opBytes4, opString4:
		size = 4
	default:
		return nil, fmt.Errorf("%w: opcode 0x%02x", errIndex, op)
	}
	n, err := p.number(size)
	if err != nil {
		return nil, err
	}
	if n > uint64(limit) {
		return nil, fmt.Errorf("%w: a string of %d bytes", errIndex, n)
	}
	if cap(dst) < int(n) {
		dst = make([]byte, n)
	}
	dst = dst[:n]
	_, err = io.ReadFull(p.r, dst)
	return dst, noEOF(err)
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
