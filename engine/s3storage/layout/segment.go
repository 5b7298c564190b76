package layout

import (
	"github.com/zaridb/zari/zodb"
)

// A segment:
//
//	offset  size  content
//	0       8     "ZARI-SEG"
//	8       1     version, 1
//	9       16    id of the database
//	25      16    id of the segment
//	41            the transactions, in txnlog's encoding, in the order of their tids
//	              the table
//	-8      4     length of the table
//	-4      4     CRC-32C of everything before it
const (
	segmentMagic = "ZARI-SEG"

	// SegmentBody is where the transactions of a segment begin.
	SegmentBody = 41

	segmentTail = 4 + checksumLen
)

// Segment describes a segment: in a checkpoint or a Replace
//
//	16  id
//	8   tid of its first transaction
//	8   tid of its last one
//	8   size of the object
//	4   length of its table
//	4   number of its transactions
type Segment struct {
	ID          ID
	First, Last zodb.TID
	Size        int64
	TableLen    int
	Txns        int
}

const segmentLen = 16 + 8 + 8 + 8 + 4 + 4

func (s *Segment) append(b []byte) []byte {
	b = append(b, s.ID[:]...)
	b = putUint64(b, uint64(s.First))
	b = putUint64(b, uint64(s.Last))
	b = putUint64(b, uint64(s.Size))
	b = putUint32(b, uint32(s.TableLen))
	return putUint32(b, uint32(s.Txns))
}

func (r *reader) segment() Segment {
	s := Segment{ID: r.id(), First: r.tid(), Last: r.tid(), Size: int64(r.uint64()), TableLen: int(r.uint32()), Txns: int(r.uint32())}
	if s.Size < SegmentBody+segmentTail+int64(s.TableLen) || s.First > s.Last {
		r.fail("a segment that cannot be")
	}
	return s
}

// TableAt returns where the segment's table lies.
func (s *Segment) TableAt() int64 { return s.Size - segmentTail - int64(s.TableLen) }

// SegmentWriter makes a segment.
type SegmentWriter struct {
	Table Table
	id    ID
	b     []byte
}

// NewSegmentWriter begins a segment. size is about how large it will be.
func NewSegmentWriter(database ID, size int64) *SegmentWriter {
	w := &SegmentWriter{id: NewID(), b: make([]byte, 0, size+size/16+1024)}
	w.b = append(w.b, segmentMagic...)
	w.b = append(w.b, version)
	w.b = append(w.b, database[:]...)
	w.b = append(w.b, w.id[:]...)
	return w
}

// Add adds an encoded transaction, which must come after those before it.
func (w *SegmentWriter) Add(entry TableTxn, encoded []byte) {
	w.Table.Txns = append(w.Table.Txns, entry)
	w.b = append(w.b, encoded...)
}

// Len returns the length so far.
func (w *SegmentWriter) Len() int64 { return int64(len(w.b)) }

// Close ends the segment, which has at least one transaction, and returns the object
// and what describes it.
func (w *SegmentWriter) Close() ([]byte, Segment) {
	body := len(w.b)
	w.b = w.Table.Append(w.b)
	tableLen := len(w.b) - body
	w.b = seal(putUint32(w.b, uint32(tableLen)))
	txns := w.Table.Txns
	return w.b, Segment{
		ID: w.id, First: txns[0].TID, Last: txns[len(txns)-1].TID,
		Size: int64(len(w.b)), TableLen: tableLen, Txns: len(txns),
	}
}

// DecodeSegment reads a whole segment and returns its table and its encoded transactions.
func DecodeSegment(b []byte, database, id ID) (*Table, []byte, error) {
	r := open("segment", segmentMagic, b)
	if r.id() != database || r.id() != id {
		r.fail("it is another one")
	}
	if len(r.b) < 4 {
		r.fail("it is cut off")
	}
	if r.err != nil {
		return nil, nil, r.err
	}
	tail := &reader{what: r.what, b: r.b[len(r.b)-4:]}
	n := int64(tail.uint32())
	body := r.take(int(int64(len(r.b)) - 4 - n))
	table := r.take(int(n))
	if r.err != nil {
		return nil, nil, r.err
	}
	t, err := DecodeTable(table)
	if err == nil && t.BodyLen() != int64(len(body)) {
		err = &Error{"segment", "the table does not fit the transactions"}
	}
	return t, body, err
}
