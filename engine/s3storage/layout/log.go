package layout

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// Hash is the SHA-256 of a log object.
type Hash [32]byte

// HashOf returns the hash of a log object's bytes.
func HashOf(object []byte) Hash { return sha256.Sum256(object) }

// Kind is what a log object is for.
type Kind byte

// The kinds of log objects.
const (
	Commit    Kind = 1 // transactions, a Meta, or both
	Fence     Kind = 2 // a new writer begins: whoever wrote before is over
	Replace   Kind = 3 // transactions have moved to other segments, or were dropped
	Collect   Kind = 4 // what is about to be deleted
	Collected Kind = 5 // what the last Collect named is deleted
)

func (k Kind) String() string {
	names := [...]string{Commit: "commit", Fence: "fence", Replace: "replace", Collect: "collect", Collected: "collected"}
	if int(k) < len(names) && names[k] != "" {
		return names[k]
	}
	return fmt.Sprintf("kind %d", byte(k))
}

// A log object:
//
//	offset  size  content
//	0       8     "ZARI-LOG"
//	8       1     version, 1
//	9       1     kind
//	10      16    id of the database
//	26      8     slot
//	34      8     epoch: how many writers there have been
//	42      16    nonce: random, another one for each attempt of each writer
//	58      32    SHA-256 of the object in the slot before; zeros in slot 1
//	90      8     tid of the database's last transaction, these included
//	98      8     largest oid in use, these included
//	106     4     c, length of the control record
//	110     4     t, length of the table
//	114     c     the control record: see Commit and the other kinds
//	              the transactions, in txnlog's encoding, in the order of their tids
//	        t     the table; empty where there are no transactions
//	-4      4     CRC-32C of everything before it
const (
	logMagic   = "ZARI-LOG"
	logHeadLen = 114
)

// Log is an object of the commit log.
type Log struct {
	Kind     Kind
	Database ID
	Slot     uint64
	Epoch    uint64
	Nonce    ID
	Prev     Hash
	LastTID  zodb.TID
	MaxOID   zodb.OID

	Meta      *store.Meta    // of a Commit, may be nil
	Fence     *FenceRecord   // of a Fence
	Replace   *ReplaceRecord // of a Replace
	Collect   *CollectRecord // of a Collect
	Collected uint64         // of a Collected: the slot of the Collect

	Table    Table
	TableLen int    // bytes of the encoded table, 0 for none
	Body     int64  // where the transactions begin in the object
	Txns     []byte // the encoded transactions
}

// Encode returns the object. Table and Txns must agree.
func (l *Log) Encode() []byte {
	control := l.control()
	var table []byte
	if len(l.Table.Txns) > 0 {
		table = l.Table.Append(nil)
	}
	b := make([]byte, 0, logHeadLen+len(control)+len(l.Txns)+len(table)+checksumLen)
	b = append(b, logMagic...)
	b = append(b, version, byte(l.Kind))
	b = append(b, l.Database[:]...)
	b = putUint64(b, l.Slot)
	b = putUint64(b, l.Epoch)
	b = append(b, l.Nonce[:]...)
	b = append(b, l.Prev[:]...)
	b = putUint64(b, uint64(l.LastTID))
	b = putUint64(b, uint64(l.MaxOID))
	b = putUint32(b, uint32(len(control)))
	b = putUint32(b, uint32(len(table)))
	b = append(b, control...)
	l.Body, l.TableLen = int64(len(b)), len(table)
	b = append(b, l.Txns...)
	b = append(b, table...)
	return seal(b)
}

// DecodeLog reads a log object. Txns alias b.
func DecodeLog(b []byte) (*Log, error) {
	r := open("log object", logMagic, b)
	l := &Log{
		Kind: Kind(r.byte()), Database: r.id(), Slot: r.uint64(), Epoch: r.uint64(), Nonce: r.id(),
		Prev: r.hash(), LastTID: r.tid(), MaxOID: r.oid(),
	}
	c, t := r.uint32(), r.uint32()
	control := &reader{what: "log object's control record", b: r.take(int(c)), err: r.err}
	l.Body, l.TableLen = int64(logHeadLen)+int64(c), int(t)
	l.Txns = r.take(len(r.b) - int(t))
	table := r.take(int(t))
	if r.err != nil {
		return nil, r.err
	}
	if err := l.readControl(control); err != nil {
		return nil, err
	}
	if t > 0 {
		decoded, err := DecodeTable(table)
		if err != nil {
			return nil, err
		}
		l.Table = *decoded
	}
	if l.Table.BodyLen() != int64(len(l.Txns)) {
		return nil, &Error{"log object", "the table does not fit the transactions"}
	}
	return l, nil
}

// Nonce returns the nonce of a log object, without looking at the rest.
func Nonce(b []byte) (ID, bool) {
	if len(b) < logHeadLen || string(b[:magicLen]) != logMagic {
		return ID{}, false
	}
	return ID(b[42:58]), true
}

// FenceRecord tells who took over, for people: writer: bytes; time in seconds since 1970: 8 bytes;
// and where the log goes on: see Front.
type FenceRecord struct {
	Writer string
	Time   int64
	Front  Front
}

// ReplaceRecord says that transactions lie elsewhere from this slot on.
//
//	8     slots below this one hold no transactions any more
//	8     transactions up to this tid are packed; 0: none
//	1     flags: 1 revisions in the old places that are in none of the new ones are dropped
//	      number of segments that are gone: uvarint; their ids
//	      number of new segments: uvarint; each as in a checkpoint
//	      number of blobs that are gone: uvarint; of each: oid 8, id 16
type ReplaceRecord struct {
	UpTo     uint64
	PackedTo zodb.TID
	Drops    bool
	Gone     []ID
	New      []Segment
	Blobs    []BlobName
}

// BlobName names a blob object.
type BlobName struct {
	OID zodb.OID
	ID  ID
}

// Key returns the key of the blob.
func (b BlobName) Key() string { return BlobKey(b.OID, b.ID) }

// CollectRecord names what its writer is about to delete.
//
//	8     slots below this one
//	      number of keys: uvarint; each: bytes
type CollectRecord struct {
	Floor uint64
	Keys  []string
}

const (
	metaLen   = 16 + 8 + 8 + 8
	flagDrops = 1
)

// The control record of a Commit is the Meta, or empty: UUID 16, epoch 8, tid floor 8,
// next oid 8.
func putMeta(b []byte, m *store.Meta) []byte {
	b = append(b, m.UUID[:]...)
	b = putUint64(b, m.Epoch)
	b = putUint64(b, uint64(m.TIDFloor))
	return putUint64(b, uint64(m.NextOID))
}

func (r *reader) meta() (m store.Meta) {
	m.UUID = r.id()
	m.Epoch, m.TIDFloor, m.NextOID = r.uint64(), r.tid(), r.oid()
	return m
}

func (l *Log) control() []byte {
	var b []byte
	switch l.Kind {
	case Commit:
		if l.Meta != nil {
			b = putMeta(b, l.Meta)
		}
	case Fence:
		b = putBytes(b, []byte(l.Fence.Writer))
		b = putUint64(b, uint64(l.Fence.Time))
		b = l.Fence.Front.append(b)
	case Replace:
		b = l.Replace.append(b)
	case Collect:
		b = l.Collect.append(b)
	case Collected:
		b = putUint64(b, l.Collected)
	}
	return b
}

func (x *ReplaceRecord) append(b []byte) []byte {
	b = putUint64(b, x.UpTo)
	b = putUint64(b, uint64(x.PackedTo))
	var flags byte
	if x.Drops {
		flags |= flagDrops
	}
	b = append(b, flags)
	b = putUvarint(b, uint64(len(x.Gone)))
	for _, id := range x.Gone {
		b = append(b, id[:]...)
	}
	b = putUvarint(b, uint64(len(x.New)))
	for i := range x.New {
		b = x.New[i].append(b)
	}
	b = putUvarint(b, uint64(len(x.Blobs)))
	for _, blob := range x.Blobs {
		b = putUint64(b, uint64(blob.OID))
		b = append(b, blob.ID[:]...)
	}
	return b
}

func (c *CollectRecord) append(b []byte) []byte {
	b = putUint64(b, c.Floor)
	b = putUvarint(b, uint64(len(c.Keys)))
	for _, key := range c.Keys {
		b = putBytes(b, []byte(key))
	}
	return b
}

func (r *reader) collect() CollectRecord {
	c := CollectRecord{Floor: r.uint64(), Keys: make([]string, r.count(1))}
	for i := range c.Keys {
		c.Keys[i] = string(r.bytes())
	}
	return c
}

func (l *Log) readControl(r *reader) error {
	switch l.Kind {
	case Commit:
		if len(r.b) == metaLen {
			m := r.meta()
			l.Meta = &m
		}
	case Fence:
		l.Fence = &FenceRecord{Writer: string(r.bytes()), Time: int64(r.uint64()), Front: r.front()}
	case Replace:
		l.Replace = r.replace()
	case Collect:
		c := r.collect()
		l.Collect = &c
	case Collected:
		l.Collected = r.uint64()
	default:
		r.fail(l.Kind.String() + " is not known")
	}
	return r.end()
}

func (r *reader) replace() *ReplaceRecord {
	x := &ReplaceRecord{UpTo: r.uint64(), PackedTo: r.tid()}
	flags := r.byte()
	if flags&^flagDrops != 0 {
		r.fail("flags that are not known")
	}
	x.Drops = flags&flagDrops != 0
	x.Gone = make([]ID, r.count(len(ID{})))
	for i := range x.Gone {
		x.Gone[i] = r.id()
	}
	x.New = make([]Segment, r.count(segmentLen))
	for i := range x.New {
		x.New[i] = r.segment()
	}
	x.Blobs = make([]BlobName, r.count(8+len(ID{})))
	for i := range x.Blobs {
		x.Blobs[i] = BlobName{OID: r.oid(), ID: r.id()}
	}
	return x
}

// TableAt returns where the table lies in a container of the given size.
func TableAt(size int64, tableLen int) (off int64) { return size - checksumLen - int64(tableLen) }

// TableLenOf reads the length of the table from the first bytes of a log object.
func TableLenOf(head []byte) (int, bool) {
	if len(head) < logHeadLen || string(head[:magicLen]) != logMagic {
		return 0, false
	}
	return int(binary.BigEndian.Uint32(head[110:])), true
}
