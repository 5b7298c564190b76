package interop

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestKill9 kills the server under load, round after round. The clients stay: they reconnect, and refuse a server that has
// lost what they have seen. After each round Python's FileStorage opens a copy of the file: what was acknowledged is there, and
// nothing that was never sent.
func TestKill9(t *testing.T) {
	needPython(t)
	rounds := 5
	if s := os.Getenv("ZARI_ROUNDS"); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil {
			t.Fatalf("ZARI_ROUNDS: %v", err)
		}
	}
	dice := rand.New(rand.NewPCG(9, uint64(rounds)))
	s, dir := prepared(t, options{})
	addr := s.addr
	var before []string // acknowledged in earlier rounds: not to be lost later either
	for round := range rounds {
		writers := startWriters(t, dir, addr, round, forgetful()...)
		// One kill while they connect and write for the first time, and two that meet them reconnecting.
		for range 3 {
			s = killUnderLoad(t, s, dir, writers, dice)
		}
		before = append(before, finishRound(t, s, dir, writers, before)...)
		if t.Failed() {
			return
		}
		t.Logf("round %d: %d commits acknowledged so far, all there", round, len(before))
		s = start(t, options{dir: dir, addr: addr})
	}
	s.stop()
}

// killUnderLoad waits until each writer has something new acknowledged, and a little longer, kills the server, looks at what
// it left and starts another on the same file and port.
func killUnderLoad(t *testing.T, s *server, dir string, writers []*writer, dice *rand.Rand) *server {
	t.Helper()
	for _, w := range writers {
		w.progress(1 + dice.IntN(5))
	}
	time.Sleep(time.Duration(dice.IntN(3000)) * time.Microsecond) // any moment of a commit is good
	s.kill()
	acknowledged, _ := told(writers)
	checkCopy(t, filepath.Join(dir, "Data.fs"), acknowledged)
	return start(t, options{dir: dir, addr: s.addr})
}

// finishRound lets the writers end in peace, checks that the served file holds all they were told, and nothing that they did
// not send, and returns what was acknowledged in this round.
func finishRound(t *testing.T, s *server, dir string, writers []*writer, before []string) []string {
	t.Helper()
	for _, w := range writers {
		w.progress(1)
		w.finish()
	}
	acknowledged, tried := told(writers)
	s.stop()
	got := check(t, filepath.Join(dir, "Data.fs"), append(slices.Clone(before), acknowledged...))
	for _, key := range got.Keys {
		if strings.HasPrefix(key, writers[0].round) && !slices.Contains(tried, key) {
			t.Errorf("%s is in the file, but nobody tried to commit it", key)
		}
	}
	return acknowledged
}

// check opens path with Python's FileStorage and looks for what was acknowledged.
func check(t *testing.T, path string, acknowledged []string) verified {
	t.Helper()
	got := python[verified](t, filepath.Dir(path), "verify.py", path)
	if lost := got.lacks(acknowledged); len(lost) > 0 {
		t.Errorf("acknowledged, but not in the file: %v", lost)
	}
	return got
}

// checkCopy checks a copy of a file that is in use, and removes it: a long proof makes many.
func checkCopy(t *testing.T, path string, acknowledged []string) {
	t.Helper()
	copied := copyOf(t, path)
	defer os.RemoveAll(filepath.Dir(copied))
	check(t, copied, acknowledged)
}

// writer is a writer.py and what it said so far.
type writer struct {
	*program
	round            string // how the keys of all writers of this round begin
	mu               sync.Mutex
	said             *sync.Cond
	tried, committed []string
	ready, ended     bool
}

// forgetful tells a writer of Python's server, which hands out oids twice.
func forgetful() []string {
	if setup.runzeo {
		return []string{"forgetful"}
	}
	return nil
}

// startWriters starts two writers, with names that no other round has.
func startWriters(t *testing.T, dir, addr string, round int, options ...string) []*writer {
	t.Helper()
	var writers []*writer
	for i := range 2 {
		w := &writer{round: fmt.Sprintf("r%d.", round)}
		args := append([]string{addr, fmt.Sprintf("%s%d", w.round, i)}, options...)
		w.program = launch(t, dir, "writer.py", args...)
		w.said = sync.NewCond(&w.mu)
		go w.listen()
		writers = append(writers, w)
	}
	return writers
}

func (w *writer) listen() {
	for {
		var line struct {
			Trying, Committed string
			Ready             bool
		}
		more := w.hear(&line)
		w.mu.Lock()
		if line.Trying != "" {
			w.tried = append(w.tried, line.Trying)
		}
		if line.Committed != "" {
			w.committed = append(w.committed, line.Committed)
		}
		w.ready = w.ready || line.Ready
		w.ended = !more
		w.said.Broadcast()
		w.mu.Unlock()
		if !more {
			return
		}
	}
}

// awaitReady waits until the program says that it is about to connect.
func (w *writer) awaitReady() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.ready {
		if w.ended {
			w.t.Fatalf("a client ended early\n%s", w.err)
		}
		w.said.Wait()
	}
}

// progress waits until n more commits are acknowledged.
func (w *writer) progress(n int) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for want := len(w.committed) + n; len(w.committed) < want; w.said.Wait() {
		if w.ended {
			w.t.Fatalf("a writer ended early\n%s", w.err)
		}
	}
}

// finish tells the writer to stop and waits for its last words.
func (w *writer) finish() {
	w.t.Helper()
	w.tell()
	w.mu.Lock()
	for !w.ended {
		w.said.Wait()
	}
	w.mu.Unlock()
	w.wait()
}

// told returns what the writers know: keys they were told are committed, and keys they sent.
func told(writers []*writer) (acknowledged, tried []string) {
	for _, w := range writers {
		w.mu.Lock()
		acknowledged = append(acknowledged, w.committed...)
		tried = append(tried, w.tried...)
		w.mu.Unlock()
	}
	return acknowledged, tried
}

// copyOf copies a data file, without its index, to a directory of its own and returns the path.
func copyOf(t *testing.T, path string) string {
	t.Helper()
	from, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.Create(filepath.Join(t.TempDir(), "Data.fs"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return to.Name()
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
