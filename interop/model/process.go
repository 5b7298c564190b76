package model

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/zaridb/zari/internal/testserver"
)

// Process is a ZEO server to be watched: a command that serves one Data.fs on one
// address until it is stopped.
type Process struct {
	// Command and its arguments. {addr} stands for the address and {file} for the
	// path of the Data.fs.
	Command []string
	Env     []string // added to the environment
	Dir     string   // for the Data.fs and the log
	// Rude stops the server with SIGKILL, for one that does not always heed SIGTERM.
	Rude bool

	addr string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// Addr returns the address that the server listens on: always the same.
func (p *Process) Addr() string { return p.addr }

// LogFile returns the path of the file with all that the server has printed.
func (p *Process) LogFile() string { return filepath.Join(p.Dir, "server.log") }

// startBound is for a server to come up on a busy machine.
const startBound = 60 * time.Second

// Start runs the command, and waits until the server greets a client.
func (p *Process) Start(ctx context.Context) error {
	if p.addr == "" {
		addr, err := testserver.FreeAddr()
		if err != nil {
			return err
		}
		p.addr = addr
	}
	log, err := os.OpenFile(p.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	fill := strings.NewReplacer("{addr}", p.addr, "{file}", filepath.Join(p.Dir, "Data.fs"))
	args := make([]string, len(p.Command))
	for i, a := range p.Command {
		args[i] = fill.Replace(a)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.Dir, log, log
	cmd.Env = append(os.Environ(), p.Env...)
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd, p.done = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait() // it was killed, or its log says why
		close(p.done)
	}()
	return p.ready(ctx)
}

// ready waits until the server answers "ruok", which it does once it serves.
func (p *Process) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if greets(ctx, p.addr) {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("the server ended at once: %s", p.tail())
		case <-ctx.Done():
			p.Kill()
			return fmt.Errorf("the server does not answer: %w: %s", ctx.Err(), p.tail())
		case <-tick.C:
		}
	}
}

// greets reports whether something that begins like ZEO comes from the address.
func greets(ctx context.Context, addr string) bool {
	nc, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return false
	}
	var hello [6]byte
	n, _ := nc.Read(hello[:])
	return n > 3 && hello[3] == 2
}

// Kill ends the server at once, with SIGKILL, and waits for its end.
func (p *Process) Kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// Stop asks the server to end, and kills it if it does not.
func (p *Process) Stop() error {
	if p.cmd == nil {
		return nil
	}
	if p.Rude {
		p.Kill()
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(30 * time.Second):
		p.Kill()
		return errors.New("the server had to be killed")
	}
}

// tail returns the end of the server's log, for error messages.
func (p *Process) tail() string {
	b, err := os.ReadFile(p.LogFile())
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b[max(0, len(b)-2000):]))
}
