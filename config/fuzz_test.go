package config

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zaridb/zari/config/zconfig"
)

// seeds adds the configuration files of the tests, each with what else there is.
func seeds(f *testing.F, more ...any) {
	f.Helper()
	files, err := filepath.Glob("testdata/*/*.conf")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(append([]any{string(text)}, more...)...)
	}
}

// readsOthers skips texts that read files which the fuzzer does not make.
func readsOthers(t *testing.T, text string) {
	t.Helper()
	if strings.Contains(text, "%include") {
		t.Skip("reads other files")
	}
}

// Whatever a file holds: it loads, and what it gives hangs together; or it has
// faults, each with a place.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		readsOthers(t, text)
		doc, err := zconfig.Parse(strings.NewReader(text), "zeo.conf", zconfig.Options{Env: environ})
		if err != nil {
			checkFault(t, err)
			return
		}
		c, err := interpret(doc, environ, false)
		if err != nil {
			checkFault(t, err)
			return
		}
		checkConfig(t, c)
	})
}

func checkFault(t *testing.T, err error) {
	t.Helper()
	if e, ok := errors.AsType[*zconfig.Error](err); !ok || e.Pos.File == "" || err.Error() == "" {
		t.Fatalf("%T: %v", err, err)
	}
}

func checkConfig(t *testing.T, c *Config) {
	t.Helper()
	names := make(map[string]bool)
	for _, s := range c.Storages {
		if s.StorageName() == "" || names[s.StorageName()] {
			t.Fatalf("storage name %q", s.StorageName())
		}
		names[s.StorageName()] = true
		for part := range All(s) {
			if part.Position().Line == 0 || part.Head().Type == "" || Describe(part) == "" {
				t.Fatalf("%+v", part)
			}
		}
	}
	if len(names) == 0 {
		t.Fatalf("%+v", c)
	}
	if _, err := c.report("zeo.conf").WriteTo(io.Discard); err != nil {
		t.Fatal(err)
	}
}

// What is completed keeps all its lines, and is then complete.
func FuzzComplete(f *testing.F) {
	seeds(f, uint8(1))
	f.Fuzz(func(t *testing.T, text string, kind uint8) {
		readsOthers(t, text)
		k := Kinds[int(kind)%len(Kinds)].Name
		if _, _, err := Complete([]byte(text), "zeo.conf", setup(k), environ); err == nil {
			complete(t, text, k)
		}
	})
}

// Whatever a command line names is found, or refused with a reason.
func FuzzFindStorage(f *testing.F) {
	for _, where := range []string{
		"Data.fs", "file:///Data.fs?blobstorage_dir=/b&quota=1MB&demostorage", "zeo://[::1]:1?storage=x&wait=0", "zeo:///x",
		"memory://x?connection_pool_size=3", "demo:(demo:(a.fs)/(zeo://x))/(file://c.fs?create=1)#x=y", "postgres://x",
	} {
		f.Add(where)
	}
	f.Fuzz(func(t *testing.T, where string) {
		if strings.Contains(strings.ToLower(where), ".conf") || strings.Contains(strings.ToLower(where), "zconfig") {
			t.Skip("reads other files")
		}
		s, _, err := FindStorage(where, environ)
		if err == nil && (s.StorageName() == "" || Describe(s) == "") || err != nil && err.Error() == "" {
			t.Fatalf("%q: %+v, %v", where, s, err)
		}
	})
}
