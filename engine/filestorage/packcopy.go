package filestorage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/zodb"
)

// packRecord is a record that is copied, with the place of its data in the old
// file; or, if back is not 0, a back pointer in the new one.
type packRecord struct {
	head    datafs.DataHeader // of the old file
	data    int64
	dataLen int64
	prev    int64 // the object's previous record in the new file
	back    int64
	extra   bool // it was not current at the pack time
	newPos  int64
}

func (r *packRecord) len() int64 { return datafs.DataHeader{DataLen: r.dataLen}.Len() }

// scanner walks over a part of the old file.
func (p *packer) scanner(from, to int64) *datafs.Scanner {
	p.window.Forget() // commits may have changed what lies behind the last end
	return datafs.NewScanner(p.window, p.path, from, to, 0)
}

// step is called for each transaction, with how many bytes it cost to look at.
func (p *packer) step(sc *datafs.Scanner) error { return p.pace.step(sc.TxnPos, sc.Head.Size()) }

// keeps reports whether a record of before the pack time stays, and whether it is
// the one that was current then.
func (p *packer) keeps(oid zodb.OID, pos int64) (keep, current bool) {
	if p.index.get(oid) == pos && (p.reach == nil || p.reach.has(oid)) {
		return true, true
	}
	_, extra := slices.BinarySearch(p.extra, pos)
	return extra, false
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
			keep, current := p.keeps(sc.Rec.OID, sc.Pos)
			if !keep {
				if err := p.drop(&sc.Rec); err != nil {
					return err
				}
				continue
			}
			r := packRecord{head: sc.Rec, extra: !current, prev: p.lastExtra[sc.Rec.OID]}
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

// forgetUnreachable leaves in the index what is in the new file.
func (p *packer) forgetUnreachable() {
	if p.reach == nil {
		return
	}
	p.index.keep(p.reach)
	p.reach = nil
	for oid, pos := range p.lastExtra {
		if p.index.get(oid) == 0 {
			p.index.set(oid, pos)
		}
	}
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
			r := packRecord{head: sc.Rec, prev: p.index.get(sc.Rec.OID)}
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
		if p.opts.GC && sc.TxnPos >= p.marked {
			if err := p.checkUse(records); err != nil {
				return err
			}
		}
	}
	return sc.Err()
}

// checkUse makes sure that what was committed after garbage collection looked does
// not refer to what it dropped: an object that was out of reach can be put to use
// again by who still knows it.
func (p *packer) checkUse(records []packRecord) error {
	for i := range records {
		r := &records[i]
		if r.dataLen == 0 && r.back == 0 {
			continue
		}
		pos := r.data - datafs.DataHeaderSize
		data, err := p.refs.read(p.src, r.head.OID, pos)
		if err != nil {
			return err
		}
		refs, err := p.refs.find(p.Storage, r.head.OID, pos, data)
		if err != nil {
			return err
		}
		for _, ref := range refs {
			if err := p.inUse(r.head.OID, ref); err != nil {
				return err
			}
		}
	}
	return nil
}

// inUse returns an error if ref was dropped, and oid refers to it now.
func (p *packer) inUse(oid, ref zodb.OID) error {
	if p.index.get(ref) != 0 {
		return nil
	}
	p.mu.RLock()
	pos := p.src.index.get(ref)
	p.mu.RUnlock()
	if pos == 0 || pos >= p.packPos {
		return nil // it is new, or was never there
	}
	h, _, err := p.src.read(pos, ref, make([]byte, datafs.DataHeaderSize+datafs.BackSize))
	if err != nil {
		return err
	}
	if _, n, err := p.src.dataAt(pos, &h); err != nil || n == 0 {
		return err // it was deleted
	}
	return fmt.Errorf("object %v was out of reach, and %v was committed during the pack and refers to it; nothing was changed, pack again", ref, oid)
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
	if p.out.file == nil {
		return nil // of a file that is only measured nothing can be read
	}
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
		w := sc.Window
		if records[i].data < sc.TxnPos {
			w = p.aside // or the scanner would have to read its piece again
		}
		if err := p.copyRecord(w, &records[i], begin); err != nil {
			return err
		}
	}
	p.out.buf = binary.BigEndian.AppendUint64(p.out.buf, uint64(h.Len))
	for i := range records {
		if r := &records[i]; r.extra {
			p.lastExtra[r.head.OID] = r.newPos
		} else {
			p.index.set(r.head.OID, r.newPos)
		}
	}
	return p.out.flushFull()
}

func (p *packer) copyRecord(w *datafs.Window, r *packRecord, txn int64) error {
	r.newPos = p.out.pos()
	h := datafs.DataHeader{
		OID: r.head.OID, TID: r.head.TID, Txn: txn, Prev: r.prev, DataLen: r.dataLen, Back: r.back,
	}
	p.out.buf = h.Append(p.out.buf)
	return p.copyBytes(w, r.data, r.dataLen)
}

// copyBytes copies n bytes of the old file.
func (p *packer) copyBytes(w *datafs.Window, pos, n int64) error {
	for n > 0 {
		b, err := w.At(pos, int(min(n, packPiece)))
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

// How much is read at a time, and where records point back to.
const (
	packPiece  = 1 << 18
	asidePiece = 1 << 14
)

// drop notes that a revision is left out.
func (p *packer) drop(h *datafs.DataHeader) error {
	p.report.Revisions++
	if p.blobOID == nil || p.blobOID.get(h.OID) == 0 {
		return nil
	}
	return p.dropBlob(h.OID, h.TID)
}

// findCurrent finds the end of what is packed, and the records that are current
// there. It reports whether an earlier pack went as far or farther.
func (p *packer) findCurrent() (redundant bool, err error) {
	p.pace.stage()
	sc := p.scanner(datafs.MagicSize, p.src.end)
	packed, status := true, byte(0)
	p.packPos = p.src.end
	records := int64(0)
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
			records++
			if sc.Rec.DataLen == 0 && sc.Rec.Back == 0 && !p.opts.Overlay {
				p.index.remove(sc.Rec.OID)
			} else {
				p.index.set(sc.Rec.OID, sc.Pos)
			}
		}
	}
	p.need = p.src.end - p.packPos + int64(float64(p.packPos)*float64(p.index.n)/float64(max(records, 1)))
	p.noteMemory()
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
