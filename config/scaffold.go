package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Setup says what a new configuration file is to be for.
type Setup struct {
	Kind     string // one of [Kinds]
	Address  string // where clients connect
	Data     string // the Data.fs
	BlobDir  string // the blobs, or copies of them
	Server   string // the server to connect to; for zope, "": Address
	Database string // a URL of the SQL database; "": one named zodb, on this machine
}

// Kinds are the set-ups that there are, and what each is.
var Kinds = []struct{ Name, Is string }{
	{"file", "one Data.fs"},
	{"blobs", "one Data.fs with blobs"},
	{"fan-out", "a server in front of another one"},
	{"demo", "changes beside a Data.fs that stays as it is"},
	{"postgresql", "a PostgreSQL database, in RelStorage's tables"},
	{"mysql", "a MySQL or MariaDB database, likewise"},
	{"sqlite", "a SQLite database, likewise"},
	{"zope", "the part of a zope.conf that connects Zope to a server"},
}

// laterKinds are those that people ask for, and that there are not yet.
var laterKinds = []string{"s3"}

// block is a section of a file to be written.
type block struct {
	says     string // a comment above it
	typ      string
	name     string
	settings []setting
	blocks   []*block
}

// setting is a line of a block.
type setting struct{ says, key, value string }

// New returns a commented configuration file.
func New(s Setup) (string, error) {
	blocks, err := s.blocks()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(heading(s.Kind))
	for _, block := range blocks {
		b.WriteString("\n")
		block.write(&b, "", "  ")
	}
	return b.String(), nil
}

func heading(kind string) string {
	if kind == "zope" {
		return "# For a zope.conf: the database is kept by a server.\n"
	}
	return "# Configuration of Zari: zari serve -C THIS-FILE\n" +
		"# What it means: zari config check THIS-FILE\n"
}

func (s Setup) blocks() ([]*block, error) {
	switch {
	case slices.Contains(laterKinds, s.Kind):
		return nil, fmt.Errorf("a set-up of kind %s is not supported yet", s.Kind)
	case s.Kind == "fan-out" && s.Server == "":
		return nil, errors.New("a set-up of kind fan-out needs the address of the server behind it")
	case s.Kind == "zope":
		return []*block{s.zopeBlock()}, nil
	case defaultDatabases[s.Kind] != "":
		b, err := s.relStorageBlock()
		return []*block{s.serverBlock(), b, logBlock()}, err
	}
	storage := s.storageBlock()
	if storage == nil {
		var names []string
		for _, k := range Kinds {
			names = append(names, k.Name)
		}
		return nil, fmt.Errorf("there is no set-up of kind %q: there are %s", s.Kind, strings.Join(names, ", "))
	}
	return []*block{s.serverBlock(), storage, logBlock()}, nil
}

func (s Setup) serverBlock() *block {
	return &block{typ: "zeo", settings: []setting{
		{"Where clients connect: HOST:PORT, PORT for all interfaces, or the path of a Unix socket.", "address", s.Address},
		{"Metrics for Prometheus, /healthz and /readyz, over HTTP.", "metrics-address", "127.0.0.1:8102"},
		{"How many transactions a client may miss and still keep its cache.", "invalidation-queue-size", "1000"},
		{"How many seconds a client may take from vote to finish.", "transaction-timeout", "300"},
	}}
}

// storageBlock returns nil if the kind is not known.
func (s Setup) storageBlock() *block {
	path := setting{"The database. The file is made if it is not there.", "path", s.Data}
	blobs := setting{"Where blobs are kept. The folder is made if it is not there.", "blob-dir", s.BlobDir}
	switch s.Kind {
	case "file":
		return &block{typ: "filestorage", name: "1", settings: []setting{path}}
	case "blobs":
		return &block{typ: "filestorage", name: "1", settings: []setting{path, blobs}}
	case "fan-out":
		c := s.clientBlock()
		c.name = "1"
		c.settings = append(c.settings, setting{"How much of it is kept in memory here.", "cache-size", "1GB"})
		return c
	case "demo":
		return s.demoBlock()
	}
	return nil
}

func (s Setup) clientBlock() *block {
	return &block{typ: "zeoclient", settings: []setting{
		{"The server. With several such lines, the first that answers.", "server", cmp.Or(s.Server, s.Address)},
		{"Which of its storages.", "storage", "1"},
	}}
}

func (s Setup) demoBlock() *block {
	return &block{typ: "demostorage", name: "1", blocks: []*block{
		{
			says: "What is there. It is not changed.", typ: "filestorage", name: "base",
			settings: []setting{{"", "path", s.Data}, {"", "read-only", "true"}},
		},
		{
			says: "What is written.", typ: "filestorage", name: "changes",
			settings: []setting{{"", "path", s.Data + ".changes"}},
		},
	}}
}

// defaultDatabases are URLs, by kind.
var defaultDatabases = map[string]string{
	"postgresql": "postgres:///zodb", "mysql": "mysql://localhost/zodb", "sqlite": "sqlite://zodb",
}

func (s Setup) relStorageBlock() (*block, error) {
	found, _, err := FindStorage(cmp.Or(s.Database, defaultDatabases[s.Kind]), nil)
	if err != nil {
		return nil, err
	}
	rs, ok := found.(*RelStorage)
	if !ok {
		return nil, fmt.Errorf("%s is not the URL of a SQL database", Redact(s.Database))
	}
	var database *block
	switch sql := rs.SQL.(type) {
	case *PostgreSQL:
		database = sql.block()
	case *MySQL:
		database = sql.block()
	case *SQLite:
		database = &block{typ: "sqlite3", settings: []setting{{"A directory, which is made if it is not there, on a disk of this machine.", "data-dir", sql.DataDir}}}
	}
	if database.typ != s.Kind && database.typ != s.Kind+"3" {
		return nil, fmt.Errorf("%s is not the URL of a database for a set-up of kind %s", Redact(s.Database), s.Kind)
	}
	return &block{
		typ: "relstorage", name: "1", blocks: []*block{database},
		settings: []setting{
			{"Whether all revisions are kept until the database is packed. It cannot be changed later.", "keep-history", "true"},
			{"Whether RelStorage clients, or other servers, write at the same time.", "shared", "false"},
			{"Where copies of blobs are kept, which are in the database, and how much of them.", "blob-dir", s.BlobDir},
			{"", "blob-cache-size", "1GB"},
		},
	}, nil
}

func (s *PostgreSQL) block() *block {
	return &block{typ: "postgresql", settings: []setting{{
		"As for psql. A password may be in ~/.pgpass or in the environment, as PGPASSWORD, instead.", "dsn", s.DSN,
	}}}
}

func (s *MySQL) block() *block {
	b := &block{typ: "mysql"}
	for _, set := range []setting{
		{"The server. For localhost, its socket, if there is one.", "host", s.Host}, {"", "port", strconv.Itoa(s.Port)},
		{"", "unix_socket", s.Socket}, {"", "db", s.Database}, {"", "user", s.User},
		{"A password may be in a my.cnf instead, which read_default_file names.", "passwd", s.Password},
		{"", "read_default_file", s.OptionFile}, {"", "ssl_mode", s.SSLMode}, {"", "ssl_ca", s.SSLCA},
	} {
		if set.value != "" && set.value != "0" {
			b.settings = append(b.settings, set)
		}
	}
	return b
}

func (s Setup) zopeBlock() *block {
	client := s.clientBlock()
	client.settings = append(client.settings,
		setting{"How much of it is kept on disk here.", "cache-size", "128MB"},
		setting{"Where copies of blobs are kept.", "blob-dir", s.BlobDir})
	return &block{
		typ: "zodb_db", name: "main", blocks: []*block{client},
		settings: []setting{
			{"How many objects each connection keeps in memory.", "cache-size", "30000"},
			{"", "mount-point", "/"},
		},
	}
}

func logBlock() *block {
	return &block{typ: "eventlog", settings: []setting{{"", "level", "info"}}, blocks: []*block{{
		typ: "logfile",
		settings: []setting{
			{"A file, or STDERR. After a rotation, send SIGUSR2.", "path", "STDERR"},
			{"As Python's logging has it.", "format", "%(asctime)s %(levelname)s %(name)s %(message)s"},
		},
	}}}
}

func (b *block) header() string {
	if b.name == "" {
		return b.typ
	}
	return b.typ + " " + b.name
}

// write writes the block, each level step further in.
func (b *block) write(w *strings.Builder, indent, step string) {
	comment(w, indent, b.says)
	fmt.Fprintf(w, "%s<%s>\n", indent, b.header())
	for _, s := range b.settings {
		s.write(w, indent+step)
	}
	for _, inner := range b.blocks {
		inner.write(w, indent+step, step)
	}
	fmt.Fprintf(w, "%s</%s>\n", indent, b.typ)
}

func (s setting) write(w *strings.Builder, indent string) {
	comment(w, indent, s.says)
	fmt.Fprintf(w, "%s%s %s\n", indent, s.key, strings.ReplaceAll(s.value, "$", "$$"))
}

func comment(w *strings.Builder, indent, text string) {
	if text != "" {
		fmt.Fprintf(w, "%s# %s\n", indent, text)
	}
}
