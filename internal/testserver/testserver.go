package testserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Kind is what is particular to a kind of server.
type Kind struct {
	Name     string   // as it is called: "PostgreSQL"
	Accounts []string // whom it runs as if we are root, the first that there is; none: as root
	OnDisk   bool     // its directory must not be in memory
	Signal   string   // ends it if its data are not needed any more; KILL otherwise
	Env      []string // added to the environment

	// Answers says why the server cannot be used yet, nil if it can. Without it a server
	// answers when it accepts connections.
	Answers func(context.Context) error
}

// Server is a server that runs, or that may.
type Server struct {
	Dir     string
	Port    int      // on 127.0.0.1
	Command []string // the program and its arguments, for Run; it must stay in the foreground

	kind    Kind
	account *syscall.Credential // whom it runs as, nil: as we do
	users   *os.File            // the end of the remover's pipe that all users of Dir have
	remover *exec.Cmd
	keeper  *exec.Cmd      // nil if the server is not to run
	hold    io.WriteCloser // the end of the keeper's pipe that we have
}

// Missing is an error: something is not installed. It says how that is done.
type Missing string

// Error implements error.
func (m Missing) Error() string { return string(m) }

// Require ends the test if there is an error. It is skipped if something is Missing,
// but CI must have all.
func Require(t testing.TB, err error) {
	t.Helper()
	_, missing := errors.AsType[Missing](err)
	switch {
	case err == nil:
	case missing && os.Getenv("CI") != "true":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}

// New makes what a server needs to run. Stop removes it.
func New(kind Kind) (*Server, error) {
	s := &Server{kind: kind}
	var err error
	if s.account, err = kind.account(); err != nil {
		return nil, err
	}
	if s.Port, err = freePort(); err != nil {
		return nil, err
	}
	if s.Dir, err = s.makeDir(); err != nil {
		return nil, err
	}
	if err := s.startRemover(); err != nil {
		return nil, errors.Join(err, os.Remove(s.Dir))
	}
	return s, nil
}

func (s *Server) startRemover() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	s.users = w
	s.remover = exec.Command("/bin/sh", "-c", `cat > /dev/null; rm -rf "$1"`, "remover", s.Dir)
	s.remover.Stdin = r
	s.remover.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.remover.Start(); err != nil {
		return errors.Join(err, w.Close())
	}
	return nil
}

// command returns a program that uses the directory, and runs in it as the server does.
func (s *Server) command(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.Dir = s.Dir
	cmd.Env = slices.Concat(os.Environ(), []string{"TMPDIR=" + s.Dir}, s.kind.Env) // where its user can write
	cmd.ExtraFiles = []*os.File{s.users}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.account}
	return cmd
}

// Tool runs a program of the server's and returns its output.
func (s *Server) Tool(path string, args ...string) ([]byte, error) {
	out, err := s.command(path, args...).Output()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%s: %w: %s%s", filepath.Base(path), err, out, e.Stderr)
	}
	return out, err
}

// Put writes files into a directory below Dir. Only the server's user may read them.
func (s *Server) Put(dir string, files map[string][]byte) error {
	for name, content := range files {
		path := filepath.Join(dir, name)
		os.Remove(path) // or it would stay as readable as it is
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
		if err := s.give(path); err != nil {
			return err
		}
	}
	return nil
}

// keeper runs a server until it is told a signal, or the standard input ends. (What a
// shell runs in the background has no standard input, unless it is another number.)
const keeper = `
signal=$1; shift
exec 4<&0
"$@" & server=$!
{ read -r told <&4; kill -s "${told:-$signal}" $server; } & listener=$!
wait $server
echo $? > ended
kill $listener 2> /dev/null
`

// Run starts the server, also again after Halt, and returns when it answers.
func (s *Server) Run() error {
	os.Remove(s.path("ended"))
	log, err := os.OpenFile(s.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"-c", keeper, "keeper", cmp.Or(s.kind.Signal, "KILL")}
	cmd := s.command("/bin/sh", slices.Concat(args, s.Command)...)
	cmd.Stdout, cmd.Stderr = log, log
	if s.hold, err = cmd.StdinPipe(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.keeper = cmd
	if err := s.wait(); err != nil {
		err = fmt.Errorf("%s does not start: %w\n%s", s.kind.Name, err, s.Log())
		s.Stop()
		return err
	}
	return nil
}

const (
	startup = 60 * time.Second      // how long a server may take until it answers
	pause   = 10 * time.Millisecond // before it is asked again
)

// wait returns when the server answers, or has ended.
func (s *Server) wait() error {
	ctx, cancel := context.WithTimeout(context.Background(), startup)
	defer cancel()
	for {
		err := s.answers(ctx)
		if err == nil {
			return nil
		}
		if ended := s.ended(); ended != nil {
			return ended
		}
		if ctx.Err() != nil {
			return err
		}
		time.Sleep(pause)
	}
}

// ended says how the server ended, nil if it runs.
func (s *Server) ended() error {
	status, err := os.ReadFile(s.path("ended"))
	if err != nil {
		return nil
	}
	return fmt.Errorf("it ended with status %s", strings.TrimSpace(string(status)))
}

func (s *Server) answers(ctx context.Context) error {
	if s.kind.Answers != nil {
		return s.kind.Answers(ctx)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Addr())
	if err != nil {
		return err
	}
	return conn.Close()
}

// Running reports whether the server was started, and not ended by the test.
func (s *Server) Running() bool { return s.keeper != nil }

// Halt ends the server with a signal ("KILL") and keeps its directory for Run.
func (s *Server) Halt(signal string) error {
	if ended := s.ended(); ended != nil {
		return fmt.Errorf("%s does not run: %w\n%s", s.kind.Name, ended, s.Log())
	}
	if _, err := io.WriteString(s.hold, signal+"\n"); err != nil {
		return err
	}
	s.keeper.Wait() // says nothing of the server
	s.keeper = nil
	return nil
}

// Stop ends the server and removes its directory.
func (s *Server) Stop() {
	if s.Running() {
		s.hold.Close()
		s.keeper.Wait()
		s.keeper = nil
	}
	s.users.Close()
	s.remover.Wait()
}

// Log returns what the server has printed, for the message of a test that failed.
func (s *Server) Log() string {
	said, err := os.ReadFile(s.path("log"))
	if err != nil {
		return err.Error()
	}
	return string(said)
}

// Addr returns host and port.
func (s *Server) Addr() string { return addr(s.Port) }

func (s *Server) path(name string) string { return filepath.Join(s.Dir, name) }

// FreeAddr returns an address of the loopback on which nobody listens.
func FreeAddr() (string, error) {
	port, err := freePort()
	return addr(port), err
}

func addr(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func freePort() (int, error) {
	l, err := net.Listen("tcp", addr(0))
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}
