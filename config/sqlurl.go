package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zaridb/zari/config/zconfig"
)

// database finds what the URL of a SQL database names. Its options are the keys of
// <relstorage> and of the section in it, with _ for -.
func (f *finder) database(scheme, where string) (Storage, error) {
	rest, query, _ := strings.Cut(where[len(scheme)+len("://"):], "?")
	o, err := newURLOptions(query)
	if err != nil {
		return nil, errBadQuery
	}
	say := func(text string) { f.notes = append(f.notes, Note{zconfig.Pos{File: Redact(where)}, text}) }
	rs := o.relStorage(say)
	switch scheme {
	case "postgres", "postgresql":
		rs.SQL, err = o.postgreSQL(rest, say)
	case "mysql":
		rs.SQL, err = o.mySQL(rest)
	case "sqlite":
		rs.SQL, err = o.sqlite(rest)
	default:
		err = errors.New("there is no driver for Oracle: copy the database into one of PostgreSQL, MySQL or SQLite with RelStorage's zodbconvert")
	}
	if err == nil {
		err = rs.check()
	}
	if err != nil {
		return nil, err
	}
	return o.demo(rs)
}

func (o *urlOptions) relStorage(say func(text string)) *RelStorage {
	rs := &RelStorage{
		Section:       Section{Type: "relstorage", Name: "1"},
		Title:         option(o, "name", text, ""),
		KeepHistory:   option(o, "keep_history", uriBool, true),
		CreateSchema:  option(o, "create_schema", uriBool, true),
		ReadOnly:      option(o, "read_only", uriBool, false),
		CoWritten:     option(o, "shared", uriBool, false),
		PoolSize:      option(o, "pool_size", count, 0),
		LockTimeout:   option(o, "commit_lock_timeout", wholeSeconds, defaultLockTimeout),
		BlobDir:       option(o, "blob_dir", text, ""),
		SharedBlobDir: option(o, "shared_blob_dir", uriBool, false),
		BlobCacheSize: option(o, "blob_cache_size", zconfig.ByteSize, 0),
		ReplicaConf:   option(o, "replica_conf", text, ""),
		PackGC:        option(o, "pack_gc", uriBool, true),
		Cached:        Cached{CacheSize: option(o, "cache_local_mb", megabytes, DefaultCache)},
		CacheServers:  option(o, "cache_servers", addresses, nil),
		CachePrefix:   option(o, "cache_prefix", text, ""),
	}
	idle := []string{
		"driver", "blob_cache_size_check", "blob_cache_size_check_external", "revert_when_stale", "poll_interval",
		"pack_batch_timeout", "pack_commit_busy_delay", "pack_prepack_only", "pack_skip_prepack", "commit_lock_id",
		"ro_replica_conf", "replica_timeout", "blob_chunk_size",
	}
	for _, k := range idleCacheKeys {
		idle = append(idle, strings.ReplaceAll(k.name, "-", "_"))
	}
	for _, name := range idle {
		if v := option(o, name, text, ""); v != "" && !(name == "driver" && v == "auto") {
			say(name + " is not used")
		}
	}
	return rs
}

// postgreSQL reads the options that are keywords of libpq, too.
func (o *urlOptions) postgreSQL(rest string, say func(text string)) (SQL, error) {
	u, err := parseAuthority(rest)
	if err != nil {
		return nil, err
	}
	c := u.conninfo()
	for _, name := range slices.Concat(understood, harmless, protective, []string{"hostaddr"}) {
		if v := option(o, name, text, ""); v != "" {
			c = append(c, keyword{name, v})
		}
	}
	if v := option(o, "ssl_mode", text, ""); v != "" { // RelStorage's name for it
		c = append(c, keyword{"sslmode", v})
	}
	c, err = c.dsn(say)
	return &PostgreSQL{DSN: c.String()}, err
}

func (o *urlOptions) mySQL(rest string) (SQL, error) {
	u, err := parseAuthority(rest)
	if err != nil {
		return nil, err
	}
	my := &MySQL{
		User:           u.user,
		Password:       u.password,
		Database:       u.name,
		Host:           u.hosts[0],
		Socket:         option(o, "unix_socket", text, ""),
		ConnectTimeout: option(o, "connect_timeout", wholeSeconds, 0),
		OptionFile:     option(o, "read_default_file", text, ""),
		OptionGroup:    option(o, "read_default_group", text, ""),
		SSLMode:        option(o, "ssl_mode", MySQLSSLMode, ""),
		SSLCA:          option(o, "ssl_ca", text, ""),
		SSLCert:        option(o, "ssl_cert", text, ""),
		SSLKey:         option(o, "ssl_key", text, ""),
	}
	option(o, "compress", uriBool, false)
	if len(u.hosts) > 1 {
		return nil, errors.New("there are several hosts: name them in a file, and the file by replica_conf")
	}
	if port := u.ports[0]; port != "" {
		n, err := portNumber(port)
		if err != nil {
			return nil, fmt.Errorf("the port: %w", err)
		}
		my.Port = n
	}
	if my.Database == "" {
		return nil, errors.New("the name of the database is missing: write mysql://USER:PASSWORD@HOST/NAME")
	}
	return my, my.check()
}

// sqlite reads RelStorage's sqlite://?data_dir=DIRECTORY, and sqlite://DIRECTORY.
func (o *urlOptions) sqlite(path string) (SQL, error) {
	dir := option(o, "data_dir", text, "")
	switch {
	case path != "" && dir != "":
		return nil, errors.New("the directory is named twice")
	case path == "" && dir == "":
		return nil, errors.New("write sqlite:///DIRECTORY or sqlite://?data_dir=DIRECTORY")
	case dir == "":
		dir = path
	}
	return &SQLite{DataDir: filepath.Clean(dir)}, nil
}
