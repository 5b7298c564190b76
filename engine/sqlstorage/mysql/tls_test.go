package mysql

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zaridb/zari/internal/testca"
	"github.com/zaridb/zari/internal/testmysql"
)

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	ca := testca.New(t, dir, "ca")
	testca.New(t, dir, "other-ca")
	ca.Server(t, "server")
	ca.Client(t, "client")
	files := make(map[string][]byte)
	for _, name := range []string{"ca.pem", "server.pem", "server.key"} {
		content, err := os.ReadFile(file(name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = content
	}
	s := testmysql.Start(t, testmysql.Options{Files: files, Settings: []string{"--ssl-ca=ca.pem", "--ssl-cert=server.pem", "--ssl-key=server.key"}})
	s.Database(t)
	for _, statement := range []string{
		"CREATE DATABASE secured", "CREATE USER zari IDENTIFIED BY 'it''s'", "GRANT ALL ON secured.* TO zari",
		"CREATE USER certified IDENTIFIED BY 'x' REQUIRE X509", "GRANT ALL ON secured.* TO certified",
	} {
		if err := s.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	ip, name := fmt.Sprintf("127.0.0.1:%d", s.Port), fmt.Sprintf("localhost:%d", s.Port)
	for _, c := range []struct {
		what    string
		address string
		user    string
		tls     TLS
		fails   string // "": connects, encrypted
	}{
		{"a CA and its host", ip, "zari", TLS{CA: file("ca.pem")}, ""},
		{"another CA", ip, "zari", TLS{CA: file("other-ca.pem")}, "let ssl_ca name"},
		{"another host", name, "zari", TLS{CA: file("ca.pem")}, "let host be a name"},
		{"another host by its name", name, "zari", TLS{CA: file("ca.pem"), ServerName: "db.example"}, ""},
		{"another host, whoever", name, "zari", TLS{CA: file("ca.pem"), Mode: VerifyCA}, ""},
		{"another CA, whoever", name, "zari", TLS{CA: file("other-ca.pem"), Mode: VerifyCA}, "unknown authority"},
		{"anybody", name, "zari", TLS{Mode: Required}, ""},
		{"the system's CAs", ip, "zari", TLS{Mode: VerifyIdentity}, "unknown authority"},
		{"no file", ip, "zari", TLS{CA: file("none.pem")}, "none.pem"},
		{"no certificate in the file", ip, "zari", TLS{CA: file("ca.key")}, "no certificate"},
		{"without a certificate of our own", ip, "certified", TLS{CA: file("ca.pem")}, "Access denied"},
		{"with a certificate of our own", ip, "certified", TLS{CA: file("ca.pem"), Cert: file("client.pem"), Key: file("client.key")}, ""},
		{"a certificate without its key", ip, "zari", TLS{CA: file("ca.pem"), Cert: file("client.pem")}, "name both"},
		{"a mode that is none", ip, "zari", TLS{Mode: "mostly"}, "mostly"},
	} {
		password := map[string]string{"zari": "it's", "certified": "x"}[c.user]
		d, err := Open(t.Context(), Options{Addresses: []string{c.address}, User: c.user, Password: password, Database: "secured", TLS: c.tls})
		switch {
		case c.fails != "" && err == nil:
			d.Close()
			t.Errorf("%s: it connects", c.what)
		case c.fails != "":
			if !strings.Contains(err.Error(), c.fails) || strings.Contains(err.Error(), "it's") {
				t.Errorf("%s: %v", c.what, err)
			}
		case err != nil:
			t.Errorf("%s: %v", c.what, err)
		default:
			if got := table(t, d, "SHOW STATUS LIKE 'Ssl_cipher'")[0]; got == "Ssl_cipher " {
				t.Errorf("%s: it is not encrypted", c.what)
			}
			d.Close()
		}
	}
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string]endpoint{
		"db.example":        {"tcp", "db.example:3306", "db.example"},
		"db.example:3307":   {"tcp", "db.example:3307", "db.example"},
		"::1":               {"tcp", "[::1]:3306", "::1"},
		"[::1]":             {"tcp", "[::1]:3306", "::1"},
		"[::1]:3307":        {"tcp", "[::1]:3307", "::1"},
		"/run/mysqld/s.soc": {"unix", "/run/mysqld/s.soc", "localhost"},
	} {
		if got := parseAddress(address); got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
}

// TestFirstThatTakesWrites has a server that is read-only, one that is not there,
// and one that will do.
func TestFirstThatTakesWrites(t *testing.T) {
	replica := testmysql.Start(t, testmysql.Options{Settings: []string{"--read-only"}})
	good := options(t, testmysql.Database(t))
	if err := replica.Exec("CREATE DATABASE " + good.Database); err != nil {
		t.Fatal(err)
	}
	opts := good
	opts.Addresses = []string{filepath.Join(replica.Dir, "socket"), filepath.Join(t.TempDir(), "none"), good.Addresses[0]}
	d := open(t, opts)
	if got := table(t, d, "SELECT @@global.read_only")[0]; got != "0" {
		t.Errorf("read_only is %s where we are", got)
	}
	opts.ReadOnly = true
	if got := table(t, open(t, opts), "SELECT @@global.read_only")[0]; got != "1" {
		t.Errorf("read_only is %s where reading is all we want", got)
	}
	opts.Addresses = opts.Addresses[:2]
	opts.ReadOnly = false
	if _, err := Open(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "takes no writes") || !strings.Contains(err.Error(), "none") {
		t.Errorf("error: %v", err)
	}
}
