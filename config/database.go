package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/zaridb/zari/config/zconfig"
)

// databaseKeys are those of <zodb> that are for Python, and zopeKeys those that
// <zodb_db> has besides.
var (
	databaseKeys = []string{
		"cache-size", "cache-size-bytes", "large-record-size", "pool-size", "pool-timeout",
		"historical-pool-size", "historical-cache-size", "historical-cache-size-bytes", "historical-timeout",
		"allow-implicit-cross-references", "class-factory",
	}
	zopeKeys = []string{"connection-class", "container-class", "version-cache-size", "version-pool-size"}
)

func (l *loader) database(s *zconfig.Section) Storage {
	base := Section{Type: s.Type, Name: s.Name, Pos: s.Pos}
	r := l.reader(s, "")
	d := &Database{Wrapped: l.wrapped(s, base), DatabaseName: get(r, "database-name", text, s.Name)}
	d.Name = cmp.Or(s.Name, d.DatabaseName)
	l.pythons(r, databaseKeys)
	if s.Type == "zodb_db" {
		d.MountPoints = getAll(r, "mount-point", text)
		l.pythons(r, zopeKeys)
	}
	r.finish()
	return d
}

// pythons passes over keys that are for Python alone.
func (l *loader) pythons(r *reader, names []string) {
	for _, name := range names {
		if k := r.key(name); k != nil {
			l.skip(k.Pos, name)
		}
	}
}

// skipped is something in a file that is not about storages.
type skipped struct {
	pos  zconfig.Pos
	what string
}

func (l *loader) skip(pos zconfig.Pos, what string) {
	l.skipped = append(l.skipped, skipped{pos, what})
}

// noteSkipped makes one note of all that was skipped.
func (l *loader) noteSkipped(doc *zconfig.Document) {
	if len(l.skipped) == 0 {
		return
	}
	slices.SortStableFunc(l.skipped, func(a, b skipped) int { return compare(doc, a.pos, b.pos) })
	const most = 8
	var names []string
	more := 0
	for _, s := range l.skipped {
		switch {
		case slices.Contains(names, s.what):
		case len(names) < most:
			names = append(names, s.what)
		default:
			more++
		}
	}
	list := strings.Join(names, ", ")
	if more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	l.note(l.skipped[0].pos, "not about storages, and not used here: "+list)
}

// isZope reports whether the file is a zope.conf, most of which is for Zope.
func isZope(doc *zconfig.Document) bool {
	return slices.ContainsFunc(doc.Sections, func(s *zconfig.Section) bool { return s.Type == "zodb_db" })
}
