package wire

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/zaridb/zari/zodb/pickle"
)

// parsePickleTree fills m by way of the full reader.
func parsePickleTree(frame []byte, m *Message) error {
	tree, err := decodeTree(frame)
	if err != nil {
		return err
	}
	t, ok := tree.(pickle.Tuple)
	if !ok || len(t) != 4 {
		return errMessage
	}
	name, ok := pickle.Text(t[2])
	if !ok || !m.setTreeFlag(t[1]) {
		return errMessage
	}
	m.Method = name
	m.number, m.isInt = t[0].(int64)
	raw, err := pickle.AppendPlain(nil, t[0])
	if err != nil {
		return err
	}
	m.ID = raw
	args, ok := t[3].(pickle.Tuple)
	if !ok {
		args = pickle.Tuple{t[3]}
	}
	m.Tuple = ok
	for _, a := range args {
		*m.grow() = treeValue(a)
	}
	return nil
}

func (m *Message) setTreeFlag(v any) bool {
	switch v := v.(type) {
	case bool:
		m.Async = v
		if v {
			m.Flag = 1
		}
		return true
	case int64:
		m.Flag = v
		return true
	}
	return false
}

// allow names the classes that a message may mention. None is ever called; the
// first two are turned into values by walk, the others stay descriptions, which
// the extension of a transaction may hold.
func allow(module, name string) error {
	switch module + "." + name {
	case "zodbpickle.binary", "ZopeUndo.Prefix.Prefix",
		"builtins.set", "builtins.frozenset", "builtins.complex", "builtins.bytearray", "builtins.dict",
		"__builtin__.set", "__builtin__.frozenset", "__builtin__.complex", "__builtin__.bytearray", "__builtin__.dict",
		"_codecs.encode",                                          // how protocol 2 has bytes
		"ZODB.POSException._recon", "ZODB.POSException.UndoError", // in what Python's server says of an undo
		"copy_reg._reconstructor", "copyreg._reconstructor", "__builtin__.object", "builtins.object":
		return nil
	}
	return fmt.Errorf("%.100q of module %.100q is not allowed", name, module)
}

// decodeTree reads a pickle and turns the known classes into values.
func decodeTree(b []byte) (any, error) {
	d := pickle.NewDecoder(b)
	d.MaxValues, d.Allow = maxValues, allow
	tree, err := d.Decode()
	if err != nil {
		return nil, err
	}
	if len(d.Rest()) != 0 {
		return nil, errMessage
	}
	w := walk{left: maxValues}
	return w.value(tree, maxDepth)
}

// walk replaces the known classes in a tree by values. What is shared is visited
// each time, so a walk also proves that the tree unfolds to something small, and
// that it has no cycles.
type walk struct{ left int }

var errLarge = errors.New("wire: a message is nested too deeply or unfolds to too much")

func (w *walk) value(v any, depth int) (any, error) {
	if w.left--; w.left < 0 || depth == 0 {
		return nil, errLarge
	}
	switch v := v.(type) {
	case pickle.Tuple:
		return v, w.items(v, depth-1)
	case *pickle.List:
		return v, w.items(v.Items, depth-1)
	case *pickle.Set:
		return v, w.items(v.Items, depth-1)
	case *pickle.FrozenSet:
		return v, w.items(v.Items, depth-1)
	case *pickle.Dict:
		return v, w.entries(v.Entries, depth-1)
	case *pickle.Ref:
		return nil, errors.New("wire: a message with a reference to an object")
	case *pickle.Object:
		return w.object(v, depth-1)
	}
	return v, nil
}

func (w *walk) items(items []any, depth int) error {
	for i := range items {
		var err error
		if items[i], err = w.value(items[i], depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) entries(entries []pickle.Entry, depth int) error {
	for i := range entries {
		e := &entries[i]
		var err error
		if e.Key, err = w.value(e.Key, depth); err != nil {
			return err
		}
		if e.Value, err = w.value(e.Value, depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) object(o *pickle.Object, depth int) (any, error) {
	if b, ok := pickle.Bytes(o); ok {
		return b, nil
	}
	if isPrefix(o) {
		return newPrefix(o)
	}
	if d, ok := plainDict(o); ok {
		return d, w.entries(d.Entries, depth)
	}
	if o.Kwargs != nil {
		if _, err := w.value(o.Kwargs, depth); err != nil {
			return nil, err
		}
	}
	var err error
	if o.State, err = w.value(o.State, depth); err != nil {
		return nil, err
	}
	if o.Class, err = w.value(o.Class, depth); err != nil {
		return nil, err
	}
	return o, errors.Join(w.items(o.Args, depth), w.items(o.Items, depth), w.entries(o.Entries, depth))
}

// plainDict reads dict(pairs), which is how some subclasses of dict are pickled.
// Extensions of transactions are such at times.
func plainDict(o *pickle.Object) (*pickle.Dict, bool) {
	isDict := pickle.IsGlobal(o.Class, "builtins", "dict") || pickle.IsGlobal(o.Class, "__builtin__", "dict")
	if !isDict || len(o.Args) != 1 || o.Built || len(o.Items) > 0 || len(o.Entries) > 0 {
		return nil, false
	}
	var pairs []any
	switch arg := o.Args[0].(type) {
	case *pickle.Dict:
		return arg, true
	case pickle.Tuple:
		pairs = arg
	case *pickle.List:
		pairs = arg.Items
	default:
		return nil, false
	}
	d := pickle.NewDict()
	for _, p := range pairs {
		pair, ok := p.(pickle.Tuple)
		if !ok || len(pair) != 2 {
			return nil, false
		}
		d.Entries = append(d.Entries, pickle.Entry{Key: pair[0], Value: pair[1]})
	}
	return d, true
}

func isPrefix(o *pickle.Object) bool {
	const module, name = "ZopeUndo.Prefix", "Prefix"
	if pickle.IsGlobal(o.Class, module, name) {
		return true
	}
	return len(o.Args) > 0 && pickle.IsGlobal(o.Args[0], module, name) // by copyreg._reconstructor
}

var errPrefix = errors.New("wire: a ZopeUndo Prefix with unknown attributes")

// newPrefix reads the state: {length, path: elements}, or in older versions
// {value: (length, text)}.
func newPrefix(o *pickle.Object) (any, error) {
	state, ok := o.State.(*pickle.Dict)
	if !ok {
		return nil, errPrefix
	}
	if v, ok := state.Get("value"); ok {
		t, _ := v.(pickle.Tuple)
		if len(t) != 2 {
			return nil, errPrefix
		}
		text, ok := pickle.Text(t[1])
		if !ok {
			return nil, errPrefix
		}
		return Prefix{Value: text}, nil
	}
	v, _ := state.Get("path")
	path, ok := v.(*pickle.List)
	if !ok {
		return nil, errPrefix
	}
	elements := make([]string, len(path.Items))
	for i, item := range path.Items {
		if elements[i], ok = pickle.Text(item); !ok {
			return nil, errPrefix
		}
	}
	return Prefix{Value: strings.Join(elements, "/"), whole: true}, nil
}

// treeValue makes an argument of a value that was built.
func treeValue(v any) Value {
	switch v := v.(type) {
	case nil:
		return Value{Kind: None}
	case bool:
		if v {
			return Value{Kind: Bool, num: 1}
		}
		return Value{Kind: Bool}
	case int64:
		return Value{Kind: Int, num: v}
	case float64:
		return Value{Kind: Float, num: int64(math.Float64bits(v))}
	case []byte:
		return Value{Kind: Bytes, raw: v}
	case string:
		return Value{Kind: Text, raw: []byte(v)}
	case pickle.ByteString:
		return Value{Kind: ByteText, raw: []byte(v)}
	}
	return Value{Kind: Tree, tree: v}
}

// decodeValue reads one value that Parse left encoded.
func (c Codec) decodeValue(raw []byte) (any, error) {
	if c == Msgpack {
		v, rest, err := readMsgpack(raw, maxDepth)
		if err == nil && len(rest) != 0 {
			err = errMessage
		}
		return v, err
	}
	b := make([]byte, 0, len(raw)+3)
	b = append(append(append(b, 0x80, 3), raw...), '.')
	return decodeTree(b)
}
