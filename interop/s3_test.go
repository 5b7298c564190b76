package interop

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zaridb/zari/internal/tests3"
)

// inBucket is a database in a bucket of a server of the test's own.
type inBucket struct {
	url     string
	section string // that serves it
}

// startS3 starts versitygw, and puts its credentials in the environment.
func startS3(t *testing.T, lease string) inBucket {
	t.Helper()
	needPython(t)
	if setup.zari == "" {
		t.Skip("only zari keeps databases in S3")
	}
	server := tests3.Start(t)
	t.Setenv("AWS_ACCESS_KEY_ID", tests3.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", tests3.SecretKey)
	url := fmt.Sprintf("s3://%s/db?endpoint=%s", server.Bucket(t), server.Endpoint)
	return inBucket{url, fmt.Sprintf("<s3storage>\n  url %s\n  lease %s\n</s3storage>\n", url, lease)}
}

// verify has zari s3 verify look at the bucket.
func (b inBucket) verify(t *testing.T) {
	t.Helper()
	if out, err := exec.Command(setup.zari, "s3", "verify", "--strict", b.url).CombinedOutput(); err != nil {
		t.Errorf("zari s3 verify: %v\n%s", err, out)
	}
}

// TestKill9S3 kills the server of a database in a bucket under load, again and again. Each time
// the bucket is whole, and what was acknowledged is there.
func TestKill9S3(t *testing.T) {
	b := startS3(t, "500ms")
	rounds, kills := 1, 3
	if s := os.Getenv("ZARI_ROUNDS"); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil {
			t.Fatalf("ZARI_ROUNDS: %v", err)
		}
	}
	dice := rand.New(rand.NewPCG(6, 9))
	s, dir := prepared(t, options{storage: b.section})
	addr := s.addr
	var before []string
	for round := range rounds {
		writers := startWriters(t, dir, addr, round)
		for range kills {
			for _, w := range writers {
				w.progress(1 + dice.IntN(5))
			}
			time.Sleep(time.Duration(dice.IntN(20_000)) * time.Microsecond) // any moment of a commit is good
			s.kill()
			b.verify(t)
			s = start(t, options{dir: dir, addr: addr, storage: b.section})
		}
		for _, w := range writers {
			w.progress(1)
			w.finish()
		}
		acknowledged, _ := told(writers)
		before = append(before, acknowledged...)
		got := python[verified](t, dir, "served.py", addr)
		if lost := got.lacks(before); len(lost) > 0 {
			t.Fatalf("round %d: acknowledged, but not there: %v", round, lost)
		}
		t.Logf("round %d: %d commits acknowledged so far, all there", round, len(before))
	}
	s.stop()
	b.verify(t)
}

// TestTakeoverS3 has a second server wait until the first is killed.
func TestTakeoverS3(t *testing.T) {
	b := startS3(t, "5s")
	s, dir := prepared(t, options{storage: b.section})
	writers := startWriters(t, dir, s.addr, 0)
	second := make(chan *server)
	waiting := options{dir: t.TempDir(), addr: freeAddr(t), storage: b.section}
	go func() {
		defer close(second)
		second <- start(t, waiting)
	}()
	for _, w := range writers {
		w.progress(5)
	}
	killed := time.Now()
	s.kill()
	acknowledged, _ := told(writers)
	next, ok := <-second
	if !ok {
		t.Fatal("the second server did not start")
	}
	got := python[verified](t, waiting.dir, "served.py", next.addr)
	took := time.Since(killed)
	if lost := got.lacks(acknowledged); len(lost) > 0 {
		t.Errorf("acknowledged by the first server, but not served by the second: %v", lost)
	}
	t.Logf("the second server served %v after the first was killed (lease 5s); %d commits, all there", took.Round(time.Millisecond), len(acknowledged))
	if took > time.Minute {
		t.Errorf("the second server served only after %v", took)
	}
	next.stop()
	b.verify(t)
}

// TestFirstStepsS3 types what the page about S3 says to somebody who tries it.
func TestFirstStepsS3(t *testing.T) {
	needPython(t)
	if setup.zari == "" {
		t.Skip("the command line is zari's own")
	}
	dir, bin := t.TempDir(), t.TempDir()
	for name, path := range map[string]string{"versitygw": tests3.Binary(t), "zari": setup.zari} {
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	page := string(readFile(t, "../docs/operations/s3.md"))
	_, page, _ = strings.Cut(page, "## A first database")
	page, _, _ = strings.Cut(page, "\n## ")
	addrs := make(map[string]string)
	for _, port := range []string{"7070", "8100", "8110"} {
		addr := freeAddr(t)
		addrs[port] = addr
		page = strings.ReplaceAll(page, port, addr[strings.LastIndex(addr, ":")+1:])
	}
	page = strings.ReplaceAll(page, "/tmp/", dir+"/")
	sh := &shell{t: t, dir: dir, exports: "export PATH=" + bin + ":$PATH\n"}
	var python []string
	commands := 0
	for line := range strings.Lines(page) {
		line, code := strings.CutPrefix(strings.TrimRight(line, "\n"), "    ")
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case !code:
		case isCommand && len(python) > 0:
			sh.python(python)
			python = nil
			fallthrough
		case isCommand:
			commands++
			sh.run(command, addrs)
		default:
			python = append(python, line)
		}
	}
	if commands < 10 || sh.programs != 1 {
		t.Errorf("the page has %d commands and %d programs", commands, sh.programs)
	}
}

// shell runs what somebody types.
type shell struct {
	t        *testing.T
	dir      string
	exports  string
	programs int
}

func (s *shell) run(command string, addrs map[string]string) {
	s.t.Helper()
	if strings.HasPrefix(command, "export ") {
		s.exports += command + "\n"
		return
	}
	words, background := strings.CutSuffix(command, " &")
	if !background {
		cmd := exec.Command("bash", "-c", s.exports+command)
		cmd.Dir = s.dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			s.t.Fatalf("%s: %v\n%s", command, err, out)
		}
		return
	}
	for _, addr := range addrs {
		if port := addr[strings.LastIndex(addr, ":")+1:]; strings.Contains(words, "serve -a "+port) || strings.Contains(words, "--port 127.0.0.1:"+port) {
			startCommand(s.t, s.dir, addr, []string{"bash", "-c", s.exports + "exec " + words})
			return
		}
	}
	s.t.Fatalf("%s: it serves nothing that is known", command)
}

// python types lines into Python, and compares what it says.
func (s *shell) python(lines []string) {
	s.t.Helper()
	s.programs++
	path := filepath.Join(s.dir, "session.txt")
	writeFile(s.t, path, []byte(strings.Join(lines, "\n")+"\n"))
	ctx, cancel := context.WithTimeout(s.t.Context(), programLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, setup.python, "-m", "doctest", path)
	cmd.Dir = s.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
}
