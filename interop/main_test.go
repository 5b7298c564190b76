package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// setup is what every test needs: found or built once.
var setup struct {
	python  string   // path of the interpreter
	missing string   // why there is none
	server  []string // command of the server, {conf} standing for its configuration file
	runzeo  bool     // the server is Python's own
	zari    string   // path of the binary; "" with another server
}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	setup.python, setup.missing = findPython()
	if setup.missing != "" && os.Getenv("CI") == "" {
		return m.Run() // every test skips: nothing to build
	}
	dir, err := os.MkdirTemp("", "zari-interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := findServer(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func findPython() (path, missing string) {
	path = os.Getenv("ZARI_PYTHON")
	if path == "" {
		path = filepath.Join("..", ".venv", "bin", "python")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err.Error()
	}
	out, err := exec.Command(path, "-c", "import ZEO, ZODB, BTrees, msgpack").CombinedOutput()
	if err != nil {
		return "", fmt.Sprintf("no Python with ZODB and ZEO at %s (make venv, or set ZARI_PYTHON): %v %s", path, err, out)
	}
	return path, ""
}

// findServer decides which server is tested, and builds zari into dir if it is that.
func findServer(dir string) error {
	switch command := os.Getenv("ZARI_SERVER"); command {
	case "":
		setup.zari = filepath.Join(dir, "zari")
		setup.server = []string{setup.zari, "serve", "-C", "{conf}"}
		build := exec.Command("go", "build", "-o", setup.zari, "github.com/zaridb/zari/cmd/zari")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("building zari: %w\n%s", err, out)
		}
	case "runzeo":
		setup.runzeo = true
		setup.server = []string{setup.python, "-m", "ZEO.runzeo", "-C", "{conf}"}
	default:
		setup.server = strings.Fields(command)
	}
	return nil
}

// needPython skips a test that has no Python to run, or fails it where there must be one.
func needPython(t *testing.T) {
	t.Helper()
	switch {
	case setup.missing == "":
	case os.Getenv("CI") != "":
		t.Fatal(setup.missing)
	default:
		t.Skip(setup.missing)
	}
}
