package wire

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/tinylib/msgp/msgp"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// parseMsgpack fills m from an array of four.
func parseMsgpack(frame []byte, m *Message) error {
	n, b, err := msgp.ReadArrayHeaderBytes(frame)
	if err != nil || n != 4 {
		return errMessage
	}
	start := b
	var id, flag, name Value
	if b, err = readScalar(b, &id); err != nil {
		return err
	}
	m.ID = RawID(start[: len(start)-len(b) : len(start)-len(b)])
	m.number, m.isInt = id.num, id.Kind == Int
	if b, err = readScalar(b, &flag); err != nil {
		return err
	}
	if b, err = readScalar(b, &name); err != nil {
		return err
	}
	if (flag.Kind != Bool && flag.Kind != Int) || name.Kind != Text {
		return errMessage
	}
	m.setFlag(flag)
	m.Method = methodName(name.raw)
	return parseMsgpackArgs(b, m)
}

func parseMsgpackArgs(b []byte, m *Message) error {
	n := uint32(1)
	if msgp.NextType(b) == msgp.ArrayType {
		var err error
		if n, b, err = msgp.ReadArrayHeaderBytes(b); err != nil {
			return err
		}
		m.Tuple = true
	}
	if uint64(n) > uint64(len(b)) && n > 0 { // every item takes a byte at least
		return msgp.ErrShortBytes
	}
	for range n {
		var err error
		if b, err = readScalar(b, m.grow()); err != nil {
			return err
		}
	}
	if len(b) != 0 {
		return errMessage
	}
	return nil
}

// readScalar reads one value; an array or a map is kept as its encoding.
func readScalar(b []byte, v *Value) (rest []byte, err error) {
	v.codec = Msgpack
	switch msgp.NextType(b) {
	case msgp.NilType:
		v.Kind = None
		return msgp.ReadNilBytes(b)
	case msgp.BoolType:
		var t bool
		if t, rest, err = msgp.ReadBoolBytes(b); t {
			v.num = 1
		}
		v.Kind = Bool
	case msgp.IntType, msgp.UintType:
		v.Kind = Int
		if b[0] == 0xcf && len(b) > 8 && b[1] >= 0x80 {
			v.Kind, v.tree = Tree, binary.BigEndian.Uint64(b[1:])
			return b[9:], nil
		}
		v.num, rest, err = msgp.ReadInt64Bytes(b)
	case msgp.Float32Type, msgp.Float64Type:
		var f float64
		f, rest, err = msgp.ReadFloat64Bytes(b)
		v.Kind, v.num = Float, int64(math.Float64bits(f))
	case msgp.StrType:
		v.Kind = Text
		v.raw, rest, err = msgp.ReadStringZC(b)
	case msgp.BinType:
		v.Kind = Bytes
		v.raw, rest, err = msgp.ReadBytesZC(b)
	case msgp.ArrayType, msgp.MapType:
		v.Kind = List
		if msgp.NextType(b) == msgp.MapType {
			v.Kind = Dict
		}
		if rest, err = skipMsgpack(b, maxDepth); err == nil {
			v.raw = b[: len(b)-len(rest) : len(b)-len(rest)]
		}
	default:
		return nil, fmt.Errorf("wire: a msgpack value of type %v", msgp.NextType(b))
	}
	return rest, err
}

// skipMsgpack returns what follows the value at the start of b, which it checks
// to be made of types that readMsgpack reads.
func skipMsgpack(b []byte, depth int) ([]byte, error) {
	if depth == 0 {
		return nil, fmt.Errorf("wire: a message is nested too deeply")
	}
	n, rest, err := containerSize(b)
	if err != nil {
		return nil, err
	}
	if n < 0 {
		var v Value
		return readScalar(b, &v)
	}
	for range n {
		if rest, err = skipMsgpack(rest, depth-1); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// containerSize returns how many values an array or map holds, a map having two
// for each entry, or -1 if it is neither.
func containerSize(b []byte) (n int, rest []byte, err error) {
	var size uint32
	group := 1
	switch msgp.NextType(b) {
	case msgp.ArrayType:
		size, rest, err = msgp.ReadArrayHeaderBytes(b)
	case msgp.MapType:
		group = 2
		size, rest, err = msgp.ReadMapHeaderBytes(b)
	default:
		return -1, b, nil
	}
	if err == nil && uint64(size)*uint64(group) > uint64(len(rest)) {
		err = msgp.ErrShortBytes
	}
	return int(size) * group, rest, err
}

// msgpackOIDs reads the oids in an array that readScalar has kept.
func msgpackOIDs(raw []byte, dst []zodb.OID) ([]zodb.OID, bool) {
	n, b, err := msgp.ReadArrayHeaderBytes(raw)
	if err != nil {
		return dst, false
	}
	for range n {
		var v Value
		if b, err = readScalar(b, &v); err != nil || v.Kind != Bytes {
			return dst, false
		}
		oid, err := zodb.ParseOID(v.raw)
		if err != nil {
			return dst, false
		}
		dst = append(dst, oid)
	}
	return dst, true
}

// readMsgpack builds the value at the start of b. Arrays are tuples, as in Python.
func readMsgpack(b []byte, depth int) (v any, rest []byte, err error) {
	if depth == 0 {
		return nil, nil, fmt.Errorf("wire: a message is nested too deeply")
	}
	isMap := msgp.NextType(b) == msgp.MapType
	n, rest, err := containerSize(b)
	if err != nil {
		return nil, nil, err
	}
	if n < 0 {
		var s Value
		if rest, err = readScalar(b, &s); err != nil {
			return nil, nil, err
		}
		v, err = s.Any()
		return v, rest, err
	}
	items := make(pickle.Tuple, n)
	for i := range items {
		if items[i], rest, err = readMsgpack(rest, depth-1); err != nil {
			return nil, nil, err
		}
	}
	if isMap {
		return pickle.NewDict(items...), rest, nil
	}
	return items, rest, nil
}
