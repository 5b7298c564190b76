package filestorage

import (
	"bytes"
	"encoding/binary"

	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/zodb"
)

// packRecord is a record that is copied, with the place of its data in the old
// file; or, if back is not 0, a back pointer in the new one.
type packRecord struct {
	head    datafs.DataHeader // of the old file
	data    int64
	dataLen int64
	back    int64
	newPos  int64
}

func (r *packRecord) len() int64 { return datafs.DataHeader{DataLen: r.dataLen}.Len() }

// scanner walks over a part of the old file.
func (p *packer) scanner(from, to int64) *datafs.Scanner {
	return datafs.NewScanner(datafs.NewWindow(p.src.file, scanPiece), p.path, from, to, 0)
}

// step is called for each transaction: it heeds ctx and reports progress.
func (p *packer) step(sc *datafs.Scanner) error {
	if p.opts.Progress != nil && sc.TxnPos>>24 != (sc.TxnPos+sc.Head.Size())>>24 {
		p.opts.Progress(sc.TxnPos, p.src.end)
	}
	return p.ctx.Err()
}

// copyKept copies the records that are kept of the transactions up to the pack
// time, with their data, and only transactions that have any.
func (p *packer) copyKept() error {
	sc := p.scanner(datafs.MagicSize, p.packPos)
	var records []packRecord
	for sc.Txn() {
		if err := p.step(sc); err != nil {
			return err
		}
		records = records[:0]
		for sc.Record() {
			if p.keep.get(sc.Rec.OID) != sc.Pos && !p.extra[sc.Pos] {
				p.drop(&sc.Rec)
				continue
			}
			r := packRecord{head: sc.Rec}
			var err error
			if r.data, r.dataLen, err = p.src.dataAt(sc.Pos, &sc.Rec); err != nil {
				return err
			}
			records = append(records, r)
		}
		if len(records) == 0 {
			continue
		}
		if err := p.copyTxn(sc, records, datafs.Packed); err != nil {
			return err
		}
	}
	return sc.Err()
}

// copyLater copies all transactions from a position behind the pack time to the
// end of the source.
func (p *packer) copyLater(from int64) error {
	sc := p.scanner(from, p.src.end)
	var records []packRecord
	for sc.Txn() {
		if err := p.step(sc); err != nil {
			return err
		}
		records = records[:0]
		for sc.Record() {
			r := packRecord{head: sc.Rec}
			var err error
			if r.data, r.dataLen, err = p.src.dataAt(sc.Pos, &sc.Rec); err != nil {
				return err
			}
			if sc.Rec.Back != 0 && r.dataLen > 0 {
				if err := p.pointBack(&r); err != nil {
					return err
				}
			}
			records = append(records, r)
		}
		if sc.Err() != nil || sc.Head.Status == datafs.Undone {
			continue
		}
		if err := p.copyTxn(sc, records, sc.Head.Status); err != nil {
			return err
		}
	}
	return sc.Err()
}

// dataAt returns the place of the data of the record h at pos; a length of 0 if
// it has none.
func (v *view) dataAt(pos int64, h *datafs.DataHeader) (at, n int64, err error) {
	buf := readBuffers.Get().(*[readAhead]byte)
	defer readBuffers.Put(buf)
	head := *h
	for head.DataLen == 0 {
		if head.Back == 0 {
			return 0, 0, nil
		}
		pos = head.Back
		if head, _, err = v.read(pos, h.OID, buf[:datafs.DataHeaderSize+datafs.BackSize]); err != nil {
			return 0, 0, err
		}
	}
	return pos + datafs.DataHeaderSize, head.DataLen, nil
}

// pointBack finds the record that r's back pointer names in the new file. Where
// it was not kept, r keeps its data.
func (p *packer) pointBack(r *packRecord) error {
	tid, err := p.src.tidAt(r.head.Back, r.head.OID)
	if err != nil {
		return err
	}
	if err := p.out.flush(); err != nil {
		return err
	}
	out := &view{generation: &generation{file: p.out.file, name: p.out.name}, end: p.out.pos()}
	var buf [datafs.DataHeaderSize + datafs.BackSize]byte
	for pos := p.index.get(r.head.OID); pos != 0; {
		h, _, err := out.read(pos, r.head.OID, buf[:])
		if err != nil {
			return err
		}
		if h.TID == tid {
			same, err := p.sameAs(out, pos, &h, r)
			if same {
				r.back, r.dataLen = pos, 0
			}
			return err
		}
		pos = h.Prev
	}
	return nil
}

// sameAs compares the data of the record h at pos of the new file with r's.
func (p *packer) sameAs(out *view, pos int64, h *datafs.DataHeader, r *packRecord) (bool, error) {
	at, n, err := out.dataAt(pos, h)
	if err != nil || n != r.dataLen {
		return false, err
	}
	theirs, err := datafs.NewWindow(out.file, int(n)).Copy(at, int(n))
	if err != nil {
		return false, err
	}
	ours, err := datafs.NewWindow(p.src.file, int(n)).Copy(r.data, int(n))
	return err == nil && bytes.Equal(ours, theirs), err
}

// copyTxn writes the transaction that sc is at with the given records.
func (p *packer) copyTxn(sc *datafs.Scanner, records []packRecord, status byte) error {
	begin := p.out.pos()
	h := sc.Head
	h.Status = status
	h.Len = h.HeaderLen()
	for i := range records {
		h.Len += records[i].len()
	}
	p.out.buf = h.Append(p.out.buf)
	if err := p.copyBytes(sc.Window, sc.TxnPos+datafs.TxnHeaderSize, h.HeaderLen()-datafs.TxnHeaderSize); err != nil {
		return err
	}
	for i := range records {
		if err := p.copyRecord(sc.Window, &records[i], begin); err != nil {
			return err
		}
	}
	p.out.buf = binary.BigEndian.AppendUint64(p.out.buf, uint64(h.Len))
	for i := range records {
		p.index.set(records[i].head.OID, records[i].newPos)
	}
	return p.out.flushFull()
}

func (p *packer) copyRecord(w *datafs.Window, r *packRecord, txn int64) error {
	r.newPos = p.out.pos()
	h := datafs.DataHeader{
		OID: r.head.OID, TID: r.head.TID, Txn: txn,
		Prev: p.index.get(r.head.OID), DataLen: r.dataLen, Back: r.back,
	}
	p.out.buf = h.Append(p.out.buf)
	return p.copyBytes(w, r.data, r.dataLen)
}

// copyBytes copies n bytes of the old file.
func (p *packer) copyBytes(w *datafs.Window, pos, n int64) error {
	for n > 0 {
		b, err := w.At(pos, int(min(n, scanPiece/4)))
		if err != nil {
			return datafs.ReadError(p.path, "data record", pos, err)
		}
		p.out.buf = append(p.out.buf, b...)
		pos += int64(len(b))
		n -= int64(len(b))
		if err := p.out.flushFull(); err != nil {
			return err
		}
	}
	return nil
}

// drop notes that a revision is left out, if it has a blob.
func (p *packer) drop(h *datafs.DataHeader) {
	if id := (blobID{OID: h.OID, TID: h.TID}); p.blobIDs[id] {
		p.dropped = append(p.dropped, id)
	}
}

// findCurrent finds the end of what is packed, and the records that are current
// there. It reports whether an earlier pack went as far or farther.
func (p *packer) findCurrent() (redundant bool, err error) {
	p.keep = newIndex()
	sc := p.scanner(datafs.MagicSize, p.src.end)
	packed, status := true, byte(0)
	p.packPos = p.src.end
	for sc.Txn() {
		if err := p.step(sc); err != nil {
			return false, err
		}
		status = sc.Head.Status
		if sc.Head.TID > p.at {
			p.packPos = sc.TxnPos
			break
		}
		packed = packed && status == datafs.Packed
		for sc.Record() {
			if sc.Rec.DataLen == 0 && sc.Rec.Back == 0 && !p.opts.Overlay {
				p.keep.remove(sc.Rec.OID)
			} else {
				p.keep.set(sc.Rec.OID, sc.Pos)
			}
		}
	}
	return packed && status == datafs.Packed, sc.Err()
}

// revision reports whether transaction tid's record of oid is in the file. pos is
// that of the object's newest record.
func (v *view) revision(pos int64, oid zodb.OID, tid zodb.TID) (bool, error) {
	var buf [datafs.DataHeaderSize + datafs.BackSize]byte
	for pos != 0 {
		h, _, err := v.read(pos, oid, buf[:])
		if err != nil || h.TID <= tid {
			return err == nil && h.TID == tid, err
		}
		pos = h.Prev
	}
	return false, nil
}
