package zconfig

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// Bounds on what is read.
const (
	maxFileSize  = 1 << 20 // bytes of one file
	maxFiles     = 200     // files read in all
	maxIncludes  = 16      // in each other
	maxNesting   = 32      // sections in each other
	maxStatement = 20_000  // lines that are neither empty nor comments, in all
)

// Options say where a file's surroundings are found. The zero value means the
// machine's.
type Options struct {
	Env  func(name string) (string, bool)         // nil: os.LookupEnv
	Open func(name string) (io.ReadCloser, error) // for %include; nil: os.Open
}

// Load reads the file at path. Faults in it are an *[Error].
func Load(path string, opts Options) (*Document, error) {
	r, err := opts.open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return Parse(r, path, opts)
}

// Parse reads a file from r. name is its name, for messages, and the place that
// the names of included files are relative to. It stops at the first fault,
// which is an *[Error].
func Parse(r io.Reader, name string, opts Options) (*Document, error) {
	p := &parser{Options: opts, doc: &Document{}, defines: make(map[string]string)}
	p.doc.Pos = Pos{File: name}
	if err := p.file(r, name, &p.doc.Section, nil); err != nil {
		return nil, err
	}
	return p.doc, nil
}

func (o Options) open(name string) (io.ReadCloser, error) {
	if o.Open != nil {
		return o.Open(name)
	}
	return os.Open(name)
}

func (o Options) env(name string) (string, bool) {
	if o.Env != nil {
		return o.Env(name)
	}
	return os.LookupEnv(name)
}

// parser is what the file and its includes share.
type parser struct {
	Options
	doc        *Document
	defines    map[string]string
	statements int
	depth      int // sections open in all files
}

// file is one file being read.
type file struct {
	*parser
	name  string
	line  int
	outer []Pos      // the %include lines that led here, the outermost first
	open  []*Section // the sections that lines go into, the innermost last
}

func (p *parser) file(r io.Reader, name string, into *Section, outer []Pos) error {
	f := &file{parser: p, name: name, outer: outer, open: []*Section{into}}
	p.doc.Files = append(p.doc.Files, name)
	data, err := io.ReadAll(io.LimitReader(r, maxFileSize+1))
	switch {
	case err != nil:
		return &Error{Pos: f.pos(), Msg: err.Error(), Err: err}
	case len(data) > maxFileSize:
		return f.errorf("the file is larger than %d bytes", maxFileSize)
	case len(p.doc.Files) > maxFiles:
		return f.errorf("more than %d files are included", maxFiles)
	}
	for line := range strings.SplitSeq(strings.TrimPrefix(string(data), "\ufeff"), "\n") {
		f.line++
		if err := f.statement(strings.TrimSpace(line)); err != nil {
			return err
		}
	}
	if len(f.open) > 1 {
		s := f.open[len(f.open)-1]
		return Errorf(s.Pos, "section %v is not closed", s)
	}
	return nil
}

func (f *file) pos() Pos { return Pos{File: f.name, Line: f.line} }

func (f *file) errorf(format string, args ...any) error { return Errorf(f.pos(), format, args...) }

func (f *file) hintf(hint, format string, args ...any) error {
	return &Error{Pos: f.pos(), Msg: fmt.Sprintf(format, args...), Hint: hint}
}

// statement reads one line, stripped of the space around it.
func (f *file) statement(line string) error {
	switch {
	case line == "" || line[0] == '#':
		return nil
	case !utf8.ValidString(line):
		return f.errorf("the line is not UTF-8")
	}
	f.statements++
	if f.statements > maxStatement {
		return f.errorf("there are more than %d lines in all", maxStatement)
	}
	switch {
	case strings.HasPrefix(line, "</"):
		return f.endSection(line)
	case line[0] == '<':
		return f.startSection(line)
	case line[0] == '%':
		return f.directive(line[1:])
	}
	return f.keyValue(line)
}

func (f *file) section() *Section { return f.open[len(f.open)-1] }

func (f *file) keyValue(line string) error {
	key, value := cutWord(line)
	if key == "" {
		return f.errorf("malformed line %q: a key holds no parentheses", abridge(line))
	}
	value, err := f.substitute(value)
	if err != nil {
		return err
	}
	s := f.section()
	s.Keys = append(s.Keys, Key{Name: key, Value: value, Pos: f.pos()})
	return nil
}

func (f *file) startSection(line string) error {
	rest, ok := strings.CutSuffix(line[1:], ">")
	if !ok {
		return f.hintf("it ends with >", "malformed section start %q", abridge(line))
	}
	rest, empty := strings.CutSuffix(rest, "/")
	typ, name := cutWord(strings.TrimSpace(rest))
	if typ == "" || rest[0] != typ[0] || strings.ContainsFunc(name, notInWord) {
		return f.hintf("write <TYPE> or <TYPE NAME>", "malformed section header %q", abridge(line))
	}
	s := &Section{Type: strings.ToLower(typ), Name: strings.ToLower(name), Pos: f.pos(), End: f.pos()}
	if err := f.addSection(s); err != nil || empty {
		return err
	}
	f.depth++
	if f.depth > maxNesting {
		return f.errorf("sections are nested more than %d deep", maxNesting)
	}
	f.open = append(f.open, s)
	return nil
}

func (f *file) addSection(s *Section) error {
	into := f.section()
	for _, other := range into.Sections {
		if s.Name != "" && other.Name == s.Name {
			return f.errorf("the section name %q is taken already: %v at %v", s.Name, other, other.Pos)
		}
	}
	into.Sections = append(into.Sections, s)
	return nil
}

func (f *file) endSection(line string) error {
	typ, ok := strings.CutSuffix(line[2:], ">")
	if !ok {
		return f.hintf("it ends with >", "malformed section end %q", abridge(line))
	}
	if len(f.open) == 1 {
		return f.errorf("%s ends a section that was not begun", abridge(line))
	}
	s := f.section()
	if strings.ToLower(strings.TrimSpace(typ)) != s.Type {
		return f.hintf(fmt.Sprintf("</%s> has to come first", s.Type),
			"%s does not end the section %v of line %d", abridge(line), s, s.Pos.Line)
	}
	s.End = f.pos()
	f.depth--
	f.open = f.open[:len(f.open)-1]
	return nil
}

func (f *file) directive(line string) error {
	name, arg := cutWord(line)
	switch name {
	case "define", "import", "include":
	case "":
		return f.errorf("a directive is missing after %%")
	default:
		return f.hintf(DidYouMean(name, []string{"define", "import", "include"}), "unknown directive %%%s", abridge(name))
	}
	if arg == "" {
		return f.errorf("%%%s needs an argument", name)
	}
	if name == "define" {
		return f.define(arg)
	}
	arg, err := f.substitute(arg)
	if err != nil {
		return err
	}
	if name == "include" {
		return f.include(arg)
	}
	f.doc.Imports = append(f.doc.Imports, Import{Package: arg, Pos: f.pos()})
	return nil
}

func (f *file) define(arg string) error {
	name, value := arg, ""
	if i := strings.IndexFunc(arg, isSpace); i >= 0 {
		name, value = arg[:i], strings.TrimSpace(arg[i:])
	}
	if _, rest := cutName(name); rest != "" {
		return f.hintf("a name has letters, digits and underscores", "%q cannot be defined", abridge(name))
	}
	name = strings.ToLower(name)
	value, err := f.substitute(value)
	if err != nil {
		return err
	}
	if old, ok := f.defines[name]; ok && old != value {
		return f.errorf("%q is defined already, as %q", name, abridge(old))
	}
	f.defines[name] = value
	return nil
}

// include reads another file into the section that is open. The file sees the
// names defined so far, and its own definitions hold after it.
func (f *file) include(arg string) error {
	name, err := f.resolve(arg)
	if err != nil {
		return err
	}
	outer := append(f.outer[:len(f.outer):len(f.outer)], f.pos())
	if len(outer) > maxIncludes {
		return f.errorf("files are included more than %d deep", maxIncludes)
	}
	for _, pos := range outer {
		if filepath.Clean(pos.File) == name {
			return f.errorf("%s includes itself", name)
		}
	}
	r, err := f.Options.open(name)
	if err != nil {
		if e, ok := errors.AsType[*os.PathError](err); ok {
			err = e.Err
		}
		return &Error{Pos: f.pos(), Msg: fmt.Sprintf("cannot include %s: %v", name, err), Err: err}
	}
	defer r.Close()
	return f.parser.file(r, name, f.section(), outer)
}
