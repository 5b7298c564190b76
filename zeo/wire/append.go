package wire

import (
	"encoding/binary"

	"github.com/tinylib/msgp/msgp"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// This file has the messages of any shape; the frequent ones are in append_hot.go.

// AppendReply appends the answer to a call. On an error, which says that the
// result cannot be encoded, dst is returned as it was.
func (c Codec) AppendReply(dst []byte, id RawID, result any) ([]byte, error) {
	frame, at := c.begin(dst, id, FlagResult)
	frame, err := c.appendAny(frame, result)
	if err != nil {
		return dst, err
	}
	return c.end(frame, at), nil
}

// AppendError appends the answer to a call that failed. See [Describe] for what
// the other side is told.
func (c Codec) AppendError(dst []byte, id RawID, err error) []byte {
	class, detail := Describe(err)
	frame, at := c.begin(dst, id, FlagError)
	frame, failed := c.appendAny(frame, pickle.Tuple{class, detail})
	if failed != nil { // the arguments of a PyError can be anything
		frame, at = c.begin(dst, id, FlagError)
		frame, _ = c.appendAny(frame, pickle.Tuple{class, pickle.Tuple{err.Error()}})
	}
	return c.end(frame, at)
}

// AppendCall appends a call that is to be answered. Its id is an int64, a
// pickle.Tuple or a RawID.
func (c Codec) AppendCall(dst []byte, id any, method string, args ...any) ([]byte, error) {
	raw, ok := id.(RawID)
	if !ok {
		var err error
		if raw, err = c.appendAny(nil, id); err != nil {
			return dst, err
		}
	}
	return c.appendCall(dst, raw, false, method, args)
}

// AppendOneWay appends a call that is not answered, or a callback.
func (c Codec) AppendOneWay(dst []byte, method string, args ...any) ([]byte, error) {
	return c.appendCall(dst, c.zero(), true, method, args)
}

func (c Codec) appendCall(dst []byte, id RawID, async bool, method string, args []any) ([]byte, error) {
	frame, at := c.beginCall(dst, id, async, method)
	frame, err := c.appendAny(frame, pickle.Tuple(args))
	if err != nil {
		return dst, err
	}
	return c.end(frame, at), nil
}

// AppendHeartbeat appends what a client sends each minute to stay alive.
func (c Codec) AppendHeartbeat(dst []byte) []byte {
	minusOne := RawID{0xff} // msgpack's -1
	if c == Pickle {
		minusOne = RawID{'J', 0xff, 0xff, 0xff, 0xff}
	}
	frame, at := c.begin(dst, minusOne, FlagResult)
	return c.end(c.none(frame), at)
}

// zero is the id of calls that are not answered.
func (c Codec) zero() RawID {
	if c == Pickle {
		return pickleZero
	}
	return msgpackZero
}

var (
	pickleZero  = RawID{'K', 0}
	msgpackZero = RawID{0}
)

// begin appends a reply up to the result; end completes it.
func (c Codec) begin(dst []byte, id RawID, flag byte) (frame []byte, at int) {
	frame, at = c.head(dst)
	frame = append(frame, id...)
	if c == Pickle {
		return append(append(frame, 'K', flag), "X\x06\x00\x00\x00"+Reply...), at
	}
	return append(append(frame, flag), "\xa6"+Reply...), at
}

func (c Codec) beginCall(dst []byte, id RawID, async bool, method string) (frame []byte, at int) {
	frame, at = c.head(dst)
	return c.method(append(frame, id...), async, method), at
}

// head appends room for the header, and what comes before the id.
func (c Codec) head(dst []byte) (frame []byte, at int) {
	frame, at = open(dst)
	if c == Pickle {
		return append(frame, "\x80\x03("...), at
	}
	return append(frame, 0x94), at
}

// method appends what comes between the id and the arguments of a call.
func (c Codec) method(frame []byte, async bool, method string) []byte {
	if c == Msgpack {
		return msgp.AppendString(msgp.AppendBool(frame, async), method)
	}
	flag := byte(0x89)
	if async {
		flag = 0x88
	}
	frame = binary.LittleEndian.AppendUint32(append(frame, flag, 'X'), uint32(len(method)))
	return append(frame, method...)
}

func (c Codec) end(frame []byte, at int) []byte {
	if c == Pickle {
		frame = append(frame, 't', '.')
	}
	return closeFrame(frame, at)
}

// The scalars in both encodings.

func (c Codec) none(dst []byte) []byte {
	if c == Pickle {
		return append(dst, 'N')
	}
	return append(dst, 0xc0)
}

func (c Codec) eight(dst []byte, v uint64) []byte {
	if c == Pickle {
		return binary.BigEndian.AppendUint64(append(dst, 'C', 8), v)
	}
	return appendMsgpackEight(dst, v)
}

func (c Codec) bytes(dst, b []byte) []byte {
	if c == Msgpack {
		return msgp.AppendBytes(dst, b)
	}
	if len(b) < 256 {
		return append(append(dst, 'C', byte(len(b))), b...)
	}
	dst = binary.LittleEndian.AppendUint32(append(dst, 'B'), uint32(len(b)))
	return append(dst, b...)
}

func (c Codec) int(dst []byte, v int64) []byte {
	if c == Msgpack {
		return appendMsgpackInt(dst, v)
	}
	return pickle.AppendInt(dst, v)
}

// tupleOpen comes before the n values of a tuple, tupleClose behind them.
func (c Codec) tupleOpen(dst []byte, n int) []byte {
	switch {
	case c == Msgpack:
		return msgp.AppendArrayHeader(dst, uint32(n))
	case n > 3:
		return append(dst, '(')
	}
	return dst
}

func (c Codec) tupleClose(dst []byte, n int) []byte {
	switch {
	case c == Msgpack:
		return dst
	case n > 3:
		return append(dst, 't')
	case n == 0:
		return append(dst, ')')
	}
	return append(dst, 0x84+byte(n))
}

func (c Codec) oids(dst []byte, oids []zodb.OID) []byte {
	if c == Msgpack {
		dst = msgp.AppendArrayHeader(dst, uint32(len(oids)))
		for _, oid := range oids {
			dst = appendMsgpackEight(dst, uint64(oid))
		}
		return dst
	}
	dst = append(dst, ']')
	if len(oids) == 1 {
		return append(c.eight(dst, uint64(oids[0])), 'a')
	}
	for i, oid := range oids {
		if i%listBatch == 0 {
			dst = append(dst, '(')
		}
		dst = c.eight(dst, uint64(oid))
		if i%listBatch == listBatch-1 || i == len(oids)-1 {
			dst = append(dst, 'e')
		}
	}
	return dst
}

// listBatch is how many items the pickler puts behind one mark.
const listBatch = 1000
