package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zaridb/zari/config"
)

func TestInit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zeo.conf")
	setup := config.Setup{Kind: "file", Address: "127.0.0.1:0", Data: filepath.Join(filepath.Dir(path), "Data.fs")}
	if err := initConfig(io.Discard, path, setup); err != nil {
		t.Fatal(err)
	}
	s := &service{}
	f := serveFlags{config: path}
	var err error
	if s.cfg, err = f.load(nil); err != nil {
		t.Fatal(err)
	}
	s.cfg.ZEO.NoMetrics = true
	defer s.close()
	if err := s.open(t.Context()); err != nil {
		t.Fatalf("what was written cannot be served: %v", err)
	}
	if err := initConfig(io.Discard, path, setup); err == nil || !strings.HasSuffix(err.Error(), "is there already: --update adds to it") {
		t.Errorf("a second time: %v", err)
	}
	var out bytes.Buffer
	if err := initConfig(&out, "-", setup); err != nil || !strings.Contains(out.String(), "<filestorage 1>") {
		t.Errorf("%v, %s", err, out.String())
	}
	setup.Kind = "s3"
	if err := initConfig(&out, path+".pg", setup); !errors.As(err, new(usageError)) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(path + ".pg"); !os.IsNotExist(err) {
		t.Errorf("a file is left: %v", err)
	}
}

// A file with a password in it is for its owner alone.
func TestInitPassword(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zeo.conf")
	setup := config.Setup{Kind: "mysql", Address: "8100", BlobDir: "blobs", Database: "mysql://u:secret@h/d"}
	if err := initConfig(io.Discard, path, setup); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), "passwd secret\n") {
		t.Errorf("%s, %v", text, err)
	}
}

func TestInitUpdate(t *testing.T) {
	const old = "<zeo>\n  address 8100\n</zeo>\n<mappingstorage/>\n"
	path := write(t, "zeo.conf", old)
	link := path + ".link"
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	setup := config.Setup{Kind: "file", Address: "8100", Data: "Data.fs"}
	if err := updateConfig(&out, link, setup); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"added metrics-address in <zeo>\n", "added <eventlog>\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it says %s", out.String())
		}
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(text), "<zeo>\n  address 8100\n") || !strings.Contains(string(text), "</zeo>\n<mappingstorage/>\n") {
		t.Errorf("%v\n%s", err, text)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is a link no more: %v, %v", info.Mode(), err)
	}
	if list, err := os.ReadDir(filepath.Dir(path)); err != nil || len(list) != 2 {
		t.Errorf("files are left: %v, %v", list, err)
	}
	out.Reset()
	if err := updateConfig(&out, path, setup); err != nil || !strings.HasSuffix(out.String(), "lacks nothing\n") {
		t.Errorf("a second time: %v, %s", err, out.String())
	}
	if err := updateConfig(&out, write(t, "bad.conf", "<zeo>\n"), setup); !errors.As(err, new(usageError)) {
		t.Errorf("a broken file: %v", err)
	}
	if err := updateConfig(&out, filepath.Join(t.TempDir(), "absent"), setup); !os.IsNotExist(err) {
		t.Errorf("an absent file: %v", err)
	}
}
