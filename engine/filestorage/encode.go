package filestorage

import (
	"encoding/binary"
	"fmt"

	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/txnlog"
)

// writePiece is how much is encoded before it is written.
const writePiece = 1 << 20

// encoder writes what it is given in large pieces.
type encoder struct {
	s   *Storage
	buf []byte
	pos int64 // of buf in the file
}

func (e *encoder) flush() error {
	if len(e.buf) == 0 {
		return nil
	}
	_, err := e.s.w.WriteAt(e.buf, e.pos)
	e.pos += int64(len(e.buf))
	e.buf = e.buf[:0]
	return err
}

// data adds the data of a record. Large ones are not copied.
func (e *encoder) data(b []byte) error {
	if len(b) < writePiece/4 {
		e.buf = append(e.buf, b...)
		if len(e.buf) < writePiece {
			return nil
		}
		return e.flush()
	}
	if err := e.flush(); err != nil {
		return err
	}
	_, err := e.s.w.WriteAt(b, e.pos)
	e.pos += int64(len(b))
	return err
}

// write writes the batch with its first transaction marked as unfinished.
func (s *Storage) write(p *plan) error {
	e := &encoder{s: s, buf: s.buf[:0], pos: p.begin}
	defer func() { s.buf = e.buf[:0] }()
	records := p.records
	for i, t := range p.txns {
		h := datafs.TxnHeader{
			TID: t.TID, Len: t.len, Status: t.Status,
			User: len(t.User), Description: len(t.Description), Extension: len(t.Extension),
		}
		if i == 0 {
			h.Status = datafs.Pending
		}
		e.buf = h.Append(e.buf)
		e.buf = append(append(append(e.buf, t.User...), t.Description...), t.Extension...)
		for i := range t.Records {
			if err := e.record(&t, &t.Records[i], &records[i]); err != nil {
				return err
			}
		}
		records = records[len(t.Records):]
		e.buf = binary.BigEndian.AppendUint64(e.buf, uint64(t.len))
	}
	return e.flush()
}

func (e *encoder) record(t *plannedTxn, r *txnlog.Record, p *plannedRecord) error {
	h := datafs.DataHeader{OID: r.OID, TID: t.TID, Prev: p.prev, Txn: t.pos, DataLen: p.dataLen, Back: p.back}
	e.buf = h.Append(e.buf)
	if p.dataLen == 0 {
		return nil
	}
	data, err := r.Load()
	if err != nil {
		return err
	}
	if int64(len(data)) != p.dataLen {
		return fmt.Errorf("object %v: %d bytes of data were announced, and there are %d", r.OID, p.dataLen, len(data))
	}
	return e.data(data)
}
