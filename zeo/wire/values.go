package wire

import (
	"bytes"
	"strings"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// Prefix stands for ZopeUndo.Prefix.Prefix, which clients send in the
// specification of undoInfo to find the transactions of one part of a site.
type Prefix struct {
	Value string // the path
	whole bool   // compares whole elements of paths, as newer ones do
}

// Match reports whether the prefix equals text, which is the user's path, a
// space and a name. (Prefix.__eq__ in ZopeUndo 2.12 and later, __cmp__ before.)
func (p Prefix) Match(text string) bool {
	if !p.whole {
		return strings.HasPrefix(text, p.Value)
	}
	path := text
	slash := strings.LastIndex(text, "/")
	if space := strings.LastIndex(text, " "); space > slash {
		path = text[:space]
	}
	return path == p.Value || strings.HasPrefix(path, p.Value+"/")
}

// Extension returns argument i, the dict of a transaction's extension, as a
// pickle: the form in which transactions keep it. An empty dict gives nil. The
// result aliases nothing.
func (m *Message) Extension(i int) ([]byte, error) {
	v := m.arg(i)
	if v == nil || v.Kind == None {
		return nil, nil
	}
	if v.Kind == Dict && v.codec == Pickle {
		if bytes.Equal(v.raw, []byte{'}'}) {
			return nil, nil
		}
		ext := append(make([]byte, 0, len(v.raw)+3), 0x80, 3)
		return append(append(ext, v.raw...), '.'), nil
	}
	tree, err := v.Any()
	if err != nil {
		return nil, err
	}
	d, ok := tree.(*pickle.Dict)
	if !ok {
		return nil, typeError(i, "a dict", v)
	}
	if d.Len() == 0 {
		return nil, nil
	}
	return pickle.Encode(d)
}

// OIDs appends to dst the oids of argument i, a list or tuple of them.
func (m *Message) OIDs(i int, dst []zodb.OID) ([]zodb.OID, error) {
	v := m.arg(i)
	if v == nil {
		return dst, typeError(i, "a list of oids", v)
	}
	dst, ok := v.oids(dst)
	if !ok {
		return dst, typeError(i, "a list of oids", v)
	}
	return dst, nil
}

// oids reads the oids of a list or tuple from its encoding, or from its tree.
func (v *Value) oids(dst []zodb.OID) ([]zodb.OID, bool) {
	switch {
	case v.Kind == List && v.codec == Pickle:
		return flatOIDs(v.raw, dst)
	case v.Kind == List:
		return msgpackOIDs(v.raw, dst)
	case v.Kind != Tree:
		return dst, false
	}
	items, ok := itemsOf(v.tree)
	for _, item := range items {
		oid, isOID := asOID(item)
		if !isOID {
			return dst, false
		}
		dst = append(dst, oid)
	}
	return dst, ok
}

// Items returns the items of argument i, a list or tuple.
func (m *Message) Items(i int) ([]any, error) {
	v := m.arg(i)
	if v == nil {
		return nil, typeError(i, "a list", v)
	}
	tree, err := v.Any()
	if err != nil {
		return nil, err
	}
	items, ok := itemsOf(tree)
	if !ok {
		return nil, typeError(i, "a list", v)
	}
	return items, nil
}

func itemsOf(tree any) ([]any, bool) {
	switch tree := tree.(type) {
	case *pickle.List:
		return tree.Items, true
	case pickle.Tuple:
		return tree, true
	}
	return nil, false
}

// Result returns the whole fourth part of the message as one value.
func (m *Message) Result() (any, error) {
	if !m.Tuple {
		return m.Value(0)
	}
	t := make(pickle.Tuple, len(m.Args))
	for i := range m.Args {
		var err error
		if t[i], err = m.Args[i].Any(); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Err returns the error that a reply carries, as [ParseError] makes it; nil if it
// carries a result.
func (m *Message) Err() error {
	if m.Flag != FlagError {
		return nil
	}
	class, err := m.Text(0)
	if err != nil {
		return err
	}
	detail, err := m.Value(1)
	if err != nil {
		return err
	}
	return ParseError(class, detail)
}

// ParseLoad reads the reply to loadBefore. ok is false for None: the object has
// no revision so early. Data aliases the frame.
func (m *Message) ParseLoad() (rec zodb.Record, ok bool, err error) {
	if err := m.Err(); err != nil {
		return rec, false, err
	}
	if !m.Tuple && m.IsNone(0) {
		return rec, false, nil
	}
	if rec.Data, err = m.Bytes(0); err != nil {
		return rec, false, err
	}
	if rec.Serial, err = m.TID(1); err != nil {
		return rec, false, err
	}
	rec.Next, err = m.OptTID(2)
	return rec, err == nil, err
}
