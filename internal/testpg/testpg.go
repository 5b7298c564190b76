package testpg

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/zaridb/zari/internal/testserver"
)

// Options are the settings of a server. The zero value is a fast one.
type Options struct {
	Fsync    bool     // sync to disk as a real one does; off, commits are faster and no power may fail
	Settings []string // more of postgresql.conf: "max_connections=20"

	// Files are put into the data directory before the server starts: certificates, or
	// another pg_hba.conf. Only the server's user may read them.
	Files map[string][]byte
}

// Server is a running PostgreSQL. Its data directory is Dir/data, its socket lies in Dir
// and is numbered as the port.
type Server struct {
	*testserver.Server

	bin  string
	opts Options

	mu    sync.Mutex
	empty []string // databases whose tests are over
}

var (
	shared    = sync.OnceValues(func() (*Server, error) { return New(Options{}) })
	databases atomic.Int64
)

// Database returns the DSN of a new empty database on the server of this test
// binary, which is started for the first one.
func Database(t testing.TB) string {
	t.Helper()
	s, err := shared()
	testserver.Require(t, err)
	return s.Database(t)
}

// Start starts a server for one test.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	s, err := New(opts)
	testserver.Require(t, err)
	t.Cleanup(s.Stop)
	return s
}

// Database makes an empty database and returns its DSN. When the test is over it is
// emptied for another one, which takes far less than making one does.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := s.unused()
	if name == "" {
		name = fmt.Sprintf("t%d", databases.Add(1))
		if err := s.Exec("CREATE DATABASE " + name); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if !s.Running() { // the test stopped it
			return
		}
		if err := s.exec(name, empty); err != nil {
			t.Error(err)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.empty = append(s.empty, name)
	})
	return s.DSN(name)
}

// empty ends all other sessions and removes what they have made.
const empty = `
	SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();
	SET client_min_messages = warning;
	DROP SCHEMA public CASCADE;
	CREATE SCHEMA public;
	GRANT ALL ON SCHEMA public TO public;
	SELECT lo_unlink(oid) FROM pg_largeobject_metadata`

// unused returns a database that was emptied, "" if there is none.
func (s *Server) unused() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.empty) == 0 {
		return ""
	}
	name := s.empty[len(s.empty)-1]
	s.empty = s.empty[:len(s.empty)-1]
	return name
}

// DSN returns how to connect to a database through the socket.
func (s *Server) DSN(database string) string {
	return fmt.Sprintf("host=%s port=%d user=postgres dbname=%s", s.Dir, s.Port, database)
}

// patience is for what the server does at once unless something is wrong.
const patience = 60 * time.Second

// Exec runs statements in the database postgres.
func (s *Server) Exec(sql string) error { return s.exec("postgres", sql) }

func (s *Server) exec(database, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.DSN(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// PID returns the process that all others of the server are children of.
func (s *Server) PID() (int, error) {
	content, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(content), "\n")
	return strconv.Atoi(first)
}

// Tool runs a program of PostgreSQL's (pg_dump) and returns its output.
func (s *Server) Tool(name string, args ...string) ([]byte, error) {
	return s.Server.Tool(filepath.Join(s.bin, name), args...)
}

// New starts a server for who has no test; Stop ends it.
func New(opts Options) (*Server, error) {
	s, err := prepare(opts)
	if err != nil {
		return nil, err
	}
	_, err = s.Tool("initdb", "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
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

// prepare makes a server without data.
func prepare(opts Options) (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, opts: opts}
	s.Server, err = testserver.New(testserver.Kind{
		Name:     "PostgreSQL",
		Accounts: []string{"postgres", "nobody"},
		OnDisk:   opts.Fsync,
		Signal:   "QUIT", // ends its children as well
		Answers:  s.answers,
	})
	if err != nil {
		return nil, err
	}
	s.Command = append([]string{filepath.Join(bin, "postgres"), "-D", s.data()}, s.settings()...)
	return s, nil
}

func (s *Server) data() string { return filepath.Join(s.Dir, "data") }

func (s *Server) settings() []string {
	list := []string{
		"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(s.Port), "unix_socket_directories=" + s.Dir,
		"shared_buffers=64MB", "max_connections=100", "log_min_messages=warning", "logging_collector=off",
	}
	if !s.opts.Fsync {
		list = append(list, "fsync=off", "full_page_writes=off")
	}
	var args []string
	for _, v := range append(list, s.opts.Settings...) {
		args = append(args, "-c", v)
	}
	return args
}

// answers returns no error when the server lets one in, which a standby does as well.
func (s *Server) answers(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// programs returns the directory of the newest PostgreSQL.
func programs() (string, error) {
	if path, err := exec.LookPath("postgres"); err == nil {
		path, err = filepath.EvalSymlinks(path) // to where the other programs are
		return filepath.Dir(path), err
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return "", testserver.Missing("PostgreSQL is not installed: `make servers` installs it")
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(newest), nil
}

// version is the number in /usr/lib/postgresql/15/bin/postgres.
func version(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}
