package interop

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/zaridb/zari/internal/testserver"
)

const (
	startLimit = 30 * time.Second
	stopLimit  = 20 * time.Second
)

// server is one run of the server under test.
type server struct {
	t       *testing.T
	addr    string // host:port
	cmd     *exec.Cmd
	output  *output
	ended   chan struct{} // closed when the process is gone
	stopped bool
}

// options say what a server serves. The zero value is a fresh Data.fs without blobs.
type options struct {
	dir     string   // working directory; Data.fs lies there
	storage string   // storage section; a file storage at Data.fs that packs without a look at references otherwise
	addr    string   // host:port; a free port otherwise
	zeo     string   // further lines of the <zeo> section
	wrap    []string // command that runs the server's command: limits, namespaces
}

const fileSection = `<filestorage>
  path Data.fs
  pack-gc false
</filestorage>
`

const blobSection = `<filestorage>
  path Data.fs
  blob-dir blobs
  pack-gc false
</filestorage>
`

// start runs a server until the end of the test, or until it is stopped or killed.
func start(t *testing.T, o options) *server {
	t.Helper()
	if o.storage == "" {
		o.storage = fileSection
	}
	if o.addr == "" {
		o.addr = freeAddr(t)
	}
	conf := filepath.Join(o.dir, "zeo.conf")
	text := fmt.Sprintf("<zeo>\n  address %s\n%s</zeo>\n%s", o.addr, o.zeo, o.storage)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	command := append([]string{}, o.wrap...)
	for _, word := range setup.server {
		command = append(command, strings.ReplaceAll(word, "{conf}", conf))
	}
	return startCommand(t, o.dir, o.addr, command)
}

// startCommand runs command in dir and waits until it listens on addr.
func startCommand(t *testing.T, dir, addr string, command []string) *server {
	t.Helper()
	s := &server{t: t, addr: addr, output: new(output), ended: make(chan struct{})}
	s.cmd = exec.Command(command[0], command[1:]...)
	s.cmd.Dir = dir
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.ended)
		s.cmd.Wait()
	}()
	t.Cleanup(s.stop)
	s.awaitSocket()
	return s
}

func (s *server) awaitSocket() {
	s.t.Helper()
	deadline := time.After(startLimit)
	for {
		conn, err := net.Dial("tcp", s.addr)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-s.ended:
			s.stopped = true
			s.t.Fatalf("the server ended at its start: %v\n%s", s.cmd.ProcessState, s.output)
		case <-deadline:
			s.t.Fatalf("the server does not listen on %s after %v\n%s", s.addr, startLimit, s.output)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// stop ends the server as an operator would; ending badly fails the test. It may be called again.
func (s *server) stop() {
	s.t.Helper()
	if s.stopped {
		return
	}
	s.stopped = true
	select {
	case <-s.ended:
		s.t.Errorf("the server was gone before it was stopped: %v\n%s", s.cmd.ProcessState, s.output)
		return
	default:
	}
	if !s.terminate() {
		s.cmd.Process.Kill()
		<-s.ended
		s.t.Errorf("the server did not end %v after SIGTERM\n%s", stopLimit, s.output)
		return
	}
	// Python's server is signalled again and again, see terminate, and may meet the last one when its handler is gone.
	if !s.cmd.ProcessState.Success() && !setup.runzeo {
		s.t.Errorf("the server ended badly after SIGTERM: %v\n%s", s.cmd.ProcessState, s.output)
	}
}

// terminate sends SIGTERM and reports whether the server ended. Python's server raises SystemExit wherever the signal meets it,
// and now and then nobody heeds it: it is told again.
func (s *server) terminate() bool {
	again := stopLimit + time.Second
	if setup.runzeo {
		again = 2 * time.Second
	}
	deadline := time.After(stopLimit)
	for {
		s.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-s.ended:
			return true
		case <-deadline:
			return false
		case <-time.After(again):
		}
	}
}

// kill ends the server without warning.
func (s *server) kill() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Fatal(err)
	}
	<-s.ended
	s.stopped = true
}

// freeAddr returns an address on which nobody listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := testserver.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// output keeps the last of what a process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const keptOutput = 16 << 10

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(p)
	if extra := o.buf.Len() - 2*keptOutput; extra > 0 {
		o.buf.Next(extra + keptOutput)
	}
	return len(p), nil
}

// String returns what is kept.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
