package resolve

import (
	"strings"

	"github.com/zaridb/zari/zodb/pickle"
)

// merge merges three states, which it may change. An error says why it does not.
type merge func(base, committed, wanted any) (any, error)

// families are those of BTrees/__init__.py.
var families = []string{
	"OO", "OI", "OL", "OU", "OQ", "IO", "II", "IF", "IU", "LO", "LL", "LF", "LQ", "UO", "UU", "UF", "UI", "QO", "QQ", "QF", "QL", "fs",
}

// classes are all that are known, by their proper names.
var classes = newClasses()

func newClasses() map[pickle.Class]merge {
	all := make(map[pickle.Class]merge)
	for _, f := range families {
		addFamily(all, f)
	}
	for _, f := range fieldClasses() {
		for _, module := range f.modules {
			for _, name := range f.names {
				all[pickle.Class{Module: module, Name: name}] = f.merge
			}
		}
	}
	return all
}

// addFamily adds the four classes of a family. Those that BTrees has in Python, with
// names that end in Py, are left to clients: BTrees names the others in pickles
// since version 4.1, and their merges are not quite the same.
func addFamily(all map[pickle.Class]merge, letters string) {
	f := family{kind(letters[0]), kind(letters[1])}
	for _, name := range []string{"Bucket", "Set", "BTree", "TreeSet"} {
		all[pickle.Class{Module: "BTrees." + letters + "BTree", Name: letters + name}] = f.mergeOf(name)
	}
}

// proper returns the proper name of a class of BTrees that has several: its module
// can also be _OOBTree, that of the C code, which named itself so at first, and
// the class just Bucket, which is a name for it there.
func proper(c pickle.Class) pickle.Class {
	rest, ok := strings.CutPrefix(c.Module, "BTrees.")
	if !ok {
		return c
	}
	module := strings.TrimPrefix(rest, "_")
	letters, ok := strings.CutSuffix(module, "BTree")
	if !ok || len(letters) != 2 {
		return c
	}
	switch c.Name {
	case "Bucket", "Set", "BTree", "TreeSet":
		c.Name = letters + c.Name
	}
	c.Module = "BTrees." + module
	return c
}

// mergeOf returns the merge of one of a family's classes.
func (f family) mergeOf(name string) merge {
	set := family{f.key, none}
	switch name {
	case "Bucket":
		return f.mergeBucket
	case "Set":
		return set.mergeBucket
	case "BTree":
		return f.mergeTree
	}
	return set.mergeTree
}

// classOf reads the class part of a record: the class, or (class, arguments),
// where the class may be a tuple of its names. Only without arguments the
// instance is known. (tryToResolveConflict in ZODB/ConflictResolution.py)
func classOf(meta any) (pickle.Class, bool) {
	t, ok := meta.(pickle.Tuple)
	if !ok {
		return classNamed(meta)
	}
	if len(t) != 2 {
		return pickle.Class{}, false
	}
	args, isTuple := t[1].(pickle.Tuple)
	if t[1] != nil && (!isTuple || len(args) > 0) {
		return pickle.Class{}, false
	}
	return classNamed(t[0])
}

func classNamed(v any) (pickle.Class, bool) {
	switch v := v.(type) {
	case *pickle.Global:
		return pickle.Class(*v), true
	case pickle.Tuple:
		if len(v) != 2 {
			return pickle.Class{}, false
		}
		module, ok := pickle.Text(v[0])
		name, ok2 := pickle.Text(v[1])
		return pickle.Class{Module: module, Name: name}, ok && ok2
	}
	return pickle.Class{}, false
}

// label is a class's name for people and metrics.
func label(c pickle.Class) string {
	s := c.String()
	if c == (pickle.Class{}) || len(s) > 200 || !printable(s) {
		return otherClasses
	}
	return s
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}
