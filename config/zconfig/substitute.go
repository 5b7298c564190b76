package zconfig

import (
	"maps"
	"slices"
	"strings"
)

// maxValue bounds a value after replacement: a chain of definitions, each naming
// the one before it twice, doubles its length with every line.
const maxValue = 64 << 10

// substitute replaces the references in s.
func (f *file) substitute(s string) (string, error) {
	var out strings.Builder
	for {
		text, rest, found := strings.Cut(s, "$")
		out.WriteString(text)
		if !found {
			break
		}
		value, tail, err := f.reference(rest)
		if err != nil {
			return "", err
		}
		if out.Len()+len(value) > maxValue {
			return "", f.errorf("the value is longer than %d bytes after replacement", maxValue)
		}
		out.WriteString(value)
		s = tail
	}
	if out.Len() > maxValue {
		return "", f.errorf("the value is longer than %d bytes", maxValue)
	}
	return out.String(), nil
}

// reference reads what follows a dollar, and returns its value and the rest.
func (f *file) reference(s string) (value, rest string, err error) {
	switch {
	case s == "":
		return "", "", f.hintf("write $$ for a dollar", "a lone $ ends the line")
	case s[0] == '$':
		return "$", s[1:], nil
	case s[0] == '{':
		return f.enclosed(s, '}', f.braced)
	case s[0] == '(':
		return f.enclosed(s, ')', f.environ)
	}
	name, rest := cutName(s)
	if name == "" {
		return "", "", f.hintf("write $$ for a dollar", "$ is not followed by a name")
	}
	value, err = f.defined(name)
	return value, rest, err
}

func (f *file) enclosed(s string, end byte, lookup func(string) (string, error)) (value, rest string, err error) {
	name, rest := cutName(s[1:])
	if name == "" {
		return "", "", f.hintf("write $$ for a dollar", "$%c is not followed by a name", s[0])
	}
	if rest == "" || rest[0] != end {
		return "", "", f.hintf("${NAME} is from %define, $(NAME) from the environment, and there are no defaults",
			"$%c%s is not followed by %c", s[0], name, end)
	}
	value, err = lookup(name)
	return value, rest[1:], err
}

// braced looks up ${NAME}: a name of %define, or else an environment variable of
// just that name, which ZConfig does not have.
func (f *file) braced(name string) (string, error) {
	if _, ok := f.defines[strings.ToLower(name)]; !ok {
		if v, ok := f.env(name); ok {
			if !slices.ContainsFunc(f.doc.Environ, func(r Reference) bool { return r.Name == name }) {
				f.doc.Environ = append(f.doc.Environ, Reference{Name: name, Pos: f.pos()})
			}
			return v, nil
		}
	}
	return f.defined(name)
}

func (f *file) defined(name string) (string, error) {
	if v, ok := f.defines[strings.ToLower(name)]; ok {
		return v, nil
	}
	hint := DidYouMean(name, slices.Sorted(maps.Keys(f.defines)))
	if _, ok := f.env(name); ok && hint == "" {
		hint = "for the environment variable, write $(" + name + ")"
	}
	return "", f.hintf(hint, "%q is not defined", name)
}

func (f *file) environ(name string) (string, error) {
	if v, ok := f.env(name); ok {
		return v, nil
	}
	return "", f.errorf("there is no environment variable %q", name)
}

// cutName cuts a name of ASCII letters, digits and underscores off the front.
func cutName(s string) (name, rest string) {
	i := 0
	for i < len(s) && (isNameStart(s[i]) || i > 0 && s[i] >= '0' && s[i] <= '9') {
		i++
	}
	return s[:i], s[i:]
}

func isNameStart(c byte) bool {
	return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z'
}
