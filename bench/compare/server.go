package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/zaridb/zari/bench"
	"github.com/zaridb/zari/bench/bareserver"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// bareCommand is the first argument with which this program becomes the bare
// server, so that it has a process of its own to be measured.
const bareCommand = "bareserver"

// server is a running server.
type server struct {
	program string
	address string
	cmd     *exec.Cmd
	log     *os.File
	ended   chan struct{} // closed when the process is gone
	opening time.Duration // from the start of the process to its first answer
}

const (
	startTimeout = 10 * time.Minute // Python reads large files slowly
	stopTimeout  = 60 * time.Second // and saves large indexes slowly
	settling     = 300 * time.Millisecond
)

// start starts a program on a Data.fs and waits until it answers.
func (l *lab) start(ctx context.Context, program, file string) (*server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s := &server{program: program, address: address, ended: make(chan struct{})}
	args := l.commandLine(program, address, file)
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Dir = filepath.Dir(file)
	if s.log, err = os.Create(file + ".log"); err != nil {
		return nil, err
	}
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", program, err)
	}
	go func() {
		s.cmd.Wait() // how it ended is told by ruin
		close(s.ended)
	}()
	if err := s.ready(ctx); err != nil {
		s.stop()
		return nil, s.ruin(err)
	}
	s.opening = time.Since(began)
	return s, nil
}

func (l *lab) commandLine(program, address, file string) []string {
	switch program {
	case python:
		return []string{l.python, "-m", "ZEO.runzeo", "-a", address, "-f", file}
	case zari:
		return []string{l.zari, "serve", "-a", address, "--metrics-address", "off", file}
	}
	return []string{l.self, bareCommand, "-a", address, file}
}

// ready waits until the server answers, or has ended.
func (s *server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	go func() {
		select {
		case <-s.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	return bench.Ready(ctx, s.options())
}

// options returns those that speak to the server.
func (s *server) options() bench.Options {
	o := bench.Defaults()
	o.Address = s.address
	o.PID = s.cmd.Process.Pid
	o.Raw = s.program == bare
	return o
}

// stop ends the server and waits until it is gone. Python's server now and then
// overhears a SIGTERM, mostly while it deals with a connection that was closed:
// so it is left alone for a moment before, and told twice if need be.
func (s *server) stop() {
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

// ruin makes an error that has the end of what the server wrote.
func (s *server) ruin(err error) error {
	const tail = 2000
	said, readErr := os.ReadFile(s.log.Name())
	if readErr != nil {
		return err
	}
	if len(said) > tail {
		said = said[len(said)-tail:]
	}
	return fmt.Errorf("%s: %w; it wrote:\n%s", s.program, err, said)
}

// freeAddress returns an address of this machine on which nobody listens.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// blockSize is the size of the objects that are loaded.
const blockSize = 1024

// replySize returns the length of the answer to a load of such an object, in
// pickle, as the generator asks for it.
func replySize() (int, error) {
	var name [8]byte
	call, err := wire.Pickle.AppendCall(nil, pickle.Tuple{name[:], name[:]}, "loadBefore", name[:], name[:])
	if err != nil {
		return 0, err
	}
	const header = 4
	m, err := wire.Pickle.Decode(call[header:])
	if err != nil {
		return 0, err
	}
	answer := wire.Pickle.AppendLoad(nil, m.ID, zodb.Record{Data: make([]byte, blockSize), Serial: 1})
	return len(answer) - header, nil
}

// serveBare is the bare server's main program.
func serveBare(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet(bareCommand, flag.ContinueOnError)
	address := fs.String("a", "127.0.0.1:0", "address")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return errors.New(bareCommand + " wants a file and has " + strconv.Itoa(fs.NArg()))
	}
	f, err := os.Open(fs.Arg(0))
	if err != nil {
		return err
	}
	defer f.Close()
	l, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	reply, err := replySize()
	if err != nil {
		return err
	}
	s := &bareserver.Server{File: f, Block: blockSize, Reply: reply, Seed: 1}
	return s.Serve(l)
}
