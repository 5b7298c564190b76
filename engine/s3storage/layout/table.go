package layout

import (
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// Table says where in a log object or segment each transaction and each record
// lies. It stands behind them, with a checksum of its own, so that it can be read
// alone:
//
//	number of transactions: uvarint
//	of each:
//	  tid: the first one, of the next the difference to the one before: uvarint
//	  length of its head: uvarint
//	  number of records: uvarint
//	  of each: oid: uvarint; length: uvarint; flags: byte, 1 delete, 4 blob;
//	           with blob: id of the blob, 16 bytes, its size, uvarint, and the
//	           CRC-32C of its bytes, 4 bytes
//	CRC-32C of the table
//
// Head, records and checksum of a transaction follow each other, and so do
// transactions: all offsets follow from the lengths.
type Table struct{ Txns []TableTxn }

// TableTxn is a transaction in a table.
type TableTxn struct {
	TID     zodb.TID
	Head    int // length of what is before its records
	Records []TableRecord
}

// TableRecord is a record in a table.
type TableRecord struct {
	OID    zodb.OID
	Len    int // as encoded
	Delete bool
	Blob   *Blob // nil: it has none
}

// Blob is where a record's blob lies.
type Blob struct {
	ID   ID
	Size int64
	Sum  uint32 // CRC-32C of its bytes
}

// Add notes some more bytes of the blob.
func (b *Blob) Add(part []byte) {
	b.Size += int64(len(part))
	b.Sum = crc32.Update(b.Sum, castagnoli, part)
}

// BlobOf returns what describes the bytes of a blob, under a new id.
func BlobOf(r io.Reader) (Blob, error) {
	sum := crc32.New(castagnoli)
	n, err := io.Copy(sum, r)
	return Blob{ID: NewID(), Size: n, Sum: sum.Sum32()}, err
}

func (b *Blob) append(dst []byte) []byte {
	dst = append(dst, b.ID[:]...)
	dst = putUvarint(dst, uint64(b.Size))
	return putUint32(dst, b.Sum)
}

func (r *reader) blob() Blob {
	return Blob{ID: r.id(), Size: int64(r.uvarint() & math.MaxInt64), Sum: r.uint32()}
}

const (
	flagDelete = 1
	flagBlob   = 4

	minTableTxn    = 3
	minTableRecord = 3
)

// Len returns the length of the encoded transaction.
func (t *TableTxn) Len() int {
	n := t.Head + txnlog.ChecksumLen
	for i := range t.Records {
		n += t.Records[i].Len
	}
	return n
}

// TableOf makes the table's entry for a transaction. blobs finds the blob of a record that
// has one.
func TableOf(t *txnlog.Txn, blob func(r *txnlog.Record) (Blob, error)) (TableTxn, error) {
	entry := TableTxn{TID: t.TID, Head: t.HeadLen(), Records: make([]TableRecord, len(t.Records))}
	for i := range t.Records {
		r := &t.Records[i]
		entry.Records[i] = TableRecord{OID: r.OID, Len: r.EncodedLen(), Delete: r.Kind == txnlog.Delete}
		if r.Blob == "" {
			continue
		}
		b, err := blob(r)
		if err != nil {
			return entry, err
		}
		entry.Records[i].Blob = &b
	}
	return entry, nil
}

// Each calls fn for every record of a table whose transactions begin at base.
func (t *Table) Each(base int64, fn func(tid zodb.TID, off int64, r *TableRecord)) {
	for i := range t.Txns {
		txn := &t.Txns[i]
		off := base + int64(txn.Head)
		for j := range txn.Records {
			fn(txn.TID, off, &txn.Records[j])
			off += int64(txn.Records[j].Len)
		}
		base = off + txnlog.ChecksumLen
	}
}

// BodyLen returns the length of all transactions.
func (t *Table) BodyLen() int64 {
	n := int64(0)
	for i := range t.Txns {
		n += int64(t.Txns[i].Len())
	}
	return n
}

// Append appends the encoded table.
func (t *Table) Append(dst []byte) []byte {
	start := len(dst)
	dst = putUvarint(dst, uint64(len(t.Txns)))
	last := zodb.TID(0)
	for i := range t.Txns {
		txn := &t.Txns[i]
		dst = putUvarint(dst, uint64(txn.TID-last))
		last = txn.TID
		dst = putUvarint(dst, uint64(txn.Head))
		dst = putUvarint(dst, uint64(len(txn.Records)))
		for j := range txn.Records {
			dst = txn.Records[j].append(dst)
		}
	}
	return append(dst[:start], seal(dst[start:])...)
}

func (r *TableRecord) append(dst []byte) []byte {
	dst = putUvarint(dst, uint64(r.OID))
	dst = putUvarint(dst, uint64(r.Len))
	var flags byte
	if r.Delete {
		flags |= flagDelete
	}
	if r.Blob != nil {
		flags |= flagBlob
	}
	dst = append(dst, flags)
	if r.Blob != nil {
		dst = r.Blob.append(dst)
	}
	return dst
}

// DecodeTable reads a table.
func DecodeTable(b []byte) (*Table, error) {
	r := unseal("table", b)
	t := &Table{Txns: make([]TableTxn, r.count(minTableTxn))}
	last := zodb.TID(0)
	for i := range t.Txns {
		t.Txns[i] = r.tableTxn(last)
		last = t.Txns[i].TID
	}
	return t, r.end()
}

func (r *reader) tableTxn(last zodb.TID) TableTxn {
	step := r.uvarint()
	if step == 0 || step > uint64(zodb.MaxTID-last) {
		r.fail(fmt.Sprintf("a tid after %v that is none", last))
	}
	t := TableTxn{TID: last + zodb.TID(step), Head: r.size()}
	t.Records = make([]TableRecord, r.count(minTableRecord))
	for i := range t.Records {
		r.tableRecord(&t.Records[i])
	}
	return t
}

func (r *reader) tableRecord(t *TableRecord) {
	t.OID, t.Len = zodb.OID(r.uvarint()), r.size()
	flags := r.byte()
	if flags&^(flagDelete|flagBlob) != 0 {
		r.fail("flags that are not known")
	}
	t.Delete = flags&flagDelete != 0
	if flags&flagBlob != 0 {
		b := r.blob()
		t.Blob = &b
	}
}

// size reads the length of something that is elsewhere.
func (r *reader) size() int {
	n := r.uvarint()
	if n > math.MaxUint32 {
		r.fail("a length that cannot be")
		return 0
	}
	return int(n)
}
