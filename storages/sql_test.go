package storages

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/engine/sqlstorage/mysql"
	"github.com/zaridb/zari/zodb"
)

// sqlSection is a <relstorage> over SQLite in $dir, by a name, with more keys.
func sqlSection(name string, keys ...string) string {
	return "<relstorage " + name + ">\n" + strings.Join(keys, "\n") + "\n<sqlite3>\ndata-dir $dir/db\n</sqlite3>\n</relstorage>\n"
}

// A <relstorage> stands wherever a storage may, and keeps what it got.
func TestSQLAnywhere(t *testing.T) {
	for name, text := range map[string]string{
		"alone":        sqlSection("1"),
		"history-free": sqlSection("1", "keep-history false"),
		"shared":       sqlSection("1", "shared true"),
		"in a database": "<zodb>\n" + sqlSection("1") +
			"</zodb>",
		"compressed":        "<zlibstorage>\n" + sqlSection("1") + "</zlibstorage>",
		"with blobs":        "<blobstorage>\nblob-dir $dir/blobs\n" + sqlSection("1") + "</blobstorage>",
		"changes of a demo": "<demostorage>\n<mappingstorage base/>\n" + sqlSection("changes") + "</demostorage>",
		"used":              "<use x/>\n<storages>\n" + sqlSection("x") + "</storages>",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := Open(t.Context(), load(t, dir, text)[0], Options{})
			if err != nil {
				t.Fatal(err)
			}
			oid := commit(t, s)
			_, hasBlobs := zodb.As[zodb.BlobStore](s)
			if want := name == "with blobs"; hasBlobs != want {
				t.Errorf("has it blobs: %v", hasBlobs)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if s, err = Open(t.Context(), load(t, dir, text)[0], Options{ReadOnly: true, Existing: true}); err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if rec, err := s.LoadBefore(t.Context(), oid, zodb.MaxTID); err != nil || string(rec.Data) != "data" {
				t.Errorf("%+v, %v", rec, err)
			}
		})
	}
}

func TestSQLClear(t *testing.T) {
	dir := t.TempDir()
	open := func(clear bool) zodb.Storage {
		t.Helper()
		c := load(t, dir, sqlSection("1", "blob-dir $dir/cache"))[0].(*config.RelStorage)
		c.Clear = clear
		s, err := Open(t.Context(), c, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open(false)
	oid, before := commit(t, s), s.Info().UUID
	s.Close()
	s = open(true)
	defer s.Close()
	if s.LastTID() != 0 || s.Info().UUID == before {
		t.Errorf("it is not another one: %v, %x", s.LastTID(), s.Info().UUID)
	}
	if _, err := s.LoadBefore(t.Context(), oid, zodb.MaxTID); err == nil {
		t.Error("the object is still there")
	}
	if again := commit(t, s); again <= oid {
		t.Errorf("the oid %v is given once more, after %v", again, oid)
	}
}

func TestSQLRefuses(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), load(t, dir, sqlSection("1"))[0], Options{})
	if err != nil {
		t.Fatal(err)
	}
	refused := func(text, want string) {
		t.Helper()
		if s, err := Open(t.Context(), load(t, dir, text)[0], Options{Existing: true}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", text, s, err)
		}
	}
	refused(sqlSection("1"), "another server writes to this database")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	refused(sqlSection("1", "keep-history false"), "say keep-history true")
	refused(strings.ReplaceAll(sqlSection("1"), "/db", "/none"), "no such file")
	if _, err := os.Stat(filepath.Join(dir, "none")); !os.IsNotExist(err) {
		t.Errorf("what should be there was made: %v", err)
	}
}

func TestReadReplicas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "replicas")
	for text, want := range map[string][]string{
		"# servers\n db1:5433 \n\ndb2\n": {"db1:5433", "db2"},
		"# none\n":                       nil,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readReplicas(path)
		if diff := cmp.Diff(want, got); diff != "" || (err == nil) != (want != nil) {
			t.Errorf("%q: %v, %s", text, err, diff)
		}
	}
	if _, err := readReplicas(path + ".none"); !os.IsNotExist(err) && (err == nil || !strings.Contains(err.Error(), "replica-conf")) {
		t.Errorf("%v", err)
	}
}

func TestMySQLOptions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "my.cnf")
	if err := os.WriteFile(file, []byte("[client]\nhost=db\nport=3307\npassword=secret\nssl-mode=PREFERRED\n[zope]\nuser=zeo\nssl-ca=/ca.pem\nssl_mode=VERIFY_CA\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sockets = nil // those of this machine
	for _, test := range []struct {
		c    config.MySQL
		want mysql.Options
	}{
		{config.MySQL{Database: "z"}, mysql.Options{Addresses: []string{"127.0.0.1:3306"}, Database: "z"}},
		{config.MySQL{Host: "::1", Port: 1}, mysql.Options{Addresses: []string{"[::1]:1"}}},
		{config.MySQL{Socket: "/s"}, mysql.Options{Addresses: []string{"/s"}}},
		{config.MySQL{Socket: "/s", Host: "far"}, mysql.Options{Addresses: []string{"far:3306"}}},
		{config.MySQL{OptionFile: file}, mysql.Options{Addresses: []string{"db:3307"}, Password: "secret"}},
		{config.MySQL{OptionFile: file, OptionGroup: "zope", Host: "other"}, mysql.Options{
			Addresses: []string{"other:3307"}, User: "zeo", Password: "secret", TLS: mysql.TLS{Mode: mysql.VerifyCA, CA: "/ca.pem"},
		}},
	} {
		got, err := mysqlOptions(&test.c, nil)
		if err != nil {
			t.Errorf("%+v: %v", test.c, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", test.c, diff)
		}
	}
}

func TestMySQLReplicas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "replicas")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a\nb:8\n")
	r, err := openReplicas(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mysqlOptions(&config.MySQL{Socket: "/s"}, r); err == nil {
		t.Error("a socket and replicas are taken")
	}
	opts, err := mysqlOptions(&config.MySQL{Port: 9}, r)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ text, want string }{
		{"a\nb:8\n", "a:9 b:8"}, {"c\n", "c:9"}, {"# being written", "c:9"}, {"d\n", "d:9"},
	} {
		write(test.text)
		if got := strings.Join(opts.Replicas(), " "); got != test.want {
			t.Errorf("%q: the servers are %s, want %s", test.text, got, test.want)
		}
	}
}
