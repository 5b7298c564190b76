package pickle

import (
	"fmt"
	"slices"
	"unsafe"
)

// What views of a tree have in common: which values are shared, and the few
// classes that are shown in a form of their own.

// identityOf returns the identity of what may be shared, false for what has none.
func identityOf(v any) (identity, bool) {
	switch v := v.(type) {
	case Tuple:
		return tupleIdentity(v), len(v) > 0
	case *List:
		return identity{at: unsafe.Pointer(v)}, true
	case *Dict:
		return identity{at: unsafe.Pointer(v)}, true
	case *Set:
		return identity{at: unsafe.Pointer(v)}, true
	case *FrozenSet:
		return identity{at: unsafe.Pointer(v)}, true
	case *Object:
		return identity{at: unsafe.Pointer(v)}, true
	case *Ref:
		return identity{at: unsafe.Pointer(v)}, true
	}
	return identity{}, false
}

// sharedIn returns the identities of what occurs more than once in the trees.
func sharedIn(trees ...any) map[identity]int {
	seen := make(map[identity]bool)
	shared := make(map[identity]int)
	todo := slices.Clone(trees)
	for len(todo) > 0 {
		v := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		id, ok := identityOf(v)
		if !ok {
			continue
		}
		if seen[id] {
			shared[id] = 0
			continue
		}
		seen[id] = true
		todo = appendParts(todo, v)
	}
	return shared
}

// appendParts appends what v holds.
func appendParts(dst []any, v any) []any {
	switch v := v.(type) {
	case Tuple:
		return append(dst, v...)
	case *List:
		return append(dst, v.Items...)
	case *Set:
		return append(dst, v.Items...)
	case *FrozenSet:
		return append(dst, v.Items...)
	case *Dict:
		return appendEntries(dst, v.Entries)
	case *Ref:
		if _, ok := v.plain(); !ok {
			dst = append(dst, v.ID)
		}
	case *Object:
		dst = append(append(append(dst, v.Class), v.Args...), v.Items...)
		return append(appendEntries(dst, v.Entries), v.Kwargs, v.State)
	}
	return dst
}

func appendEntries(dst []any, entries []Entry) []any {
	for _, e := range entries {
		dst = append(dst, e.Key, e.Value)
	}
	return dst
}

// moment is a datetime, date or time.
type moment struct {
	kind    string // the class's name
	text    string // in ISO 8601, without the zone
	fold    bool
	zone    any
	hasZone bool
}

// momentOf reads the instances of module datetime, in the form that their
// __reduce__ gives them: bytes, and a zone. (Modules/_datetimemodule.c in CPython.)
func momentOf(o *Object) (moment, bool) {
	g, ok := o.Class.(*Global)
	if !ok || g.Module != "datetime" || o.Making != Reduce || o.Built ||
		len(o.Args) == 0 || len(o.Args) > 2 || len(o.Items) > 0 || len(o.Entries) > 0 {
		return moment{}, false
	}
	b, ok := Bytes(o.Args[0])
	if !ok {
		return moment{}, false
	}
	m := moment{kind: g.Name}
	if len(o.Args) == 2 {
		m.zone, m.hasZone = o.Args[1], true
	}
	switch {
	case g.Name == "datetime" && len(b) == 10:
		m.fold = b[2] > 127
		date, ok1 := dateText(b[0], b[1], b[2]&127, b[3])
		time, ok2 := timeText(b[4:])
		m.text = date + "T" + time
		return m, ok1 && ok2
	case g.Name == "date" && len(b) == 4 && !m.hasZone:
		m.text, ok = dateText(b[0], b[1], b[2], b[3])
		return m, ok
	case g.Name == "time" && len(b) == 6:
		m.fold = b[0] > 127
		m.text, ok = timeText([]byte{b[0] & 127, b[1], b[2], b[3], b[4], b[5]})
		return m, ok
	}
	return moment{}, false
}

func dateText(y1, y2, month, day byte) (string, bool) {
	year := int(y1)<<8 | int(y2)
	ok := year >= 1 && year <= 9999 && month >= 1 && month <= 12 && day >= 1 && day <= 31
	return fmt.Sprintf("%04d-%02d-%02d", year, month, day), ok
}

// timeText reads hour, minute, second and three bytes of microseconds.
func timeText(b []byte) (string, bool) {
	us := int(b[3])<<16 | int(b[4])<<8 | int(b[5])
	s := fmt.Sprintf("%02d:%02d:%02d", b[0], b[1], b[2])
	if us != 0 {
		s += fmt.Sprintf(".%06d", us)
	}
	return s, b[0] < 24 && b[1] < 60 && b[2] < 60 && us < 1e6
}
