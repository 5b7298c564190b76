package config

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/zaridb/zari/config/zconfig"
)

// Load reads the file at path, which says what is to be served: it has a section
// <zeo>. env looks up environment variables, nil meaning the process's own.
// Faults are [Errors] or one *[zconfig.Error].
func Load(path string, env func(string) (string, bool)) (*Config, error) {
	doc, err := zconfig.Load(path, zconfig.Options{Env: env})
	if err != nil {
		return nil, err
	}
	return interpret(doc, env, true)
}

// LoadStorages reads the file at path, which names storages: a zeo.conf, a
// zope.conf, a file with <zodb> sections, or one with storages alone. Without a
// section <zeo>, ZEO has no Pos and no Address, and is else what [NewServer]
// gives.
func LoadStorages(path string, env func(string) (string, bool)) (*Config, error) {
	doc, err := zconfig.Load(path, zconfig.Options{Env: env})
	if err != nil {
		return nil, err
	}
	return interpret(doc, env, false)
}

// Parse is [Load] of a file that is read from r. name is its name, for messages,
// and included files are relative to its folder.
func Parse(r io.Reader, name string, env func(string) (string, bool)) (*Config, error) {
	doc, err := zconfig.Parse(r, name, zconfig.Options{Env: env})
	if err != nil {
		return nil, err
	}
	return interpret(doc, env, true)
}

// loader reads one document, and collects what is to be said of it.
type loader struct {
	env      func(string) (string, bool)
	storages map[string]func(*loader, *zconfig.Section, Section) Storage // storageReaders, which could not name itself
	notes    []Note
	errs     Errors

	files     []*FileStorage // all there are in the file
	databases []*RelStorage  // likewise
	uses      []*Use         // likewise
	blobDirs  []placed       // likewise, but for those of clients and those that are not written
	defined   []Storage      // in <storages>
	skipped   []skipped

	asked func(section string, keys []string) // nil, or told of the keys that a section may have
}

func newLoader(env func(string) (string, bool)) *loader {
	if env == nil {
		env = os.LookupEnv
	}
	return &loader{env: env, storages: storageReaders}
}

func interpret(doc *zconfig.Document, env func(string) (string, bool), server bool) (*Config, error) {
	l := newLoader(env)
	c := l.root(doc)
	if server && c.ZEO.Pos.Line == 0 {
		l.fail(doc.Pos, "add one, or name the address on the command line", "there is no <zeo> section")
	}
	if len(l.errs) > 0 {
		slices.SortStableFunc(l.errs, func(a, b *zconfig.Error) int { return compare(doc, a.Pos, b.Pos) })
		return nil, l.errs
	}
	for _, ref := range doc.Environ {
		l.note(ref.Pos, fmt.Sprintf("${%s} is the environment variable: Python refuses it here; $(%s) is understood by both", ref.Name, ref.Name))
	}
	l.noteSkipped(doc)
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

// single are the types of the outermost sections that there may be once, and
// outermost are all that are not storages.
var (
	single    = []string{"zeo", "eventlog", "runner", "storages"}
	outermost = append([]string{"zodb", "zodb_db"}, single...)
)

// root reads the outermost sections.
func (l *loader) root(doc *zconfig.Document) *Config {
	c := &Config{ZEO: NewServer(l.env)}
	zope := isZope(doc)
	l.rootKeys(doc, zope)
	seen := make(map[string]*zconfig.Section)
	for _, s := range doc.Sections {
		if !slices.Contains(single, s.Type) || l.once(seen, s) {
			l.rootSection(c, s, zope)
		}
	}
	l.nameStorages(c.Storages)
	l.connect(c.Storages)
	c.Defined = l.defined
	l.refuseSameFile()
	l.refuseSameDatabase()
	l.noteSameBlobs()
	if len(c.Storages) == 0 && len(l.errs) == 0 {
		l.fail(doc.Pos, "add a <filestorage>", "there is no storage to serve")
	}
	return c
}

func (l *loader) rootSection(c *Config, s *zconfig.Section, zope bool) {
	switch {
	case s.Type == "zeo":
		c.ZEO = l.server(s)
	case s.Type == "storages":
		l.definitions(s)
	case s.Type == "zodb" || s.Type == "zodb_db":
		c.Storages = append(c.Storages, l.database(s))
	case zope:
		l.skip(s.Pos, s.String())
	case s.Type == "eventlog":
		c.EventLog = l.eventLog(s)
	case s.Type == "runner":
		l.runner(s)
	default:
		if st := l.storage(s, outermost...); st != nil {
			c.Storages = append(c.Storages, st)
		}
	}
}

// rootKeys reads what stands outside of sections. In a zope.conf that is Zope's.
func (l *loader) rootKeys(doc *zconfig.Document, zope bool) {
	if !zope {
		l.checkImports(doc)
		l.reader(&doc.Section, "outside of sections").finish()
		return
	}
	for _, i := range doc.Imports {
		if _, ok := packages[i.Package]; !ok {
			l.skip(i.Pos, "%import "+i.Package)
		}
	}
	for _, k := range doc.Keys {
		l.skip(k.Pos, k.Lower())
	}
}

// once reports whether s is the first section of its type, which seen tells.
func (l *loader) once(seen map[string]*zconfig.Section, s *zconfig.Section) bool {
	if first, ok := seen[s.Type]; ok {
		l.fail(s.Pos, "", "there is a section <%s> already, at %v", s.Type, first.Pos)
		return false
	}
	seen[s.Type] = s
	return true
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
			return
		}
	}
	unnamed.Head().Name = "1"
}
