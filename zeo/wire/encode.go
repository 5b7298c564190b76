package wire

import (
	"encoding/binary"
	"fmt"
	"math/big"

	"github.com/tinylib/msgp/msgp"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// appendAny appends a value. In both encodings it takes what [pickle.Encode]
// takes, except classes, instances and references; msgpack has no integers of
// more than 64 bits and no sets either.
func (c Codec) appendAny(dst []byte, v any) ([]byte, error) {
	if c == Msgpack {
		return appendMsgpack(dst, v, maxDepth)
	}
	return pickle.AppendPlain(dst, v)
}

func appendMsgpack(dst []byte, v any, depth int) ([]byte, error) {
	if depth == 0 || len(dst) > pickle.MaxPlain {
		return dst, fmt.Errorf("wire: a value is too deep or too large for a message")
	}
	switch v := v.(type) {
	case pickle.Tuple:
		return appendMsgpackItems(dst, v, depth)
	case *pickle.List:
		return appendMsgpackItems(dst, v.Items, depth)
	case []any:
		return appendMsgpackItems(dst, v, depth)
	case [][]byte:
		dst = msgp.AppendArrayHeader(dst, uint32(len(v)))
		for _, b := range v {
			dst = msgp.AppendBytes(dst, b)
		}
		return dst, nil
	case *pickle.Dict:
		return appendMsgpackDict(dst, v, depth)
	}
	return appendMsgpackScalar(dst, v)
}

func appendMsgpackScalar(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return msgp.AppendNil(dst), nil
	case bool:
		return msgp.AppendBool(dst, v), nil
	case int:
		return appendMsgpackInt(dst, int64(v)), nil
	case int64:
		return appendMsgpackInt(dst, v), nil
	case int32:
		return appendMsgpackInt(dst, int64(v)), nil
	case uint32:
		return msgp.AppendUint64(dst, uint64(v)), nil
	case uint:
		return msgp.AppendUint64(dst, uint64(v)), nil
	case uint64:
		return msgp.AppendUint64(dst, v), nil
	case float64:
		return msgp.AppendFloat64(dst, v), nil
	case string:
		return msgp.AppendString(dst, v), nil
	case pickle.ByteString:
		return msgp.AppendString(dst, string(v)), nil
	case []byte:
		return msgp.AppendBytes(dst, v), nil
	case *pickle.ByteArray:
		return msgp.AppendBytes(dst, v.Data), nil
	case zodb.OID:
		return appendMsgpackEight(dst, uint64(v)), nil
	case zodb.TID:
		return appendMsgpackEight(dst, uint64(v)), nil
	case *big.Int:
		if v.IsUint64() {
			return msgp.AppendUint64(dst, v.Uint64()), nil
		}
	}
	return dst, fmt.Errorf("wire: a %T cannot be written in msgpack", v)
}

// appendMsgpackInt writes the shortest form, which for numbers >= 0 is the
// unsigned one.
func appendMsgpackInt(dst []byte, v int64) []byte {
	if v >= 0 {
		return msgp.AppendUint64(dst, uint64(v))
	}
	return msgp.AppendInt64(dst, v)
}

func appendMsgpackEight(dst []byte, v uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, 0xc4, 8), v)
}

func appendMsgpackItems(dst []byte, items []any, depth int) ([]byte, error) {
	dst = msgp.AppendArrayHeader(dst, uint32(len(items)))
	for _, v := range items {
		var err error
		if dst, err = appendMsgpack(dst, v, depth-1); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

func appendMsgpackDict(dst []byte, d *pickle.Dict, depth int) ([]byte, error) {
	dst = msgp.AppendMapHeader(dst, uint32(len(d.Entries)))
	for _, e := range d.Entries {
		var err error
		if dst, err = appendMsgpack(dst, e.Key, depth-1); err != nil {
			return dst, err
		}
		if dst, err = appendMsgpack(dst, e.Value, depth-1); err != nil {
			return dst, err
		}
	}
	return dst, nil
}
