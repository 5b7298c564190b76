package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zaridb/zari/config/zconfig"
)

// client returns a ClientStorage with the defaults, changed.
func client(server zconfig.Address, change func(*ClientStorage)) *ClientStorage {
	c := &ClientStorage{
		Servers: []zconfig.Address{server}, Storage: "1", Wait: true, WaitTimeout: 30 * time.Second,
		MinReconnect: 5 * time.Second, MaxReconnect: 300 * time.Second, CacheSize: 20 << 20,
	}
	change(c)
	return c
}

func file(path string, change func(*FileStorage)) *FileStorage {
	f := &FileStorage{Path: path, PackGC: true, PackKeepOld: true}
	change(f)
	return f
}

// sql returns a RelStorage with the defaults, changed.
func sql(database SQL, change func(*RelStorage)) *RelStorage {
	s := &RelStorage{
		SQL: database, KeepHistory: true, CreateSchema: true, LockTimeout: 30 * time.Second,
		PackGC: true, Cached: Cached{CacheSize: DefaultCache},
	}
	change(s)
	return s
}

func plainFile(path string) *FileStorage { return file(path, func(*FileStorage) {}) }

func TestFindStorage(t *testing.T) {
	local := zconfig.Address{Host: "localhost", Port: 9001, HasPort: true}
	for where, want := range map[string]Storage{
		"Data.fs":                  plainFile("Data.fs"),
		"file:(":                   plainFile("file:("),
		"/a b/Data.fs":             plainFile("/a b/Data.fs"),
		"with#hash.fs":             plainFile("with#hash.fs"),
		"file:///srv/x/../Data.fs": plainFile("/srv/Data.fs"),
		"FILE://Data.fs":           plainFile("Data.fs"),
		"file://Data.fs?connection_cache_size=1&database_name=x&blobstorage_dir=/b&blobstorage_layout=lawn&quota=1MB": file(
			"Data.fs", func(f *FileStorage) { f.BlobDir, f.Quota = "/b", 1<<20 }),
		"file://Data.fs?read_only=true&pack_gc=0&pack_keep_old=f": file(
			"Data.fs", func(f *FileStorage) { f.ReadOnly, f.PackGC, f.PackKeepOld = true, false, false }),
		"file://Data.fs?create=1&demostorage":                    &DemoStorage{Base: file("Data.fs", func(f *FileStorage) { f.Create = true })},
		"memory://":                                              &MappingStorage{},
		"memory://x?connection_pool_size=3":                      &MappingStorage{Title: "x"},
		"demo:(file://a.fs)/(memory://)#connection_cache_size=1": &DemoStorage{Base: plainFile("a.fs"), Changes: &MappingStorage{}},
		"demo:(demo:(a.fs)/(b.fs))/(c.fs)": &DemoStorage{
			Base: &DemoStorage{Base: plainFile("a.fs"), Changes: plainFile("b.fs")}, Changes: plainFile("c.fs")},
		"zeo://localhost:9001": client(local, func(*ClientStorage) {}),
		"zeo://localhost":      client(zconfig.Address{Host: "localhost", Port: 9991, HasPort: true}, func(*ClientStorage) {}),
		"zeo://[::1]":          client(zconfig.Address{Host: "::1", Port: 9991, HasPort: true}, func(*ClientStorage) {}),
		"zeo:///run/zeo.sock?storage=main&wait=0": client(
			zconfig.Address{Path: "/run/zeo.sock"}, func(c *ClientStorage) { c.Storage, c.Wait = "main", false }),
		"zeo://localhost:9001/?wait_timeout=2&cache_size=1GB&client=x&read_only_fallback=on&blob_dir=b&shared_blob_dir=1": client(
			local, func(c *ClientStorage) {
				c.WaitTimeout, c.CacheSize, c.ReadOnlyFallback = 2*time.Second, 1<<30, true
				c.BlobDir, c.SharedBlobDir = "b", true
			}),
		"postgres://zeo:p%40ss@db:5433/zodb?keep_history=0&sslmode=require": sql(
			&PostgreSQL{DSN: `host='db' port='5433' dbname='zodb' user='zeo' password='p@ss' sslmode='require'`},
			func(s *RelStorage) { s.KeepHistory = false }),
		"postgresql:///zodb?shared=1&pool_size=5": sql(
			&PostgreSQL{DSN: `dbname='zodb'`}, func(s *RelStorage) { s.CoWritten, s.PoolSize = true, 5 }),
		"mysql://zope:s@[::1]:3307/zodb?ssl_mode=VERIFY_CA&ssl_ca=/ca.pem": sql(
			&MySQL{Host: "::1", Port: 3307, User: "zope", Password: "s", Database: "zodb", SSLMode: "verify-ca", SSLCA: "/ca.pem"},
			func(*RelStorage) {}),
		"sqlite:///srv/db?cache_local_mb=0&cache_servers=a%20b:1&cache_prefix=x": sql(&SQLite{DataDir: "/srv/db"}, func(s *RelStorage) {
			s.CacheSize, s.CacheServers, s.CachePrefix = 0, []string{"a:11211", "b:1"}, "x"
		}),
		"sqlite:///srv/x%/../db": sql(&SQLite{DataDir: "/srv/db"}, func(*RelStorage) {}),
		"SQLITE://?data_dir=a%20b&read_only&blob_dir=c&demostorage": &DemoStorage{Base: sql(
			&SQLite{DataDir: "a b"}, func(s *RelStorage) { s.ReadOnly, s.BlobDir = true, "c" })},
		"testdata/find/zodb.conf":                      plainFile("first.fs"),
		"testdata/find/zodb.conf#Second":               plainFile("second.fs"),
		"zconfig://testdata/find/zodb.conf?a=b#second": plainFile("second.fs"),
		"testdata/find/zodb.conf#3":                    &MappingStorage{Title: "Mapping Storage"},
		"testdata/good/zari.conf":                      &MappingStorage{Title: "Mapping Storage"},
	} {
		got, _, err := FindStorage(where, environ)
		if err != nil {
			t.Errorf("%s: %v", where, err)
			continue
		}
		if d, ok := got.(*Database); ok {
			got = d.Storage
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreTypes(Section{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", where, diff)
		}
	}
}

func TestFindStorageRefuses(t *testing.T) {
	for where, want := range map[string]string{
		"":                              "a path or URL of a storage is missing",
		"file://":                       "file://: a path is missing",
		"http://x/Data.fs":              "http://x/Data.fs: the scheme http is not known: there are file, zeo, postgres, mysql, sqlite, s3, s3dir, zconfig, memory and demo",
		"postgres://u:p@h/db?hist=1":    `postgres://u:***@h/db?hist=1: the option "hist" is not known (did you mean "host"?)`,
		"postgresql://h:0x/db":          `postgresql://h:0x/db: port: "0x" is not a number from 1 to 65535`,
		"mysql://u:p@h":                 "mysql://u:***@h: the name of the database is missing: write mysql://USER:PASSWORD@HOST/NAME",
		"mysql://a,b/db":                "mysql://a,b/db: there are several hosts: name them in a file, and the file by replica_conf",
		"sqlite://":                     "sqlite://: write sqlite:///DIRECTORY or sqlite://?data_dir=DIRECTORY",
		"sqlite:///a?data_dir=/b":       "sqlite:///a?data_dir=/b: the directory is named twice",
		"oracle://?dsn=x":               "oracle://?dsn=x: there is no driver for Oracle: copy the database into one of PostgreSQL, MySQL or SQLite with RelStorage's zodbconvert",
		"s3dir://relative":              "s3dir://relative: a directory is written from the root: s3dir:///DIRECTORY",
		"file://x?reed_only=1":          `file://x?reed_only=1: the option "reed_only" is not known (did you mean "read_only"?)`,
		"file://x?quota=many":           `file://x?quota=many: quota: "many" is not understood: write a number of bytes, or with KB, MB or GB`,
		"file://x?read_only=maybe":      `file://x?read_only=maybe: read_only: "maybe" is not a boolean: write true or false, yes or no, on or off`,
		"file://x?blobstorage_layout=x": `file://x?blobstorage_layout=x: blobstorage_layout: "x" is not one of automatic, bushy, lawn`,
		"zeo://h:1/main":                "zeo://h:1/main: a path follows the address: write ?storage=NAME",
		"zeo://h:x":                     `zeo://h:x: invalid port ":x" after host`,
		"demo:(a.fs)":                   "demo:(a.fs): write demo:(BASE)/(CHANGES)",
		"demo:(http://x)/(a.fs)":        "demo:(http://x)/(a.fs): http://x: the scheme http is not known: there are file, zeo, postgres, mysql, sqlite, s3, s3dir, zconfig, memory and demo",
		"testdata/find/zodb.conf#9":     `testdata/find/zodb.conf: there is no storage "9" (there are first, second, 3)`,
		"testdata/bad/nothing.conf":     "testdata/bad/nothing.conf: there is no storage to serve (add a <filestorage>)",
	} {
		if s, _, err := FindStorage(where, environ); err == nil || err.Error() != want {
			t.Errorf("%q: %v, %v; want %s", where, s, err, want)
		}
	}
	deep := strings.Repeat("demo:(", 100) + "a.fs" + strings.Repeat(")/(b.fs)", 100)
	if _, _, err := FindStorage(deep, environ); err == nil || !strings.Contains(err.Error(), "nested more than 16 deep") {
		t.Errorf("nested URLs: %v", err)
	}
	if _, _, err := FindStorage(filepath.Join(t.TempDir(), "a.conf"), environ); !os.IsNotExist(err) {
		t.Errorf("absent file: %v", err)
	}
}

func TestLoadConvert(t *testing.T) {
	source, destination, _, err := LoadConvert("testdata/find/convert.conf", environ)
	if err != nil {
		t.Fatal(err)
	}
	if source.(*FileStorage).Path != "old.fs" || destination.(*ClientStorage).Servers[0].Port != 8100 {
		t.Errorf("%+v, %+v", source, destination)
	}
	const want = `testdata/find/zodb.conf:1: a storage is named "first": there are only source and destination in such a file
testdata/find/zodb.conf:6: a storage is named "second": there are only source and destination in such a file
testdata/find/zodb.conf:12: a storage is named "3": there are only source and destination in such a file
testdata/find/zodb.conf: there is no storage named source (write <filestorage source>)
testdata/find/zodb.conf: there is no storage named destination (write <filestorage destination>)`
	if _, _, _, err := LoadConvert("testdata/find/zodb.conf", environ); err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}

func TestAll(t *testing.T) {
	c, err := Load("testdata/corpus/shared.conf", environ)
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for s := range All(c.Storages[3]) {
		types = append(types, s.Head().Type)
	}
	if want := "demostorage use filestorage filestorage"; strings.Join(types, " ") != want {
		t.Errorf("%v, want %s", types, want)
	}
	for range All(c.Storages[3]) {
		break // it ends when it is told
	}
}
