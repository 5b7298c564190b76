package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zaridb/zari/composite/importing"
	"github.com/zaridb/zari/internal/vfs"
)

// A part of a database must not be found to be whole, nor its objects garbage.
func TestPartsOfDatabasesAreNotLookedInto(t *testing.T) {
	path := filepath.Join(t.TempDir(), "Data.fs")
	s, err := openStorage(t.Context(), path, toFill)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path+".import", 0o700); err != nil {
		t.Fatal(err)
	}
	state := importing.File{FS: vfs.OS(), Path: filepath.Join(path+".import", "state")}
	for _, done := range []bool{false, true} {
		if err := state.Save(importing.State{Source: "old.fs", Done: done}); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{
			{"check", path}, {"refs", path, "1"}, {"gc", "--dry-run", path}, {"gc", path},
			{"show", path, "0"}, {"copy", path, path + ".copy"}, {"pack", path},
		} {
			_, _, stderr := zari(t, args...)
			if refused := strings.Contains(stderr, "zari serve --import old.fs "+path); refused == done {
				t.Errorf("done %v: zari %q: %s", done, args, stderr)
			}
		}
	}
}
