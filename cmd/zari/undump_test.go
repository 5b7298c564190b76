package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A dump is read from a file and from standard input, and what comes out is what
// was dumped.
func TestUndump(t *testing.T) {
	_, path := plainSample(t)
	dir := t.TempDir()
	text := zariOK(t, "dump", "--format", "zodbtools", path)
	file := filepath.Join(dir, "Data.dump")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	runExamples(t, undumpExample, " New.fs", " "+filepath.Join(dir, "New.fs"), " Data.dump", " "+file, " Data.fs", " "+path)
	zariOK(t, "copy", "--verify", "--dry-run", "--without-blobs", path, filepath.Join(dir, "New.fs"))

	root := newRootCommand()
	var out bytes.Buffer
	root.SetArgs([]string{"undump", "--json", filepath.Join(dir, "Other.fs")})
	root.SetIn(strings.NewReader(text))
	root.SetOut(&out)
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	var x undumped
	if err := json.Unmarshal(out.Bytes(), &x); err != nil || x.Transactions != 5 || x.Records != 9 {
		t.Errorf("%s: %v", out.String(), err)
	}
	zariOK(t, "copy", "--verify", "--dry-run", "--without-blobs", path, filepath.Join(dir, "Other.fs"))
}

func TestUndumpRefuses(t *testing.T) {
	_, path := plainSample(t)
	dir := t.TempDir()
	damaged := filepath.Join(dir, "damaged.dump")
	text := zariOK(t, "dump", "--format", "zodbtools", path)
	if err := os.WriteFile(damaged, []byte(text[:len(text)-10]), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{path, damaged}, exitFailure, "is not empty"},
		{[]string{filepath.Join(dir, "one.fs"), damaged}, exitFailure, "line "},
		{[]string{filepath.Join(dir, "two.fs"), filepath.Join(dir, "absent")}, exitFailure, "absent"},
		{[]string{}, exitUsage, "arg"},
	} {
		code, _, errOut := zari(t, append([]string{"undump"}, c.args...)...)
		if code != c.code || !strings.Contains(errOut, c.want) {
			t.Errorf("%v: exit status %d, want %d, and %q in\n%s", c.args, code, c.code, c.want, errOut)
		}
	}
}
