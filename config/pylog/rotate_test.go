package pylog

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// folder returns the contents of the files in a folder.
func folder(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(text)
	}
	return files
}

// clock is a clock that is set by hand.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func writeLine(t *testing.T, f *File, line string) {
	t.Helper()
	if _, err := f.Write([]byte(line + "\n")); err != nil {
		t.Fatal(err)
	}
}

func openTest(t *testing.T, path string, r Rotation, now func() time.Time) *File {
	t.Helper()
	f, err := open(path, false, r, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestRotateBySize(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "zeo.log")
	r := Rotation{Size: 20, Keep: 2}
	f := openTest(t, path, r, time.Now)
	for _, line := range []string{"one 567", "two 567", "three 7", "four 67", "five 67", strings.Repeat("x", 40), "six"} {
		writeLine(t, f, line)
	}
	want := map[string]string{"zeo.log": "six\n", "zeo.log.1": strings.Repeat("x", 40) + "\n", "zeo.log.2": "five 67\n"}
	if diff := cmp.Diff(want, folder(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	f.Close()
	f = openTest(t, path, r, time.Now)
	writeLine(t, f, "what is there counts too")
	if got := folder(t, dir)["zeo.log.1"]; got != "six\n" {
		t.Errorf("after opening again, zeo.log.1 holds %q", got)
	}
	if err := f.Reopen(); err != nil {
		t.Fatal(err)
	}
	if got := folder(t, dir); got["zeo.log"] != "" || got["zeo.log.1"] != "what is there counts too\n" {
		t.Errorf("Reopen does not rotate: %v", got)
	}
}

func TestRotateBySchedule(t *testing.T) {
	for when, want := range map[string]map[string]string{
		"midnight": {"log": "4\n", "log.2026-11-02": "2\n3\n", "log.2026-11-05": "3b\n"},
		"W0":       {"log": "3b\n4\n", "log.2026-10-27": "1\n2\n3\n"},
		"d":        {"log": "4\n", "log.2026-11-01": "1\n2\n3\n", "log.2026-11-05": "3b\n"},
	} {
		t.Run(when, func(t *testing.T) {
			dir := t.TempDir()
			schedule, err := ParseSchedule(when, 0)
			if err != nil {
				t.Fatal(err)
			}
			c := &clock{time.Date(2026, 11, 1, 23, 0, 0, 0, time.Local)} // a Sunday
			f := openTest(t, filepath.Join(dir, "log"), Rotation{Schedule: schedule, Keep: 2}, c.now)
			for _, step := range []struct {
				after time.Duration
				line  string
			}{{0, "1"}, {2 * time.Hour, "2"}, {20 * time.Hour, "3"}, {52 * time.Hour, "3b"}, {24 * time.Hour, "4"}} {
				c.t = c.t.Add(step.after)
				writeLine(t, f, step.line)
			}
			if diff := cmp.Diff(want, folder(t, dir)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRotateKeepsWhatIsNotItsOwn(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"log.2026-11-01_00", "log.2026-11-01_01", "log.2026-11-01", "log.old", "log.2026-11-01_02.gz", "other.2026-11-01_00"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	schedule, err := ParseSchedule("h", 2)
	if err != nil {
		t.Fatal(err)
	}
	c := &clock{time.Date(2026, 11, 1, 10, 30, 0, 0, time.Local)}
	f := openTest(t, filepath.Join(dir, "log"), Rotation{Schedule: schedule, Keep: 1}, c.now)
	writeLine(t, f, "a")
	c.t = c.t.Add(2 * time.Hour)
	writeLine(t, f, "b")
	got := folder(t, dir)
	if len(got) != 6 || got["log"] != "b\n" || got["log.2026-11-01_10"] != "a\n" || got["log.2026-11-01_00"] != "" {
		t.Errorf("%v", got)
	}
}

// A file that cannot be moved grows on.
func TestRotateFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	f := openTest(t, path, Rotation{Size: 4, Keep: 1}, time.Now)
	if err := os.MkdirAll(path+".1/full", 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		writeLine(t, f, fmt.Sprint("line ", i))
	}
	text, err := os.ReadFile(path)
	if err != nil || strings.Count(string(text), "line") != 5 {
		t.Errorf("%q, %v", text, err)
	}
	if err := os.Remove(path); err != nil { // somebody has moved it
		t.Fatal(err)
	}
	if err := f.Reopen(); err == nil {
		writeLine(t, f, "new")
	}
}

func TestDeviceIsNotRotated(t *testing.T) {
	f := openTest(t, os.DevNull, Rotation{Size: 1, Keep: 1}, time.Now)
	writeLine(t, f, "x")
	if err := f.Reopen(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(os.DevNull + ".1"); !os.IsNotExist(err) {
		t.Errorf("%v", err)
	}
}

func TestParseScheduleRefuses(t *testing.T) {
	for _, when := range []string{"", "w", "w7", "W-1", "yearly"} {
		if _, err := ParseSchedule(when, 1); err == nil {
			t.Errorf("%q is a rhythm", when)
		}
	}
}

// scheduleScript prints when Python's handler rotates after each time.
const scheduleScript = `
import json, logging.handlers, sys
for when, interval, t in json.load(sys.stdin):
    print(logging.handlers.TimedRotatingFileHandler("log", when=when, interval=interval, backupCount=1, delay=True).computeRollover(t))
`

// Rotation by time happens when Python's happens.
func TestSchedulePython(t *testing.T) {
	var cases [][3]any
	var want []int64
	for _, when := range []string{"s", "M", "h", "D", "midnight", "w0", "W1", "W2", "W3", "W4", "W5", "W6"} {
		for interval := range 3 {
			s, err := ParseSchedule(when, interval+1)
			if err != nil {
				t.Fatal(err)
			}
			for day := range 9 {
				at := time.Date(2026, 2, 24+day, 7*day%24, 59, 59, 0, time.UTC)
				cases = append(cases, [3]any{when, interval + 1, at.Unix()})
				want = append(want, s.next(at).Unix())
			}
		}
	}
	out := runPython(t, scheduleScript, cases)
	for i, line := range strings.Fields(string(out)) {
		if line != fmt.Sprint(want[i]) {
			t.Errorf("%v: Python %s, ours %d", cases[i], line, want[i])
		}
	}
	if n := len(strings.Fields(string(out))); n != len(cases) {
		t.Errorf("%d answers to %d questions", n, len(cases))
	}
}

// runPython runs a script with the input as JSON, in UTC.
func runPython(t *testing.T, script string, input any) []byte {
	t.Helper()
	python := os.Getenv("ZARI_PYTHON")
	if python == "" {
		t.Skip("ZARI_PYTHON does not name a Python")
	}
	stdin, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-c", script)
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "TZ=UTC")
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(stdin)), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// rotateScript writes the lines of its input with Python's handler, and prints
// what is in the folder.
const rotateScript = `
import json, logging, logging.handlers, os, sys
dir, size, keep, lines = json.load(sys.stdin)
h = logging.handlers.RotatingFileHandler(os.path.join(dir, "zeo.log"), maxBytes=size, backupCount=keep)
for line in lines:
    h.handle(logging.LogRecord("x", 20, "", 0, line, (), None))
h.close()
json.dump({n: open(os.path.join(dir, n)).read() for n in os.listdir(dir)}, sys.stdout)
`

// Rotation by size leaves the files that Python's leaves.
func TestRotatePython(t *testing.T) {
	var lines []string
	for i := range 300 {
		lines = append(lines, strings.Repeat("x", i*7%50)+fmt.Sprint(i))
	}
	for _, r := range []Rotation{{Size: 60, Keep: 3}, {Size: 1000, Keep: 1}, {Size: 128, Keep: 50}} {
		out := runPython(t, rotateScript, []any{t.TempDir(), r.Size, r.Keep, lines})
		var want map[string]string
		if err := json.Unmarshal(out, &want); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		f := openTest(t, filepath.Join(dir, "zeo.log"), r, time.Now)
		for _, line := range lines {
			writeLine(t, f, line)
		}
		if diff := cmp.Diff(want, folder(t, dir)); diff != "" {
			t.Errorf("%+v (-Python +ours):\n%s", r, diff)
		}
	}
}
