package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zaridb/zari/config"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConfigCheck(t *testing.T) {
	path := write(t, "zeo.conf", "<zeo>\n  address 8100\n  monitor-address 8101\n</zeo>\n<readonly 1>\n  <filestorage>\n    path Data.fs\n  </filestorage>\n</readonly>\n")
	var out bytes.Buffer
	if err := configCheck(&out, path, false, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"clients connect to port 8100, on all interfaces, without TLS\n",
		`"1" <readonly>: cannot be written` + "\n    <filestorage>: the file Data.fs\n",
		"zeo.conf:3: monitor-address is not served",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	out.Reset()
	if err := configCheck(&out, path, false, true); err != nil {
		t.Fatal(err)
	}
	var r config.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if r.Server == nil || len(r.Storages) != 1 || r.Storages[0].Parts[0].Line != 6 || r.Notes[0].Line != 3 || r.Faults == nil {
		t.Errorf("%+v", r)
	}
}

func TestConfigCheckFaults(t *testing.T) {
	path := write(t, "zeo.conf", "<zeo>\n  adress 8100\n</zeo>\n<mappingstorage/>\n")
	for _, asJSON := range []bool{false, true} {
		var out bytes.Buffer
		err := configCheck(&out, path, false, asJSON)
		if !errors.As(err, new(usageError)) || !strings.HasSuffix(err.Error(), "has 2 faults") {
			t.Errorf("%v", err)
		}
		if !strings.Contains(out.String(), "unknown key") {
			t.Errorf("it says %s", out.String())
		}
	}
	if err := configCheck(&bytes.Buffer{}, filepath.Join(t.TempDir(), "absent.conf"), false, true); !errors.As(err, new(usageError)) {
		t.Errorf("an absent file: %v", err)
	}
}

// A file that does not say where clients connect is served where the command
// line says.
func TestServeStorages(t *testing.T) {
	path := write(t, "zope.conf", "instancehome /x\n<zodb_db main>\n<mappingstorage/>\nmount-point /\n</zodb_db>\n")
	f := serveFlags{address: "8100", config: path}
	cfg, err := f.load(nil)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.ZEO.Address.Port != 8100 || cfg.ZEO.InvalidationQueueSize != 100 || cfg.Storages[0].StorageName() != "main" {
		t.Errorf("%+v", cfg)
	}
	f.address = ""
	if _, err := f.load(nil); err == nil {
		t.Error("served nowhere")
	}
}

func TestServeNamedStorage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "Data.fs")
	for _, where := range []string{path, "file://" + path} {
		f := serveFlags{blobDir: filepath.Join(dir, "blobs")}
		cfg, err := f.load([]string{where})
		if err != nil {
			t.Fatal(err)
		}
		if s := cfg.Storages[0].(*config.FileStorage); s.Path != path || s.BlobDir != f.blobDir || s.StorageName() != "1" {
			t.Errorf("%s: %+v", where, s)
		}
		if cfg.ZEO.Address.String() != defaultAddress {
			t.Errorf("%s: served at %v", where, cfg.ZEO.Address)
		}
	}
	for where, want := range map[string]string{
		"zeo.conf":                          "is a configuration file: zari serve -C zeo.conf",
		"zeo://h:1":                         "--blob-dir goes with a Data.fs",
		"file://Data.fs?blobstorage_dir=b1": "--blob-dir goes with a Data.fs",
		"ftp://h":                           "the scheme ftp is not known",
	} {
		f := serveFlags{blobDir: "b2"}
		if _, err := f.load([]string{where}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", where, err)
		}
	}
}

// With --read-only nothing is locked and nothing is written, also not the base of
// what a file names.
func TestServeReadOnly(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "Data.fs")
	first, err := openStorage(t.Context(), path, toFill)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	conf := write(t, "zodb.conf", "<zodb 1>\n<filestorage>\npath "+path+"\n</filestorage>\n</zodb>\n")
	f := serveFlags{address: "127.0.0.1:0", metrics: "off", config: conf, readOnly: true}
	cfg, err := f.load(nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg.EventLog = &config.EventLog{}
	s := &service{cfg: cfg, readOnly: f.readOnly}
	defer s.close()
	if err := s.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !s.storages["1"].Info().ReadOnly {
		t.Errorf("%+v", s.storages["1"].Info())
	}
}
