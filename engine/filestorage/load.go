package filestorage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/zodb"
)

// readAhead is how much is read for a record before its length is known: most
// records are shorter, and cost one read.
const readAhead = 2048

var readBuffers = sync.Pool{New: func() any { return new([readAhead]byte) }}

// LoadBefore follows the object's chain of records back to the revision asked
// for, and that one's back pointers to its data.
func (s *Storage) LoadBefore(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
	if err := ctx.Err(); err != nil {
		return zodb.Record{}, err
	}
	v, pos, err := s.lookup(oid)
	if err != nil {
		return zodb.Record{}, err
	}
	defer v.release()
	if pos == 0 {
		return zodb.Record{}, &zodb.NoObjectError{OID: oid, Before: tid}
	}
	return v.loadBefore(oid, tid, pos)
}

// loadBefore is LoadBefore from the record at pos on.
func (v *view) loadBefore(oid zodb.OID, tid zodb.TID, pos int64) (zodb.Record, error) {
	buf := readBuffers.Get().(*[readAhead]byte)
	defer readBuffers.Put(buf)
	next := zodb.TID(0)
	for {
		h, n, err := v.read(pos, oid, buf[:])
		if err != nil {
			return zodb.Record{}, err
		}
		if next != 0 && h.TID >= next {
			return zodb.Record{}, v.corrupt(pos, fmt.Errorf("its tid %v is not before %v, the object's next", h.TID, next))
		}
		if h.TID >= tid {
			next, pos = h.TID, h.Prev
			if pos == 0 {
				return zodb.Record{}, &zodb.NoObjectError{OID: oid, Before: tid, Known: true}
			}
			continue
		}
		data, err := v.data(pos, &h, buf[:], n)
		if err != nil {
			return zodb.Record{}, err
		}
		if data == nil {
			return zodb.Record{}, &zodb.NoObjectError{OID: oid, Before: tid, Known: true, DeletedAt: h.TID}
		}
		return zodb.Record{Data: data, Serial: h.TID, Next: next}, nil
	}
}

// read reads the record at pos, which must be of oid, and what follows it, into
// buf; n bytes in all.
func (v *view) read(pos int64, oid zodb.OID, buf []byte) (h datafs.DataHeader, n int, err error) {
	if pos < datafs.MagicSize || v.end-pos <= datafs.DataHeaderSize {
		return h, 0, v.corrupt(pos, errors.New("it lies outside of the file"))
	}
	n = int(min(int64(len(buf)), v.end-pos))
	if got, err := v.file.ReadAt(buf[:n], pos); got < n {
		return h, 0, v.readError(pos, err)
	}
	h, err = v.decode(pos, oid, buf[:n])
	return h, n, err
}

// decode reads and checks the head of the record at pos, which must be of oid.
func (v *view) decode(pos int64, oid zodb.OID, b []byte) (h datafs.DataHeader, err error) {
	h = datafs.DecodeDataHeader(b)
	if err := h.Check(pos, v.end); err != nil {
		return h, v.corrupt(pos, err)
	}
	if h.OID != oid {
		return h, v.corrupt(pos, fmt.Errorf("it is of object %v and should be of %v", h.OID, oid))
	}
	return h, nil
}

// data returns the data of the record h at pos, of which the first n bytes are
// in buf: nil if the object does not exist there. It may overwrite h and buf.
func (v *view) data(pos int64, h *datafs.DataHeader, buf []byte, n int) ([]byte, error) {
	oid := h.OID
	for h.DataLen == 0 {
		if h.Back == 0 {
			return nil, nil
		}
		pos = h.Back // Check made sure that it is smaller
		var err error
		var back datafs.DataHeader
		if back, n, err = v.read(pos, oid, buf); err != nil {
			return nil, err
		}
		h = &back
	}
	out := make([]byte, h.DataLen)
	have := copy(out, buf[datafs.DataHeaderSize:n])
	if have == len(out) {
		return out, nil
	}
	if got, err := v.file.ReadAt(out[have:], pos+datafs.DataHeaderSize+int64(have)); got < len(out)-have {
		return nil, v.readError(pos, err)
	}
	return out, nil
}

// tidAt returns the tid of oid's record at pos.
func (v *view) tidAt(pos int64, oid zodb.OID) (zodb.TID, error) {
	buf := readBuffers.Get().(*[readAhead]byte)
	defer readBuffers.Put(buf)
	h, _, err := v.read(pos, oid, buf[:datafs.DataHeaderSize+datafs.BackSize])
	return h.TID, err
}

func (v *view) corrupt(pos int64, err error) error {
	return datafs.Corrupt(v.name, "data record", pos, err)
}

func (v *view) readError(pos int64, err error) error {
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return datafs.ReadError(v.name, "data record", pos, err)
}

// Serials returns the tids of the newest records, most of which it reads from the file.
func (s *Storage) Serials(ctx context.Context, oids []zodb.OID) ([]zodb.TID, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	positions := make([]int64, len(oids)) // 0 for what need not be read
	tids := make([]zodb.TID, len(oids))
	s.mu.RLock()
	v, err := s.viewLocked()
	if err == nil {
		for i, oid := range oids {
			pos := v.index.get(oid)
			if tids[i] = v.tids.get(pos); tids[i] == 0 {
				positions[i] = pos
			}
		}
	}
	s.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	defer v.release()
	for i, pos := range positions {
		if pos == 0 {
			continue
		}
		if tids[i], err = v.tidAt(pos, oids[i]); err != nil {
			return nil, err
		}
	}
	return tids, nil
}
