package interop

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestPackKill9 kills the server at random points of packs with garbage collection, beside writers. Each time Python's
// FileStorage opens a copy of the file that is left: it is whole, and what was acknowledged is there. The next server opens
// the file itself, removes what the pack left, and goes on. ZARI_PACK_KILLS says how many kills are to hit a pack.
func TestPackKill9(t *testing.T) {
	needPython(t)
	if setup.zari == "" {
		t.Skip("zari pack tells the server to pack")
	}
	kills := 3
	if s := os.Getenv("ZARI_PACK_KILLS"); s != "" {
		var err error
		if kills, err = strconv.Atoi(s); err != nil {
			t.Fatalf("ZARI_PACK_KILLS: %v", err)
		}
	}
	dice := rand.New(rand.NewPCG(10, uint64(kills)))
	collecting := options{storage: "<filestorage>\n  path Data.fs\n</filestorage>\n"}
	s, dir := prepared(t, collecting)
	collecting.dir, collecting.addr = dir, s.addr
	python[struct{ Done bool }](t, dir, "ballast.py", s.addr, "6000")
	writers := startWriters(t, dir, s.addr, 0)
	whole := packTime(t, s, writers)
	hit, copying := 0, 0
	for try := 0; hit < kills; try++ {
		if try > 5*kills+10 {
			t.Fatalf("only %d of %d kills hit a pack", hit, try)
		}
		for _, w := range writers {
			w.progress(1)
		}
		pack := startPack(t, s)
		time.Sleep(time.Duration(dice.Int64N(int64(whole) * 5 / 4)))
		s.kill()
		if err := pack.Wait(); err != nil {
			hit++
		}
		if exists(filepath.Join(dir, "Data.fs.pack")) {
			copying++
		}
		acknowledged, _ := told(writers)
		checkCopy(t, filepath.Join(dir, "Data.fs"), acknowledged)
		if t.Failed() {
			return
		}
		s = start(t, collecting)
		for _, left := range []string{"Data.fs.pack", "Data.fs.index.pack", "Data.fs.packblobs.new"} {
			if exists(filepath.Join(dir, left)) {
				t.Errorf("%s is left after the next start", left)
			}
		}
	}
	acknowledged := finishRound(t, s, dir, writers, nil)
	t.Logf("%d kills hit a pack, %d of them while it copied; %d commits acknowledged, all there", hit, copying, len(acknowledged))
}

// packTime lets the server pack undisturbed, and returns how long that took.
func packTime(t *testing.T, s *server, writers []*writer) time.Duration {
	t.Helper()
	for _, w := range writers {
		w.progress(3)
	}
	began := time.Now()
	if err := startPack(t, s).Wait(); err != nil {
		t.Fatalf("zari pack: %v\n%s", err, s.output)
	}
	return time.Since(began)
}

// startPack has the server pack all history.
func startPack(t *testing.T, s *server) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), setup.zari, "pack", "zeo://"+s.addr)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestPackCommand packs through the server, by Python's client and by the command, and by the command on the file.
func TestPackCommand(t *testing.T) {
	needPython(t)
	if setup.zari == "" {
		t.Skip("the command is zari's own")
	}
	s, dir := prepared(t, options{storage: "<filestorage>\n  path Data.fs\n</filestorage>\n"})
	python[struct{ Done bool }](t, dir, "ballast.py", s.addr, "1000")
	path := filepath.Join(dir, "Data.fs")
	if out, err := exec.Command(setup.zari, "pack", path).CombinedOutput(); err == nil {
		t.Errorf("packed a file that a server has open: %s", out)
	}
	before := len(readFile(t, path))
	if out, err := exec.Command(setup.zari, "pack", "zeo://"+s.addr).CombinedOutput(); err != nil {
		t.Fatalf("through the server: %v\n%s", err, out)
	}
	if after := len(readFile(t, path)); after >= before {
		t.Errorf("the server packed %d bytes to %d", before, after)
	}
	if log := s.output.String(); !strings.Contains(log, "pack complete") {
		t.Errorf("the log does not tell of the pack:\n%s", log)
	}
	s.stop()
	got := python[verified](t, dir, "verify.py", path)
	out, err := exec.Command(setup.zari, "pack", "--no-keep-old", path).CombinedOutput()
	if err != nil {
		t.Fatalf("the file: %v\n%s", err, out)
	}
	if again := python[verified](t, dir, "verify.py", path); again.Records > got.Records {
		t.Errorf("%d records after the second pack, %d after the first", again.Records, got.Records)
	}
}
