package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zaridb/zari/transfer"
)

func TestCopyExamples(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"backup", "srv", "new"} {
		if err := os.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	newSample(t, filepath.Join(dir, "srv"))
	plain := "file://" + filepath.Join(dir, "Data.fs")
	zariOK(t, "copy", "--without-blobs", fileURL(filepath.Join(dir, "srv")), plain)
	conf := "<filestorage source>\n  path srv/Data.fs\n  blob-dir srv/blobs\n</filestorage>\n<filestorage destination>\n  path new/Data.fs\n  blob-dir new/blobs\n</filestorage>\n"
	if err := os.WriteFile("convert.conf", []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	runExamples(t, copyExample, "/srv/", dir+"/srv/", "/new/", dir+"/new/", " Data.fs", " --without-blobs Data.fs")
}

func TestCopyAndItsOutput(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	s := newSample(t, src)
	to := fileURL(dst)
	for _, step := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--dry-run"}, exitOK, "all of " + s.path + " would be copied, up to transaction " + s.tids[4].String()},
		{[]string{"--dry-run", "--verify"}, exitFailure, "nothing to verify"},
		{[]string{"--to", s.tids[1].String()}, exitOK, "copied 2 transactions with 4 records"},
		{[]string{"--dry-run"}, exitOK, "what follows transaction " + s.tids[1].String()},
		{[]string{"--dry-run", "--verify"}, exitFailure, "transaction " + s.tids[2].String() + ": only in source"},
		{nil, exitOK, "copied 3 transactions with 5 records"},
		{[]string{"--verify"}, exitOK, "verified 5 transactions with 9 records and 1 blobs: no difference"},
		{[]string{"--dry-run"}, exitOK, "nothing would be copied"},
		{[]string{"--clear", "--dry-run"}, exitOK, "would be emptied: it has 3 objects"},
		{[]string{"--clear", "--verify"}, exitOK, "copied 5 transactions"},
		{[]string{"--clear", "--incremental"}, exitUsage, "exclude"},
		{[]string{"--to", "yesterday"}, exitUsage, "neither a tid"},
		{[]string{"--from", "2999-01-01"}, exitOK, "copied 0 transactions"},
	} {
		code, out, errOut := zari(t, append([]string{"copy", s.path, to}, step.args...)...)
		if code != step.code || !strings.Contains(out+errOut, step.want) {
			t.Errorf("%v: exit status %d, want %d, and %q in\n%s%s", step.args, code, step.code, step.want, out, errOut)
		}
	}
	if _, err := os.Stat(filepath.Join(dst, "Data.fs")); err != nil {
		t.Error(err)
	}
}

func TestCopyDryRunMakesNothing(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	s := newSample(t, src)
	zariOK(t, "copy", "--dry-run", s.path, fileURL(dst))
	if entries, err := os.ReadDir(dst); err != nil || len(entries) > 0 {
		t.Errorf("there is %v, %v", entries, err)
	}
}

func TestCopyRefuses(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	a, b := newSample(t, one), newSample(t, two)
	link := filepath.Join(two, "Link.fs")
	if err := os.Symlink(filepath.Join(one, "Data.fs"), link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{a.path}, exitUsage, "name SRC and DST"},
		{[]string{a.path, a.path}, exitUsage, "is both source and destination"},
		{[]string{a.path, link, "--clear"}, exitUsage, "is both source and destination"},
		{[]string{a.path, "file://" + filepath.Join(two, "Other.fs") + "?blobstorage_dir=" + filepath.Join(one, "blobs")}, exitUsage, "the blobs of source and destination"},
		{[]string{a.path, b.path}, exitFailure, "--clear would empty it"},
		{[]string{filepath.Join(one, "absent.fs"), b.path}, exitFailure, "absent.fs"},
		{[]string{a.path, filepath.Join(two, "bare.fs")}, exitFailure, "the destination was opened without a directory for blobs"},
		{[]string{filepath.Join(one, "Data.fs"), filepath.Join(two, "new.fs")}, exitFailure, "is a blob, and the source"},
		{[]string{a.path, "memory://x"}, exitFailure, "does not take transactions with given tids"},
		{[]string{a.path, "memory://x", "--clear"}, exitUsage, "no way to empty"},
	} {
		code, out, errOut := zari(t, append([]string{"copy"}, c.args...)...)
		if code != c.code || !strings.Contains(errOut, c.want) {
			t.Errorf("%v: exit status %d, want %d, and %q in\n%s%s", c.args, code, c.code, c.want, out, errOut)
		}
	}
	st := a.open(t)
	defer st.Close()
	if st.LastTID() != a.last() {
		t.Error("the source has changed")
	}
}

func TestCopyJSON(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	s := newSample(t, src)
	var r copyReport
	if err := json.Unmarshal([]byte(zariOK(t, "copy", "--json", "--verify", s.path, fileURL(dst))), &r); err != nil {
		t.Fatal(err)
	}
	if r.Transactions != 5 || r.Blobs != 1 || r.Last != s.last().String() || *r.Differences != 0 || *r.Verified != 5 || r.Error != "" {
		t.Errorf("%+v", r)
	}
	s.more(t)
	code, out, _ := zari(t, "copy", "--json", "--dry-run", "--verify", s.path, fileURL(dst))
	r = copyReport{}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if code != exitFailure || *r.Differences != 1 || r.FirstOnes[0].TID != s.last().String() || r.Error == "" {
		t.Errorf("exit status %d: %+v", code, r)
	}
}

// What zodbconvert's options mean, they mean here.
func TestCopyConvert(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"src", "dst"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s := newSample(t, filepath.Join(dir, "src"))
	conf := filepath.Join(dir, "convert.conf")
	text := "<filestorage source>\n  path %SRC/Data.fs\n  blob-dir %SRC/blobs\n</filestorage>\n<blobstorage destination>\n  blob-dir %DST/blobs\n  <filestorage>\n    path %DST/Data.fs\n  </filestorage>\n</blobstorage>\n"
	text = strings.NewReplacer("%SRC", filepath.Join(dir, "src"), "%DST", filepath.Join(dir, "dst")).Replace(text)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--dry-run"}, exitOK, "would be copied"},
		{nil, exitOK, "copied 5 transactions"},
		{nil, exitFailure, "--incremental goes on from there"},
		{[]string{"--incremental"}, exitOK, "copied 0 transactions"},
		{[]string{"--clear", "--verify"}, exitOK, "copied 5 transactions"},
		{[]string{"one", "two"}, exitUsage, "name SRC and DST or"},
	} {
		code, out, errOut := zari(t, append([]string{"copy", "-C", conf}, step.args...)...)
		if code != step.code || !strings.Contains(out+errOut, step.want) {
			t.Errorf("%v: exit status %d, want %d, and %q in\n%s%s", step.args, code, step.code, step.want, out, errOut)
		}
	}
	_ = s
	if code, _, errOut := zari(t, "copy", "-C", filepath.Join(dir, "absent.conf")); code != exitUsage {
		t.Errorf("an absent file: exit status %d\n%s", code, errOut)
	}
}

func TestProgress(t *testing.T) {
	var out strings.Builder
	p := newProgressBar(&out, false)
	p.begin("copied")
	x := transfer.Progress{TID: 0x03fd, Transactions: 10, Bytes: 2e6, Done: 1e6, Total: 4e6}
	p.show(x)
	if out.Len() > 0 {
		t.Errorf("at once it says %q", out.String())
	}
	p.began = p.began.Add(-2 * time.Second)
	p.points[0].at = p.began
	p.every = 0
	x.Bytes, x.Done, x.Transactions = 4e6, 2e6, 20
	p.show(x)
	if got := out.String(); !strings.HasPrefix(got, "copied: 20 transactions, 4.0 MB, ") || !strings.HasSuffix(got, "/s, 50 %, 3s left\n") && !strings.HasSuffix(got, "/s, 50 %, 4s left\n") {
		t.Errorf("it says %q", got)
	}
	out.Reset()
	p.json = true
	p.show(x)
	var l progressLine
	if err := json.Unmarshal([]byte(out.String()), &l); err != nil || l.Percent != 50 || l.TID != "00000000000003fd" || l.SecondsLeft <= 0 {
		t.Errorf("%s: %v", out.String(), err)
	}
}

func TestParseTID(t *testing.T) {
	for text, want := range map[string]string{
		"040d2e6482222222":       "040d2e6482222222",
		"0x40d2e6482222222":      "040d2e6482222222",
		"2026-11-22T06:28:30.5":  "040d2e6482222222",
		"2026-11-22T06:28:30.5Z": "040d2e6482222222",
		"1900-1-2":               "000005a000000000",
		"0000000000000000":       "",
		"8000000000000000":       "",
		"12":                     "",
		"0x":                     "",
	} {
		tid, err := parseTID(text)
		if (err == nil) != (want != "") || err == nil && tid.String() != want {
			t.Errorf("%s: %v, %v; want %q", text, tid, err, want)
		}
	}
}
