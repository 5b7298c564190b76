package config

import (
	"iter"
	"slices"
	"time"

	"github.com/zaridb/zari/config/zconfig"
)

// Storage is a section that names a storage: a pointer to one of the types below.
type Storage interface {
	// StorageName is the section's name, in lower case. That of an outermost
	// section is what clients ask for, and "1" where there is none in the file.
	StorageName() string
	// Position is the section's first line.
	Position() zconfig.Pos
	// Parts are the storages that it is made of, in the order of the file.
	Parts() []Storage
	// Head is what all storages have.
	Head() *Section
}

// Section is what all storages have.
type Section struct {
	Type string // of the section, such as filestorage
	Name string
	Pos  zconfig.Pos

	// Shared tells that a <use> names the storage: it is opened once, for all who
	// use it.
	Shared bool
}

// StorageName returns the name.
func (s *Section) StorageName() string { return s.Name }

// Position returns the section's first line.
func (s *Section) Position() zconfig.Pos { return s.Pos }

// Parts returns nothing.
func (s *Section) Parts() []Storage { return nil }

// Head returns s.
func (s *Section) Head() *Section { return s }

// Wrapped is what storages around one other have in common.
type Wrapped struct {
	Section
	Storage Storage
}

// Parts returns the wrapped storage.
func (w *Wrapped) Parts() []Storage { return some(w.Storage) }

func some(list ...Storage) []Storage {
	var parts []Storage
	for _, s := range list {
		if s != nil {
			parts = append(parts, s)
		}
	}
	return parts
}

// All yields s and all that it is made of, <use> sections with what they name. A
// storage that is used in several places comes once.
func All(s Storage) iter.Seq[Storage] {
	return func(yield func(Storage) bool) {
		seen := make(map[Storage]bool)
		var walk func(Storage) bool
		walk = func(s Storage) bool {
			if s == nil || seen[s] {
				return true
			}
			seen[s] = true
			parts := s.Parts()
			if u, ok := s.(*Use); ok {
				parts = []Storage{u.Storage}
			}
			return yield(s) && !slices.ContainsFunc(parts, func(p Storage) bool { return !walk(p) })
		}
		walk(s)
	}
}

var (
	_ Storage = (*FileStorage)(nil)
	_ Storage = (*MappingStorage)(nil)
	_ Storage = (*ClientStorage)(nil)
	_ Storage = (*BlobStorage)(nil)
	_ Storage = (*DemoStorage)(nil)
	_ Storage = (*ZlibStorage)(nil)
	_ Storage = (*BeforeStorage)(nil)
	_ Storage = (*ReadOnlyStorage)(nil)
	_ Storage = (*DelayedStorage)(nil)
	_ Storage = (*Database)(nil)
	_ Storage = (*Use)(nil)
	_ Storage = (*Import)(nil)
)

// Import is a database that is served while it is imported from another storage
// into a data file. No section names it: a command line does.
type Import struct {
	Section
	Source      Storage
	Destination *FileStorage
}

// Parts returns source and destination.
func (i *Import) Parts() []Storage { return some(i.Source, i.Destination) }

// FileStorage is the section <filestorage>: a Data.fs.
type FileStorage struct {
	Section
	Path        string // path
	BlobDir     string // blob-dir; "": no blobs
	Create      bool   // create: throw away what is there
	ReadOnly    bool   // read-only
	Quota       int64  // quota: bytes that the file may have; 0: no limit
	PackGC      bool   // pack-gc, default true: packing removes what cannot be reached
	PackKeepOld bool   // pack-keep-old, default true: packing leaves a .old file
}

// MappingStorage is the section <mappingstorage>: a storage in memory. The
// <temporarystorage> of tempstorage is one, too.
type MappingStorage struct {
	Section
	Title string // name, default "Mapping Storage": what the storage calls itself
}

// ClientStorage is the section <zeoclient>, or <clientstorage> of %import ZEO: a
// storage of another server.
type ClientStorage struct {
	Section
	Servers []zconfig.Address // server, once or more: the first that answers is used
	Storage string            // storage, default "1": which one of the server
	Title   string            // name: what the storage calls itself; "": after the server
	Label   string            // client-label: for the server's log

	ReadOnly         bool // read-only
	ReadOnlyFallback bool // read-only-fallback: one that cannot be written will do as long as there is no other

	Wait          bool          // wait, default true: opening waits for a connection
	WaitTimeout   time.Duration // wait-timeout, in seconds in the file, default 30 s: how long to wait for a connection
	MinReconnect  time.Duration // min-disconnect-poll, in seconds in the file, default 5 s: between attempts to connect
	MaxReconnect  time.Duration // max-disconnect-poll, in seconds in the file, default 300 s: not more than that
	CacheSize     int64         // cache-size, default 20 MB: bytes of the cache of objects
	BlobDir       string        // blob-dir; "": no blobs
	SharedBlobDir bool          // shared-blob-dir: BlobDir is the server's own
	BlobCacheSize int64         // blob-cache-size: bytes that are kept in BlobDir; 0: no limit
	SSL           *ClientSSL    // <ssl>; nil: no TLS
}

// ClientSSL is the section <ssl> of <clientstorage>.
type ClientSSL struct {
	Pos         zconfig.Pos
	Certificate string // certificate: the client's, in PEM; "": none
	Key         string // key, in PEM; "": it is in the file of the certificate

	// authenticate: a file or folder with the certificates that the server's one is
	// checked against; "": the authorities that the system trusts.
	Authenticate string

	CheckHostname  bool   // check-hostname, default true: the server's certificate is for its host name
	ServerHostname string // server-hostname: for that name instead; "": the one of the address
}

// BlobStorage is the section <blobstorage>: blobs for a storage without.
type BlobStorage struct {
	Wrapped
	BlobDir string // blob-dir
}

// DemoStorage is the section <demostorage>: changes beside a base that stays as
// it is.
type DemoStorage struct {
	Section
	Title   string  // name: what the storage calls itself; "": after its base
	Base    Storage // the storage that is not named changes; nil: an empty one
	Changes Storage // the storage that is named changes; nil: in memory, gone when it is closed
}

// Parts returns base and changes.
func (s *DemoStorage) Parts() []Storage { return some(s.Base, s.Changes) }

// ZlibStorage is the section <zlibstorage>, or <serverzlibstorage>, of %import
// zc.zlibstorage: records are compressed in the storage that is wrapped.
type ZlibStorage struct {
	Wrapped
	Compress bool // compress, default true: what is written is compressed
	Server   bool // <serverzlibstorage>: it is the clients who compress; here records are only understood
}

// BeforeStorage is the section <before> of %import zc.beforestorage: the wrapped
// storage as it was at a time, which cannot be written.
type BeforeStorage struct {
	Wrapped
	Time    time.Time // before: what was committed at this time or later is not seen; zero: the time of opening
	Startup bool      // before startup: the time when the process began
	File    string    // before-from-file: the time is in this file, which is made with the time of opening if it is not there
}

// ReadOnlyStorage is the section <readonly>, which is Zari's own: a storage that
// cannot be written.
type ReadOnlyStorage struct{ Wrapped }

// DelayedStorage is the section <loaddelayed_storage> of %import ZEO.tests: a
// storage whose loads take a little longer, at random, than they need to. It is
// there for tests of the order of what clients see.
type DelayedStorage struct{ Wrapped }

// Database is the section <zodb> of an application's file, or <zodb_db> of a
// zope.conf. What it says of caches and connections is for Python.
type Database struct {
	Wrapped
	DatabaseName string   // database-name, or else the section's name
	MountPoints  []string // mount-point: where Zope shows it
}

// Use is the section <use>, which is Zari's own: a storage that has its section
// elsewhere in the file. All who use it have the same one.
type Use struct {
	Section
	Of      string  // storage, or else the section's own name: which one
	Storage Storage // the one; nil only while a file is being read
}
