package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zaridb/zari/bench/harness"
)

// The test program is Zari's side too, as the program is.
func TestMain(m *testing.M) {
	harness.Role(sideCommand, side)
	os.Exit(m.Run())
}

// A small file is packed by both, and the results are equal.
func TestBothSides(t *testing.T) {
	python := os.Getenv("ZARI_PYTHON")
	if python == "" {
		t.Skip("ZARI_PYTHON names no Python with ZODB")
	}
	c, err := parse([]string{"--megabytes", "2", "--objects", "4000", "--python", python})
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	r.print(&out)
	if !strings.Contains(out.String(), "The results are equal: 2036 records, 4 blobs; 2399 revisions were dropped.") {
		t.Error(out.String())
	}
}

// What differs is found.
func TestEqualFindsDifferences(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, objects := range map[string]int{"a": 3000, "b": 3000, "c": 3100} {
		if _, err := makeData(path(name), path(name+".blobs"), objects, 100); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := equal(path("a"), path("a"), 0, 0); err != nil {
		t.Error(err)
	}
	if _, err := equal(path("a"), path("a"), 0, 1); err == nil {
		t.Error("a commit that is lost is not missed")
	}
	if _, err := equal(path("a"), path("c"), 0, 0); err == nil {
		t.Error("files with different transactions are equal")
	}
	if n, err := equalBlobs(path("a.blobs"), path("a.blobs")); n != 6 || err != nil {
		t.Errorf("%d blobs, %v", n, err)
	}
	if _, err := equalBlobs(path("a.blobs"), path("c.blobs")); err == nil {
		t.Error("directories with different blobs are equal")
	}
}
