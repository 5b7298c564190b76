package config

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func hasRelStorage(python string) bool {
	return exec.Command(python, "-c", "import relstorage").Run() == nil
}

// askRelStorage runs a script in a Python that has RelStorage, and returns the JSON
// that it prints.
func askRelStorage(t *testing.T, script string, input, output any) {
	t.Helper()
	python := os.Getenv("ZARI_PYTHON")
	if python == "" || !hasRelStorage(python) {
		t.Skip("ZARI_PYTHON does not name a Python with RelStorage")
	}
	stdin, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-c", script)
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(stdin)), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, output); err != nil {
		t.Fatal(err)
	}
}

// schemaScript reads RelStorage's schema, and tells for each key of each section its
// default and which values of its input it takes.
const schemaScript = `
import io, json, sys
import ZConfig, ZConfig.datatypes
ZConfig.datatypes.stock_datatypes["existing-dirpath"] = str
schema = ZConfig.loadSchemaFile(io.StringIO("""<schema><import package="ZODB"/><import package="relstorage"/>
<section type="ZODB.storage" name="*" attribute="storage"/></schema>"""))
values = json.load(sys.stdin)

def takes(datatype, value):
    try:
        datatype(value)
        return True
    except ValueError:
        return False

sections = {}
for name in ("relstorage", "postgresql", "mysql", "sqlite3", "pragmas"):
    keys = sections[name] = {}
    for key, info in schema.gettype(name):
        if key and not info.issection() and key != "+":
            default = info.getdefault()
            keys[key] = {"default": None if default is None else str(default.value), "takes": [takes(info.datatype, v) for v in values]}
print(json.dumps(sections))
`

// Each key of RelStorage's schema is one of ours, takes the same values, and has the
// same default.
func TestRelStorageSchema(t *testing.T) {
	values := []string{"", "true", "off", "yes please", "5", "1.5", "10MB", "10 kb", "word", "a.b", "a..b", "1e3"}
	type key struct {
		Default *string
		Takes   []bool
	}
	var schema map[string]map[string]key
	askRelStorage(t, schemaScript, values, &schema)
	ways := map[string]string{
		"relstorage": "<relstorage>\n%s\n<sqlite3>\ndata-dir d\n</sqlite3>\n</relstorage>",
		"postgresql": "<relstorage>\n<postgresql>\n%s\n</postgresql>\n</relstorage>",
		"mysql":      "<relstorage>\n<mysql>\n%s\n</mysql>\n</relstorage>",
		"sqlite3":    "<relstorage>\n<sqlite3>\ndata-dir d\n%s\n</sqlite3>\n</relstorage>",
		"pragmas":    "<relstorage>\n<sqlite3>\ndata-dir d\n<pragmas>\n%s\n</pragmas>\n</sqlite3>\n</relstorage>",
	}
	keys := 0
	for section, way := range ways {
		load := func(line string) (Storage, error) {
			path := filepath.Join(t.TempDir(), "x.conf")
			if err := os.WriteFile(path, fmt.Appendf(nil, way, line), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := LoadStorages(path, environ)
			if err != nil {
				return nil, err
			}
			return c.Storages[0], nil
		}
		plain, err := load("")
		if err != nil {
			t.Fatal(err)
		}
		for name, k := range schema[section] {
			keys++
			if name == "data-dir" {
				continue // it is there already
			}
			for i, v := range values {
				_, err := load(name + " " + v)
				if ours := err == nil; ours != k.Takes[i] && !stricter(name, v) {
					t.Errorf("<%s> %s %q: RelStorage takes it: %v; we: %v", section, name, v, k.Takes[i], err)
				}
			}
			if k.Default == nil || *k.Default == "" {
				continue
			}
			set, err := load(name + " " + *k.Default)
			if err != nil {
				t.Errorf("<%s>: the default %s %s: %v", section, name, *k.Default, err)
			} else if diff := cmp.Diff(plain, set, samePos); diff != "" {
				t.Errorf("<%s> %s is not %s unless it is given (-not given +given):\n%s", section, name, *k.Default, diff)
			}
		}
	}
	if keys < 50 {
		t.Errorf("%d keys: the schema has not been found", keys)
	}
}

// stricter tells what we refuse on purpose.
func stricter(key, value string) bool {
	switch key {
	case "dsn": // what libpq would refuse
		return true
	case "named_pipe":
		return value == "true"
	case "shared-blob-dir": // without a directory
		return value == "true"
	case "replica-conf": // of SQLite, which has none
		return true
	case "driver": // whatever it is, it is not used
		return true
	}
	return false
}

// optionsScript prints the options that RelStorage opens a storage with if nothing is
// given.
const optionsScript = `
import json
from relstorage.options import Options
o = Options()
print(json.dumps({n: getattr(o, n) for n in Options.valid_option_names()}))
`

func TestRelStorageDefaults(t *testing.T) {
	var theirs map[string]any
	askRelStorage(t, optionsScript, nil, &theirs)
	s, _, err := FindStorage("postgres:///zodb", environ)
	if err != nil {
		t.Fatal(err)
	}
	rs := s.(*RelStorage)
	for name, ours := range map[string]any{
		"keep_history": rs.KeepHistory, "create_schema": rs.CreateSchema, "read_only": rs.ReadOnly,
		"shared_blob_dir": rs.SharedBlobDir, "pack_gc": rs.PackGC,
		"commit_lock_timeout": rs.LockTimeout.Seconds(),
	} {
		if theirs[name] != ours {
			t.Errorf("%s: RelStorage has %v, we %v", name, theirs[name], ours)
		}
	}
}

// urlScript prints what RelStorage makes of URLs: the options and the arguments of
// the adapter that differ from the defaults, or null.
const urlScript = `
import json, sys
from relstorage import zodburi_resolver as z
from relstorage.options import Options
import relstorage.adapters.postgresql, relstorage.adapters.mysql, relstorage.adapters.sqlite.adapter

def adapter(kind):
    def make(options=None, pragmas=None, **kw):
        return kind, {k: v for k, v in kw.items() if v is not None}
    return make

relstorage.adapters.postgresql.PostgreSQLAdapter = adapter("postgresql")
relstorage.adapters.mysql.MySQLAdapter = adapter("mysql")
relstorage.adapters.sqlite.adapter.Sqlite3Adapter = adapter("sqlite")
z.RelStorage = lambda adapter, options: (adapter, options)
defaults = Options()
found = []
for url in json.load(sys.stdin):
    resolver = {"postgres": z.postgresql_resolver, "mysql": z.mysql_resolver, "sqlite": z.sqlite_resolver}[url.split(":")[0]]
    try:
        factory, unused = resolver(url)
        (kind, args), options = factory()
        changed = {n: getattr(options, n) for n in Options.valid_option_names() if getattr(options, n) != getattr(defaults, n)}
        found.append({"kind": kind, "args": args, "options": changed, "unused": unused})
    except Exception as e:
        found.append(None)
print(json.dumps(found))
`

// The URLs that RelStorage takes mean the same here.
func TestRelStorageURLs(t *testing.T) {
	urls := []string{
		"postgres://zope:secret@db.example.com:5433/plone?keep_history=0&blob_dir=/b&shared_blob_dir=1&connect_timeout=5",
		"postgres://db/plone?commit_lock_timeout=7&pack_gc=false&cache_local_mb=20&driver=psycopg2&blob_cache_size=2GB",
		"postgres://db/plone?replica_conf=/r&replica_timeout=1.5&connection_pool_size=3&database_name=x",
		"postgres://db/plone?keep_history=maybe",
		"mysql://zope:secret@db:3307/plone?compress=1&read_only=1",
		"mysql://zope@db/plone?unix_socket=/s&connect_timeout=9&read_default_file=/f&read_default_group=g",
		"mysql://db/plone?connect_timeout=soon",
		"sqlite://?data_dir=/srv/x&keep_history=no",
		"sqlite://?data_dir=/srv/x&blob_cache_size=much",
	}
	type result struct {
		Kind    string
		Args    map[string]any
		Options map[string]any
	}
	var theirs []*result
	askRelStorage(t, urlScript, urls, &theirs)
	for i, url := range urls {
		s, _, err := FindStorage(url, environ)
		if (err == nil) != (theirs[i] != nil) {
			t.Errorf("%s: RelStorage has %v, we %v", url, theirs[i], err)
		}
		if err != nil || theirs[i] == nil {
			continue
		}
		rs := s.(*RelStorage)
		ours := &result{Options: changed(rs)}
		ours.Kind, ours.Args = arguments(t, rs.SQL)
		for _, idle := range []string{"cache_local_mb", "driver", "replica_timeout"} {
			delete(theirs[i].Options, idle)
		}
		delete(theirs[i].Args, "compress")
		if dsn, ok := theirs[i].Args["dsn"].(string); ok {
			// It writes None for what is missing.
			theirs[i].Args["dsn"] = settings(t, strings.NewReplacer("user='None'", "", "password='None'", "", "port='None'", "").Replace(dsn))
		}
		if diff := cmp.Diff(theirs[i], ours); diff != "" {
			t.Errorf("%s (-RelStorage +we):\n%s", url, diff)
		}
	}
}

// changed returns the options that differ from the defaults, by RelStorage's names.
func changed(rs *RelStorage) map[string]any {
	all, defaults := options(rs), options(&RelStorage{
		KeepHistory: true, PackGC: true, LockTimeout: 30 * time.Second,
	})
	for name, v := range defaults {
		if all[name] == v {
			delete(all, name)
		}
	}
	return all
}

func options(rs *RelStorage) map[string]any {
	return map[string]any{
		"keep_history": rs.KeepHistory, "read_only": rs.ReadOnly, "blob_dir": rs.BlobDir, "shared_blob_dir": rs.SharedBlobDir,
		"pack_gc": rs.PackGC, "commit_lock_timeout": rs.LockTimeout.Seconds(), "replica_conf": rs.ReplicaConf,
		"blob_cache_size": float64(rs.BlobCacheSize),
	}
}

// arguments returns what names the database, by RelStorage's names.
func arguments(t *testing.T, sql SQL) (kind string, args map[string]any) {
	t.Helper()
	switch sql := sql.(type) {
	case *PostgreSQL:
		return "postgresql", map[string]any{"dsn": settings(t, sql.DSN)}
	case *SQLite:
		return "sqlite", map[string]any{"data_dir": sql.DataDir}
	case *MySQL:
		args = map[string]any{
			"db": sql.Database, "user": sql.User, "passwd": sql.Password, "host": sql.Host, "port": float64(sql.Port), "unix_socket": sql.Socket,
			"connect_timeout": sql.ConnectTimeout.Seconds(), "read_default_file": sql.OptionFile, "read_default_group": sql.OptionGroup,
		}
		for name, v := range args {
			if v == "" || v == 0.0 {
				delete(args, name)
			}
		}
	}
	return "mysql", args
}

// settings returns the keywords of a connection string in order.
func settings(t *testing.T, dsn string) string {
	t.Helper()
	c, err := parseConninfo(dsn)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, k := range c {
		list = append(list, k.name+"="+strconv.Quote(k.value))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func TestParseConninfo(t *testing.T) {
	for in, want := range map[string]string{
		"":                                  "",
		"host=a  dbname = 'b c' user=d\\ e": `dbname="b c" host="a" user="d e"`,
		`password='it\'s \\ "it"'`:          `password="it's \\ \"it\""`,
		"host=a\\":                          `host="a"`,
		"user=":                             `user=""`,
		"postgresql://":                     "",
		"postgres://u%40x:p%3A%2F@h:1/d?sslmode=require&application_name=a+b": `application_name="a b" dbname="d" host="h" password="p:/" port="1" sslmode="require" user="u@x"`,
		"POSTGRESQL://h1:5,h2,[::1]:6/d":                                      `dbname="d" host="h1,h2,::1" port="5,5432,6"`,
		"postgresql://%2Frun%2Fpg/d":                                          `dbname="d" host="/run/pg"`,
		"postgresql://u:p@s@h/d":                                              `dbname="d" host="h" password="p@s" user="u"`,
	} {
		c, err := parseConninfo(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got := settings(t, in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
		if again, err := parseConninfo(c.String()); err != nil || settings(t, c.String()) != settings(t, again.String()) {
			t.Errorf("%s is written as %s, which is read as %v, %v", in, c, again, err)
		}
	}
	for _, bad := range []string{"secret", "host=a secret", "user='secret", "=secret", "a b=secret", "host=a\x00",
		"postgres://u:se%cret@h/d", "postgres://secret:1:2/d", "postgres://[secret/d", "postgres://h/d?x=%secret"} {
		if c, err := parseConninfo(bad); err == nil || strings.Contains(err.Error(), "se%cret") {
			t.Errorf("%s: %v, %v", bad, c, err)
		}
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"postgres://u:secret@h/d":                         "postgres://u:***@h/d",
		"postgres://u:se/c@r@et@h/d":                      "postgres://u:***@h/d",
		"MySQL://:secret@h/d?passwd=secret&x=1":           "MySQL://:***@h/d?passwd=***&x=1",
		"postgres://h/d?user=a&password=secret":           "postgres://h/d?user=a&password=***",
		"demo:(postgres://u:secret@h/d)/(memory://)":      "demo:(postgres://u:***@h/d)/(memory://)",
		"file:///srv/a:b@c/Data.fs":                       "file:///srv/a:b@c/Data.fs",
		"Data.fs":                                         "Data.fs",
		"postgres://u@h/d?sslpassword=secret&sslmode=any": "postgres://u@h/d?sslpassword=***&sslmode=any",
	} {
		if got := Redact(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// What a URL or a file says of a password is in no description, and in no message.
func TestPasswordsAreNotShown(t *testing.T) {
	for _, where := range []string{
		"postgres://u:secret@h/d", "mysql://u:secret@h/d", "postgres://h/d?password=secret", "postgres://u:secret@h/d?keepalives=1",
		"mysql://u:secret@h", "postgres://u:secret@h:x/d", "postgres://u:secret@h/d?unknown=1", "mysql://u:secret@a,b/d",
		"postgres://u:secret@h/d?sslcrl=1", "oracle://u:secret@h/d",
	} {
		s, notes, err := FindStorage(where, environ)
		said := fmt.Sprint(err, notes)
		if err == nil {
			said += Describe(s)
		}
		if strings.Contains(said, "secret") {
			t.Errorf("%s: %s", where, said)
		}
	}
}

func FuzzConninfo(f *testing.F) {
	for _, s := range []string{"host=a user='b c'", "postgres://u:p@h1:1,h2/d?sslmode=require", `a='\\\'`, "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseConninfo(s)
		if err != nil {
			return
		}
		again, err := parseConninfo(c.String())
		if err != nil || !slices.Equal(c, again) {
			t.Fatalf("%q is read as %q, and that as %q, %v", s, c, again, err)
		}
		_ = c.hosts()
		if d, err := c.dsn(func(string) {}); err == nil && d.check() != nil {
			t.Fatalf("%q: %v", d, d.check())
		}
	})
}
