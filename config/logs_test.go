package config

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zaridb/zari/config/pylog"
	"github.com/zaridb/zari/config/zconfig"
)

func openLogs(t *testing.T, eventlog string) *Logs {
	t.Helper()
	c, err := Parse(strings.NewReader(minimal+eventlog), "zeo.conf", environ)
	if err != nil {
		t.Fatal(err)
	}
	logs, err := c.EventLog.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := logs.Close(); err != nil {
			t.Error(err)
		}
	})
	return logs
}

func TestLogs(t *testing.T) {
	dir := t.TempDir()
	all, errs := filepath.Join(dir, "all.log"), filepath.Join(dir, "errors.log")
	logs := openLogs(t, `
<eventlog>
  level info
  <logfile>
    path `+all+`
    level debug
    format %(levelname)s %(name)s %(message)s
  </logfile>
  <logfile>
    path `+errs+`
    level error
    format ERR\n%(message)s
  </logfile>
</eventlog>`)
	log := slog.New(logs.Handler).With(pylog.NameKey, "ZEO.runzeo")
	log.Debug("below the event log's level")
	log.Info("one")
	log.Error("two", "n", 1)
	if err := os.Rename(all, all+".1"); err != nil {
		t.Fatal(err)
	}
	if err := logs.Reopen(); err != nil {
		t.Fatal(err)
	}
	log.Info("three")
	wantFile(t, all+".1", "INFO ZEO.runzeo one\nERROR ZEO.runzeo two n=1\n")
	wantFile(t, all, "INFO ZEO.runzeo three\n")
	wantFile(t, errs, "ERR\ntwo n=1\n")
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v; want %q", path, got, err, want)
	}
}

func TestLogsWithoutFiles(t *testing.T) {
	logs := openLogs(t, "<eventlog/>")
	if logs.Handler.Enabled(t.Context(), slog.LevelError) {
		t.Error("an event log without files has something to write to")
	}
	logs, err := (*EventLog)(nil).Open()
	if err != nil {
		t.Fatal(err)
	}
	if !logs.Handler.Enabled(t.Context(), slog.LevelInfo) || logs.Handler.Enabled(t.Context(), slog.LevelDebug) {
		t.Error("without an event log, info and above are logged")
	}
	if err := errors.Join(logs.Reopen(), logs.Close()); err != nil {
		t.Error(err)
	}
}

func TestLogsFailure(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good.log")
	e := &EventLog{Files: []LogFile{
		{Path: "STDERR"}, {Path: "STDOUT"}, {Path: good},
		{Path: filepath.Join(t.TempDir(), "no", "bad.log"), Pos: zconfig.Pos{File: "zeo.conf", Line: 7}},
	}}
	if _, err := e.Open(); !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "zeo.conf:7: ") {
		t.Errorf("%v", err)
	}
}
