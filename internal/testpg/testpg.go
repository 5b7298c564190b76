package testpg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/zaridb/zari/internal/memdir"
)

// Options are the settings of a server. The zero value is a fast one.
type Options struct {
	Fsync    bool     // sync to disk as a real one does; off, commits are faster and no power may fail
	Settings []string // more of postgresql.conf: "max_connections=20"

	// Files are put into the data directory before the server starts: certificates, or
	// another pg_hba.conf. Only the server's user may read them.
	Files map[string][]byte
}

// Server is a running PostgreSQL.
type Server struct {
	Dir  string // its data directory is Dir/data, its socket lies in Dir
	Port int    // on 127.0.0.1, and the number of the socket

	bin     string
	opts    Options
	account *syscall.Credential // whom it runs as, nil: as we do
	keeper  *exec.Cmd           // the shell, nil while the server is stopped
	hold    io.Closer           // closed to stop it

	mu    sync.Mutex
	empty []string // databases whose tests are over
}

// startup is how long a server may take until it answers.
const startup = 60 * time.Second

var (
	sharedOnce sync.Once
	shared     *Server
	sharedErr  error
	databases  atomic.Int64
)

// Database returns the DSN of a new empty database on the server of this test
// binary, which is started for the first one.
func Database(t testing.TB) string {
	t.Helper()
	sharedOnce.Do(func() { shared, sharedErr = New(Options{}) })
	require(t, sharedErr)
	return shared.Database(t)
}

// Start starts a server for one test.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	s, err := New(opts)
	require(t, err)
	t.Cleanup(s.Stop)
	return s
}

var errNotInstalled = errors.New("PostgreSQL is not installed (Debian: apt install postgresql)")

// require skips a test where there is no PostgreSQL. CI must have one.
func require(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, errNotInstalled) && os.Getenv("CI") != "true":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
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
		if s.keeper == nil { // the test stopped it
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

// Exec runs statements in the database postgres.
func (s *Server) Exec(sql string) error { return s.exec("postgres", sql) }

func (s *Server) exec(database, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startup)
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
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.Dir
	s.as(cmd)
	out, err := cmd.Output()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(e.Stderr))
	}
	return out, err
}

// New starts a server for who has no test; Stop ends it.
func New(opts Options) (*Server, error) {
	s, err := prepare(opts)
	if err != nil {
		return nil, err
	}
	_, err = s.Tool("initdb", "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
	if err == nil {
		err = s.putFiles()
	}
	if err == nil {
		err = s.Run()
	}
	if err != nil {
		os.RemoveAll(s.Dir)
		return nil, err
	}
	return s, nil
}

func (s *Server) putFiles() error {
	for name, content := range s.opts.Files {
		path := filepath.Join(s.data(), name)
		os.Remove(path)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
		if s.account == nil {
			continue
		}
		if err := os.Chown(path, int(s.account.Uid), int(s.account.Gid)); err != nil {
			return err
		}
	}
	return nil
}

// prepare finds what a server needs: programs, a directory, a user, a port.
func prepare(opts Options) (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, opts: opts}
	if s.account, err = account(); err != nil {
		return nil, err
	}
	if s.Port, err = freePort(); err != nil {
		return nil, err
	}
	if s.Dir, err = tempDir(opts); err != nil {
		return nil, err
	}
	if s.account != nil {
		err = os.Chown(s.Dir, int(s.account.Uid), int(s.account.Gid))
	}
	return s, err
}

// tempDir makes the server's directory, in memory if nothing need be synced.
func tempDir(opts Options) (string, error) {
	const pattern = "zari-pg-" // a short path: a socket's may have 107 bytes
	if opts.Fsync {
		return os.MkdirTemp("", pattern)
	}
	return memdir.Make(pattern)
}

func (s *Server) data() string { return filepath.Join(s.Dir, "data") }

// as makes cmd run as the server's user.
func (s *Server) as(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.account}
}

// keeper runs the server in its directory until the standard input ends. The mark
// "keep" leaves the directory there.
const keeper = `
bin=$1 dir=$2; shift 2
"$bin/postgres" -D "$dir/data" "$@" & pid=$!
cat > /dev/null
signal=$(cat "$dir/signal" 2> /dev/null || echo QUIT)
kill -"$signal" $pid
wait $pid
[ -e "$dir/keep" ] || rm -rf "$dir"
`

// Run starts the server, also again after Halt, and returns when it answers.
func (s *Server) Run() error {
	os.Remove(filepath.Join(s.Dir, "keep"))
	log, err := os.OpenFile(filepath.Join(s.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	defer log.Close()
	args := append([]string{"-c", keeper, "keeper", s.bin, s.Dir}, s.settings()...)
	cmd := exec.Command("/bin/sh", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Dir, log, log
	s.as(cmd)
	if s.hold, err = cmd.StdinPipe(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.keeper = cmd
	if err := s.wait(); err != nil {
		said, _ := os.ReadFile(log.Name())
		s.Stop()
		return fmt.Errorf("PostgreSQL does not start: %w\n%s", err, said)
	}
	return nil
}

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

// wait returns when the server lets one in, which a standby does as well.
func (s *Server) wait() error {
	ctx, cancel := context.WithTimeout(context.Background(), startup)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.DSN("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop stops the server and removes what it kept.
func (s *Server) Stop() {
	if s.keeper == nil {
		os.RemoveAll(s.Dir)
		return
	}
	s.hold.Close()
	s.keeper.Wait()
	s.keeper = nil
	os.RemoveAll(s.Dir)
}

// Halt stops the server with a signal and keeps its data for Run: INT ends sessions
// and shuts down in order, QUIT is as a crash.
func (s *Server) Halt(signal string) error {
	for name, content := range map[string]string{"keep": "", "signal": signal} {
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(content), 0o666); err != nil {
			return err
		}
	}
	s.hold.Close()
	s.keeper.Wait() // says how postgres ended
	s.keeper = nil
	return os.Remove(filepath.Join(s.Dir, "signal"))
}

// programs returns the directory of the newest PostgreSQL.
func programs() (string, error) {
	if path, err := exec.LookPath("postgres"); err == nil {
		path, err = filepath.EvalSymlinks(path) // to where the other programs are
		return filepath.Dir(path), err
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return "", errNotInstalled
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(newest), nil
}

// version is the number in /usr/lib/postgresql/15/bin/postgres.
func version(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

// account returns whom to run PostgreSQL as.
func account() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(port))
}
