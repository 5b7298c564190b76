package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	s, path := plainSample(t)
	other := filepath.Join(t.TempDir(), "Data.fs")
	zariOK(t, "copy", "--without-blobs", "--to", s.tids[2].String(), path, other)
	size, blob := len(record(t, "app.Document", 0)), len(record(t, "ZODB.blob.Blob", 0))
	changes := fmt.Sprintf("M 0x00 app.Document %d -> %d bytes\nM 0x01 app.Document %d -> %d bytes\nA 0x02 ZODB.blob.Blob %d bytes\n", size, size, size, size, blob)
	summary := fmt.Sprintf("1 added, 2 changed, 0 deleted, +%d bytes\n  app.Document: 0 added, 2 changed, 0 deleted, +0 bytes\n  ZODB.blob.Blob: 1 added, 0 changed, 0 deleted, +%d bytes\n", blob, blob)
	backward := strings.Replace(changes, "A 0x02", "D 0x02", 1) + "0 added, 2 changed, 1 deleted, -"
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--from", s.tids[2].String(), s.path}, exitFailure, changes + summary},
		{[]string{"--from", s.tids[2].String(), "--summary", path}, exitFailure, summary},
		{[]string{"--from", s.tids[4].String(), path}, exitOK, ""},
		{[]string{"--from", s.tids[1].String(), "--to", s.tids[3].String(), "--summary", path}, exitFailure, "1 added, 2 changed"},
		{[]string{other, path}, exitFailure, changes + summary},
		{[]string{path, other}, exitFailure, backward},
		{[]string{path, path}, exitOK, ""},
		{[]string{"--to", s.tids[2].String(), other, path}, exitOK, ""},
		{[]string{path}, exitUsage, ""},
		{[]string{"--from", s.tids[1].String(), path, other}, exitUsage, ""},
		{[]string{path, path + ".absent"}, exitTrouble, ""},
	} {
		code, out, errOut := zari(t, append([]string{"diff"}, c.args...)...)
		if code != c.code || !strings.HasPrefix(out, c.want) || c.code == exitOK && out != "" {
			t.Errorf("%v: exit status %d, want %d, and\n%s\nin\n%s%s", c.args, code, c.code, c.want, out, errOut)
		}
	}
}

func TestDiffJSON(t *testing.T) {
	s, path := plainSample(t)
	_, out, _ := zari(t, "diff", "--json", "--from", s.tids[1].String(), "--to", s.tids[3].String(), path)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var first changedObject
	var total diffTotal
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &total); err != nil {
		t.Fatal(err)
	}
	if first.Change != "M" || first.OID != "0x00" || first.OldTID != s.tids[1].String() || first.NewTID != s.tids[2].String() || len(lines) != 4 || total.Changed != 2 || total.Classes["ZODB.blob.Blob"].Added != 1 {
		t.Errorf("%s", out)
	}
}

// The examples end with 0 or 1, as there are differences or not.
func TestDiffExamples(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	newSample(t, dir)
	if err := os.Mkdir("backup", 0o700); err != nil {
		t.Fatal(err)
	}
	zariOK(t, "copy", "--without-blobs", "Data.fs", "backup/Data.fs")
	n := 0
	for line := range strings.Lines(diffExample) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " | ")
		if code, _, errOut := zari(t, words(strings.TrimPrefix(line, "zari "))...); code != exitOK && code != exitFailure || errOut != "" && !strings.Contains(errOut, errReported.Error()) {
			t.Errorf("%s: exit status %d\n%s", line, code, errOut)
		}
		n++
	}
	if n != 4 {
		t.Errorf("there are %d examples", n)
	}
}
