package config

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/zaridb/zari/config/zconfig"
)

// reader reads the keys of one section. Whoever uses it asks for each key that
// there may be, and calls finish, which refuses the keys that nobody asked for.
type reader struct {
	*loader
	s     *zconfig.Section
	where string // for messages
	known []string
	many  []string                  // those of known that may be there more than once
	keys  map[string][]*zconfig.Key // by lower-case name
}

func (l *loader) reader(s *zconfig.Section, where string) *reader {
	if where == "" {
		where = "in " + s.String()
	}
	r := &reader{loader: l, s: s, where: where, keys: make(map[string][]*zconfig.Key)}
	for i := range s.Keys {
		k := &s.Keys[i]
		r.keys[k.Lower()] = append(r.keys[k.Lower()], k)
	}
	return r
}

// key returns the key, nil if it is not there.
func (r *reader) key(name string) *zconfig.Key {
	r.known = append(r.known, name)
	if keys := r.keys[name]; len(keys) > 0 {
		return keys[0]
	}
	return nil
}

// get reads a key by one of the data types. A value that does not parse is
// reported, and the default returned.
func get[T any](r *reader, name string, parse func(string) (T, error), def T) T {
	k := r.key(name)
	if k == nil {
		return def
	}
	return value(r, k, name, parse, def)
}

func value[T any](r *reader, k *zconfig.Key, name string, parse func(string) (T, error), def T) T {
	v, err := parse(k.Value)
	if err != nil {
		hint := ""
		if strings.Contains(k.Value, "#") {
			hint = "a comment has a line of its own"
		}
		r.fail(k.Pos, hint, "%s: %v", name, err)
		return def
	}
	return v
}

// getAll reads a key that may be there more than once.
func getAll[T any](r *reader, name string, parse func(string) (T, error)) []T {
	r.known, r.many = append(r.known, name), append(r.many, name)
	var list []T
	for _, k := range r.keys[name] {
		var zero T
		list = append(list, value(r, k, name, parse, zero))
	}
	return list
}

// need is get of a key that must be there.
func need[T any](r *reader, name string, parse func(string) (T, error)) T {
	var zero T
	if r.key(name) == nil {
		r.fail(r.s.Pos, "", "%v has no %q, and needs one", r.s, name)
		return zero
	}
	return get(r, name, parse, zero)
}

// refuse reports the key, if it is there, as one that cannot be had.
func (r *reader) refuse(name, why string) {
	if k := r.key(name); k != nil {
		r.fail(k.Pos, "", "%s: %s", name, why)
	}
}

// remark makes a note of the key, if it is there.
func (r *reader) remark(name, text string) {
	if k := r.key(name); k != nil {
		r.note(k.Pos, name+" "+text)
	}
}

// finish refuses the keys that nobody asked for, and those that are there twice.
func (r *reader) finish() {
	if r.asked != nil {
		r.asked(r.s.Type, r.known)
	}
	for i := range r.s.Keys {
		k := &r.s.Keys[i]
		switch first := r.keys[k.Lower()][0]; {
		case !slices.Contains(r.known, k.Lower()):
			r.fail(k.Pos, zconfig.DidYouMean(k.Name, r.known), "unknown key %q %s", k.Name, r.where)
		case k != first && !slices.Contains(r.many, k.Lower()):
			r.fail(k.Pos, "", "%q is given already, at %v", k.Name, first.Pos)
		}
	}
}

// noSections refuses all sections in s but those of the given types.
func (l *loader) noSections(s *zconfig.Section, but ...string) {
	for _, sub := range s.Sections {
		if !slices.Contains(but, sub.Type) {
			l.fail(sub.Pos, zconfig.DidYouMean(sub.Type, but), "there is no section <%s> in %v", sub.Type, s)
		}
	}
}

func text(s string) (string, error) { return s, nil }

// path reads a path that must not be empty.
func (l *loader) path(s string) (string, error) {
	if s == "" {
		return "", fmt.Errorf("a path is missing")
	}
	return l.optionalPath(s)
}

// optionalPath reads a path, and replaces a ~ at its beginning by $HOME.
func (l *loader) optionalPath(s string) (string, error) {
	if strings.ContainsRune(s, 0) {
		return "", fmt.Errorf("%q is not a path", s)
	}
	rest, ok := strings.CutPrefix(s, "~")
	if !ok {
		return s, nil
	}
	home, found := l.env("HOME")
	switch {
	case rest != "" && rest[0] != '/':
		return "", fmt.Errorf("%q: write the home folder of another user in full", s)
	case !found || home == "":
		return "", fmt.Errorf("%q: HOME is not set in the environment", s)
	}
	return filepath.Join(home, rest), nil
}

// count reads a whole number that is not negative.
func count(s string) (int, error) {
	n, err := zconfig.Integer(s)
	switch {
	case err != nil:
		return 0, err
	case n < 0:
		return 0, fmt.Errorf("%d is negative", n)
	case n > math.MaxInt32:
		return 0, fmt.Errorf("%d is too large", n)
	}
	return int(n), nil
}

// seconds reads a number of seconds, which need not be whole.
func seconds(s string) (time.Duration, error) {
	n, err := zconfig.Float(s)
	switch {
	case err != nil:
		return 0, err
	case n < 0:
		return 0, fmt.Errorf("%v is negative", n)
	case n > math.MaxInt32:
		return 0, fmt.Errorf("%v is too large", n)
	}
	return time.Duration(n * float64(time.Second)), nil
}
