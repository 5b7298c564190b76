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
	if err := configCheck(&out, path, false); err != nil {
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
	if err := configCheck(&out, path, true); err != nil {
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
		err := configCheck(&out, path, asJSON)
		if !errors.As(err, new(usageError)) || !strings.HasSuffix(err.Error(), "has 2 faults") {
			t.Errorf("%v", err)
		}
		if !strings.Contains(out.String(), "unknown key") {
			t.Errorf("it says %s", out.String())
		}
	}
	if err := configCheck(&bytes.Buffer{}, filepath.Join(t.TempDir(), "absent.conf"), true); !errors.As(err, new(usageError)) {
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
