package txnlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/bits"

	"github.com/zaridb/zari/zodb"
)

// The encoding of a transaction. Numbers are big-endian, "bytes" are a uvarint
// length and so many bytes.
//
//	offset  size  content
//	0       4     length of what follows, the checksum included
//	4       1     version, 1
//	5       1     status
//	6       8     tid
//	14      16    token
//	30            user, description, extension: bytes each
//	              number of records: uvarint
//	              the records
//	-4      4     CRC-32C of everything before it
//
// and of a record:
//
//	0       8     oid
//	8       8     previous tid
//	16      1     flags: 1 delete, 2 from, 4 blob
//	17      8     from, with that flag only
//	              data: bytes, without the flag delete only
//
// A reader of version 1 refuses flags and versions that it does not know.
const (
	version = 1

	flagDelete = 1
	flagFrom   = 2
	flagBlob   = 4

	headerLen    = 4
	checksumLen  = 4
	minRecordLen = 17
)

// ErrShort says that the bytes end before the transaction does.
var ErrShort = errors.New("txnlog: the transaction is cut off")

// Error says what is wrong with an encoded transaction. It matches zodb.ErrCorrupt.
type Error struct{ Reason string }

func (e *Error) Error() string { return "txnlog: " + e.Reason }

// Is reports true for zodb.ErrCorrupt.
func (e *Error) Is(target error) bool { return target == zodb.ErrCorrupt }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Append appends the encoded transaction. It reads spooled data, and fails if
// they cannot be read, or if the whole is 4 GiB or more.
func (t *Txn) Append(dst []byte) ([]byte, error) {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, version, t.Status)
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.TID))
	dst = append(dst, t.Token[:]...)
	dst = appendBytes(dst, t.User)
	dst = appendBytes(dst, t.Description)
	dst = appendBytes(dst, t.Extension)
	dst = binary.AppendUvarint(dst, uint64(len(t.Records)))
	for i := range t.Records {
		var err error
		if dst, err = t.Records[i].append(dst); err != nil {
			return dst[:start], err
		}
	}
	n := len(dst) - start - headerLen + checksumLen
	if n > math.MaxUint32 {
		return dst[:start], &Error{fmt.Sprintf("transaction %v has %d bytes, too many for one", t.TID, n)}
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(n))
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli)), nil
}

func (r *Record) append(dst []byte) ([]byte, error) {
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.OID))
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Prev))
	var flags byte
	if r.Kind == Delete {
		flags |= flagDelete
	}
	if r.From != 0 {
		flags |= flagFrom
	}
	if r.Blob != "" {
		flags |= flagBlob
	}
	dst = append(dst, flags)
	if r.From != 0 {
		dst = binary.BigEndian.AppendUint64(dst, uint64(r.From))
	}
	if r.Kind == Delete {
		return dst, nil
	}
	data, err := r.Load()
	if err != nil {
		return dst, err
	}
	return appendBytes(dst, data), nil
}

// EncodedLen returns the number of bytes that the record takes in an encoded
// transaction.
func (r *Record) EncodedLen() int {
	n := minRecordLen
	if r.From != 0 {
		n += 8
	}
	if r.Kind == Delete {
		return n
	}
	return n + bytesLen(r.Len())
}

// HeadLen returns the number of bytes before the first record of the encoded
// transaction. What follows the last one is the checksum, of ChecksumLen bytes.
func (t *Txn) HeadLen() int {
	return headerLen + 2 + 8 + len(t.Token) + bytesLen(len(t.User)) + bytesLen(len(t.Description)) +
		bytesLen(len(t.Extension)) + uvarintLen(uint64(len(t.Records)))
}

// ChecksumLen is the number of bytes after the last record of an encoded transaction.
const ChecksumLen = checksumLen

// bytesLen is what appendBytes appends for n bytes.
func bytesLen(n int) int { return uvarintLen(uint64(n)) + n }

func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// DecodeRecord reads the record at the start of b, as it lies in an encoded
// transaction; what follows it does not matter. The data alias b. Nothing vouches
// for the bytes: the checksum is the whole transaction's.
func DecodeRecord(b []byte) (Record, error) {
	d := decoder{b: b}
	var r Record
	d.record(&r)
	return r, d.err
}

func appendBytes(dst, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

// Decode reads the transaction at the start of b and returns what follows it.
// The data alias b. The error is ErrShort if b ends too early, and an *Error if
// it holds something else than a transaction.
func Decode(b []byte) (t *Txn, rest []byte, err error) {
	if len(b) < headerLen {
		return nil, b, ErrShort
	}
	n := uint64(binary.BigEndian.Uint32(b))
	if n > uint64(len(b)-headerLen) {
		return nil, b, ErrShort
	}
	whole := b[:headerLen+n]
	if n < checksumLen {
		return nil, b, &Error{"a length that is no transaction's"}
	}
	body := whole[:len(whole)-checksumLen]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(whole[len(body):]) {
		return nil, b, &Error{"the checksum is wrong"}
	}
	d := decoder{b: body[headerLen:]}
	t = d.txn()
	if d.err == nil && len(d.b) > 0 {
		d.fail("bytes after the last record")
	}
	if d.err != nil {
		return nil, b, d.err
	}
	return t, b[len(whole):], nil
}

// decoder takes pieces off b until something is wrong.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(reason string) {
	if d.err == nil {
		d.err = &Error{reason}
	}
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail("a length beyond the end")
	}
	if d.err != nil {
		return nil
	}
	piece := d.b[:n:n]
	d.b = d.b[n:]
	return piece
}

func (d *decoder) byte() byte {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if p := d.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail("a bad number")
		return 0
	}
	d.take(uint64(n))
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n == 0 {
		return nil
	}
	return d.take(n)
}

func (d *decoder) txn() *Txn {
	if v := d.byte(); v != version {
		d.fail(fmt.Sprintf("version %d is not known", v))
		return nil
	}
	t := &Txn{Status: d.byte(), TID: zodb.TID(d.uint64())}
	copy(t.Token[:], d.take(uint64(len(t.Token))))
	t.User, t.Description, t.Extension = d.bytes(), d.bytes(), d.bytes()
	n := d.uvarint()
	if n > uint64(len(d.b))/minRecordLen {
		d.fail("more records than bytes")
		return nil
	}
	t.Records = make([]Record, n)
	for i := range t.Records {
		d.record(&t.Records[i])
	}
	return t
}

func (d *decoder) record(r *Record) {
	r.OID, r.Prev = zodb.OID(d.uint64()), zodb.TID(d.uint64())
	flags := d.byte()
	if flags&^(flagDelete|flagFrom|flagBlob) != 0 {
		d.fail("flags that are not known")
		return
	}
	if flags&flagFrom != 0 {
		if r.From = zodb.TID(d.uint64()); r.From == 0 {
			d.fail("from no transaction")
		}
	}
	if flags&flagBlob != 0 {
		r.Blob = "kept"
	}
	if flags&flagDelete != 0 {
		r.Kind = Delete
		return
	}
	if r.Data = d.bytes(); r.Data == nil {
		r.Data = []byte{}
	}
}
