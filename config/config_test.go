package config

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/config/pylog"
	"github.com/zaridb/zari/config/zconfig"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// environ is the environment of the tests.
func environ(name string) (string, bool) {
	v, ok := map[string]string{"HOME": "/home/z", "DATA": "/data"}[name]
	return v, ok
}

// Each file of testdata/good gives the configuration in its .golden, each of
// testdata/bad the messages in its .golden.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/[bg]*/*.conf")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			c, err := Load(file, environ)
			good := strings.Contains(file, "good")
			if good != (err == nil) {
				t.Fatalf("error: %v", err)
			}
			got := ""
			if good {
				got = dump(t, c)
			} else {
				got = err.Error() + "\n"
				checkErrors(t, err)
			}
			compareGolden(t, strings.TrimSuffix(file, ".conf")+".golden", got)
		})
	}
}

func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// checkErrors asserts that every fault names a file, and can be got at.
func checkErrors(t *testing.T, err error) {
	t.Helper()
	e, ok := errors.AsType[*zconfig.Error](err)
	if !ok || !strings.HasPrefix(e.Pos.File, "testdata/") {
		t.Errorf("%T: %v", err, err)
	}
}

// dump writes a configuration as JSON, its storages with their types.
func dump(t *testing.T, c *Config) string {
	t.Helper()
	var logs []any
	if c.EventLog != nil {
		logs = append(logs, c.EventLog.Pos.String(), int(c.EventLog.Level))
		for _, f := range c.EventLog.Files {
			logs = append(logs, map[string]any{
				"at": f.Pos.String(), "path": f.Path, "level": int(f.Level), "delay": f.Delay, "line": sampleLine(t, f.Format),
			})
		}
	}
	var storages []any
	for _, s := range c.Storages {
		storages = append(storages, describe(s))
	}
	var notes []string
	for _, n := range c.Notes {
		notes = append(notes, n.String())
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(map[string]any{"zeo": c.ZEO, "storages": storages, "eventlog": logs, "notes": notes}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func describe(s Storage) any {
	title := fmt.Sprintf("%T %q at %v", s, s.StorageName(), s.Position())
	*s.Head() = Section{}
	if u, ok := s.(*Use); ok {
		return map[string]any{title: u.Of}
	}
	return map[string]any{title: s}
}

func sampleLine(t *testing.T, f *pylog.Format) string {
	t.Helper()
	s, err := sampleText(f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sampleText(f *pylog.Format) (string, error) {
	var out bytes.Buffer
	r := slog.NewRecord(time.Date(2026, 11, 1, 9, 5, 7, 0, time.UTC), slog.LevelWarn, "message", 0)
	r.Add(pylog.NameKey, "ZEO")
	err := pylog.NewHandler(&out, f, nil).Handle(context.Background(), r)
	return out.String(), err
}

const minimal = "<zeo>\naddress 1\n</zeo>\n<mappingstorage/>\n"

func TestEnvironment(t *testing.T) {
	env := func(vars ...string) func(string) (string, bool) {
		return func(name string) (string, bool) {
			for _, v := range vars {
				if value, ok := strings.CutPrefix(v, name+"="); ok {
					return value, true
				}
			}
			return "", false
		}
	}
	parse := func(text string, env func(string) (string, bool)) Server {
		t.Helper()
		c, err := Parse(strings.NewReader(text), "zeo.conf", env)
		if err != nil {
			t.Fatal(err)
		}
		return c.ZEO
	}
	if s := parse(minimal, env()); s.Msgpack || s.PIDFilename != "" {
		t.Errorf("without variables: %+v", s)
	}
	if s := parse(minimal, env("ZEO_MSGPACK=1", "INSTANCE_HOME=/i")); !s.Msgpack || s.PIDFilename != "/i/var/ZEO.pid" {
		t.Errorf("with variables: %+v", s)
	}
	if s := parse(minimal, env("ZEO_MSGPACK=", "INSTANCE_HOME=")); s.Msgpack || s.PIDFilename != "" {
		t.Errorf("with empty variables: %+v", s)
	}
	text := strings.Replace(minimal, "address 1", "address 1\nmsgpack off\nread-only on", 1)
	if s := parse(text, env("ZEO_MSGPACK=1", "INSTANCE_HOME=/i")); s.Msgpack || s.PIDFilename != "" {
		t.Errorf("keys go before variables: %+v", s)
	}
	t.Setenv("ZEO_MSGPACK", "yes")
	if s := parse(minimal, nil); !s.Msgpack {
		t.Errorf("the process's own environment: %+v", s)
	}
}

func TestHomeIsMissing(t *testing.T) {
	text := "<zeo>\naddress 1\n</zeo>\n<filestorage>\npath ~/x\n</filestorage>"
	_, err := Parse(strings.NewReader(text), "zeo.conf", func(string) (string, bool) { return "", false })
	if err == nil || err.Error() != `zeo.conf:5: path: "~/x": HOME is not set in the environment` {
		t.Errorf("%v", err)
	}
}

func TestLoadMissing(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
