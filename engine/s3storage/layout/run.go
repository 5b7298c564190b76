package layout

import (
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/zaridb/zari/zodb"
)

// A run of the index:
//
//	0    8   "ZARI-IDX"
//	8    1   version, 1
//	9    16  id of the database
//	25   16  id of the run
//	41       number of containers: uvarint; of each: slot, uvarint, of a log object; or 0 and
//	           the id, 16 bytes, of a segment
//	         number of blobs: uvarint; of each: oid 8, tid 8, id 16, size: uvarint,
//	           CRC-32C of its bytes 4
//	         number of entries: uvarint
//	         the blocks, of 4096 entries each but the last one: length: uvarint, and so many
//	           bytes of one zstd frame
//	-4   4   CRC-32C of everything before it
//
// Entries are in the order of oid and tid. In a block, of each entry in turn:
//
//	the difference of its oid to the one before: uvarint. The first one: the oid.
//
// then of each
//
//	where the oid is the one before: the difference of the tids: uvarint; elsewhere,
//	to the tid of the entry before: zigzag. The first one: the tid, zigzag.
//
// then of each
//
//	the difference of its container's number to the one before: zigzag
//
// then of each
//
//	the difference of its offset to the one before: zigzag
//
// then of each the size: byte, as in the index; 0 is a deletion.
const (
	runMagic  = "ZARI-IDX"
	blockLen  = 4096
	maxBlock  = blockLen * 41 // bytes of an uncompressed block at most
	blobLen   = 8 + 8 + 16 + 1 + 4
	minSource = 1
)

// Place is what entries lie in: a log object, or a segment.
type Place struct {
	Slot    uint64 // 0: a segment
	Segment ID
}

// Key returns the key of the object.
func (p Place) Key() string {
	if p.Slot != 0 {
		return LogKey(p.Slot)
	}
	return SegmentKey(p.Segment)
}

// Entry is a revision in a run of the index.
type Entry struct {
	OID   zodb.OID
	TID   zodb.TID
	Place uint32 // number in the run's list
	Off   uint32
	Size  uint8
}

// RunBlob is a blob in a run of the index.
type RunBlob struct {
	OID  zodb.OID
	TID  zodb.TID
	Blob Blob
}

// RunWriter makes a run of the index.
type RunWriter struct {
	id       ID
	database ID
	places   map[Place]uint32
	list     []Place
	blobs    []RunBlob
	block    []Entry
	blocks   []byte
	n        int64
	zstd     *zstd.Encoder
	columns  []byte
}

// NewRunWriter begins a run.
func NewRunWriter(database ID) *RunWriter {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err) // the options are wrong
	}
	return &RunWriter{id: NewID(), database: database, places: make(map[Place]uint32), zstd: enc}
}

// Place returns the number of a place.
func (w *RunWriter) Place(p Place) uint32 {
	n, ok := w.places[p]
	if !ok {
		n = uint32(len(w.list))
		w.places[p] = n
		w.list = append(w.list, p)
	}
	return n
}

// Blob adds a blob.
func (w *RunWriter) Blob(b RunBlob) { w.blobs = append(w.blobs, b) }

// Add adds an entry, which must come after those before it.
func (w *RunWriter) Add(e Entry) {
	w.block = append(w.block, e)
	w.n++
	if len(w.block) == blockLen {
		w.flush()
	}
}

func (w *RunWriter) flush() {
	if len(w.block) == 0 {
		return
	}
	b := w.columns[:0]
	var last Entry
	for _, e := range w.block {
		b = putUvarint(b, uint64(e.OID-last.OID))
		last = e
	}
	last = Entry{}
	for i, e := range w.block {
		if i > 0 && e.OID == last.OID {
			b = putUvarint(b, uint64(e.TID-last.TID))
		} else {
			b = putZigzag(b, int64(e.TID-last.TID))
		}
		last = e
	}
	last = Entry{}
	for _, e := range w.block {
		b = putZigzag(b, int64(e.Place)-int64(last.Place))
		last = e
	}
	last = Entry{}
	for _, e := range w.block {
		b = putZigzag(b, int64(e.Off)-int64(last.Off))
		last = e
	}
	for _, e := range w.block {
		b = append(b, e.Size)
	}
	w.columns = b
	w.blocks = putBytes(w.blocks, w.zstd.EncodeAll(b, nil))
	w.block = w.block[:0]
}

// Close ends the run and returns the object and what describes it but for the tids.
func (w *RunWriter) Close() ([]byte, RunInfo) {
	w.flush()
	w.zstd.Close()
	b := begin(runMagic)
	b = append(b, w.database[:]...)
	b = append(b, w.id[:]...)
	b = putUvarint(b, uint64(len(w.list)))
	for _, p := range w.list {
		b = putUvarint(b, p.Slot)
		if p.Slot == 0 {
			b = append(b, p.Segment[:]...)
		}
	}
	b = putUvarint(b, uint64(len(w.blobs)))
	for _, x := range w.blobs {
		b = putUint64(b, uint64(x.OID))
		b = putUint64(b, uint64(x.TID))
		b = x.Blob.append(b)
	}
	b = putUvarint(b, uint64(w.n))
	b = seal(append(b, w.blocks...))
	return b, RunInfo{ID: w.id, Entries: w.n, Size: int64(len(b))}
}

// Run reads a run of the index.
type Run struct {
	Places []Place
	Blobs  []RunBlob

	left int64
	r    *reader
	zstd *zstd.Decoder
	raw  []byte
}

// OpenRun reads all of a run but its entries.
func OpenRun(b []byte, database, id ID) (*Run, error) {
	r := open("run of the index", runMagic, b)
	if r.id() != database || r.id() != id {
		r.fail("it is another one")
	}
	x := &Run{r: r, Places: make([]Place, r.count(minSource))}
	for i := range x.Places {
		if x.Places[i].Slot = r.uvarint(); x.Places[i].Slot == 0 {
			x.Places[i].Segment = r.id()
		}
	}
	x.Blobs = make([]RunBlob, r.count(blobLen))
	for i := range x.Blobs {
		x.Blobs[i] = RunBlob{OID: r.oid(), TID: r.tid(), Blob: r.blob()}
	}
	x.left = int64(r.uvarint())
	if r.err == nil && (x.left < 0 || x.left/blockLen > int64(len(r.b))) {
		r.fail("more entries than bytes")
	}
	if r.err != nil {
		return nil, r.err
	}
	var err error
	x.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBlock))
	return x, err
}

// Next reads the next block of entries into dst; none at the end.
func (x *Run) Next(dst []Entry) ([]Entry, error) {
	dst = dst[:0]
	if x.left == 0 {
		x.zstd.Close()
		return dst, x.r.end()
	}
	n := int(min(x.left, blockLen))
	x.left -= int64(n)
	raw, err := x.zstd.DecodeAll(x.r.bytes(), x.raw[:0])
	if x.r.err != nil {
		return dst, x.r.err
	}
	if err != nil {
		return dst, &Error{x.r.what, fmt.Sprintf("a block cannot be decompressed: %v", err)}
	}
	x.raw = raw
	return x.block(dst, n)
}

func (x *Run) block(dst []Entry, n int) ([]Entry, error) {
	r := &reader{what: x.r.what, b: x.raw}
	if n > len(x.raw) {
		r.fail("more entries than bytes")
		return dst, r.err
	}
	for range n {
		dst = append(dst, Entry{})
	}
	var last Entry
	for i := range dst {
		dst[i].OID = last.OID + zodb.OID(r.uvarint())
		last = dst[i]
	}
	last = Entry{}
	for i := range dst {
		if i > 0 && dst[i].OID == last.OID {
			dst[i].TID = last.TID + zodb.TID(r.uvarint())
		} else {
			dst[i].TID = zodb.TID(int64(last.TID) + r.zigzag())
		}
		last = dst[i]
	}
	at := int64(0)
	for i := range dst {
		if at += r.zigzag(); at < 0 || at >= int64(len(x.Places)) {
			r.fail("a place that is not in the list")
			return dst, r.err
		}
		dst[i].Place = uint32(at)
	}
	off := int64(0)
	for i := range dst {
		off += r.zigzag()
		dst[i].Off = uint32(off)
	}
	for i := range dst {
		dst[i].Size = r.byte()
	}
	return dst, r.end()
}
