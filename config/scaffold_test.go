package config

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFanOutNeedsServer(t *testing.T) {
	if _, err := New(Setup{Kind: "fan-out", Address: "8100"}); err == nil {
		t.Error("it connects to itself")
	}
}

// The database is the one of the URL, or one of this machine.
func TestNewDatabase(t *testing.T) {
	for url, want := range map[string]string{
		"": `the PostgreSQL database "zodb" on this machine, with history`,
		"postgres://zeo:a%24b@db/plone?sslmode=require": `the PostgreSQL database "plone" at db as user "zeo" with sslmode require, with history`,
	} {
		s := setup("postgresql")
		s.Database = url
		text, err := New(s)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Parse(strings.NewReader(text), "zeo.conf", environ)
		if err != nil {
			t.Fatal(err)
		}
		if got := Describe(c.Storages[0]); !strings.HasPrefix(got, want) {
			t.Errorf("%q gives %s", url, got)
		}
	}
	for url, want := range map[string]string{
		"mysql://u:secret@h/d": "mysql://u:***@h/d is not the URL of a database for a set-up of kind postgresql",
		"Data.fs":              "Data.fs is not the URL of a SQL database",
		"postgres://h:x/d":     `postgres://h:x/d: port: "x" is not a number from 1 to 65535`,
	} {
		s := setup("postgresql")
		s.Database = url
		if _, err := New(s); err == nil || err.Error() != want {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func setup(kind string) Setup {
	return Setup{Kind: kind, Address: "127.0.0.1:8100", Data: "/srv/$x/Data.fs", BlobDir: "/srv/blobs", Server: "central:8100"}
}

// What is written loads, and says what was asked for.
func TestNew(t *testing.T) {
	for _, k := range Kinds {
		text, err := New(setup(k.Name))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", "new", k.Name+".conf")
		if *update {
			if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || string(want) != text {
			t.Errorf("%s: %v, it is now\n%s", path, err, text)
		}
		var report strings.Builder
		if _, err := Check(path, false, environ).WriteTo(&report); err != nil {
			t.Fatal(err)
		}
		compareGolden(t, filepath.Join("testdata", "new", k.Name+".expected"), report.String())
	}
}

func TestNewRefuses(t *testing.T) {
	for kind, want := range map[string]string{
		"s3":  "a set-up of kind s3 is not supported yet",
		"fil": `there is no set-up of kind "fil": there are file, blobs, fan-out, demo, postgresql, mysql, sqlite, zope`,
	} {
		if _, err := New(setup(kind)); err == nil || err.Error() != want {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// complete adds to text and checks that nothing else has happened to it: without
// what was put in, it is the text to the byte.
func complete(t *testing.T, text, kind string) (completed string, added []string) {
	t.Helper()
	out, added, err := Complete([]byte(text), "zeo.conf", setup(kind), environ)
	if err != nil {
		t.Fatal(err)
	}
	if !isSubsequence(splitLines(text), splitLines(string(out))) {
		t.Errorf("lines have changed:\n%s\n--- was\n%s", out, text)
	}
	again, more, err := Complete(out, "zeo.conf", setup(kind), environ)
	if err != nil || len(more) > 0 || !bytes.Equal(out, again) {
		t.Errorf("completed once, it still lacks %v, %v", more, err)
	}
	if len(added) == 0 && text != string(out) {
		t.Error("nothing is said to be added, but the file has changed")
	}
	return string(out), added
}

// splitLines splits a text into lines with their ends. The last one need not have
// one: it gets one when something follows.
func splitLines(text string) []string {
	lines := strings.SplitAfter(text, "\n")
	if last := lines[len(lines)-1]; last == "" {
		return lines[:len(lines)-1]
	}
	end := "\n"
	if strings.Contains(text, "\r\n") {
		end = "\r\n"
	}
	lines[len(lines)-1] += end
	return lines
}

func isSubsequence(part, all []string) bool {
	for _, line := range all {
		if len(part) > 0 && part[0] == line {
			part = part[1:]
		}
	}
	return len(part) == 0
}

const halfFile = "# by hand\n\n<ZEO>\n\tADDRESS 9000\n\n   # keep me\n</zeo>\n<filestorage>\n path /a/Data.fs   \n</filestorage>\n# the end"

func TestComplete(t *testing.T) {
	got, added := complete(t, halfFile, "blobs")
	want := "# by hand\n\n<ZEO>\n\tADDRESS 9000\n\n   # keep me\n" +
		"\t# Metrics for Prometheus, /healthz and /readyz, over HTTP.\n\tmetrics-address 127.0.0.1:8102\n" +
		"\t# How many transactions a client may miss and still keep its cache.\n\tinvalidation-queue-size 1000\n" +
		"\t# How many seconds a client may take from vote to finish.\n\ttransaction-timeout 300\n" +
		"</zeo>\n<filestorage>\n path /a/Data.fs   \n" +
		" # Where blobs are kept. The folder is made if it is not there.\n blob-dir /srv/blobs\n" +
		"</filestorage>\n# the end\n" +
		"\n<eventlog>\n  level info\n  <logfile>\n    # A file, or STDERR. After a rotation, send SIGUSR2.\n    path STDERR\n" +
		"    # As Python's logging has it.\n    format %(asctime)s %(levelname)s %(name)s %(message)s\n  </logfile>\n</eventlog>\n"
	if got != want {
		t.Errorf("got\n%s", got)
	}
	const wantAdded = "metrics-address in <zeo>; invalidation-queue-size in <zeo>; transaction-timeout in <zeo>; blob-dir in <filestorage>; <eventlog>"
	if s := strings.Join(added, "; "); s != wantAdded {
		t.Errorf("added %s", s)
	}
}

func TestCompleteKeepsWhatIsThere(t *testing.T) {
	complete(t, "", "file")
	complete(t, strings.ReplaceAll(halfFile, "\n", "\r\n"), "file")
	if got, _ := complete(t, strings.ReplaceAll(halfFile, "\n", "\r\n"), "file"); strings.Count(got, "\n") != strings.Count(got, "\r\n") {
		t.Errorf("mixed ends of lines: %q", got)
	}
	for _, text := range []string{
		"<zodb main>\n<mappingstorage/>\n</zodb>\n",
		"<blobstorage 1>\nblob-dir b\n<filestorage>\npath Data.fs\n</filestorage>\n</blobstorage>\n",
		"<filestorage a>\npath a.fs\n</filestorage>\n<filestorage b>\npath b.fs\n</filestorage>\n",
		"<mappingstorage/>\n<eventlog/>\n<zeo>\naddress 1\n</zeo>\n",
	} {
		got, _ := complete(t, text, "blobs")
		if strings.Contains(got, "/srv/blobs") || strings.Contains(got, "/srv/$$x") {
			t.Errorf("a file that has a storage got another one, or blobs for none:\n%s", got)
		}
	}
	if _, _, err := Complete([]byte("<zeo>\nadress 1\n</zeo>\n"), "zeo.conf", setup("file"), environ); err == nil {
		t.Error("a file with faults is completed")
	}
	if _, _, err := Complete([]byte("<zeo>"), "zeo.conf", setup("file"), environ); err == nil {
		t.Error("a broken file is completed")
	}
	if _, _, err := Complete(nil, "zeo.conf", setup("s3"), environ); err == nil {
		t.Error("a set-up that there is not")
	}
}

// Every file of the corpus that loads can be completed.
func TestCompleteCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/corpus/*.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(Check(file, false, environ).Faults) == 0 && !bytes.Contains(text, []byte("%include")) {
			complete(t, string(text), "blobs")
		}
	}
}
