package config

import (
	"cmp"
	"io"
	"os"
	"slices"

	"github.com/zaridb/zari/config/zconfig"
)

// Load reads the file at path. env looks up environment variables, nil meaning
// the process's own. Faults are [Errors] or one *[zconfig.Error].
func Load(path string, env func(string) (string, bool)) (*Config, error) {
	doc, err := zconfig.Load(path, zconfig.Options{Env: env})
	if err != nil {
		return nil, err
	}
	return interpret(doc, env)
}

// Parse is [Load] of a file that is read from r. name is its name, for messages,
// and included files are relative to its folder.
func Parse(r io.Reader, name string, env func(string) (string, bool)) (*Config, error) {
	doc, err := zconfig.Parse(r, name, zconfig.Options{Env: env})
	if err != nil {
		return nil, err
	}
	return interpret(doc, env)
}

// loader reads one document, and collects what is to be said of it.
type loader struct {
	env   func(string) (string, bool)
	notes []Note
	errs  Errors
}

func interpret(doc *zconfig.Document, env func(string) (string, bool)) (*Config, error) {
	if env == nil {
		env = os.LookupEnv
	}
	l := &loader{env: env}
	l.checkImports(doc)
	c := l.root(doc)
	if len(l.errs) > 0 {
		slices.SortStableFunc(l.errs, func(a, b *zconfig.Error) int { return compare(doc, a.Pos, b.Pos) })
		return nil, l.errs
	}
	slices.SortStableFunc(l.notes, func(a, b Note) int { return compare(doc, a.Pos, b.Pos) })
	c.Notes = l.notes
	return c, nil
}

// compare orders positions by file, in the order of reading, and by line.
func compare(doc *zconfig.Document, a, b zconfig.Pos) int {
	if a.File != b.File {
		return cmp.Compare(slices.Index(doc.Files, a.File), slices.Index(doc.Files, b.File))
	}
	return cmp.Compare(a.Line, b.Line)
}

func (l *loader) note(pos zconfig.Pos, text string) {
	l.notes = append(l.notes, Note{Pos: pos, Text: text})
}

func (l *loader) fail(pos zconfig.Pos, hint, format string, args ...any) {
	e := zconfig.Errorf(pos, format, args...)
	e.Hint = hint
	l.errs = append(l.errs, e)
}

// root reads the outermost sections.
func (l *loader) root(doc *zconfig.Document) *Config {
	c := &Config{}
	var seen [3]*zconfig.Section
	storages := 0
	r := l.reader(&doc.Section, "outside of sections")
	for _, s := range doc.Sections {
		switch {
		case s.Type == "zeo" && l.once(&seen[0], s):
			c.ZEO = l.server(s)
		case s.Type == "eventlog" && l.once(&seen[1], s):
			c.EventLog = l.eventLog(s)
		case s.Type == "runner" && l.once(&seen[2], s):
			l.runner(s)
		case s.Type == "zeo" || s.Type == "eventlog" || s.Type == "runner":
		default:
			storages++
			if st := l.storage(s, outermost); st != nil {
				c.Storages = append(c.Storages, st)
			}
		}
	}
	r.finish()
	if seen[0] == nil {
		l.fail(doc.Pos, "", "there is no <zeo> section")
	}
	if storages == 0 {
		l.fail(doc.Pos, "add a <filestorage>", "there is no storage to serve")
	}
	l.nameStorages(c.Storages)
	return c
}

// once reports whether s is the first section of its type.
func (l *loader) once(seen **zconfig.Section, s *zconfig.Section) bool {
	if *seen == nil {
		*seen = s
		return true
	}
	l.fail(s.Pos, "", "there is a section <%s> already, at %v", s.Type, (*seen).Pos)
	return false
}

// nameStorages gives the one storage without a name that there may be the name
// that clients ask for by themselves.
func (l *loader) nameStorages(storages []Storage) {
	var unnamed Storage
	for _, s := range storages {
		if s.StorageName() != "" {
			continue
		}
		if unnamed != nil {
			l.fail(s.Position(), "write <TYPE NAME>", "only one storage may be without a name: the other is at %v", unnamed.Position())
			continue
		}
		unnamed = s
	}
	if unnamed == nil {
		return
	}
	for _, s := range storages {
		if s.StorageName() == "1" {
			l.fail(unnamed.Position(), "write <TYPE NAME>", "a storage without a name is named 1, and so is the one at %v", s.Position())
		}
	}
	unnamed.base().Name = "1"
}
