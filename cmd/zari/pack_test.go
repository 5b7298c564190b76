package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zaridb/zari/zeo/server"
	"github.com/zaridb/zari/zodb"
)

func TestPackExamples(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Mkdir("srv", 0o700); err != nil {
		t.Fatal(err)
	}
	newSample(t, filepath.Join(dir, "srv"))
	plain := newSample(t, dir)
	// A server has another file open.
	served := newSample(t, t.TempDir())
	st := served.open(t)
	addr := serveStorage(t, st)
	runExamples(t, packExample, "/srv/", dir+"/srv/", " Data.fs", " "+plain.path, "localhost:8100", addr)
	if n := st.Info().Objects; n != 1 {
		t.Errorf("the server was told to pack, and has %d objects", n)
	}
}

// serveStorage serves a storage until the test ends.
func serveStorage(t *testing.T, s zodb.Storage) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Options{Storages: map[string]zodb.Storage{"1": s}})
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	t.Cleanup(func() {
		srv.Close()
		s.Close()
	})
	return l.Addr().String()
}

func TestPackAndItsOutput(t *testing.T) {
	dir := t.TempDir()
	s := newSample(t, dir)
	old := filepath.Join(dir, "Data.fs.old")
	exists := func() bool {
		_, err := os.Stat(old)
		return err == nil
	}
	for _, step := range []struct {
		args []string
		code int
		want string
		old  bool
	}{
		{[]string{"--days", "1", "--to", "now"}, exitUsage, "exclude each other", false},
		{[]string{"--gc", "--no-gc"}, exitUsage, "exclude each other", false},
		{[]string{"--keep-old", "--no-keep-old"}, exitUsage, "exclude each other", false},
		{[]string{"--days", "-1"}, exitUsage, "that are past", false},
		{[]string{"--throttle", "-1"}, exitUsage, "a rate", false},
		{[]string{"--to", "yesterday"}, exitUsage, "neither a tid", false},
		{[]string{"--days", "1"}, exitOK, "nothing to be gained", false},
		{[]string{"--dry-run"}, exitOK, "objects  3 -> 1\n", false},
		{[]string{"--dry-run", "--no-gc"}, exitOK, "objects  3 -> 3\n", false},
		{[]string{"--no-gc", "--no-keep-old", "--to", s.tids[1].String()}, exitOK, "dropped  2 revisions, 0 blobs\n", false},
		{[]string{"--no-gc", "--no-keep-old"}, exitOK, "objects  3 -> 3\n", false},
		{[]string{"--no-gc"}, exitOK, "nothing to be gained", false},
	} {
		code, out, errOut := zari(t, append([]string{"pack", s.path}, step.args...)...)
		if code != step.code || !strings.Contains(out+errOut, step.want) {
			t.Errorf("%v: exit status %d, want %d, and %q in\n%s%s", step.args, code, step.code, step.want, out, errOut)
		}
		if exists() != step.old {
			t.Errorf("%v: the old file is there: %v", step.args, exists())
		}
	}
	st := s.open(t)
	s.commit(t, st, "one more", func(txn zodb.Txn) error { return txn.Store(t.Context(), 0, s.tids[4], record(t, "app.Document", 5)) })
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	out := zariOK(t, "pack", "--json", s.path)
	var sum packSummary
	if err := json.Unmarshal([]byte(out), &sum); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	sum.To, sum.Seconds, sum.Memory, sum.BytesBefore, sum.BytesAfter, sum.Storage = time.Time{}, 0, 0, 0, 0, ""
	if want := (packSummary{PackReport: zodb.PackReport{ObjectsBefore: 3, ObjectsAfter: 1, Revisions: 3, Blobs: 1}}); sum != want {
		t.Errorf("%+v, want %+v", sum, want)
	}
	if !exists() {
		t.Error("no old file is left")
	}
}

func TestPackRefuses(t *testing.T) {
	dir := t.TempDir()
	s := newSample(t, dir)
	st := s.open(t)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exitUsage, "arg"},
		{[]string{s.path}, exitFailure, "let the server pack"},
		{[]string{"--no-gc", "zeo://" + serveStorage(t, st)}, exitFailure, "the server decides"},
		{[]string{filepath.Join(dir, "absent", "absent.fs")}, exitFailure, "absent.fs"},
		{[]string{"nothing://x"}, exitUsage, "nothing"},
	} {
		code, out, errOut := zari(t, append([]string{"pack"}, c.args...)...)
		if code != c.code || !strings.Contains(errOut, c.want) {
			t.Errorf("%v: exit status %d, want %d, and %q in\n%s%s", c.args, code, c.code, c.want, out, errOut)
		}
	}
}

func TestRateLine(t *testing.T) {
	for want, c := range map[string][3]int64{
		"packing: 25%, 10.0 MB/s, 30s left": {100e6, 400e6, 10},
		"packing":                           {0, 400e6, 10},
	} {
		if got := rateLine("packing", c[0], c[1], time.Duration(c[2])*time.Second); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Whoever presses Ctrl-C while the file is opened reads the same as later.
func TestPackCancelledAtOnce(t *testing.T) {
	s := newSample(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := (&packFlags{}).run(ctx, s.path, time.Now(), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "the pack was cancelled; the storage is as it was") {
		t.Error(err)
	}
}
