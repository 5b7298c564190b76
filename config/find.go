package config

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/zaridb/zari/config/zconfig"
)

// FindStorage returns the storage that where names, and what a person should know
// of it. It opens nothing but configuration files. where is one of
//
//	PATH                       a Data.fs
//	FILE.conf, FILE.conf#NAME  a storage of a configuration file
//	file://PATH?blobstorage_dir=DIR
//	zeo://HOST:PORT?storage=NAME, zeo:///SOCKET
//	postgres://USER@HOST/DATABASE, mysql://USER@HOST/DATABASE
//	sqlite:///DIRECTORY, sqlite://?data_dir=DIRECTORY
//	zconfig://FILE#NAME        as FILE#NAME
//	s3://BUCKET/PREFIX?region=REGION..., s3dir:///DIRECTORY
//	memory://TITLE
//	demo:(BASE)/(CHANGES)
//
// The URLs and their options are those of the Python packages zodburi and RelStorage.
// Options that are about Python's connections are passed over. env looks up environment
// variables, nil meaning the process's own.
func FindStorage(where string, env func(string) (string, bool)) (Storage, []Note, error) {
	f := &finder{env: env}
	s, err := f.find(where)
	if err != nil {
		return nil, nil, err
	}
	return s, f.notes, nil
}

// finder collects what is to be said of a URL, which may have others in it.
type finder struct {
	env   func(string) (string, bool)
	notes []Note
	depth int
}

// maxURLDepth bounds demo: URLs in each other.
const maxURLDepth = 16

var (
	scheme  = regexp.MustCompile(`^(?:(demo):\(|([a-zA-Z][-+.a-zA-Z0-9]+)://)`)
	demoURL = regexp.MustCompile(`^demo:\((.*)\)/\((.*)\)(?:#.*)?$`)
)

func (f *finder) find(where string) (Storage, error) {
	f.depth++
	if f.depth > maxURLDepth {
		return nil, fmt.Errorf("%.100q...: URLs are nested more than %d deep", where, maxURLDepth)
	}
	defer func() { f.depth-- }()
	m := scheme.FindStringSubmatch(where)
	if m == nil {
		return f.plain(where)
	}
	var s Storage
	var err error
	switch name := strings.ToLower(m[1] + m[2]); name {
	case "file":
		s, err = f.file(where[len("file://"):])
	case "zeo":
		s, err = f.zeo(where)
	case "memory":
		s, err = f.memory(where[len("memory://"):])
	case "demo":
		s, err = f.demo(where)
	case "zconfig":
		s, err = f.zconfig(where[len("zconfig://"):])
	case "postgres", "postgresql", "mysql", "sqlite", "oracle":
		s, err = f.database(name, where)
	case "s3", "s3dir":
		if _, err = s3URL(where); err == nil {
			s = newS3(where)
		}
	case "neo", "neos":
		err = fmt.Errorf("%s:// is not supported yet", name)
	default:
		err = fmt.Errorf("the scheme %s is not known: there are file, zeo, postgres, mysql, sqlite, s3, s3dir, zconfig, memory and demo", name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Redact(where), err)
	}
	return s, nil
}

// plain finds what is named by a path.
func (f *finder) plain(where string) (Storage, error) {
	file, name, _ := strings.Cut(where, "#")
	if strings.EqualFold(filepath.Ext(file), ".conf") {
		return f.named(file, name)
	}
	if where == "" {
		return nil, fmt.Errorf("a path or URL of a storage is missing")
	}
	return newFile(where), nil
}

func newFile(path string) *FileStorage {
	return &FileStorage{Section: Section{Type: "filestorage", Name: "1"}, Path: path, PackGC: true, PackKeepOld: true}
}

// named finds a storage in a file: the first, if there is no name.
func (f *finder) named(file, name string) (Storage, error) {
	c, err := LoadStorages(file, f.env)
	if err != nil {
		return nil, err
	}
	f.notes = append(f.notes, c.Notes...)
	if name == "" {
		return first(c.Storages), nil
	}
	known := make([]string, len(c.Storages))
	for i, s := range c.Storages {
		if strings.EqualFold(s.StorageName(), name) {
			return s, nil
		}
		known[i] = s.StorageName()
	}
	return nil, &zconfig.Error{
		Pos: zconfig.Pos{File: file}, Msg: fmt.Sprintf("there is no storage %q", name), Hint: "there are " + strings.Join(known, ", "),
	}
}

// first returns the first database, or else the first storage.
func first(list []Storage) Storage {
	for _, s := range list {
		if _, ok := s.(*Database); ok {
			return s
		}
	}
	return list[0]
}

func (f *finder) zconfig(rest string) (Storage, error) {
	file, name, _ := strings.Cut(rest, "#")
	file, _, _ = strings.Cut(file, "?")
	return f.named(file, name)
}

func (f *finder) file(rest string) (Storage, error) {
	// Not url.Parse: in a path of Windows there are colons.
	path, query, _ := strings.Cut(rest, "?")
	o, err := newURLOptions(query)
	if err != nil {
		return nil, err
	}
	if path == "" {
		return nil, fmt.Errorf("a path is missing")
	}
	return o.demo(o.file(filepath.Clean(path)))
}

func (o *urlOptions) file(path string) *FileStorage {
	s := newFile(path)
	s.Create = option(o, "create", uriBool, false)
	s.ReadOnly = option(o, "read_only", uriBool, false)
	s.Quota = option(o, "quota", zconfig.ByteSize, 0)
	s.BlobDir = option(o, "blobstorage_dir", text, "")
	s.PackGC = option(o, "pack_gc", uriBool, true)
	s.PackKeepOld = option(o, "pack_keep_old", uriBool, true)
	option(o, "blobstorage_layout", blobLayout, "")
	return s
}

// blobLayout reads the layout of a blob directory. One that is there has its own.
func blobLayout(s string) (string, error) {
	if s != "automatic" && s != "bushy" && s != "lawn" {
		return "", fmt.Errorf("%q is not one of automatic, bushy, lawn", s)
	}
	return s, nil
}

func (f *finder) memory(rest string) (Storage, error) {
	title, query, _ := strings.Cut(rest, "?")
	o, err := newURLOptions(query)
	if err != nil {
		return nil, err
	}
	return o.demo(&MappingStorage{Section: Section{Type: "mappingstorage", Name: "1"}, Title: title})
}

func (f *finder) demo(where string) (Storage, error) {
	m := demoURL.FindStringSubmatch(where)
	if m == nil {
		return nil, fmt.Errorf("write demo:(BASE)/(CHANGES)")
	}
	base, err := f.find(m[1])
	if err != nil {
		return nil, err
	}
	changes, err := f.find(m[2])
	if err != nil {
		return nil, err
	}
	return newDemo(base, changes), nil
}

func newDemo(base, changes Storage) *DemoStorage {
	return &DemoStorage{Section: Section{Type: "demostorage", Name: "1"}, Base: base, Changes: changes}
}

// zeoPort is the port of a zeo:// URL that names none.
const zeoPort = "9991"

func (f *finder) zeo(where string) (Storage, error) {
	u, err := url.Parse(where)
	if err != nil {
		return nil, err.(*url.Error).Err
	}
	o, err := newURLOptions(u.RawQuery)
	if err != nil {
		return nil, err
	}
	address := filepath.Clean(u.Path)
	if u.Host != "" {
		address = u.Host
		if u.Port() == "" {
			address = net.JoinHostPort(u.Hostname(), zeoPort)
		}
		if strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("a path follows the address: write ?storage=NAME")
		}
	}
	server, err := zconfig.SocketConnectionAddress(address)
	if err != nil {
		return nil, err
	}
	c := o.client(server)
	return o.demo(c)
}

func (o *urlOptions) client(server zconfig.Address) *ClientStorage {
	c := &ClientStorage{
		Section:          Section{Type: "zeoclient", Name: "1"},
		Servers:          []zconfig.Address{server},
		Storage:          option(o, "storage", text, "1"),
		Title:            option(o, "name", text, ""),
		Label:            option(o, "client_label", text, ""),
		ReadOnly:         option(o, "read_only", uriBool, false),
		ReadOnlyFallback: option(o, "read_only_fallback", uriBool, false),
		Wait:             option(o, "wait", uriBool, true),
		WaitTimeout:      option(o, "wait_timeout", wholeSeconds, defaultWaitTimeout),
		MinReconnect:     option(o, "min_disconnect_poll", wholeSeconds, defaultMinReconnect),
		MaxReconnect:     option(o, "max_disconnect_poll", wholeSeconds, defaultMaxReconnect),
		CacheSize:        option(o, "cache_size", zconfig.ByteSize, defaultClientCache),
		BlobDir:          option(o, "blob_dir", text, ""),
		SharedBlobDir:    option(o, "shared_blob_dir", uriBool, false),
		BlobCacheSize:    option(o, "blob_cache_size", zconfig.ByteSize, 0),
	}
	option(o, "drop_cache_rather_verify", uriBool, false)
	option(o, "server_sync", uriBool, false)
	option(o, "blob_cache_size_check", count, 0)
	for _, name := range []string{"client", "var", "username", "password", "realm", "debug", "wait_for_server_on_startup"} {
		option(o, name, text, "") // these do nothing in today's ZEO either, or are about a cache on disk
	}
	return c
}

// urlOptions are what follows the question mark of a URL.
type urlOptions struct {
	values map[string]string
	asked  map[string]bool // those that were asked for
	err    error           // the first fault
}

// connectionOptions are those about Python's connections. Each begins so, or is
// one of these.
var connectionOptions = []string{"connection_", "database_name"}

func newURLOptions(query string) (*urlOptions, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, err
	}
	o := &urlOptions{values: make(map[string]string), asked: make(map[string]bool)}
	for name, list := range values {
		o.values[name] = list[len(list)-1]
		for _, prefix := range connectionOptions {
			if strings.HasPrefix(name, prefix) {
				delete(o.values, name)
			}
		}
	}
	return o, nil
}

// option reads an option by one of the data types.
func option[T any](o *urlOptions, name string, parse func(string) (T, error), def T) T {
	o.asked[name] = true
	s, ok := o.values[name]
	if !ok {
		return def
	}
	v, err := parse(s)
	if err != nil {
		if o.err == nil {
			o.err = fmt.Errorf("%s: %w", name, err)
		}
		return def
	}
	return v
}

// demo puts s below a storage in memory if the option demostorage says so, and
// refuses the options that nobody asked for.
func (o *urlOptions) demo(s Storage) (Storage, error) {
	if option(o, "demostorage", uriBool, false) {
		s = newDemo(s, nil)
	}
	for _, name := range slices.Sorted(maps.Keys(o.values)) {
		if !o.asked[name] {
			return nil, fmt.Errorf("the option %q is not known%s", name, didYouMean(name, slices.Collect(maps.Keys(o.asked))))
		}
	}
	return s, o.err
}

func didYouMean(name string, candidates []string) string {
	slices.Sort(candidates)
	if hint := zconfig.DidYouMean(name, candidates); hint != "" {
		return " (" + hint + ")"
	}
	return ""
}

// uriBool reads a boolean as zodburi does: a number, or a word. An option that is
// there without a value is set.
func uriBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "", "1", "t", "y":
		return true, nil
	case "0", "f", "n":
		return false, nil
	}
	return zconfig.Boolean(s)
}
