package testserver_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zaridb/zari/internal/testserver"
)

// childStage is how far the child of TestKilled is to come.
const childStage = "ZARI_TESTSERVER_CHILD"

// TestMain runs the child of TestKilled, if this is it.
func TestMain(m *testing.M) {
	if stage := os.Getenv(childStage); stage != "" {
		fmt.Println(child(stage))
		time.Sleep(time.Hour)
	}
	os.Exit(m.Run())
}

// child makes a server, comes to a stage, and returns the directory and, if it runs, the
// process.
func child(stage string) (dir, pid string, err error) {
	s, err := sleeper()
	if err != nil {
		return "", "", err
	}
	if stage == "made" {
		return s.Dir, "0", nil
	}
	if stage == "installing" {
		go s.Tool("/bin/sh", "-c", "touch begun; sleep 1; mkdir late; touch late/file")
		for err = os.ErrNotExist; err != nil; time.Sleep(time.Millisecond) {
			_, err = os.Stat(filepath.Join(s.Dir, "begun"))
		}
		return s.Dir, "0", nil
	}
	if err := s.Run(); err != nil {
		return "", "", err
	}
	pid, err = pidOf(s)
	if stage == "halted" {
		err = errors.Join(err, s.Halt("TERM"))
	}
	return s.Dir, pid, err
}

// sleeper makes a server that sleeps, and answers when it has said which process it is.
func sleeper() (*testserver.Server, error) {
	var s *testserver.Server
	s, err := testserver.New(testserver.Kind{Name: "sleeper", Accounts: []string{"nobody"}, Answers: func(context.Context) error {
		_, err := pidOf(s)
		return err
	}})
	if err == nil {
		s.Command = []string{"/bin/sh", "-c", "echo $$ > new; mv new pid; exec sleep 1000"}
	}
	return s, err
}

func pidOf(s *testserver.Server) (string, error) {
	content, err := os.ReadFile(filepath.Join(s.Dir, "pid"))
	return strings.TrimSpace(string(content)), err
}

// TestKilled kills a test process with the signal that it cannot handle. Nothing is left
// of its server, however far that was.
func TestKilled(t *testing.T) {
	for _, stage := range []string{"made", "installing", "running", "halted"} {
		t.Run(stage, func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childStage+"="+stage)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			said, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Error(err)
			}
			cmd.Process.Kill()
			cmd.Wait()
			var dir, failure string
			var pid int
			if _, err := fmt.Sscan(said, &dir, &pid, &failure); err != nil || failure != "<nil>" {
				t.Fatalf("the child said %s", said)
			}
			wantNothing(t, dir, pid)
		})
	}
}

// wantNothing waits until there is neither directory nor process.
func wantNothing(t *testing.T, dir string, pid int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, err := os.Stat(dir)
		there, runs := !errors.Is(err, os.ErrNotExist), pid != 0 && syscall.Kill(pid, 0) == nil
		if !there && !runs {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("directory left: %v, server left: %v", there, runs)
		}
	}
}

func TestRunAndHaltAndStop(t *testing.T) {
	s, err := sleeper()
	testserver.Require(t, err)
	t.Cleanup(s.Stop)
	last := ""
	for _, signal := range []string{"TERM", "KILL"} {
		if err := s.Run(); err != nil {
			t.Fatal(err)
		}
		pid, err := pidOf(s)
		if err != nil || pid == last || !s.Running() {
			t.Fatalf("process %s after %s: %v", pid, last, err)
		}
		if err := s.Halt(signal); err != nil {
			t.Fatal(err)
		}
		if s.Running() || alive(t, pid) {
			t.Errorf("it runs after %s", signal)
		}
		last = pid
		os.Remove(filepath.Join(s.Dir, "pid"))
	}
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	pid, err := pidOf(s)
	if err != nil || !alive(t, pid) {
		t.Fatalf("process %s: %v", pid, err)
	}
	s.Stop()
	if _, err := os.Stat(s.Dir); alive(t, pid) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Stop it runs: %v; its directory: %v", alive(t, pid), err)
	}
}

func alive(t *testing.T, pid string) bool {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	return syscall.Kill(n, 0) == nil
}

// TestEndsByItself: an error, with what the server said, and long before it is given up.
func TestEndsByItself(t *testing.T) {
	s, err := testserver.New(testserver.Kind{Name: "ender", Signal: "TERM"})
	testserver.Require(t, err)
	t.Cleanup(s.Stop)
	s.Command = []string{"/bin/sh", "-c", "echo no such table >&2; exit 7"}
	began := time.Now()
	err = s.Run()
	if err == nil || !strings.Contains(err.Error(), "status 7\nno such table") {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("Run took %v", took)
	}
	if _, err := os.Stat(s.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its directory: %v", err)
	}
}

func TestHaltOfWhatHasEnded(t *testing.T) {
	s, err := sleeper()
	testserver.Require(t, err)
	t.Cleanup(s.Stop)
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	pid, err := pidOf(s)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := s.Tool("/bin/sh", "-c", "kill "+pid); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for !exists(s, "ended") {
		time.Sleep(time.Millisecond)
	}
	if err := s.Halt("KILL"); err == nil || !strings.Contains(err.Error(), "does not run") {
		t.Errorf("Halt: %v", err)
	}
}

func exists(s *testserver.Server, name string) bool {
	_, err := os.Stat(filepath.Join(s.Dir, name))
	return err == nil
}

// TestToolFails: the error has what the program said.
func TestToolFails(t *testing.T) {
	s, err := testserver.New(testserver.Kind{Name: "none"})
	testserver.Require(t, err)
	t.Cleanup(s.Stop)
	_, err = s.Tool("/bin/sh", "-c", "echo one; echo two >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "exit status 3: one\ntwo") {
		t.Errorf("Tool: %v", err)
	}
}

// TestDirectory: it is the server's, in TMPDIR if it is on a disk, and elsewhere if
// TMPDIR does not do.
func TestDirectory(t *testing.T) {
	wide, err := os.MkdirTemp("/tmp", "zari-wide-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(wide) })
	narrow, long := filepath.Join(wide, "narrow"), filepath.Join(wide, strings.Repeat("long", 20))
	for dir, mode := range map[string]os.FileMode{wide: 0o755, narrow: 0o700, long: 0o755} {
		if err := errors.Join(os.MkdirAll(dir, mode), os.Chmod(dir, mode)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		tmpdir   string
		accounts []string
		there    bool
	}{
		{wide, []string{"nobody"}, true},
		{narrow, nil, true},
		{narrow, []string{"no-such-user", "nobody"}, os.Geteuid() != 0},
		{long, nil, false},
	} {
		t.Setenv("TMPDIR", c.tmpdir)
		s, err := testserver.New(testserver.Kind{Name: "Disk", Accounts: c.accounts, OnDisk: true})
		testserver.Require(t, err)
		if there := strings.HasPrefix(s.Dir, c.tmpdir+"/zari-disk-"); there != c.there {
			t.Errorf("TMPDIR=%s, users %v: it is %s", c.tmpdir, c.accounts, s.Dir)
		}
		if err := s.Put(s.Dir, map[string][]byte{"key": []byte("secret")}); err != nil {
			t.Error(err)
		}
		if out, err := s.Tool("/bin/sh", "-c", "touch $TMPDIR/mine; cat key"); string(out) != "secret" {
			t.Errorf("its user in %s: %q %v", s.Dir, out, err)
		}
		if info, err := os.Stat(filepath.Join(s.Dir, "key")); err != nil || info.Mode() != 0o600 {
			t.Errorf("the key: %v %v", info, err)
		}
		s.Stop()
		if left, err := os.ReadDir(c.tmpdir); err != nil || c.tmpdir != wide && len(left) > 0 {
			t.Errorf("left in %s: %v %v", c.tmpdir, left, err)
		}
	}
}

func TestNoAccount(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root runs servers as others")
	}
	_, err := testserver.New(testserver.Kind{Name: "PostgreSQL", Accounts: []string{"no-such-user", "nor-this"}})
	if err == nil || !strings.Contains(err.Error(), "no user no-such-user or nor-this") {
		t.Errorf("New: %v", err)
	}
}

// recorder is a test that notes how it ended.
type recorder struct {
	testing.TB
	ended string
}

func (r *recorder) Helper()      {}
func (r *recorder) Skip(...any)  { r.ended = "skipped" }
func (r *recorder) Fatal(...any) { r.ended = "failed" }

func TestRequire(t *testing.T) {
	missing := fmt.Errorf("this too: %w", testserver.Missing("it is not installed"))
	for _, c := range []struct {
		ci   string
		err  error
		want string
	}{
		{"", nil, ""}, {"true", nil, ""},
		{"", missing, "skipped"}, {"true", missing, "failed"},
		{"", os.ErrPermission, "failed"}, {"true", os.ErrPermission, "failed"},
	} {
		t.Setenv("CI", c.ci)
		r := &recorder{TB: t}
		testserver.Require(r, c.err)
		if r.ended != c.want {
			t.Errorf("CI=%s, %v: %q, want %q", c.ci, c.err, r.ended, c.want)
		}
	}
}
