package wire

import (
	"fmt"
	"math"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// Reply is the name of every message that answers a call.
const Reply = ".reply"

// Flags of a reply.
const (
	FlagResult = 0
	FlagError  = 2
)

// RawID is the id of a call in the connection's encoding, to be echoed.
type RawID []byte

// Message is a decoded message. A connection keeps one and has [Codec.Parse]
// fill it again and again.
//
// ID and the bytes in Args alias the frame, and are good as long as that is:
// what is kept must be copied.
type Message struct {
	ID     RawID
	Async  bool  // nothing is to be answered
	Flag   int64 // of a reply: FlagResult or FlagError
	Method string
	Tuple  bool    // the fourth part was a tuple, whose items Args are (in msgpack: an array)
	Args   []Value // the arguments, or the result: its items if it is a tuple, else itself

	number int64 // the id, if it is one
	isInt  bool
	codec  Codec
}

// Number returns the id if it is an integer.
func (m *Message) Number() (int64, bool) { return m.number, m.isInt }

// Heartbeat reports whether the message only says that the client is alive. It
// is not answered.
func (m *Message) Heartbeat() bool { return m.isInt && m.number == -1 }

// IsReply reports whether the message answers a call.
func (m *Message) IsReply() bool { return m.Method == Reply }

// Len returns the number of arguments.
func (m *Message) Len() int { return len(m.Args) }

// Kind tells what a [Value] is.
type Kind byte

// The kinds of values.
const (
	None Kind = iota
	Bool
	Int
	Float
	Bytes
	Text
	ByteText // a str of Python 2, which may be meant as either
	List     // of scalars, or in msgpack any array
	Dict     // of scalars, or in msgpack any map
	Tree     // anything else, built
)

// Value is one argument or result. Scalars are held without allocation; lists
// and dicts as their encoding, read when they are asked for.
type Value struct {
	Kind  Kind
	codec Codec
	num   int64  // Bool, Int, and Float as its bits
	raw   []byte // Bytes, Text, ByteText: contents; List, Dict: encoding
	tree  any
}

// Any returns the value as [pickle.Decode] would: nil, bool, int64, float64,
// []byte, string, pickle.Tuple, *pickle.List, *pickle.Dict, and [Prefix].
func (v *Value) Any() (any, error) {
	switch v.Kind {
	case Bool:
		return v.num != 0, nil
	case Int:
		return v.num, nil
	case Float:
		return math.Float64frombits(uint64(v.num)), nil
	case Bytes:
		return v.raw, nil
	case Text:
		return string(v.raw), nil
	case ByteText:
		return pickle.ByteString(v.raw), nil
	case List, Dict:
		return v.codec.decodeValue(v.raw)
	}
	return v.tree, nil
}

// typeError is what Python says of an argument that it cannot use.
func typeError(i int, want string, v *Value) error {
	if v == nil {
		return NewPyError(TypeError, fmt.Sprintf("argument %d is missing: %s", i, want))
	}
	return NewPyError(TypeError, fmt.Sprintf("argument %d must be %s", i, want))
}

func (m *Message) arg(i int) *Value {
	if i >= len(m.Args) {
		return nil
	}
	return &m.Args[i]
}

// Value returns argument i as [Value.Any] does; one that is missing is nil.
func (m *Message) Value(i int) (any, error) {
	v := m.arg(i)
	if v == nil {
		return nil, nil
	}
	return v.Any()
}

// IsNone reports whether argument i is None, or missing.
func (m *Message) IsNone(i int) bool {
	v := m.arg(i)
	return v == nil || v.Kind == None
}

// Bytes returns argument i, which must be bytes. It aliases the frame.
func (m *Message) Bytes(i int) ([]byte, error) {
	v := m.arg(i)
	if v == nil || (v.Kind != Bytes && v.Kind != ByteText) {
		return nil, typeError(i, "bytes", v)
	}
	return v.raw, nil
}

// TextOrBytes returns a copy of argument i, which is bytes, or the text that Python 2
// clients send for them.
func (m *Message) TextOrBytes(i int) ([]byte, error) {
	v := m.arg(i)
	if v == nil || (v.Kind != Bytes && v.Kind != ByteText && v.Kind != Text) {
		return nil, typeError(i, "bytes", v)
	}
	return append([]byte{}, v.raw...), nil
}

// OptBytes is Bytes where None stands for nil.
func (m *Message) OptBytes(i int) ([]byte, error) {
	if m.IsNone(i) {
		return nil, nil
	}
	return m.Bytes(i)
}

// OID returns argument i, which must be the eight bytes of an oid.
func (m *Message) OID(i int) (zodb.OID, error) {
	b, err := m.Bytes(i)
	if err != nil || len(b) != 8 {
		return 0, typeError(i, "an oid, bytes of length 8", m.arg(i))
	}
	return zodb.ParseOID(b)
}

// TID returns argument i, which must be the eight bytes of a tid.
func (m *Message) TID(i int) (zodb.TID, error) {
	b, err := m.Bytes(i)
	if err != nil || len(b) != 8 {
		return 0, typeError(i, "a tid, bytes of length 8", m.arg(i))
	}
	return zodb.ParseTID(b)
}

// OptTID is TID where None, or no argument, stands for 0.
func (m *Message) OptTID(i int) (zodb.TID, error) {
	if m.IsNone(i) {
		return 0, nil
	}
	return m.TID(i)
}

// Int returns argument i, which must be an integer (or, as in Python, a bool).
func (m *Message) Int(i int) (int64, error) {
	v := m.arg(i)
	if v == nil || (v.Kind != Int && v.Kind != Bool) {
		return 0, typeError(i, "an int", v)
	}
	return v.num, nil
}

// OptInt is Int where a missing argument, but not None, stands for the default.
func (m *Message) OptInt(i int, def int64) (int64, error) {
	if i >= len(m.Args) {
		return def, nil
	}
	return m.Int(i)
}

// Float returns argument i, which must be a number.
func (m *Message) Float(i int) (float64, error) {
	v := m.arg(i)
	switch {
	case v != nil && v.Kind == Float:
		return math.Float64frombits(uint64(v.num)), nil
	case v != nil && v.Kind == Int:
		return float64(v.num), nil
	}
	return 0, typeError(i, "a float", v)
}

// Text returns argument i, which must be text.
func (m *Message) Text(i int) (string, error) {
	v := m.arg(i)
	if v == nil || (v.Kind != Text && v.Kind != ByteText) {
		return "", typeError(i, "a str", v)
	}
	return string(v.raw), nil
}

// Bool returns whether argument i is true in Python's sense, for the scalars; a
// missing one is false.
func (m *Message) Bool(i int) bool {
	v := m.arg(i)
	switch {
	case v == nil:
		return false
	case v.Kind == Bool || v.Kind == Int || v.Kind == Float:
		return v.num != 0
	case v.Kind == Bytes || v.Kind == Text || v.Kind == ByteText:
		return len(v.raw) > 0
	}
	return v.Kind != None
}
