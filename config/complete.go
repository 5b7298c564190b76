package config

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/zaridb/zari/config/zconfig"
)

// Complete adds to the file text, named name in messages, what a set-up has and
// the file has not: sections at the end, keys at the end of their sections. All
// else stays as it is, to the byte. added says in plain words what was added,
// nothing if the file had it all. env looks up environment variables, nil meaning
// the process's own.
//
// A file that has a storage gets no other one.
func Complete(text []byte, name string, s Setup, env func(string) (string, bool)) (completed []byte, added []string, err error) {
	blocks, err := s.blocks()
	if err != nil {
		return nil, nil, err
	}
	doc, err := zconfig.Parse(bytes.NewReader(text), name, zconfig.Options{Env: env})
	if err != nil {
		return nil, nil, err
	}
	c := newCompleter(text, doc)
	for _, b := range blocks {
		c.block(b)
	}
	completed = c.text()
	doc, err = zconfig.Parse(bytes.NewReader(completed), name, zconfig.Options{Env: env})
	if err == nil {
		_, err = interpret(doc, env, false)
	}
	return completed, c.added, err
}

// completer collects what is put into a file, and where.
type completer struct {
	doc     *zconfig.Document
	lines   []string // with their ends
	newline string
	insert  map[int]string // before the line of that number
	end     strings.Builder
	added   []string
}

func newCompleter(text []byte, doc *zconfig.Document) *completer {
	c := &completer{doc: doc, lines: strings.SplitAfter(string(text), "\n"), newline: "\n", insert: make(map[int]string)}
	if strings.HasSuffix(c.lines[0], "\r\n") {
		c.newline = "\r\n"
	}
	return c
}

func (c *completer) block(b *block) {
	s, there := c.find(b)
	if !there {
		c.end.WriteString("\n")
		b.write(&c.end, "", "  ")
		c.added = append(c.added, fmt.Sprintf("<%s>", b.header()))
		return
	}
	if s == nil || s.Pos.File != c.doc.Pos.File || s.End.Line == s.Pos.Line {
		return // not like b, or in an included file, or <TYPE/>: nothing to add to
	}
	for _, set := range b.settings {
		if !slices.ContainsFunc(s.Keys, func(k zconfig.Key) bool { return k.Lower() == set.key }) {
			c.setting(s, set)
		}
	}
}

// find looks for the section that stands for b, and returns it if it is of the
// same type.
func (c *completer) find(b *block) (s *zconfig.Section, there bool) {
	var like []*zconfig.Section
	for _, s := range c.doc.Sections {
		if s.Type == b.typ || isStorage(s.Type) && isStorage(b.typ) {
			like = append(like, s)
		}
	}
	if len(like) > 1 {
		like = slices.DeleteFunc(like, func(s *zconfig.Section) bool { return s.Name != b.name })
		there = true
	}
	if len(like) == 1 && like[0].Type == b.typ {
		return like[0], true
	}
	return nil, there || len(like) > 0
}

// isStorage reports whether sections of the type are storages or databases.
func isStorage(typ string) bool {
	_, ok := storageReaders[typ]
	return ok || typ == "zodb" || typ == "zodb_db" || slices.Contains(unsupported, typ)
}

func (c *completer) setting(s *zconfig.Section, set setting) {
	var w strings.Builder
	set.write(&w, c.indent(s))
	c.insert[s.End.Line] += c.ends(w.String())
	c.added = append(c.added, fmt.Sprintf("%s in %v", set.key, s))
}

// indent returns the space before the keys of s.
func (c *completer) indent(s *zconfig.Section) string {
	for _, k := range s.Keys {
		if k.Pos.File == c.doc.Pos.File {
			line := c.lines[k.Pos.Line-1]
			return line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		}
	}
	return "  "
}

// ends gives lines the ends that the file's have.
func (c *completer) ends(text string) string { return strings.ReplaceAll(text, "\n", c.newline) }

func (c *completer) text() []byte {
	var out bytes.Buffer
	for i, line := range c.lines {
		out.WriteString(c.insert[i+1])
		out.WriteString(line)
	}
	if c.end.Len() > 0 && c.lines[len(c.lines)-1] != "" {
		out.WriteString(c.newline)
	}
	out.WriteString(c.ends(c.end.String()))
	return out.Bytes()
}
