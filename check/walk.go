package check

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// Walk goes over all transactions and records of the file, and reports what cannot
// be right. Behind damage it goes on where it finds the next record or transaction,
// so that everything else is still checked. It learns where the objects are.
func (f *File) Walk(ctx context.Context, r *Report) error {
	before := f.current.bytes()
	w := &walker{File: f, ctx: ctx, report: r, window: datafs.NewWindow(f.file, walkRead), latest: zodb.TIDAt(time.Now().Add(7 * 24 * time.Hour))}
	f.covered.peek(f.path)
	err := w.run()
	f.lastTID = w.last
	r.hold(f.current.bytes() - before + int64(len(f.blobs))*blobRevisionSize)
	return err
}

const (
	walkRead     = 1 << 20
	walkProgress = 16 << 20
)

// walker is one walk.
type walker struct {
	*File
	ctx    context.Context
	report *Report
	window *datafs.Window
	last   zodb.TID // the greatest of the transactions before
	latest zodb.TID // later ones are taken for garbage when looking for a transaction
	lost   []span   // what could not be read
	told   int64    // position of the last progress
}

type span struct{ from, to int64 }

func (w *walker) run() error {
	magic, err := w.read(0, datafs.MagicSize)
	if err != nil {
		return err
	}
	if !datafs.KnownMagic(magic) {
		w.problem("file", 0, fmt.Errorf("it begins with %q, not with %q", magic, datafs.Magic))
	}
	pos := int64(datafs.MagicSize)
	for pos < w.size {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		w.covered.at(pos, w.current.len())
		if pos, err = w.txn(pos); err != nil {
			return err
		}
		if pos-w.told >= walkProgress {
			w.told = pos
			w.report.progress("structure", pos, w.size)
		}
	}
	w.covered.at(w.size, w.current.len())
	w.report.progress("structure", w.size, w.size)
	return nil
}

// read returns the n bytes at pos, or as many as there are.
func (w *walker) read(pos int64, n int) ([]byte, error) {
	n = int(min(int64(n), max(0, w.size-pos)))
	if n == 0 {
		return nil, nil
	}
	b, err := w.window.At(pos, n)
	if err != nil {
		return nil, fmt.Errorf("%s: reading at offset %d: %w", w.path, pos, err)
	}
	return b, nil
}

func (w *walker) problem(record string, pos int64, err error) {
	w.report.add(&Problem{Kind: KindStructure, File: w.path, Record: record, Offset: pos, Message: err.Error()})
}

var (
	errTail    = errors.New("the file ends in the middle of it")
	errOrder   = errors.New("its tid is not greater than the one before")
	errPending = errors.New("it is not finished; opening the file for writing removes it and what follows")
	errLength  = errors.New("the length in its header is wrong: its records and the length at its end agree on another")
	errTrailer = errors.New("the length at its end is not the one in its header")
	errNoEnd   = errors.New("neither the length in its header nor its records lead to its end")
	errLeads   = errors.New("its length does not lead to the next record")
)

// txn checks the transaction at pos, and returns where the next one begins.
func (w *walker) txn(pos int64) (next int64, err error) {
	b, err := w.read(pos, datafs.TxnHeaderSize)
	if err != nil {
		return 0, err
	}
	if len(b) < datafs.TxnHeaderSize {
		if !w.beingWritten(pos) {
			w.problem("transaction header", pos, errTail)
		}
		return w.size, nil
	}
	h := datafs.DecodeTxnHeader(b)
	if h.Status == datafs.Pending && h.TID > w.last {
		if w.beingWritten(pos) {
			return w.size, nil
		}
		w.report.add(&Problem{Kind: KindStructure, Warning: true, File: w.path, Record: "transaction header", Offset: pos, Message: errPending.Error()})
		return w.size, nil
	}
	end, err := w.txnEnd(pos, &h)
	if err != nil {
		return 0, err
	}
	if end == 0 {
		return w.findTxn(pos, pos+1)
	}
	w.header(pos, h, end)
	if h.Status != datafs.Undone {
		if err := w.records(pos, h, end); err != nil {
			return 0, err
		}
	}
	w.last = max(w.last, h.TID)
	w.end = end + datafs.TrailerSize
	return w.end, nil
}

// beingWritten reports whether somebody has gone on with the transaction at pos since
// the file was opened: then it was only not finished yet.
func (w *walker) beingWritten(pos int64) bool {
	info, err := w.file.Stat()
	if err != nil || info.Size() > w.size {
		return err == nil
	}
	var status [1]byte
	_, err = w.file.ReadAt(status[:], pos+datafs.StatusOffset)
	return err == nil && (status[0] == datafs.Done || status[0] == datafs.Packed)
}

// header checks what is in the header of a transaction, but for the length.
func (w *walker) header(pos int64, h datafs.TxnHeader, end int64) {
	h.Len = end - pos
	if err := h.Check(pos, w.size); err != nil {
		w.problem("transaction header", pos, err)
	}
	if h.TID <= w.last {
		w.problem("transaction header", pos, fmt.Errorf("%w: %v after %v", errOrder, h.TID, w.last))
	}
}

// txnEnd returns where the trailer of a transaction begins, 0 if that is not to be
// found. It reports lengths that do not fit.
func (w *walker) txnEnd(pos int64, h *datafs.TxnHeader) (int64, error) {
	end := pos + h.Len
	fits := h.Len >= h.HeaderLen() && h.Len <= w.size-pos-datafs.TrailerSize
	if fits {
		if n, err := w.number(end); err != nil || n == h.Len {
			return end, err
		}
	}
	stop, err := w.lastRecord(pos, h)
	if err != nil {
		return 0, err
	}
	n, err := w.number(stop)
	if err != nil {
		return 0, err
	}
	switch {
	case stop > pos+h.HeaderLen() && n == stop-pos:
		w.problem("transaction header", pos, fmt.Errorf("%w: %d, not %d", errLength, n, h.Len))
		return stop, nil
	case fits && stop == end:
		w.problem("transaction trailer", end, fmt.Errorf("%w: %d, not %d", errTrailer, n, h.Len))
		return end, nil
	case !fits && h.Len > w.size-pos-datafs.TrailerSize && stop > w.size-datafs.DataHeaderSize-datafs.TrailerSize:
		w.problem("transaction header", pos, errTail)
	default:
		w.problem("transaction header", pos, errNoEnd)
	}
	return 0, nil
}

// number reads the eight bytes at pos; -1 if there are none.
func (w *walker) number(pos int64) (int64, error) {
	b, err := w.read(pos, 8)
	if err != nil || len(b) < 8 {
		return -1, err
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}

// lastRecord returns where the records of a transaction end, going by nothing but
// the records.
func (w *walker) lastRecord(txn int64, h *datafs.TxnHeader) (int64, error) {
	pos := txn + h.HeaderLen()
	for {
		d, ok, err := w.recordAt(pos, txn, h.TID)
		if err != nil || !ok {
			return pos, err
		}
		pos += d.Len()
	}
}

// recordAt reads the head of a data record. It reports false if it is none of this
// transaction, or ends behind the file.
func (w *walker) recordAt(pos, txn int64, tid zodb.TID) (h datafs.DataHeader, ok bool, err error) {
	b, err := w.read(pos, datafs.DataHeaderSize+datafs.BackSize)
	if err != nil || len(b) < datafs.DataHeaderSize {
		return h, false, err
	}
	h = datafs.DecodeDataHeader(b)
	ok = h.Txn == txn && h.TID == tid && h.Check(pos, w.size) == nil
	return h, ok, nil
}

// records checks the records of a transaction that ends at end.
func (w *walker) records(txn int64, h datafs.TxnHeader, end int64) error {
	pos := txn + h.HeaderLen()
	if pos > end {
		return nil // as header has reported
	}
	for pos < end {
		next, err := w.record(pos, txn, h, end)
		if err != nil {
			return err
		}
		pos = next
	}
	return nil
}

// record checks the record at pos, and returns where the next one begins.
func (w *walker) record(pos, txn int64, t datafs.TxnHeader, end int64) (next int64, err error) {
	b, err := w.read(pos, int(min(datafs.DataHeaderSize+datafs.BackSize, end-pos)))
	if err != nil {
		return 0, err
	}
	if len(b) < datafs.DataHeaderSize+1 {
		w.problem("data record", pos, errors.New("it is longer than its transaction"))
		return end, nil
	}
	d := datafs.DecodeDataHeader(b)
	t.Len = end - txn
	wrong := d.CheckIn(pos, &t, txn)
	next = pos + d.Len()
	leads, err := w.leads(pos, next, txn, t.TID, end)
	if err != nil {
		return 0, err
	}
	if !leads {
		if wrong == nil {
			wrong = errLeads
		}
		w.problem("data record", pos, wrong)
		return w.findRecord(pos, txn, t.TID, end)
	}
	if wrong != nil {
		w.problem("data record", pos, wrong)
		if d.TID != t.TID && d.Txn != txn {
			return next, nil // hardly a record
		}
	}
	return next, w.enter(pos, d, t)
}

// leads reports whether the end of a record is where another one begins, or the
// transaction ends. One that is damaged a little counts.
func (w *walker) leads(pos, next, txn int64, tid zodb.TID, end int64) (bool, error) {
	if next == end || next <= pos || next > end-datafs.DataHeaderSize {
		return next == end, nil
	}
	b, err := w.read(next, datafs.DataHeaderSize)
	if err != nil || len(b) < datafs.DataHeaderSize {
		return false, err
	}
	h := datafs.DecodeDataHeader(b)
	return h.TID == tid || h.Txn == txn, nil
}

// enter notes a record, and checks its pointers.
func (w *walker) enter(pos int64, d datafs.DataHeader, t datafs.TxnHeader) error {
	last := int64(w.current.set(d.OID, uint64(pos)))
	packed := t.Status == datafs.Packed
	if d.Prev != last && !(d.Prev == 0 && packed) && !w.isLost(d.Prev) {
		w.problem("data record", pos, fmt.Errorf("its previous record is said to be at %d; the last one of object %v before it is at %d", d.Prev, d.OID, last))
	}
	if d.DataLen == 0 && d.Back != 0 && !w.isLost(d.Back) {
		if _, _, _, err := w.data(d.Back, d.OID); err != nil {
			w.problem("data record", pos, fmt.Errorf("its back pointer leads nowhere: %w", err))
			return nil
		}
	}
	return w.enterBlob(pos, d)
}

func (w *walker) isLost(pos int64) bool {
	for _, s := range w.lost {
		if pos >= s.from && pos < s.to {
			return true
		}
	}
	return false
}

// maxBlobRecord is more than a record of a blob takes: it has a class and no state.
const maxBlobRecord = 200

// enterBlob notes the record if it is one of a blob.
func (w *walker) enterBlob(pos int64, d datafs.DataHeader) error {
	at, length := pos+datafs.DataHeaderSize, d.DataLen
	if length == 0 && d.Back != 0 {
		var err error
		if at, length, _, err = w.data(d.Back, d.OID); err != nil {
			return nil // as enter has reported
		}
	}
	if length == 0 || length > maxBlobRecord {
		return nil
	}
	var data []byte
	var err error
	if d.DataLen > 0 {
		data, err = w.read(at, int(length))
	} else {
		data = make([]byte, length)
		_, err = w.file.ReadAt(data, at)
	}
	if err != nil && err != io.EOF {
		return err
	}
	if data, err = Plain(data); err != nil {
		return nil // References reports it
	}
	if isBlob(data) {
		w.blobs = append(w.blobs, blobRevision{d.OID, d.TID})
	}
	return nil
}

var blobModule = []byte("ZODB.blob")

// isBlob reports whether a record is that of a blob.
func isBlob(data []byte) bool {
	if !bytes.Contains(data[:min(len(data), maxBlobRecord)], blobModule) {
		return false
	}
	c, err := pickle.ClassOf(data)
	return err == nil && c == pickle.Class{Module: "ZODB.blob", Name: "Blob"}
}

// findRecord looks for the next record of a transaction behind the damaged one at pos.
func (w *walker) findRecord(pos, txn int64, tid zodb.TID, end int64) (int64, error) {
	want := tid.Bytes()
	const overlap = datafs.DataHeaderSize
	for from := pos + 1; from < end; from += walkRead - overlap {
		b, err := w.read(from, int(min(walkRead, end-from)))
		if err != nil {
			return 0, err
		}
		b = bytes.Clone(b) // recordAt moves the window
		for i := 0; ; i++ {
			n := bytes.Index(b[i:], want[:])
			if n < 0 {
				break
			}
			i += n
			at := from + int64(i) - 8 // where the record with this tid begins
			if at <= pos {
				continue
			}
			d, ok, err := w.recordAt(at, txn, tid)
			if err != nil {
				return 0, err
			}
			if ok && at+d.Len() <= end {
				w.lost = append(w.lost, span{pos, at})
				return at, nil
			}
		}
	}
	w.lost = append(w.lost, span{pos, end})
	return end, nil
}

// findTxn looks for the next transaction at from or behind it. What lies between
// damage and it is lost.
func (w *walker) findTxn(damage, from int64) (int64, error) {
	for base := from; base+datafs.TxnHeaderSize <= w.size; base += walkRead - datafs.TxnHeaderSize {
		if err := w.ctx.Err(); err != nil {
			return 0, err
		}
		b, err := w.read(base, walkRead)
		if err != nil {
			return 0, err
		}
		b = bytes.Clone(b) // number moves the window
		for i := 0; i+datafs.TxnHeaderSize <= len(b); i++ {
			pos := base + int64(i)
			h := datafs.DecodeTxnHeader(b[i:])
			if h.TID <= w.last || h.TID > w.latest || h.Check(pos, w.size) != nil {
				continue
			}
			n, err := w.number(pos + h.Len)
			if err != nil {
				return 0, err
			}
			if n == h.Len {
				w.lost = append(w.lost, span{damage, pos})
				return pos, nil
			}
		}
	}
	w.lost = append(w.lost, span{damage, w.size})
	return w.size, nil
}
