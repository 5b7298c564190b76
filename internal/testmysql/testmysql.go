package testmysql

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/zaridb/zari/internal/memdir"
)

// Options are the settings of a server. The zero value is a fast one.
type Options struct {
	Fsync    bool     // sync to disk as a real one does; off, commits are faster and no power may fail
	Settings []string // more of the command line: "--max-allowed-packet=4M"
}

// Server is a running MariaDB.
type Server struct {
	Dir  string // its data directory is Dir/data
	Port int    // on 127.0.0.1

	daemon, installer string
	opts              Options
	account           *syscall.Credential // whom it runs as, nil: as we do
	keeper            *exec.Cmd           // the shell, nil while the server is stopped
	hold              io.Closer           // closed to stop it
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
// binary, which is started for the first one. It is dropped when the test is over.
func Database(t testing.TB) string {
	t.Helper()
	return Shared(t).Database(t)
}

// Shared returns the server of this test binary.
func Shared(t testing.TB) *Server {
	t.Helper()
	sharedOnce.Do(func() { shared, sharedErr = start(Options{}) })
	require(t, sharedErr)
	return shared
}

// Start starts a server for one test.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	s, err := start(opts)
	require(t, err)
	t.Cleanup(s.Stop)
	return s
}

var errNotInstalled = errors.New("MariaDB is not installed (Debian: apt install mariadb-server)")

// require skips a test where there is no MariaDB. CI must have one.
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

// Database makes an empty database and returns its DSN.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("zari_%d", databases.Add(1))
	if err := s.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.keeper == nil { // the test stopped it
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
	c.User, c.Net, c.Addr, c.DBName = "root", "unix", filepath.Join(s.Dir, "socket"), database
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
	s, err := prepare(opts)
	if err != nil {
		return nil, err
	}
	err = s.install()
	if err == nil {
		err = s.Run()
	}
	if err != nil {
		os.RemoveAll(s.Dir)
		return nil, err
	}
	return s, nil
}

// prepare finds what a server needs: programs, a directory, a user, a port.
func prepare(opts Options) (*Server, error) {
	s := &Server{opts: opts}
	var err error
	if s.daemon, err = program("mariadbd"); err != nil {
		return nil, err
	}
	if s.installer, err = program("mariadb-install-db"); err != nil {
		return nil, err
	}
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
	const pattern = "zari-my-" // a short path: a socket's may have 107 bytes
	if opts.Fsync {
		return os.MkdirTemp("", pattern)
	}
	return memdir.Make(pattern)
}

// install makes the server's own tables.
func (s *Server) install() error {
	cmd := exec.Command(s.installer, "--no-defaults", "--datadir="+s.data(), "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve", "--force")
	s.as(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mariadb-install-db: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.Dir, "data") }

// as makes cmd run in the server's directory, as its user.
func (s *Server) as(cmd *exec.Cmd) {
	cmd.Dir = s.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.account}
}

// keeper runs the server in its directory until the standard input ends. The mark
// "keep" leaves the directory there.
const keeper = `
daemon=$1 dir=$2; shift 2
"$daemon" --no-defaults --datadir="$dir/data" "$@" & pid=$!
cat > /dev/null
signal=$(cat "$dir/signal" 2> /dev/null || echo KILL)
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
	args := append([]string{"-c", keeper, "keeper", s.daemon, s.Dir}, s.settings()...)
	cmd := exec.Command("/bin/sh", args...)
	cmd.Stdout, cmd.Stderr = log, log
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
		return fmt.Errorf("MariaDB does not start: %w\n%s", err, said)
	}
	return nil
}

func (s *Server) settings() []string {
	list := []string{
		"--bind-address=127.0.0.1", "--port=" + strconv.Itoa(s.Port), "--socket=" + filepath.Join(s.Dir, "socket"),
		"--skip-name-resolve", "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=64M", "--max-connections=300",
	}
	if !s.opts.Fsync {
		list = append(list, "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--innodb-flush-method=nosync")
	}
	return append(list, s.opts.Settings...)
}

// wait returns when the server lets one in.
func (s *Server) wait() error {
	db, err := s.open()
	if err != nil {
		return err
	}
	defer db.Close()
	for deadline := time.Now().Add(startup); ; time.Sleep(20 * time.Millisecond) {
		if err := db.Ping(); err == nil || time.Now().After(deadline) {
			return err
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

// Halt stops the server with a signal and keeps its data for Run: TERM shuts down
// in order, KILL is as a crash.
func (s *Server) Halt(signal string) error {
	for name, content := range map[string]string{"keep": "", "signal": signal} {
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(content), 0o666); err != nil {
			return err
		}
	}
	s.hold.Close()
	s.keeper.Wait() // says how the server ended
	s.keeper = nil
	return os.Remove(filepath.Join(s.Dir, "signal"))
}

// program finds what Debian puts where a user's PATH need not lead.
func program(name string) (string, error) {
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found, nil
		}
	}
	return "", errNotInstalled
}

// account returns whom to run MariaDB as.
func account() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"mysql", "nobody"} {
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
	return nil, errors.New("MariaDB does not run as root, and there is neither a user mysql nor nobody")
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
