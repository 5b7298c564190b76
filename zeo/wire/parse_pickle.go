package wire

import (
	"encoding/binary"
	"math"

	"github.com/zaridb/zari/zodb"
)

// flat reads the pickles that clients and servers really send: a tuple of
// scalars whose last item is one more scalar, or a tuple, list or dict of
// scalars. Its methods report false for everything else, which is then left to
// the full reader; a wrong guess costs time and nothing else.
type flat struct {
	b   []byte
	pos int
}

// next returns the next byte, or STOP's at the end.
func (f *flat) next() byte {
	if f.pos >= len(f.b) {
		return '.'
	}
	c := f.b[f.pos]
	f.pos++
	return c
}

func (f *flat) peek() byte {
	if f.pos >= len(f.b) {
		return '.'
	}
	return f.b[f.pos]
}

func (f *flat) take(n int) ([]byte, bool) {
	if n < 0 || n > len(f.b)-f.pos {
		return nil, false
	}
	b := f.b[f.pos : f.pos+n : f.pos+n]
	f.pos += n
	return b, true
}

// counted reads bytes preceded by their number, in one byte or in four.
func (f *flat) counted(kind Kind, width int, v *Value) bool {
	size, ok := f.take(width)
	if !ok {
		return false
	}
	n := int(size[0])
	if width == 4 {
		u := binary.LittleEndian.Uint32(size)
		if u > math.MaxInt32 {
			return false
		}
		n = int(u)
	}
	v.Kind = kind
	v.raw, ok = f.take(n)
	return ok
}

// scalar reads a value that has no parts.
func (f *flat) scalar(v *Value) bool {
	ok := true
	switch f.next() {
	case 'N':
		v.Kind = None
	case 0x88:
		v.Kind, v.num = Bool, 1
	case 0x89:
		v.Kind, v.num = Bool, 0
	case 'K', 'M', 'J', 0x8a:
		f.pos--
		ok = f.integer(v)
	case 'G':
		var b []byte
		if b, ok = f.take(8); ok {
			v.Kind, v.num = Float, int64(binary.BigEndian.Uint64(b))
		}
	case 'C':
		ok = f.counted(Bytes, 1, v)
	case 'B':
		ok = f.counted(Bytes, 4, v)
	case 'X':
		ok = f.counted(Text, 4, v)
	case 'U':
		ok = f.counted(ByteText, 1, v)
	case 'T':
		ok = f.counted(ByteText, 4, v)
	default:
		return false
	}
	f.skipPut()
	return ok
}

func (f *flat) integer(v *Value) bool {
	v.Kind = Int
	width := 0
	op := f.next()
	switch op {
	case 'K':
		width = 1
	case 'M':
		width = 2
	case 'J':
		width = 4
	case 0x8a:
		width = int(f.next())
	}
	b, ok := f.take(width)
	if !ok || width > 8 {
		return false
	}
	var n uint64
	for i, c := range b {
		n |= uint64(c) << (8 * i)
	}
	signed := op == 'J' || op == 0x8a
	if signed && width > 0 && width < 8 && b[width-1] >= 0x80 {
		n |= ^uint64(0) << (8 * width)
	}
	v.num = int64(n)
	return true
}

// skipPut skips a memo entry. Nothing here reads the memo: a pickle that does is
// left to the full reader.
func (f *flat) skipPut() {
	switch f.peek() {
	case 'q':
		_, _ = f.take(2)
	case 'r':
		_, _ = f.take(5)
	}
}

// value reads a scalar, or a list or dict of scalars as one span.
func (f *flat) value(v *Value) bool {
	start := f.pos
	switch f.peek() {
	case ']':
		v.Kind = List
		f.pos++
		if !f.parts('a', 'e', 1) {
			return false
		}
	case '}':
		v.Kind = Dict
		f.pos++
		if !f.parts('s', 'u', 2) {
			return false
		}
	default:
		return f.scalar(v)
	}
	v.raw = f.b[start:f.pos:f.pos]
	return true
}

// parts reads what follows an empty list or dict: groups of scalars, one group
// before the opcode one, or any number between a mark and the opcode many.
func (f *flat) parts(one, many byte, group int) bool {
	f.skipPut()
	var v Value
	for {
		switch c := f.peek(); {
		case c == '(':
			f.pos++
			n := 0
			for ; f.peek() != many; n++ {
				if !f.scalar(&v) {
					return false
				}
			}
			f.pos++
			if n%group != 0 {
				return false
			}
		default:
			return f.single(one, group)
		}
	}
}

// single reads one group and its opcode, if that is what follows; a scalar that
// belongs to something else is left alone.
func (f *flat) single(one byte, group int) bool {
	var v Value
	start := f.pos
	for range group {
		if !f.scalar(&v) {
			f.pos = start
			return true
		}
	}
	if f.peek() != one {
		f.pos = start
		return true
	}
	f.pos++
	return true
}

// flatOIDs reads the oids in a list that value has read.
func flatOIDs(raw []byte, dst []zodb.OID) ([]zodb.OID, bool) {
	f := flat{b: raw, pos: 1}
	f.skipPut()
	for f.pos < len(raw) {
		switch f.peek() {
		case '(', 'a', 'e':
			f.pos++
			continue
		}
		var v Value
		if !f.scalar(&v) || (v.Kind != Bytes && v.Kind != ByteText) {
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

// id reads an integer, or a tuple of two bytes, and keeps its encoding.
func (f *flat) id(m *Message) bool {
	start := f.pos
	var v Value
	if !f.scalar(&v) {
		return false
	}
	switch v.Kind {
	case Int:
		m.number, m.isInt = v.num, true
	case Bytes:
		if !f.scalar(&v) || v.Kind != Bytes || f.next() != 0x86 {
			return false
		}
	default:
		return false
	}
	m.ID = RawID(f.b[start:f.pos:f.pos])
	f.skipPut()
	return true
}

// parsePickle fills m if the frame is as flat expects it.
func parsePickle(frame []byte, m *Message) bool {
	f := flat{b: frame}
	if f.next() != 0x80 || f.next() > 3 || f.next() != '(' || !f.id(m) {
		return false
	}
	var flag, name Value
	if !f.scalar(&flag) || (flag.Kind != Bool && flag.Kind != Int) {
		return false
	}
	m.setFlag(flag)
	if !f.scalar(&name) || (name.Kind != Text && name.Kind != ByteText) {
		return false
	}
	m.Method = methodName(name.raw)
	return f.arguments(m) && f.ends()
}

func (m *Message) setFlag(v Value) {
	m.Flag, m.Async = v.num, v.Kind == Bool && v.num != 0
}

// ends reads the end of the outer tuple.
func (f *flat) ends() bool {
	f.skipPut()
	if f.next() != 't' {
		return false
	}
	f.skipPut()
	return f.pos < len(f.b) && f.next() == '.' && f.pos == len(f.b)
}

// arguments reads the fourth part: a tuple in one of its four forms, or a value.
func (f *flat) arguments(m *Message) bool {
	switch f.peek() {
	case ')':
		f.pos++
		m.Tuple = true
		return true
	case '(':
		f.pos++
		m.Tuple = true
		for f.peek() != 't' {
			if !f.value(m.grow()) {
				return false
			}
		}
		f.pos++
		return true
	}
	for range 3 {
		if !f.value(m.grow()) {
			return false
		}
		if f.peek() == 0x84+byte(len(m.Args)) {
			f.pos++
			m.Tuple = true
			return true
		}
		if f.peek() == 't' || f.peek() == 'q' || f.peek() == 'r' {
			return len(m.Args) == 1
		}
	}
	return false
}

// grow adds an argument.
func (m *Message) grow() *Value {
	m.Args = append(m.Args, Value{codec: m.codec})
	return &m.Args[len(m.Args)-1]
}
