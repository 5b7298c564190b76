package wire

import (
	"github.com/zaridb/zari/zodb"
)

// The replies and callbacks of the server that are frequent. None can fail.

// AppendNone appends the reply None.
func (c Codec) AppendNone(dst []byte, id RawID) []byte {
	frame, at := c.begin(dst, id, FlagResult)
	return c.end(c.none(frame), at)
}

// AppendLoad appends the reply to loadBefore: (data, serial, next or None).
func (c Codec) AppendLoad(dst []byte, id RawID, rec zodb.Record) []byte {
	frame, at := c.begin(dst, id, FlagResult)
	frame = c.tupleOpen(frame, 3)
	frame = c.bytes(frame, rec.Data)
	frame = c.eight(frame, uint64(rec.Serial))
	if rec.Next == 0 {
		frame = c.none(frame)
	} else {
		frame = c.eight(frame, uint64(rec.Next))
	}
	return c.end(c.tupleClose(frame, 3), at)
}

// AppendBytes appends a reply of bytes.
func (c Codec) AppendBytes(dst []byte, id RawID, b []byte) []byte {
	frame, at := c.begin(dst, id, FlagResult)
	return c.end(c.bytes(frame, b), at)
}

// AppendTID appends a reply of one tid, as tpc_finish and lastTransaction have it.
func (c Codec) AppendTID(dst []byte, id RawID, tid zodb.TID) []byte {
	frame, at := c.begin(dst, id, FlagResult)
	return c.end(c.eight(frame, uint64(tid)), at)
}

// AppendOIDs appends a reply of a list of oids, as vote and new_oids have it.
func (c Codec) AppendOIDs(dst []byte, id RawID, oids []zodb.OID) []byte {
	frame, at := c.begin(dst, id, FlagResult)
	return c.end(c.oids(frame, oids), at)
}

// AppendInvalidation appends the callback that tells of a commit.
func (c Codec) AppendInvalidation(dst []byte, tid zodb.TID, oids []zodb.OID) []byte {
	frame, at := c.beginOneWay(dst, "invalidateTransaction")
	frame = c.tupleOpen(frame, 2)
	frame = c.eight(frame, uint64(tid))
	frame = c.oids(frame, oids)
	return c.end(c.tupleClose(frame, 2), at)
}

// AppendInfo appends the callback that tells the number of objects and the size.
func (c Codec) AppendInfo(dst []byte, length, size int64) []byte {
	frame, at := c.beginOneWay(dst, "info")
	frame = c.tupleOpen(frame, 1)
	if c == Pickle {
		frame = append(frame, "}(X\x06\x00\x00\x00length"...)
		frame = c.int(frame, length)
		frame = append(frame, "X\x04\x00\x00\x00size"...)
		frame = append(c.int(frame, size), 'u')
	} else {
		frame = append(frame, "\x82\xa6length"...)
		frame = c.int(frame, length)
		frame = append(frame, "\xa4size"...)
		frame = c.int(frame, size)
	}
	return c.end(c.tupleClose(frame, 1), at)
}

// AppendBlobChunk appends the callback that carries a piece of a blob.
func (c Codec) AppendBlobChunk(dst []byte, oid zodb.OID, tid zodb.TID, chunk []byte) []byte {
	frame, at := c.beginOneWay(dst, "receiveBlobChunk")
	frame = c.tupleOpen(frame, 3)
	frame = c.eight(frame, uint64(oid))
	frame = c.eight(frame, uint64(tid))
	frame = c.bytes(frame, chunk)
	return c.end(c.tupleClose(frame, 3), at)
}

func (c Codec) beginOneWay(dst []byte, method string) (frame []byte, at int) {
	return c.beginCall(dst, c.zero(), true, method)
}

// The calls of a client that are frequent.

// AppendLoadBefore appends the call loadBefore with the id n.
func (c Codec) AppendLoadBefore(dst []byte, n int64, oid zodb.OID, tid zodb.TID) []byte {
	frame, at := c.beginInt(dst, n, "loadBefore")
	frame = c.tupleOpen(frame, 2)
	frame = c.eight(frame, uint64(oid))
	frame = c.eight(frame, uint64(tid))
	return c.end(c.tupleClose(frame, 2), at)
}

// AppendBegin appends tpc_begin of a transaction without an extension.
func (c Codec) AppendBegin(dst []byte, txn int64, user, description []byte) []byte {
	frame, at := c.beginOneWay(dst, "tpc_begin")
	frame = c.tupleOpen(frame, 6)
	frame = c.int(frame, txn)
	frame = c.bytes(frame, user)
	frame = c.bytes(frame, description)
	if c == Pickle {
		frame = append(frame, "}NX\x01\x00\x00\x00 "...)
	} else {
		frame = append(frame, "\x80\xc0\xa1 "...)
	}
	return c.end(c.tupleClose(frame, 6), at)
}

// AppendStore appends the one-way call storea.
func (c Codec) AppendStore(dst []byte, oid zodb.OID, serial zodb.TID, data []byte, txn int64) []byte {
	frame, at := c.beginOneWay(dst, "storea")
	frame = c.tupleOpen(frame, 4)
	frame = c.eight(frame, uint64(oid))
	frame = c.eight(frame, uint64(serial))
	frame = c.bytes(frame, data)
	frame = c.int(frame, txn)
	return c.end(c.tupleClose(frame, 4), at)
}

// AppendVote appends the call vote with the id n.
func (c Codec) AppendVote(dst []byte, n, txn int64) []byte {
	return c.appendTxnCall(dst, n, "vote", txn)
}

// AppendFinish appends the call tpc_finish with the id n.
func (c Codec) AppendFinish(dst []byte, n, txn int64) []byte {
	return c.appendTxnCall(dst, n, "tpc_finish", txn)
}

func (c Codec) appendTxnCall(dst []byte, n int64, method string, txn int64) []byte {
	frame, at := c.beginInt(dst, n, method)
	frame = c.tupleOpen(frame, 1)
	frame = c.int(frame, txn)
	return c.end(c.tupleClose(frame, 1), at)
}

func (c Codec) beginInt(dst []byte, n int64, method string) (frame []byte, at int) {
	frame, at = c.head(dst)
	return c.method(c.int(frame, n), false, method), at
}
