package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/zaridb/zari/config/zconfig"
)

// place tells where a storage's section stands.
type place bool

const (
	outermost place = false
	inner     place = true
)

var storageTypes = []string{"filestorage", "mappingstorage", "blobstorage"}

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
	"zc.zlibstorage":            {"zlibstorage", "serverzlibstorage"},
	"zc.beforestorage":          {"before"},
	"zc.zrs":                    {"zrs"},
	"neo.client":                {"neostorage"},
	"tempstorage":               {"temporarystorage"},
}

// unsupported are the section types that are known, but not to be had.
var unsupported = slices.Concat(
	[]string{"demostorage", "zeoclient", "fullstorage", "minimalstorage", "zodb", "zodb_db"},
	slices.DeleteFunc(slices.Concat(slices.Collect(maps.Values(packages))...), func(s string) bool { return s == "loaddelayed_storage" }),
)

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

// storage reads the section of a storage. It returns nil if that is not possible
// at all.
func (l *loader) storage(s *zconfig.Section, where place) Storage {
	base := Base{Name: s.Name, Pos: s.Pos}
	switch s.Type {
	case "filestorage":
		return l.fileStorage(s, base)
	case "mappingstorage":
		return l.mappingStorage(s, base)
	case "blobstorage":
		return l.blobStorage(s, base)
	case "loaddelayed_storage":
		return l.delayedStorage(s, base)
	}
	if slices.Contains(unsupported, s.Type) {
		l.fail(s.Pos, "", "<%s> is not supported yet", s.Type)
		return nil
	}
	candidates := storageTypes
	if where == outermost {
		candidates = slices.Concat([]string{"zeo", "eventlog", "runner"}, storageTypes)
	}
	l.fail(s.Pos, zconfig.DidYouMean(s.Type, slices.Concat(candidates, unsupported)), "unknown section <%s>", s.Type)
	return nil
}

func (l *loader) fileStorage(s *zconfig.Section, base Base) Storage {
	r := l.reader(s, "")
	fs := &FileStorage{
		Base:        base,
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
		r.remark("create", "throws away what is in "+fs.Path+" each time the server starts")
	}
	if fs.Create && fs.ReadOnly {
		l.fail(s.Pos, "", "%v: create and read-only exclude each other", s)
	}
	r.finish()
	l.noSections(s)
	return fs
}

func (l *loader) mappingStorage(s *zconfig.Section, base Base) Storage {
	r := l.reader(s, "")
	ms := &MappingStorage{Base: base, Title: get(r, "name", text, "Mapping Storage")}
	r.finish()
	l.noSections(s)
	return ms
}

func (l *loader) blobStorage(s *zconfig.Section, base Base) Storage {
	r := l.reader(s, "")
	bs := &BlobStorage{Base: base, BlobDir: need(r, "blob-dir", l.path), Storage: l.onlyStorage(s)}
	r.finish()
	if bs.Storage != nil && hasBlobs(bs.Storage) {
		l.fail(bs.Storage.Position(), "leave out <blobstorage>, or the inner blob-dir", "the storage in %v has blobs already", s)
	}
	return bs
}

func hasBlobs(s Storage) bool {
	switch s := s.(type) {
	case *FileStorage:
		return s.BlobDir != ""
	case *BlobStorage:
		return true
	case *DelayedStorage:
		return s.Storage != nil && hasBlobs(s.Storage)
	}
	return false
}

func (l *loader) delayedStorage(s *zconfig.Section, base Base) Storage {
	r := l.reader(s, "")
	r.finish()
	l.note(s.Pos, "<loaddelayed_storage> makes loads slower, for tests")
	return &DelayedStorage{Base: base, Storage: l.onlyStorage(s)}
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
	return l.storage(s.Sections[0], inner)
}
