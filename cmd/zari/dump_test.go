package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// plainSample makes a sample whose blobs are not named: examples say Data.fs.
func plainSample(t *testing.T) (*sample, string) {
	t.Helper()
	dir := t.TempDir()
	return newSample(t, dir), filepath.Join(dir, "Data.fs")
}

func TestDumpExamples(t *testing.T) {
	_, path := plainSample(t)
	runExamples(t, dumpExample, " Data.fs", " "+path)
}

func TestDumpText(t *testing.T) {
	s, path := plainSample(t)
	out := zariOK(t, "dump", s.path)
	size := len(record(t, "app.Document", 0))
	for _, want := range []string{
		fmt.Sprintf("%v %s user=\"/ admin\" description=\"edit number 0\"\n  0x00 app.Document %d bytes\n  0x01 app.Document %d bytes\n", s.tids[0], when(s.tids[0]), size, size),
		fmt.Sprintf("  0x02 ZODB.blob.Blob %d bytes with a blob\n", len(record(t, "ZODB.blob.Blob", 0))),
		fmt.Sprintf("  0x00 app.Document %d bytes undone to %v\n", size, s.tids[1]),
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if got := strings.Count(zariOK(t, "dump", "--oid", "1", "--from", s.tids[1].String(), "--to", s.tids[3].String(), path), "0x01"); got != 2 {
		t.Errorf("of object 1 in a part there are %d lines", got)
	}
	if out := zariOK(t, "dump", "--hashes", path); !strings.Contains(out, " sha1:") {
		t.Errorf("there are no hashes in\n%s", out)
	}
	text := zariOK(t, "dump", "--format", "zodbtools", path)
	if want := fmt.Sprintf("txn %v \" \"\nuser \"/ admin\"\ndescription \"undo\"\nextension \"\"\nobj 0000000000000000 from %v\n", s.tids[4], s.tids[1]); !strings.Contains(text, want) {
		t.Errorf("%q is not in\n%s", want, text)
	}
	if hashed := zariOK(t, "dump", "--format", "zodbtools", "--hashes", path); len(hashed) >= len(text) || !strings.Contains(hashed, " -\n") {
		t.Errorf("with hashes only it is\n%s", hashed)
	}
}

func TestDumpJSON(t *testing.T) {
	s, _ := plainSample(t)
	var txns []dumpedTxn
	d := json.NewDecoder(strings.NewReader(zariOK(t, "dump", "--json", "--hashes", s.path)))
	for d.More() {
		var x dumpedTxn
		if err := d.Decode(&x); err != nil {
			t.Fatal(err)
		}
		txns = append(txns, x)
	}
	if len(txns) != 5 || txns[3].Records[0].Class != "ZODB.blob.Blob" || !txns[3].Records[0].Blob || txns[4].Records[1].From != s.tids[1].String() ||
		txns[0].Description != "edit number 0" || len(txns[0].Records[0].SHA1) != 40 || txns[0].Status != " " {
		t.Errorf("%+v", txns)
	}
}

func TestDumpUsage(t *testing.T) {
	_, path := plainSample(t)
	for _, args := range [][]string{{}, {"--format", "xml", path}, {"--json", "--format", "zodbtools", path}, {"--oid", "x", path}, {"--from", "x", path}} {
		if code, _, _ := zari(t, append([]string{"dump"}, args...)...); code != exitUsage {
			t.Errorf("%v: exit status %d", args, code)
		}
	}
	if code, _, _ := zari(t, "dump", path+".absent"); code != exitFailure {
		t.Errorf("an absent file: exit status %d", code)
	}
}

func TestHistory(t *testing.T) {
	s, path := plainSample(t)
	runExamples(t, historyExample, " Data.fs", " "+path)
	lines := strings.Split(strings.TrimSpace(zariOK(t, "history", path, "0x01")), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], s.tids[4].String()) || !strings.HasSuffix(lines[3], `user="/ admin" description="edit number 0"`) {
		t.Errorf("%q", lines)
	}
	var x loggedTxn
	if err := json.Unmarshal([]byte(zariOK(t, "history", "--json", "-n", "1", path, "2")), &x); err != nil || x.TID != s.tids[3].String() || x.Size == 0 {
		t.Errorf("%+v, %v", x, err)
	}
	for _, c := range []struct {
		args []string
		code int
	}{{[]string{path, "77"}, exitFailure}, {[]string{path, "x"}, exitUsage}, {[]string{path}, exitUsage}, {[]string{"-n", "0", path, "1"}, exitUsage}} {
		if code, _, errOut := zari(t, append([]string{"history"}, c.args...)...); code != c.code {
			t.Errorf("%v: exit status %d\n%s", c.args, code, errOut)
		}
	}
}
