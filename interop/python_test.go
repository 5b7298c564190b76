package interop

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// programLimit is how long a Python program may be silent; the machine may be busy.
const programLimit = 3 * time.Minute

// program is a running program of pyclient.
type program struct {
	t     *testing.T
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
	err   *output
	limit time.Duration // how long it may be silent
	timer *time.Timer
}

// launch starts a program of pyclient, which says what it finds in lines of JSON and may wait for a line from us.
func launch(t *testing.T, dir, name string, args ...string) *program {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("pyclient", name))
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, name: name, cmd: exec.Command(setup.python, append([]string{path}, args...)...), err: new(output), limit: programLimit}
	p.cmd.Dir, p.cmd.Stderr = dir, p.err
	p.cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	p.lines = bufio.NewScanner(stdout)
	p.lines.Buffer(nil, 16<<20)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.timer = time.AfterFunc(p.limit, func() { p.cmd.Process.Kill() })
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		p.timer.Stop()
	})
	return p
}

// hear reads the next line into v; false at the end of the output.
func (p *program) hear(v any) bool {
	p.t.Helper()
	if !p.lines.Scan() {
		return false
	}
	p.timer.Reset(p.limit)
	if err := json.Unmarshal(p.lines.Bytes(), v); err != nil {
		p.t.Errorf("%s says %q: %v", p.name, p.lines.Text(), err)
		return false
	}
	return true
}

// expect reads the next line into v, which must be there.
func (p *program) expect(v any) {
	p.t.Helper()
	if !p.hear(v) {
		p.cmd.Wait()
		p.t.Fatalf("%s ended without an answer: %v\n%s", p.name, p.cmd.ProcessState, p.err)
	}
}

// tell ends the program's waiting.
func (p *program) tell() {
	p.t.Helper()
	if _, err := io.WriteString(p.stdin, "go on\n"); err != nil {
		p.t.Fatalf("%s: %v\n%s", p.name, err, p.err)
	}
}

// wait waits for the program to end well.
func (p *program) wait() {
	p.t.Helper()
	p.stdin.Close()
	if err := p.cmd.Wait(); err != nil {
		p.t.Fatalf("%s: %v\n%s", p.name, err, p.err)
	}
	p.timer.Stop()
}

// python runs a program of pyclient to its end and returns what it said last.
func python[T any](t *testing.T, dir, name string, args ...string) T {
	t.Helper()
	p := launch(t, dir, name, args...)
	var answer T
	p.expect(&answer)
	p.wait()
	return answer
}

// ready is what a program says when it waits to be told to begin.
type ready struct{ Ready bool }
