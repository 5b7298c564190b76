package config

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zaridb/zari/config/zconfig"
)

// defaultLockTimeout is that of commit-lock-timeout.
const defaultLockTimeout = 30 * time.Second

// RelStorage is the section <relstorage> of %import relstorage: objects in tables of
// a SQL database, as the Python package RelStorage keeps them.
type RelStorage struct {
	Section
	SQL   SQL    // the section in it, such as <postgresql>; nil only while a file is being read
	Title string // name: what the storage calls itself; "": after the database

	KeepHistory  bool // keep-history, default true: revisions stay until the database is packed
	CreateSchema bool // create-schema, default true: tables that are not there are made
	ReadOnly     bool // read-only

	// CoWritten, the key shared, which is Zari's own: other servers, and Python
	// programs with RelStorage, write to the database at the same time. Else this
	// server alone does.
	CoWritten bool
	PoolSize  int // pool-size, Zari's own: connections for loads at most; 0: the engine's default

	LockTimeout time.Duration // commit-lock-timeout, in seconds in the file, default 30 s: how long a vote waits for an object

	BlobDir       string // blob-dir: a cache of the blobs, or with SharedBlobDir where they are; "": there are none
	SharedBlobDir bool   // shared-blob-dir: the blobs are in BlobDir, not in the database
	BlobCacheSize int64  // blob-cache-size: bytes that are kept in BlobDir; 0: no limit
	BlobsOutside  bool   // a <blobstorage> around it keeps the blobs

	// ReplicaConf, replica-conf, is a file with the servers of the database, the best
	// first, one of which takes writes; "": the servers are in SQL.
	ReplicaConf string

	PackGC bool // pack-gc, default true: packing removes what cannot be reached

	Cached

	// CacheServers, cache-servers, are the memcached servers where records are kept besides;
	// none: nowhere. CachePrefix, cache-prefix, begins the keys there.
	CacheServers []string
	CachePrefix  string

	// Clear throws away what is there when it is opened. No key says so: a command
	// does.
	Clear bool
}

// SQL names a SQL database: a pointer to [PostgreSQL], [MySQL] or [SQLite].
type SQL interface {
	// Position is the section's first line.
	Position() zconfig.Pos
	describe() string
	// same tells databases apart: two with an equal value are one.
	same() string
}

var (
	_ Storage = (*RelStorage)(nil)
	_ SQL     = (*PostgreSQL)(nil)
	_ SQL     = (*MySQL)(nil)
	_ SQL     = (*SQLite)(nil)
)

// PostgreSQL is the section <postgresql> of <relstorage>.
type PostgreSQL struct {
	Pos zconfig.Pos
	DSN string // dsn: libpq's keywords and values, without those that do nothing here; what is not given is as for libpq
}

// MySQL is the section <mysql> of <relstorage>. The keys are those of Python's
// drivers.
type MySQL struct {
	Pos            zconfig.Pos
	Host           string        // host; "" or localhost: a socket of this machine, if there is one
	Port           int           // port; 0: 3306
	Socket         string        // unix_socket
	User           string        // user
	Password       string        // passwd
	Database       string        // db
	ConnectTimeout time.Duration // connect_timeout, in seconds in the file; 0: the driver's
	OptionFile     string        // read_default_file: a my.cnf, for what is not given here
	OptionGroup    string        // read_default_group: a group of it, besides [client]

	// Zari's own, after the options of MySQL's programs.

	SSLMode string // ssl_mode: disabled, required, verify-ca or verify-identity; "": the last if there is a certificate, else the first
	SSLCA   string // ssl_ca: the certificates that the server's one is checked against; "": the authorities that the system trusts
	SSLCert string // ssl_cert: the client's
	SSLKey  string // ssl_key
}

// SQLite is the section <sqlite3> of <relstorage>.
type SQLite struct {
	Pos     zconfig.Pos
	DataDir string            // data-dir: where the files of the database are
	Pragmas map[string]string // <pragmas>: statements PRAGMA NAME = VALUE for each connection
}

// Position returns the section's first line.
func (s *PostgreSQL) Position() zconfig.Pos { return s.Pos }

// Position returns the section's first line.
func (s *MySQL) Position() zconfig.Pos { return s.Pos }

// Position returns the section's first line.
func (s *SQLite) Position() zconfig.Pos { return s.Pos }

// sqlReaders read the sections in <relstorage>, by type.
var sqlReaders = map[string]func(*loader, *zconfig.Section) SQL{
	"postgresql": (*loader).postgreSQL,
	"mysql":      (*loader).mySQL,
	"sqlite3":    (*loader).sqlite,
	"oracle":     (*loader).oracle,
}

func (l *loader) relStorage(s *zconfig.Section, base Section) Storage {
	r := l.reader(s, "")
	rs := &RelStorage{
		Section:       base,
		SQL:           l.sql(s),
		Title:         get(r, "name", text, ""),
		KeepHistory:   get(r, "keep-history", zconfig.Boolean, true),
		CreateSchema:  get(r, "create-schema", zconfig.Boolean, true),
		ReadOnly:      get(r, "read-only", zconfig.Boolean, false),
		CoWritten:     get(r, "shared", zconfig.Boolean, false),
		PoolSize:      get(r, "pool-size", count, 0),
		LockTimeout:   get(r, "commit-lock-timeout", wholeSeconds, defaultLockTimeout),
		BlobDir:       get(r, "blob-dir", l.optionalPath, ""),
		SharedBlobDir: get(r, "shared-blob-dir", zconfig.Boolean, false),
		BlobCacheSize: get(r, "blob-cache-size", zconfig.ByteSize, 0),
		ReplicaConf:   get(r, "replica-conf", l.optionalPath, ""),
		PackGC:        get(r, "pack-gc", zconfig.Boolean, true),
		Cached:        cached(r, "cache-local-mb", megabytes),
		CacheServers:  get(r, "cache-servers", addresses, nil),
		CachePrefix:   get(r, "cache-prefix", text, ""),
	}
	l.idleRelStorageKeys(r)
	r.finish()
	if err := rs.check(); err != nil {
		l.fail(s.Pos, "", "%v: %v", s, err)
	}
	l.databases = append(l.databases, rs)
	if rs.SharedBlobDir && !rs.ReadOnly {
		l.blobDirs = append(l.blobDirs, placed{s.Pos, rs.BlobDir})
	}
	return rs
}

// idleRelStorageKeys reads the keys that do nothing here.
func (l *loader) idleRelStorageKeys(r *reader) {
	for _, name := range idleCacheKeys {
		name.read(r)
	}
	get(r, "blob-cache-size-check", zconfig.Integer, 0)
	get(r, "blob-cache-size-check-external", zconfig.Boolean, false)
	get(r, "revert_when_stale", zconfig.Boolean, false)
	get(r, "poll-interval", zconfig.Float, 0)
	get(r, "pack-batch-timeout", zconfig.Float, 0)
	get(r, "pack-commit-busy-delay", zconfig.Float, 0)
	get(r, "commit-lock-id", zconfig.Integer, 0)
	get(r, "ro-replica-conf", text, "")
	get(r, "replica-timeout", seconds, 0)
	get(r, "blob-chunk-size", zconfig.ByteSize, 0)
	for _, name := range []string{"blob-cache-size-check", "blob-cache-size-check-external"} {
		r.remark(name, "is not used: the size of the blob cache is watched all the time")
	}
	if get(r, "pack-prepack-only", zconfig.Boolean, false) || get(r, "pack-skip-prepack", zconfig.Boolean, false) {
		for _, name := range []string{"pack-prepack-only", "pack-skip-prepack"} {
			r.remark(name, "is not used: a pack finds and removes in one go, and goes on where it was interrupted")
		}
	}
	r.remark("revert_when_stale", "is not used: loads go to the server that takes writes")
	r.remark("poll-interval", "is not used, as in today's RelStorage")
	for _, name := range []string{"pack-batch-timeout", "pack-commit-busy-delay"} {
		r.remark(name, "is not used: a pack does not stand in the way of commits")
	}
	r.remark("commit-lock-id", "is not used: it is about Oracle")
	r.remark("ro-replica-conf", "is not used: loads go to the server that takes writes")
	r.remark("replica-timeout", "is not used: every new connection tries the servers in their order")
	r.remark("blob-chunk-size", "is not used: chunks of blobs have 1 MB, where there are any")
}

// idleKey is a key that does nothing here.
type idleKey struct {
	name  string
	parse func(string) (string, error)
	why   string
}

const ownCache = "is not used: it is about the cache in a Python process; the size of this server's cache says cache-local-mb"

var idleCacheKeys = []idleKey{
	{"cache-module-name", text, "is not used: it names a Python module"},
	{"cache-local-storage", dottedName, ownCache},
	{"cache-local-dir", text, ownCache},
	{"cache-local-dir-count", checked(zconfig.Integer), ownCache},
	{"cache-local-dir-read-count", checked(zconfig.Integer), ownCache},
	{"cache-local-dir-compress", checked(zconfig.Boolean), ownCache},
	{"cache-local-dir-write-max-size", checked(zconfig.ByteSize), ownCache},
	{"cache-local-object-max", checked(zconfig.ByteSize), ownCache},
	{"cache-local-compression", text, ownCache},
	{"cache-delta-size-limit", checked(zconfig.Integer), ownCache},
}

func (k idleKey) read(r *reader) {
	get(r, k.name, k.parse, "")
	r.remark(k.name, k.why)
}

// checked reads a value of a data type and keeps its text.
func checked[T any](parse func(string) (T, error)) func(string) (string, error) {
	return func(s string) (string, error) {
		_, err := parse(s)
		return s, err
	}
}

// check finds options that exclude each other.
func (s *RelStorage) check() error {
	switch {
	case s.SharedBlobDir && s.BlobDir == "":
		return errors.New("there is a shared-blob-dir, but no blob-dir that names it")
	}
	if _, ok := s.SQL.(*SQLite); ok && s.ReplicaConf != "" {
		return errors.New("a SQLite database has no replicas: leave out replica-conf")
	}
	return nil
}

// sql reads the one section that <relstorage> has to hold.
func (l *loader) sql(s *zconfig.Section) SQL {
	types := []string{"postgresql", "mysql", "sqlite3"}
	var found SQL
	for i, sub := range s.Sections {
		read, ok := sqlReaders[sub.Type]
		switch {
		case !ok:
			l.fail(sub.Pos, zconfig.DidYouMean(sub.Type, types), "there is no section <%s> in %v", sub.Type, s)
		case i > 0:
			l.fail(sub.Pos, "", "%v is about one database, and has %v already", s, s.Sections[0])
		default:
			found = read(l, sub)
		}
	}
	if len(s.Sections) == 0 {
		l.fail(s.Pos, "put a section <postgresql>, <mysql> or <sqlite3> into it", "%v does not say which database", s)
	}
	return found
}

// driver passes over the driver, which is Python's.
func (l *loader) driver(r *reader) {
	if k := r.key("driver"); k != nil && !strings.EqualFold(k.Value, "auto") {
		l.note(k.Pos, fmt.Sprintf("driver %q is not used: Zari has its own", k.Value))
	}
}

func (l *loader) postgreSQL(s *zconfig.Section) SQL {
	r := l.reader(s, "")
	pg := &PostgreSQL{Pos: s.Pos}
	l.driver(r)
	defer l.noSections(s)
	defer r.finish()
	k := r.key("dsn")
	if k == nil {
		return pg
	}
	dsn, err := parseDSN(k.Value, func(text string) { l.note(k.Pos, "dsn: "+text) })
	if err != nil {
		l.fail(k.Pos, "", "dsn: %v", err)
		return nil
	}
	pg.DSN = dsn
	return pg
}

func parseDSN(s string, say func(text string)) (string, error) {
	c, err := parseConninfo(s)
	if err == nil {
		c, err = c.dsn(say)
	}
	return c.String(), err
}

func (l *loader) mySQL(s *zconfig.Section) SQL {
	r := l.reader(s, "")
	my := &MySQL{
		Pos:            s.Pos,
		Host:           get(r, "host", text, ""),
		Port:           get(r, "port", portNumber, 0),
		Socket:         get(r, "unix_socket", l.optionalPath, ""),
		User:           get(r, "user", text, ""),
		Password:       get(r, "passwd", text, ""),
		Database:       get(r, "db", text, ""),
		ConnectTimeout: get(r, "connect_timeout", wholeSeconds, 0),
		OptionFile:     get(r, "read_default_file", l.optionalPath, ""),
		OptionGroup:    get(r, "read_default_group", text, ""),
		SSLMode:        get(r, "ssl_mode", MySQLSSLMode, ""),
		SSLCA:          get(r, "ssl_ca", l.optionalPath, ""),
		SSLCert:        get(r, "ssl_cert", l.optionalPath, ""),
		SSLKey:         get(r, "ssl_key", l.optionalPath, ""),
	}
	l.driver(r)
	if get(r, "compress", zconfig.Boolean, false) {
		r.remark("compress", "is not used: what is sent to the database is not compressed")
	}
	if get(r, "named_pipe", zconfig.Boolean, false) {
		r.refuse("named_pipe", "there are none: give host and port")
	}
	r.finish()
	l.noSections(s)
	if err := my.check(); err != nil {
		l.fail(s.Pos, "", "%v: %v", s, err)
	}
	return my
}

func (s *MySQL) check() error {
	switch {
	case s.SSLKey != "" && s.SSLCert == "":
		return errors.New("there is an ssl_key, but no ssl_cert")
	case s.SSLMode == "disabled" && (s.SSLCA != "" || s.SSLCert != ""):
		return errors.New("ssl_mode is disabled, and there are certificates")
	}
	return nil
}

// MySQLSSLMode reads one of the modes of MySQL's programs, as [MySQL] has it.
func MySQLSSLMode(s string) (string, error) {
	modes := []string{"disabled", "required", "verify-ca", "verify-identity"}
	if m := strings.ReplaceAll(strings.ToLower(s), "_", "-"); slices.Contains(modes, m) {
		return m, nil
	}
	return "", fmt.Errorf("%q is not one of %s", s, strings.Join(modes, ", "))
}

func portNumber(s string) (int, error) {
	n, err := count(s)
	if err == nil && n > 65535 {
		err = fmt.Errorf("%d is not a port: they end with 65535", n)
	}
	return n, err
}

func (l *loader) sqlite(s *zconfig.Section) SQL {
	r := l.reader(s, "")
	lite := &SQLite{Pos: s.Pos, DataDir: need(r, "data-dir", l.path)}
	l.driver(r)
	get(r, "gevent_yield_interval", zconfig.Integer, 0)
	r.remark("gevent_yield_interval", "is not used: it is about Python's gevent")
	r.finish()
	l.noSections(s, "pragmas")
	seen := make(map[string]*zconfig.Section)
	for _, sub := range s.Sections {
		if sub.Type == "pragmas" && l.once(seen, sub) {
			lite.Pragmas = l.pragmas(sub)
		}
	}
	return lite
}

func (l *loader) oracle(s *zconfig.Section) SQL {
	l.fail(s.Pos, "copy the database into one of PostgreSQL, MySQL or SQLite with RelStorage's zodbconvert",
		"there is no driver for Oracle")
	return nil
}

// pragmas reads <pragmas>, which may have any keys.
func (l *loader) pragmas(s *zconfig.Section) map[string]string {
	r := l.reader(s, "")
	pragmas := make(map[string]string)
	for _, k := range s.Keys {
		name := k.Lower()
		parse := pragmaValue
		if p, ok := pragmaTypes[name]; ok {
			parse = p
		}
		v := get(r, name, parse, "")
		switch {
		case strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "":
			l.fail(k.Pos, "", "%q is not the name of a pragma", k.Name)
		case slices.Contains(ownPragmas, name):
			l.note(k.Pos, "pragma "+name+" is not used: Zari needs its own")
		default:
			pragmas[name] = v
		}
	}
	r.finish()
	l.noSections(s)
	return pragmas
}

// pragmaTypes are the data types of those that RelStorage gives one.
var pragmaTypes = map[string]func(string) (string, error){
	"page_size":          bytesText,
	"mmap_size":          bytesText,
	"cache_size":         bytesText,
	"soft_heap_limit":    bytesText,
	"max_page_count":     checked(zconfig.Integer),
	"threads":            checked(zconfig.Integer),
	"wal_autocheckpoint": checked(zconfig.Integer),
}

// ownPragmas are those on which it depends that a commit is durable, and that others
// see it.
var ownPragmas = []string{
	"journal_mode", "synchronous", "locking_mode", "foreign_keys", "busy_timeout", "read_uncommitted",
	"query_only", "writable_schema", "ignore_check_constraints", "defer_foreign_keys", "fullfsync",
}

func bytesText(s string) (string, error) {
	n, err := zconfig.ByteSize(s)
	return strconv.FormatInt(n, 10), err
}

var dotted = regexp.MustCompile(`^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$`)

// dottedName reads the name of something in Python.
func dottedName(s string) (string, error) {
	if !dotted.MatchString(s) {
		return "", fmt.Errorf("%q is not a name with dots", s)
	}
	return s, nil
}

// pragmaValue reads a word or a number.
func pragmaValue(s string) (string, error) {
	ok := !strings.ContainsFunc(s, func(r rune) bool {
		return !(r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	})
	if s == "" || !ok {
		return "", fmt.Errorf("%q is not a word or a number", s)
	}
	return s, nil
}

// SameDatabase reports whether two storages are one SQL database, as far as their
// names tell.
func SameDatabase(a, b Storage) bool {
	one, ok := a.(*RelStorage)
	two, also := b.(*RelStorage)
	return ok && also && one.SQL.same() == two.SQL.same()
}

// refuseSameDatabase reports databases that are opened twice, where one server alone
// may write.
func (l *loader) refuseSameDatabase() {
	first := make(map[string]*RelStorage)
	for _, s := range l.databases {
		if s.SQL == nil || s.ReadOnly || s.CoWritten {
			continue
		}
		if other, ok := first[s.SQL.same()]; ok {
			l.fail(s.Pos, "give the other one a name, and write <use NAME/> here", "the database is opened already, at %v", other.Pos)
			continue
		}
		first[s.SQL.same()] = s
	}
}

func (s *RelStorage) describe() string {
	p := phrase{s.SQL.describe()}
	p.add(s.ReplicaConf != "", "on one of the servers in %s", s.ReplicaConf)
	p.add(s.KeepHistory, "with history")
	p.add(!s.KeepHistory, "without history")
	p.add(s.ReadOnly, "cannot be written")
	p.add(!s.ReadOnly && s.CoWritten, "others write it too")
	p.add(!s.ReadOnly && !s.CoWritten, "nobody else may write it")
	p.add(!s.CreateSchema, "its tables must be there")
	p.add(s.BlobDir == "" && !s.BlobsOutside, "no blobs")
	p.add(s.BlobDir != "" && !s.SharedBlobDir, "blobs in the database")
	p.add(s.BlobDir != "" && !s.SharedBlobDir, "a copy of them in %s", s.BlobDir)
	p.add(s.BlobCacheSize > 0 && !s.SharedBlobDir, "at most %s of it", Bytes(s.BlobCacheSize))
	p.add(s.SharedBlobDir, "blobs in %s", s.BlobDir)
	p.add(s.PoolSize > 0, "at most %d connections for loads", s.PoolSize)
	p.add(s.LockTimeout != defaultLockTimeout, "a vote waits %v for an object", s.LockTimeout)
	p.add(!s.PackGC, "packing keeps what cannot be reached")
	s.Cached.describe(&p)
	p.add(len(s.CacheServers) > 0, "records are in memcached at %s too", strings.Join(s.CacheServers, ", "))
	return p.String()
}

func (s *PostgreSQL) describe() string {
	c, err := parseConninfo(s.DSN)
	if err != nil {
		return "a PostgreSQL database"
	}
	p := "the PostgreSQL database "
	if name := c.get("dbname"); name != "" {
		p += fmt.Sprintf("%q ", name)
	} else {
		p += "named after the user "
	}
	p += "at " + strings.Join(slices.DeleteFunc(c.hosts(), isEmpty), " or ")
	if strings.Join(c.hosts(), "") == "" {
		p = strings.TrimSuffix(p, "at ") + "on this machine"
	}
	if user := c.get("user"); user != "" {
		p += fmt.Sprintf(" as user %q", user)
	}
	if mode := c.get("sslmode"); mode != "" {
		p += " with sslmode " + mode
	}
	return p
}

// Files are those that the connection needs: certificates and keys.
func (s *PostgreSQL) Files() []string {
	c, err := parseConninfo(s.DSN)
	if err != nil {
		return nil
	}
	var files []string
	for _, name := range []string{"sslrootcert", "sslcert", "sslkey"} {
		if file := c.get(name); file != "" && file != "system" {
			files = append(files, file)
		}
	}
	return files
}

func isEmpty(s string) bool { return s == "" }

func (s *PostgreSQL) same() string {
	c, err := parseConninfo(s.DSN)
	if err != nil {
		return s.DSN
	}
	return fmt.Sprintln("postgresql", c.hosts(), c.get("dbname"), c.get("user"), c.get("service"))
}

func (s *MySQL) describe() string {
	p := fmt.Sprintf("the MySQL database %q ", s.Database)
	switch {
	case s.Socket != "":
		p += "at " + s.Socket
	case s.Host == "" && s.OptionFile == "":
		p += "on this machine"
	case s.Host != "":
		p += "at " + s.address()
	}
	if s.User != "" {
		p += fmt.Sprintf(" as user %q", s.User)
	}
	if s.OptionFile != "" {
		p += " with the options in " + s.OptionFile
	}
	if s.SSLMode != "" {
		p += " with ssl_mode " + s.SSLMode
	}
	return p
}

func (s *MySQL) address() string {
	if s.Port == 0 {
		return s.Host
	}
	return net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
}

func (s *MySQL) same() string {
	return fmt.Sprintln("mysql", s.address(), s.Socket, s.Database, s.OptionFile, s.OptionGroup)
}

func (s *SQLite) describe() string {
	p := "the SQLite database in " + s.DataDir
	if n := len(s.Pragmas); n > 0 {
		p += fmt.Sprintf(" with %d pragmas", n)
	}
	return p
}

func (s *SQLite) same() string { return fmt.Sprintln("sqlite", filepath.Clean(s.DataDir)) }
