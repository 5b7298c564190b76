package check

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/compressed"
)

// File is a Data.fs that is only read. It knows the file as it was when it was
// opened: what is appended meanwhile is not looked at. A pack replaces the file, and
// this one stays readable.
type File struct {
	path string
	file *os.File
	size int64

	current *table[uint64] // the position of each object's newest record
	end     int64          // behind the last whole transaction that Walk found
	covered coverage
	blobs   []blobRevision
	lastTID zodb.TID // of the last whole transaction
}

// OpenFile opens a Data.fs. Walk must be called before its records are asked for.
func OpenFile(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &File{path: path, file: f, size: info.Size(), current: newTable[uint64]()}, nil
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// Objects returns how many objects Walk found, deleted ones included.
func (f *File) Objects() int { return f.current.len() }

// header reads the head of the data record at pos, and its back pointer.
func (f *File) header(pos int64, oid zodb.OID) (datafs.DataHeader, error) {
	var b [datafs.DataHeaderSize + datafs.BackSize]byte
	n, err := f.file.ReadAt(b[:min(int64(len(b)), max(0, f.size-pos))], pos)
	if n < datafs.DataHeaderSize {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return datafs.DataHeader{}, datafs.ReadError(f.path, "data record", pos, err)
	}
	h := datafs.DecodeDataHeader(b[:n])
	if err := h.Check(pos, f.size); err != nil {
		return h, datafs.Corrupt(f.path, "data record", pos, err)
	}
	if h.OID != oid {
		return h, datafs.Corrupt(f.path, "data record", pos, fmt.Errorf("it is of object %v, not of %v", h.OID, oid))
	}
	return h, nil
}

// data finds the record that has the data of the one at pos, which may be another
// that back pointers lead to. A length of 0 is that of a deletion.
func (f *File) data(pos int64, oid zodb.OID) (at, length int64, tid zodb.TID, err error) {
	first := true
	for {
		h, err := f.header(pos, oid)
		if err != nil {
			return 0, 0, tid, err
		}
		if first {
			tid, first = h.TID, false
		}
		if h.DataLen > 0 {
			return pos + datafs.DataHeaderSize, h.DataLen, tid, nil
		}
		if h.Back == 0 {
			return 0, 0, tid, nil
		}
		pos = h.Back // before pos, as Check has seen
	}
}

// readAtOnce is how much is read where a record begins: all of most records.
const readAtOnce = 4096

// load reads the record at pos into buf, or into more if that is too small.
func (f *File) load(pos int64, oid zodb.OID, buf []byte) (Record, []byte) {
	r := Record{OID: oid}
	if cap(buf) < readAtOnce {
		buf = make([]byte, readAtOnce)
	}
	n, _ := f.file.ReadAt(buf[:max(0, min(readAtOnce, f.size-pos))], pos)
	if data, tid, ok := f.whole(buf[:n], pos, oid); ok {
		r.TID = tid
		r.Data, r.Err = Plain(data)
		return r, buf
	}
	// It is larger, or has a back pointer, or something is wrong with it.
	at, length, tid, err := f.data(pos, oid)
	r.TID = tid
	switch {
	case err != nil:
		r.Err = err
		return r, buf
	case length == 0:
		r.Err = &zodb.NoObjectError{OID: oid, Before: zodb.MaxTID, Known: true, DeletedAt: tid}
		return r, buf
	}
	if int64(cap(buf)) < length {
		buf = make([]byte, length)
	}
	buf = buf[:length]
	if _, err := f.file.ReadAt(buf, at); err != nil {
		r.Err = datafs.ReadError(f.path, "data", at, err)
		return r, buf
	}
	r.Data, r.Err = Plain(buf)
	return r, buf
}

// maxPlain bounds what a compressed record may unfold to.
const maxPlain = 1 << 30

// Plain returns a record as it was before zc.zlibstorage compressed it.
func Plain(data []byte) ([]byte, error) { return compressed.Read(data, maxPlain) }

// whole returns the data of a record that b begins with, if they are in b.
func (f *File) whole(b []byte, pos int64, oid zodb.OID) (data []byte, tid zodb.TID, ok bool) {
	if len(b) < datafs.DataHeaderSize {
		return nil, 0, false
	}
	h := datafs.DecodeDataHeader(b)
	if h.DataLen == 0 || h.Len() > int64(len(b)) || h.OID != oid || h.Check(pos, f.size) != nil {
		return nil, 0, false
	}
	return b[datafs.DataHeaderSize:h.Len()], h.TID, true
}

// Load reads one current record.
func (f *File) Load(_ context.Context, oid zodb.OID) (*Record, error) {
	pos := int64(f.current.get(oid))
	if pos == 0 {
		return nil, &zodb.NoObjectError{OID: oid, Before: zodb.MaxTID}
	}
	r, _ := f.load(pos, oid, nil)
	if r.Err != nil {
		return nil, r.Err
	}
	return &r, nil
}

// located is an object with the position of its record.
type located struct {
	oid zodb.OID
	pos int64
}

// Each reads the current records in the order of oids.
func (f *File) Each(ctx context.Context, progress func(done, total int64), fn func(*Record) error) error {
	w := startWorkers(ctx, func(batch []located) error {
		var buf []byte
		for _, l := range batch {
			var r Record
			r, buf = f.load(l.pos, l.oid, buf)
			if _, deleted := r.Err.(*zodb.NoObjectError); deleted {
				continue
			}
			if err := fn(&r); err != nil {
				return err
			}
		}
		return nil
	})
	total := int64(f.current.len())
	var done int64
	batch := make([]located, 0, batchLen)
	f.current.each(func(oid zodb.OID, pos uint64) bool {
		batch = append(batch, located{oid, int64(pos)})
		if len(batch) < cap(batch) {
			return true
		}
		full := batch
		batch = make([]located, 0, batchLen)
		done += int64(len(full))
		progress(done, total)
		return w.give(full)
	})
	w.give(batch)
	return w.wait(nil)
}
