package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/zaridb/zari/config/zconfig"
)

// packages are the Python packages that %import may name, and the section types
// that they bring.
var packages = map[string][]string{
	"ZODB":                      nil,
	"ZODB.tests":                {"hexstorage", "serverhexstorage"},
	"ZEO":                       {"clientstorage"},
	"ZEO.tests":                 {"loaddelayed_storage"},
	"ZConfig.components.logger": nil,
	"zdaemon":                   nil,
	"relstorage":                {"relstorage"},
	"newt.db":                   {"newt"},
	"zc.zlibstorage":            {"zlibstorage", "serverzlibstorage"},
	"zc.beforestorage":          {"before"},
	"zc.zrs":                    {"zrs"},
	"gocept.zeoraid":            {"raidstorage"},
	"cipher.encryptingstorage":  {"encryptingstorage"},
	"neo.client":                {"neostorage"},
	"tempstorage":               {"temporarystorage"},
	"Products.TemporaryFolder":  {"temporarystorage"},
}

// unsupported are the section types that are known, but not to be had.
var unsupported = []string{
	"hexstorage", "serverhexstorage", "newt", "zrs", "raidstorage", "encryptingstorage", "neostorage",
	"fullstorage", "minimalstorage",
}

func (l *loader) checkImports(doc *zconfig.Document) {
	known := slices.Sorted(maps.Keys(packages))
	for _, i := range doc.Imports {
		if _, ok := packages[i.Package]; ok {
			continue
		}
		hint := zconfig.DidYouMean(i.Package, known)
		if hint == "" {
			hint = "known are " + strings.Join(known, ", ")
		}
		l.fail(i.Pos, hint, "%%import %s: this package is not known, and Zari runs no Python", i.Package)
	}
}

// storageReaders read the sections of storages, by type.
var storageReaders = map[string]func(*loader, *zconfig.Section, Section) Storage{
	"filestorage":         (*loader).fileStorage,
	"mappingstorage":      (*loader).mappingStorage,
	"temporarystorage":    (*loader).temporaryStorage,
	"zeoclient":           (*loader).clientStorage,
	"clientstorage":       (*loader).clientStorage,
	"relstorage":          (*loader).relStorage,
	"blobstorage":         (*loader).blobStorage,
	"s3storage":           (*loader).s3Storage,
	"demostorage":         (*loader).demoStorage,
	"zlibstorage":         (*loader).zlibStorage,
	"serverzlibstorage":   (*loader).zlibStorage,
	"before":              (*loader).beforeStorage,
	"readonly":            (*loader).readOnlyStorage,
	"cache":               (*loader).cacheStorage,
	"loaddelayed_storage": (*loader).delayedStorage,
	"use":                 (*loader).use,
}

// storage reads the section of a storage. It returns nil if that is not possible
// at all. others are the types of sections, other than those of storages, that
// may stand where s does.
func (l *loader) storage(s *zconfig.Section, others ...string) Storage {
	base := Section{Type: s.Type, Name: s.Name, Pos: s.Pos}
	if read, ok := l.storages[s.Type]; ok {
		return read(l, s, base)
	}
	if slices.Contains(unsupported, s.Type) {
		l.fail(s.Pos, "", "<%s> is not supported yet", s.Type)
		return nil
	}
	candidates := slices.Concat(others, slices.Sorted(maps.Keys(l.storages)), unsupported)
	l.fail(s.Pos, zconfig.DidYouMean(s.Type, candidates), "unknown section <%s>", s.Type)
	return nil
}

func (l *loader) fileStorage(s *zconfig.Section, base Section) Storage {
	r := l.reader(s, "")
	fs := &FileStorage{
		Section:     base,
		Path:        need(r, "path", l.path),
		BlobDir:     get(r, "blob-dir", l.optionalPath, ""),
		Create:      get(r, "create", zconfig.Boolean, false),
		ReadOnly:    get(r, "read-only", zconfig.Boolean, false),
		Quota:       get(r, "quota", zconfig.ByteSize, 0),
		PackGC:      get(r, "pack-gc", zconfig.Boolean, true),
		PackKeepOld: get(r, "pack-keep-old", zconfig.Boolean, true),
	}
	r.refuse("packer", "it names a Python function, and Zari runs no Python: leave it out to use Zari's own")
	if fs.Create {
		r.remark("create", "throws away what is in "+fs.Path+" each time it is opened")
	}
	if fs.Create && fs.ReadOnly {
		l.fail(s.Pos, "", "%v: create and read-only exclude each other", s)
	}
	r.finish()
	l.noSections(s)
	l.files = append(l.files, fs)
	if !fs.ReadOnly {
		l.blobDirs = append(l.blobDirs, placed{s.Pos, fs.BlobDir})
	}
	return fs
}

func (l *loader) mappingStorage(s *zconfig.Section, base Section) Storage {
	r := l.reader(s, "")
	ms := &MappingStorage{Section: base, Title: get(r, "name", text, "Mapping Storage")}
	r.finish()
	l.noSections(s)
	return ms
}

// temporaryStorage reads the section of tempstorage: a storage in memory that
// collects its garbage at each commit, where ours does when it is packed.
func (l *loader) temporaryStorage(s *zconfig.Section, base Section) Storage {
	r := l.reader(s, "")
	ms := &MappingStorage{Section: base, Title: get(r, "name", text, "TemporaryStorage")}
	r.finish()
	l.noSections(s)
	l.note(s.Pos, "<temporarystorage> is a storage in memory, like <mappingstorage>: it must be packed to get rid of garbage")
	return ms
}

func (l *loader) delayedStorage(s *zconfig.Section, base Section) Storage {
	l.reader(s, "").finish()
	l.note(s.Pos, "<loaddelayed_storage> makes loads slower, for tests")
	return &DelayedStorage{l.wrapped(s, base)}
}

// wrapped reads a section that holds one other storage.
func (l *loader) wrapped(s *zconfig.Section, base Section) Wrapped {
	return Wrapped{Section: base, Storage: l.onlyStorage(s)}
}

// onlyStorage reads the one storage that s has to hold.
func (l *loader) onlyStorage(s *zconfig.Section) Storage {
	if len(s.Sections) == 0 {
		l.fail(s.Pos, "put a section such as <filestorage> into it", "%v needs a storage", s)
		return nil
	}
	for _, more := range s.Sections[1:] {
		l.fail(more.Pos, "", "%v holds one storage only, and has %v already", s, s.Sections[0])
	}
	return l.storage(s.Sections[0])
}
