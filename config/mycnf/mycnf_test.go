package mycnf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const file = `# a file
[mysqld]
user = mysql
!!! not read
[client]
host=db.example.com
port = 3307   # the other one
user = "zope # not a comment"
password = 'back\slash'
ssl_ca = "C:\\certs\tca.pem"
loose-compress
; another comment

[zope]
HOST = "db2"
database=zodb
[mysql]
host = never
`

func TestRead(t *testing.T) {
	got, err := Read(strings.NewReader(strings.Replace(file, "!!!", "skip", 1)), "client", "zope")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"host": "db2", "port": "3307", "user": "zope # not a comment", "password": `back\slash`, "ssl-ca": "C:\\certs\tca.pem",
		"compress": "", "database": "zodb",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestLoadRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "my.cnf")
	for text, want := range map[string]string{
		file:                               ":4: directives such as !include are not supported",
		"[client":                          ":1: a ] is missing",
		"\n[client]\npassword = 'secret\n": ":3: the closing quote is missing",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path, "client"); err == nil || err.Error() != path+want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := Load(path+".none", "client"); !os.IsNotExist(err) {
		t.Errorf("%v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(file)
	f.Add("[client]\na = 'b\nc = \\")
	f.Fuzz(func(t *testing.T, text string) {
		options, err := Read(strings.NewReader(text), "client")
		if err != nil && options != nil {
			t.Errorf("%v, %v", options, err)
		}
		for name := range options {
			if name != strings.ToLower(name) || strings.Contains(name, "_") {
				t.Errorf("the name %q", name)
			}
		}
	})
}
