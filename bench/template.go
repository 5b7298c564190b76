package bench

import (
	"bytes"
	"encoding/binary"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// Marks stand for an oid and a tid in the frame that serves as a template. Their
// bytes occur nowhere else in it.
const (
	markOID zodb.OID = 0xf1b0a7c35de29481
	markTID zodb.TID = 0xf2c9845a1be7d360
)

// frameHeader is the length of a frame's header in bytes.
const frameHeader = 4

// A template is the frame of a loadBefore, header included, encoded once. Its
// copies differ in the oid and the tid. The message id is what is asked for, the
// oid and the tid once more, as Python's client has it.
type template struct {
	frame      []byte
	oids, tids []int // where an oid goes, and a tid
	idSize     int   // of the message id, in bytes
	idOID      int   // where the oid is in it
}

func newTemplate(c wire.Codec) (t template, err error) {
	oid := binary.BigEndian.AppendUint64(nil, uint64(markOID))
	tid := binary.BigEndian.AppendUint64(nil, uint64(markTID))
	t.frame, err = c.AppendCall(nil, pickle.Tuple{oid, tid}, "loadBefore", oid, tid)
	if err != nil {
		return t, err
	}
	var m wire.Message
	if err := c.Parse(t.frame[frameHeader:], &m); err != nil {
		return t, err
	}
	t.oids, t.tids = find(t.frame, oid), find(t.frame, tid)
	t.idSize, t.idOID = len(m.ID), bytes.Index(m.ID, oid)
	return t, nil
}

// append appends a copy of the frame to dst.
func (t *template) append(dst []byte, oid zodb.OID, tid zodb.TID) []byte {
	start := len(dst)
	dst = append(dst, t.frame...)
	for _, at := range t.oids {
		binary.BigEndian.PutUint64(dst[start+at:], uint64(oid))
	}
	for _, at := range t.tids {
		binary.BigEndian.PutUint64(dst[start+at:], uint64(tid))
	}
	return dst
}

// oidOf returns the oid in the message id of an answer.
func (t *template) oidOf(id wire.RawID) (zodb.OID, bool) {
	if len(id) != t.idSize {
		return 0, false
	}
	return zodb.OID(binary.BigEndian.Uint64(id[t.idOID:])), true
}

// find returns every place where mark occurs in frame.
func find(frame, mark []byte) (at []int) {
	for from := 0; ; {
		i := bytes.Index(frame[from:], mark)
		if i < 0 {
			return at
		}
		at = append(at, from+i)
		from += i + len(mark)
	}
}
