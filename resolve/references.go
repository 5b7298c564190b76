package resolve

import (
	"bytes"

	"github.com/zaridb/zari/zodb/pickle"
)

// equalReference compares if one of the two is a persistent reference, as class
// PersistentReference in ZODB/ConflictResolution.py: two strong references to
// one object are equal, a weak one only to itself, and everything else is an
// error. Nothing is less than a reference.
func equalReference(a, b any) (equal, known bool, err error) {
	x, isRef := a.(*pickle.Ref)
	y, other := b.(*pickle.Ref)
	if !isRef && !other {
		return false, false, nil
	}
	if !isRef || !other {
		return false, true, refuse(Incomparable)
	}
	if sameReference(x, y) {
		return true, true, nil
	}
	s, err := x.Target()
	if err != nil {
		return false, true, refuse(BadRecord)
	}
	t, err := y.Target()
	if err != nil {
		return false, true, refuse(BadRecord)
	}
	if s.OID == t.OID && s.Database == t.Database && s.Strength == pickle.Strong && t.Strength == pickle.Strong {
		return true, true, nil
	}
	return false, true, refuse(Incomparable)
}

// sameReference reports whether Python has one object for both: its factory of
// references keeps one for everything that is spelled alike.
func sameReference(a, b *pickle.Ref) bool {
	return a == b || sameSpelling(a.ID, b.ID, 3)
}

// sameSpelling compares persistent ids, which are three lists or tuples deep at
// most.
func sameSpelling(a, b any, depth int) bool {
	if depth == 0 {
		return false
	}
	switch x := a.(type) {
	case pickle.Tuple:
		y, ok := b.(pickle.Tuple)
		return ok && sameSpellings(x, y, depth-1)
	case *pickle.List:
		y, ok := b.(*pickle.List)
		return ok && sameSpellings(x.Items, y.Items, depth-1)
	case *pickle.Global:
		y, ok := b.(*pickle.Global)
		return ok && proper(pickle.Class(*x)) == proper(pickle.Class(*y))
	}
	if x, ok := pickle.Text(a); ok {
		y, ok := pickle.Text(b)
		return ok && x == y
	}
	x, okX := pickle.Bytes(a)
	y, okY := pickle.Bytes(b)
	return okX && okY && bytes.Equal(x, y)
}

func sameSpellings(x, y []any, depth int) bool {
	if len(x) != len(y) || len(x) > 3 {
		return false
	}
	for i := range x {
		if !sameSpelling(x[i], y[i], depth) {
			return false
		}
	}
	return true
}
