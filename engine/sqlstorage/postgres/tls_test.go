package postgres_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/engine/sqlstorage/postgres"
	"github.com/zaridb/zari/internal/testca"
	"github.com/zaridb/zari/internal/testpg"
)

const hba = `
local   all all           trust
hostssl all certified all cert
hostssl all all       all trust
`

// A server that wants TLS of all who come by the network, and certificates of some.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	read := func(name string) []byte {
		t.Helper()
		content, err := os.ReadFile(file(name))
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	ca := testca.New(t, dir, "ca")
	testca.New(t, dir, "other-ca")
	ca.Server(t, "server")
	ca.Client(t, "certified")
	ca.Client(t, "somebody")
	bundle := bytes.Join([][]byte{read("other-ca.pem"), read("ca.pem")}, []byte("\n")) // as providers publish
	if err := os.WriteFile(file("bundle.pem"), bundle, 0o600); err != nil {
		t.Fatal(err)
	}
	s := testpg.Start(t, testpg.Options{
		Settings: []string{"ssl=on", "ssl_cert_file=server.pem", "ssl_key_file=server.key", "ssl_ca_file=ca.pem"},
		Files:    map[string][]byte{"server.pem": read("server.pem"), "server.key": read("server.key"), "ca.pem": read("ca.pem"), "pg_hba.conf": []byte(hba)},
	})
	if err := s.Exec("CREATE ROLE zari LOGIN; CREATE ROLE certified LOGIN"); err != nil {
		t.Fatal(err)
	}
	const ip, name = "host=127.0.0.1 user=zari ", "host=localhost user=zari "
	certified := "host=127.0.0.1 user=certified sslmode=verify-full sslrootcert=" + file("ca.pem") + " "
	for _, c := range []struct {
		what, dsn string
		fails     string // "": connects, encrypted
	}{
		{"a CA and its host", ip + "sslmode=verify-full sslrootcert=" + file("ca.pem"), ""},
		{"a bundle of CAs", ip + "sslmode=verify-full sslrootcert=" + file("bundle.pem"), ""},
		{"another CA", ip + "sslmode=verify-full sslrootcert=" + file("other-ca.pem"), "let sslrootcert name a file"},
		{"the system's CAs", ip + "sslmode=verify-full sslrootcert=system", "let sslrootcert name a file"},
		{"another host", name + "sslmode=verify-full sslrootcert=" + file("ca.pem"), "let host be a name"},
		{"another host, whoever", name + "sslmode=verify-ca sslrootcert=" + file("ca.pem"), ""},
		{"another CA, whoever", name + "sslmode=verify-ca sslrootcert=" + file("other-ca.pem"), "let sslrootcert name a file"},
		{"anybody", name + "sslmode=require", ""},
		{"anybody, with a CA, is as verify-ca", name + "sslmode=require sslrootcert=" + file("other-ca.pem"), "let sslrootcert name a file"},
		{"no file", ip + "sslmode=verify-full sslrootcert=" + file("none.pem"), "none.pem"},
		{"no certificate in the file", ip + "sslmode=verify-full sslrootcert=" + file("ca.key"), "CA"},
		{"plain", ip + "sslmode=disable", "no encryption"},
		{"without a certificate of our own", certified, "valid client certificate"},
		{"with one", certified + "sslcert=" + file("certified.pem") + " sslkey=" + file("certified.key"), ""},
		{"with somebody else's", certified + "sslcert=" + file("somebody.pem") + " sslkey=" + file("somebody.key"), "authentication failed"},
		{"with one without its key", certified + "sslcert=" + file("certified.pem"), "sslkey"},
	} {
		t.Run(c.what, func(t *testing.T) {
			db, err := postgres.Open(t.Context(), postgres.Options{DSN: fmt.Sprintf("%s port=%d dbname=postgres", c.dsn, s.Port)})
			if err == nil {
				defer db.Close()
			}
			switch {
			case c.fails == "" && err != nil:
				t.Error(err)
			case c.fails == "":
				if !encrypted(t, db) {
					t.Error("it is not encrypted")
				}
			case err == nil || !strings.Contains(err.Error(), c.fails):
				t.Errorf("%v, want %q", err, c.fails)
			}
		})
	}
}

func encrypted(t *testing.T, db *postgres.DB) (yes bool) {
	t.Helper()
	err := db.Read(t.Context(), func(s sqlstorage.Session) error {
		for row, err := range s.Query(context.Background(), "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") {
			if err != nil {
				return err
			}
			if err := row.Scan(&yes); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return yes
}
