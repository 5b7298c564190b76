package pickle

import (
	"fmt"
	"slices"
)

// Tuple is a Python tuple. Two tuples are one object if they have the same first
// element's address and length.
type Tuple []any

// ByteString is a str of Python 2: bytes that may have been meant as text.
type ByteString string

// ByteArray is a bytearray of protocol 5.
type ByteArray struct{ Data []byte }

// List is a Python list.
type List struct{ Items []any }

// Set is a set written by protocol 4 or later. Older ones are an [Object].
type Set struct{ Items []any }

// FrozenSet is a frozenset written by protocol 4 or later.
type FrozenSet struct{ Items []any }

// Entry is one pair of a dict.
type Entry struct{ Key, Value any }

// Dict is a Python dict in the order of its pickle. Keys can be any value; a key
// that occurs twice has its last value.
type Dict struct{ Entries []Entry }

// Global names a class or function. The tree never knows what it is.
type Global struct{ Module, Name string }

// String returns module and name, joined by a dot.
func (g *Global) String() string { return g.Module + "." + g.Name }

// Ext names a class or function by its code in copyreg's extension registry.
type Ext struct{ Code uint32 }

// Ref is a reference by persistent id. What ZODB puts there, [Ref.Target] reads.
type Ref struct{ ID any }

// Making says how an object comes into being.
type Making byte

// The ways to make an object, named after the opcodes.
const (
	Reduce   Making = iota // Class(*Args), Class being any callable
	NewObj                 // Class.__new__(Class, *Args)
	NewObjEx               // Class.__new__(Class, *Args, **Kwargs)
	Instance               // Class(*Args) for a class of Python 2 (OBJ, INST)
)

// Object is an instance, told by how Python would make it. What follows the call
// is in the order in which it is applied.
type Object struct {
	Making  Making
	Class   any     // usually a *Global
	Args    Tuple   //
	Kwargs  any     // of NewObjEx only: a *Dict
	Items   []any   // appended to it, for a kind of list
	Entries []Entry // set in it, for a kind of dict
	Built   bool    // State was given to it
	State   any     // for __setstate__ or __dict__
}

// IsGlobal reports whether v is the named class or function.
func IsGlobal(v any, module, name string) bool {
	g, ok := v.(*Global)
	return ok && g.Module == module && g.Name == name
}

// NewList makes a list of the given items.
func NewList(items ...any) *List { return &List{Items: items} }

// NewDict makes a dict of alternating keys and values. An odd number of
// arguments is a programming error and panics.
func NewDict(kv ...any) *Dict {
	if len(kv)%2 != 0 {
		panic("pickle.NewDict: a key has no value")
	}
	d := &Dict{Entries: make([]Entry, 0, len(kv)/2)}
	for pair := range slices.Chunk(kv, 2) {
		d.Entries = append(d.Entries, Entry{pair[0], pair[1]})
	}
	return d
}

// Len returns the number of entries.
func (d *Dict) Len() int { return len(d.Entries) }

// Get returns the value of a key that is a str (or a str of Python 2).
func (d *Dict) Get(key string) (any, bool) {
	for _, e := range slices.Backward(d.Entries) {
		if s, ok := Text(e.Key); ok && s == key {
			return e.Value, true
		}
	}
	return nil, false
}

// Set gives a str key a value, in the key's old place if it has one.
func (d *Dict) Set(key string, value any) {
	for i, e := range slices.Backward(d.Entries) {
		if s, ok := Text(e.Key); ok && s == key {
			d.Entries[i].Value = value
			return
		}
	}
	d.Entries = append(d.Entries, Entry{key, value})
}

// Text returns v as text if it is a str, or a str of Python 2.
func Text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case ByteString:
		return string(v), true
	}
	return "", false
}

// Bytes returns v as bytes if it is bytes in any of the forms that Python has
// used for them: bytes, a str of Python 2, zodbpickle.binary, or the
// _codecs.encode(str, 'latin1') by which Python 3 writes bytes in protocols 0 to 2.
func Bytes(v any) ([]byte, bool) {
	switch v := v.(type) {
	case []byte:
		return v, true
	case ByteString:
		return []byte(v), true
	case *Object:
		return objectBytes(v)
	}
	return nil, false
}

func objectBytes(o *Object) ([]byte, bool) {
	if o.Built || len(o.Items) > 0 || len(o.Entries) > 0 {
		return nil, false
	}
	switch {
	case IsGlobal(o.Class, "zodbpickle", "binary") && len(o.Args) == 1:
		b, ok := o.Args[0].([]byte)
		return b, ok
	case IsGlobal(o.Class, "_codecs", "encode") && len(o.Args) == 2:
		s, ok := o.Args[0].(string)
		if enc, _ := o.Args[1].(string); !ok || enc != "latin1" {
			return nil, false
		}
		return latin1(s)
	case (IsGlobal(o.Class, "__builtin__", "bytes") || IsGlobal(o.Class, "builtins", "bytes")) && len(o.Args) == 0:
		return []byte{}, true
	}
	return nil, false
}

// latin1 encodes text as Python's codec of that name does.
func latin1(s string) ([]byte, bool) {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r > 0xff {
			return nil, false
		}
		b = append(b, byte(r))
	}
	return b, true
}

// SyntaxError says where a pickle is not one, or is one that this package
// refuses.
type SyntaxError struct {
	Offset int // of the opcode, from the start of the input
	Op     byte
	Reason string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("pickle: opcode %#02x at offset %d: %s", e.Op, e.Offset, e.Reason)
}
