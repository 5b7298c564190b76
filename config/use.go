package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zaridb/zari/config/zconfig"
)

func (l *loader) use(s *zconfig.Section, base Section) Storage {
	r := l.reader(s, "")
	u := &Use{Section: base, Of: strings.ToLower(get(r, "storage", text, s.Name))}
	r.finish()
	l.noSections(s)
	if u.Of == "" {
		l.fail(s.Pos, "write <use NAME/>, or a key storage NAME", "<use> does not say which storage")
	}
	l.uses = append(l.uses, u)
	return u
}

// definitions reads <storages>, which is Zari's own: storages that are there for
// others to use, and are not served.
func (l *loader) definitions(s *zconfig.Section) {
	l.reader(s, "").finish()
	for _, sub := range s.Sections {
		if sub.Name == "" {
			l.fail(sub.Pos, "write <TYPE NAME>", "a storage in <storages> needs a name")
		}
		if st := l.storage(sub); st != nil {
			l.defined = append(l.defined, st)
		}
	}
}

// connect joins the <use> sections and the storages that they name.
func (l *loader) connect(served []Storage) {
	all := slices.Concat(served, l.defined)
	named := make(map[string]Storage)
	for _, s := range all {
		if u, ok := s.(*Use); ok && u.Of == u.Name {
			continue // it serves a storage of <storages> by its own name
		}
		if other, ok := named[s.StorageName()]; ok && s.StorageName() != "" {
			l.fail(s.Position(), "", "the storage name %q is taken already, at %v", s.StorageName(), other.Position())
		}
		named[s.StorageName()] = s
	}
	for _, u := range l.uses {
		s, ok := named[u.Of]
		if !ok && u.Of != "" {
			l.fail(u.Pos, zconfig.DidYouMean(u.Of, slices.Sorted(maps.Keys(named))), "there is no storage %q in this file", u.Of)
		}
		if ok {
			u.Storage, s.Head().Shared = s, true
		}
	}
	for _, s := range l.defined {
		if !s.Head().Shared {
			l.note(s.Position(), fmt.Sprintf("nothing uses the storage %q: it is not opened", s.StorageName()))
		}
	}
	l.refuseCycles(all)
}

// refuseCycles reports each storage that is made of itself.
func (l *loader) refuseCycles(named []Storage) {
	done := make(map[Storage]bool)
	var path []Storage
	var visit func(s Storage)
	visit = func(s Storage) {
		if i := slices.Index(path, s); i >= 0 {
			l.fail(s.Position(), "", "a storage is made of itself: %s", names(append(path[i:len(path):len(path)], s)))
			return
		}
		if done[s] {
			return
		}
		path = append(path, s)
		walkUses(s, func(u *Use) {
			if u.Storage != nil {
				visit(u.Storage)
			}
		})
		path = path[:len(path)-1]
		done[s] = true
	}
	for _, s := range named {
		visit(s)
	}
}

// walkUses calls fn for each <use> in s, but does not follow it.
func walkUses(s Storage, fn func(*Use)) {
	if u, ok := s.(*Use); ok {
		fn(u)
		return
	}
	for _, part := range s.Parts() {
		walkUses(part, fn)
	}
}

func names(path []Storage) string {
	list := make([]string, len(path))
	for i, s := range path {
		list[i] = s.StorageName()
	}
	return strings.Join(list, " -> ")
}

// refuseSameFile reports files that are opened twice: the second could not be
// locked.
func (l *loader) refuseSameFile() {
	first := make(map[string]*FileStorage)
	for _, f := range l.files {
		if f.Path == "" || f.ReadOnly {
			continue
		}
		path := filepath.Clean(f.Path)
		if other, ok := first[path]; ok {
			l.fail(f.Pos, "give the other one a name, and write <use NAME/> here", "%s is opened already, at %v", f.Path, other.Pos)
			continue
		}
		first[path] = f
	}
}

// placed is a directory that a section keeps blobs in.
type placed struct {
	pos zconfig.Pos
	dir string
}

// noteSameBlobs notes directories that two storages keep their blobs in. Blobs are
// named after objects and transactions, which are the same in a copy of a database.
func (l *loader) noteSameBlobs() {
	first := make(map[string]zconfig.Pos)
	for _, p := range l.blobDirs {
		if p.dir == "" {
			continue
		}
		dir := filepath.Clean(p.dir)
		if pos, ok := first[dir]; ok {
			l.note(p.pos, fmt.Sprintf("its blobs are in the same directory as those of %v: packing one may remove those of the other", pos))
			continue
		}
		first[dir] = p.pos
	}
}
