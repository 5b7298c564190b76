package testmysql

import (
	"context"
	"database/sql"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/zaridb/zari/internal/testserver"
)

// Options are the settings of a server. The zero value is a fast one.
type Options struct {
	Fsync    bool     // sync to disk as a real one does; off, commits are faster and no power may fail
	Settings []string // more of the command line: "--max-allowed-packet=4M"

	// Files are put into the data directory before the server starts: certificates.
	// Only the server's user may read them.
	Files map[string][]byte
}

// Server is a running MariaDB. Its data directory is Dir/data, its socket Dir/socket.
type Server struct{ *testserver.Server }

var (
	shared    = sync.OnceValues(func() (*Server, error) { return start(Options{}) })
	databases atomic.Int64
)

// Database returns the DSN of a new empty database on the server of this test
// binary, which is started for the first one. It is dropped when the test is over.
func Database(t testing.TB) string {
	t.Helper()
	s, err := shared()
	testserver.Require(t, err)
	return s.Database(t)
}

// Start starts a server for one test.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	s, err := start(opts)
	testserver.Require(t, err)
	t.Cleanup(s.Stop)
	return s
}

// Database makes an empty database and returns its DSN.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("zari_%d", databases.Add(1))
	if err := s.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !s.Running() { // the test stopped it
			return
		}
		if err := s.Exec("DROP DATABASE " + name); err != nil {
			t.Error(err)
		}
	})
	return s.DSN(name)
}

// DSN returns how to connect to a database through the socket, as root.
func (s *Server) DSN(database string) string {
	c := mysql.NewConfig()
	c.User, c.Net, c.Addr, c.DBName = "root", "unix", s.socket(), database
	return c.FormatDSN()
}

// Exec runs a statement outside any database.
func (s *Server) Exec(statement string) error {
	db, err := s.open()
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Exec(statement)
	return err
}

func (s *Server) open() (*sql.DB, error) {
	c, err := mysql.ParseDSN(s.DSN(""))
	if err != nil {
		return nil, err
	}
	c.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

func start(opts Options) (*Server, error) {
	daemon, err := program("mariadbd")
	if err != nil {
		return nil, err
	}
	installer, err := program("mariadb-install-db")
	if err != nil {
		return nil, err
	}
	s := new(Server)
	s.Server, err = testserver.New(testserver.Kind{
		Name:     "MariaDB",
		Accounts: []string{"mysql", "nobody"},
		OnDisk:   opts.Fsync,
		Answers:  s.answers,
	})
	if err != nil {
		return nil, err
	}
	s.Command = append([]string{daemon, "--no-defaults", "--datadir=" + s.data()}, s.settings(opts)...)
	_, err = s.Tool(installer, "--no-defaults", "--datadir="+s.data(), "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve", "--force")
	if err == nil {
		err = s.Put(s.data(), opts.Files)
	}
	if err == nil {
		err = s.Run()
	}
	if err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Server) data() string   { return filepath.Join(s.Dir, "data") }
func (s *Server) socket() string { return filepath.Join(s.Dir, "socket") }

func (s *Server) settings(opts Options) []string {
	list := []string{
		"--bind-address=127.0.0.1", "--port=" + strconv.Itoa(s.Port), "--socket=" + s.socket(),
		"--skip-name-resolve", "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=64M", "--max-connections=300",
	}
	if !opts.Fsync {
		list = append(list, "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--innodb-flush-method=nosync")
	}
	return append(list, opts.Settings...)
}

// answers returns no error when the server lets one in.
func (s *Server) answers(ctx context.Context) error {
	db, err := s.open()
	if err != nil {
		return err
	}
	defer db.Close()
	return db.PingContext(ctx)
}

// program finds what Debian puts where a user's PATH need not lead.
func program(name string) (string, error) {
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found, nil
		}
	}
	return "", testserver.Missing("MariaDB is not installed: `make servers` installs it")
}
