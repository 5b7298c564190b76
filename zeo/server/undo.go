package server

import (
	"bytes"
	"reflect"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// undoLog(first, last): the transactions that may be undone, newest first. A
// negative last is a count.
func undoLog(x *session, m *wire.Message) (any, error) {
	return x.undoEntries(m, nil)
}

// undoInfo(first, last, specification): only the entries whose items equal those
// of the specification, a dict.
func undoInfo(x *session, m *wire.Message) (any, error) {
	v, err := m.Value(2)
	if err != nil {
		return nil, err
	}
	spec, _ := v.(*pickle.Dict)
	return x.undoEntries(m, spec)
}

func (x *session) undoEntries(m *wire.Message, spec *pickle.Dict) (any, error) {
	u, ok := zodb.As[zodb.Undoer](x.hub.storage)
	if !ok {
		return pickle.Tuple{}, nil
	}
	first, err := m.Int(0)
	if err != nil {
		return nil, err
	}
	last, err := m.Int(1)
	if err != nil {
		return nil, err
	}
	if last < 0 {
		last = first - last
	}
	view := x.out.View()
	accept := func(e *zodb.UndoEntry) bool {
		return e.TID <= view && (spec == nil || matches(undoDict(e), spec))
	}
	entries, err := u.UndoLog(x.ctx, int(first), int(last), accept)
	if err != nil {
		return nil, err
	}
	list := make([]any, len(entries))
	for i := range entries {
		list[i] = undoDict(&entries[i])
	}
	return pickle.NewList(list...), nil
}

func undoDict(e *zodb.UndoEntry) *pickle.Dict {
	d := pickle.NewDict(
		"id", e.TID.UndoID(), "time", seconds(e.TID.Time()), "user_name", nonNil(e.User),
		"size", e.Size, "description", nonNil(e.Description))
	ext := extensionDict(e.Extension)
	for _, e := range ext.Entries {
		if name, ok := pickle.Text(e.Key); ok {
			d.Set(name, e.Value)
		}
	}
	return d
}

// matches reports whether d has all items of the specification.
func matches(d, spec *pickle.Dict) bool {
	for _, e := range spec.Entries {
		name, ok := pickle.Text(e.Key)
		if !ok {
			return false
		}
		have, ok := d.Get(name)
		if !ok || !equals(have, e.Value) {
			return false
		}
	}
	return true
}

// equals compares an entry's item with what is asked for, which may be the
// beginning of a text (ZopeUndo.Prefix). Bytes and str are alike here, as they
// are there.
func equals(have, want any) bool {
	h, isText := text(have)
	if p, ok := want.(wire.Prefix); ok {
		return isText && p.Match(string(h))
	}
	if w, ok := text(want); ok {
		return isText && bytes.Equal(h, w)
	}
	return reflect.DeepEqual(have, want)
}

func text(v any) ([]byte, bool) {
	if s, ok := v.(string); ok {
		return []byte(s), true
	}
	return pickle.Bytes(v)
}
