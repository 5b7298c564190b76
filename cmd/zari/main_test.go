package main

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/config/zconfig"
)

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.conf")
	if err := os.WriteFile(bad, []byte("<zeo>\n  address 1\n  frobnicate yes\n</zeo>\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"--help"}, exitOK},
		{[]string{"serve", "--help"}, exitOK},
		{[]string{"bench", "--help"}, exitOK},
		{[]string{"frobnicate"}, exitUsage},
		{[]string{"serve"}, exitUsage},
		{[]string{"serve", "--frobnicate", "x"}, exitUsage},
		{[]string{"serve", "one", "two"}, exitUsage},
		{[]string{"serve", "-C", bad}, exitUsage},
		{[]string{"serve", bad}, exitUsage},
		{[]string{"help", "storages"}, exitOK},
		{[]string{"config", "check", "--help"}, exitOK},
		{[]string{"config", "check", bad}, exitUsage},
		{[]string{"config", "check"}, exitUsage},
		{[]string{"config", "chekc", bad}, exitUsage},
		{[]string{"bench", "laod"}, exitUsage},
		{[]string{"bench", "load", "x"}, exitUsage},
		{[]string{"pack"}, exitUsage},
		{[]string{"init", "--kind", "zope", filepath.Join(dir, "zope.conf")}, exitOK},
		{[]string{"init", "--kind", "zope", filepath.Join(dir, "zope.conf")}, exitFailure},
		{[]string{"config", "check", filepath.Join(dir, "zope.conf")}, exitOK},
		{[]string{"init", "--kind", "s3", "-"}, exitUsage},
		{[]string{"serve", "-C", filepath.Join(dir, "absent.conf")}, exitUsage},
		{[]string{"serve", "--metrics-address", "off", "-a", "127.0.0.1:0", filepath.Join(dir, "absent", "Data.fs")}, exitFailure},
	} {
		if got := run(c.args); got != c.want {
			t.Errorf("zari %s: exit status %d, want %d", strings.Join(c.args, " "), got, c.want)
		}
	}
}

func TestNextStep(t *testing.T) {
	cmd, _, err := newRootCommand().Find([]string{"config", "check"})
	if err != nil {
		t.Fatal(err)
	}
	if got := nextStep(cmd, usageError{errors.New("x")}); got != "Try: zari config check --help" {
		t.Error(got)
	}
	bad := filepath.Join(t.TempDir(), "Data.fs")
	if err := os.WriteFile(bad, []byte("no Data.fs"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = openStorage(t.Context(), bad, toRead)
	if got := nextStep(cmd, err); !strings.Contains(got, "zari check") || strings.Count(err.Error(), bad) != 1 {
		t.Errorf("%v\n%s", err, got)
	}
	if got := nextStep(cmd, errors.New("x")); got != "" {
		t.Error(got)
	}
}

// TestWeb looks at the second port of a service that is about to serve.
func TestWeb(t *testing.T) {
	f := serveFlags{address: "127.0.0.1:0", metrics: "127.0.0.1:0"}
	cfg, err := f.load([]string{filepath.Join(t.TempDir(), "Data.fs")})
	if err != nil {
		t.Fatal(err)
	}
	cfg.EventLog = &config.EventLog{}
	s := &service{cfg: cfg}
	defer s.close()
	if err := s.open(context.Background()); err != nil {
		t.Fatal(err)
	}
	web := s.webHandler()
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		web.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code, w.Body.String()
	}
	if code, _ := get("/healthz"); code != 200 {
		t.Errorf("/healthz: %d", code)
	}
	if code, _ := get("/readyz"); code != 503 {
		t.Errorf("/readyz before the start: %d", code)
	}
	s.ready.Store(true)
	if code, _ := get("/readyz"); code != 200 {
		t.Errorf("/readyz: %d", code)
	}
	_, text := get("/metrics")
	for _, want := range []string{`zari_commits_total{storage="1"} 0`, `zari_connections{storage="1"} 0`, "zari_storage_bytes", "zari_finish_seconds_count"} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
}

func TestStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	if err := removeStaleSocket(path); err != nil {
		t.Errorf("an absent one: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := removeStaleSocket(path); err == nil {
		t.Error("a file that is no socket is removed")
	}
}

func TestOverrides(t *testing.T) {
	f := serveFlags{address: "8200", readOnly: true}
	cfg, err := f.load([]string{"Data.fs"})
	if err != nil {
		t.Fatal(err)
	}
	if want := (zconfig.Address{Port: 8200, HasPort: true}); cfg.ZEO.Address != want || !cfg.ZEO.ReadOnly {
		t.Errorf("%+v", cfg.ZEO)
	}
}
