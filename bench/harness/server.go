package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/zaridb/zari/bench"
	"github.com/zaridb/zari/internal/testserver"
)

// Program is a server's program.
type Program struct {
	Name string                        // for people
	Args func(address string) []string // its command line, to listen there
	Raw  bool                          // it is a bare frame server, see [bench.Options]
}

// Zari returns the zari program that serves a storage: the path of a Data.fs, or a URL.
func Zari(program, storage string) Program {
	return Program{Name: "zari", Args: func(address string) []string {
		return []string{program, "serve", "-a", address, "--metrics-address", "off", storage}
	}}
}

// Server is a running server.
type Server struct {
	Name    string // of its program
	Address string
	PID     int
	Opening time.Duration // from the start of the process to its first answer

	raw   bool
	cmd   *exec.Cmd
	log   *os.File
	ended chan struct{} // closed when the process is gone
}

const (
	startTimeout = 10 * time.Minute // Python reads large files slowly
	stopTimeout  = 60 * time.Second // and saves large indexes slowly
	settling     = 300 * time.Millisecond
)

// Start starts the program in a directory, where its log is too, and waits until it
// answers.
func (p Program) Start(ctx context.Context, dir string) (*Server, error) {
	address, err := testserver.FreeAddr()
	if err != nil {
		return nil, err
	}
	args := p.Args(address)
	s := &Server{Name: p.Name, Address: address, raw: p.Raw, cmd: exec.Command(args[0], args[1:]...), ended: make(chan struct{})}
	if s.log, err = os.Create(filepath.Join(dir, p.Name+".log")); err != nil {
		return nil, err
	}
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = dir, s.log, s.log
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		s.log.Close()
		return nil, fmt.Errorf("cannot start %s: %w", p.Name, err)
	}
	s.PID = s.cmd.Process.Pid
	go func() {
		s.cmd.Wait() // how it ended is told by Failure
		close(s.ended)
	}()
	if err := s.ready(ctx); err != nil {
		s.Stop()
		return nil, s.Failure(err)
	}
	s.Opening = time.Since(began)
	return s, nil
}

// ready waits until the server answers, or has ended.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	go func() {
		select {
		case <-s.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	return bench.Ready(ctx, s.Options())
}

// Options returns those of the load generator that speak to the server.
func (s *Server) Options() bench.Options {
	o := bench.Defaults()
	o.Address, o.PID, o.Raw = s.Address, s.PID, s.raw
	return o
}

// Stop ends the server and waits until it is gone. Python's server now and then
// overhears a SIGTERM, mostly while it deals with a connection that was closed:
// so it is left alone for a moment before, and told twice if need be.
func (s *Server) Stop() {
	defer s.log.Close()
	time.Sleep(settling)
	for range 2 {
		s.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-s.ended:
			return
		case <-time.After(stopTimeout / 2):
		}
	}
	s.cmd.Process.Kill()
	<-s.ended
}

// Failure makes an error that has the end of what the server wrote.
func (s *Server) Failure(err error) error {
	const tail = 2000
	said, readErr := os.ReadFile(s.log.Name())
	if readErr != nil {
		return err
	}
	return fmt.Errorf("%s: %w; it wrote:\n%s", s.Name, err, said[max(0, len(said)-tail):])
}

// Output runs a program to its end and returns what it prints.
func Output(ctx context.Context, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(program), err)
	}
	return out, nil
}
