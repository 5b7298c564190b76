package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zaridb/zari/zodb"
)

func TestOpenStorage(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	conf := filepath.Join(dir, "zodb.conf")
	text := "<zodb>\n  cache-size 10\n  <filestorage>\n    path " + dir + "/Data.fs\n  </filestorage>\n</zodb>\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := openStorage(ctx, filepath.Join(dir, "Data.fs"), toFill)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	s, err = openStorageTo(ctx, &said, conf, toRead)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Begin(ctx, zodb.TxnMeta{}); !errors.Is(err, zodb.ErrReadOnly) {
		t.Errorf("it can be written: %v", err)
	}
	if want := "zodb.conf:2: not about storages, and not used here: cache-size\n"; !strings.HasSuffix(said.String(), want) {
		t.Errorf("it says %q", said.String())
	}
	if _, err := openStorage(ctx, "nothing://x", toRead); !errors.As(err, new(usageError)) {
		t.Errorf("an unknown scheme: %v", err)
	}
	if _, err := openStorage(ctx, filepath.Join(dir, "absent.fs"), toRead); err == nil || errors.As(err, new(usageError)) {
		t.Errorf("an absent file: %v", err)
	}
}

// A misspelt name must not become an empty database that there is nothing to do for.
func TestChangingCommandsMakeNoDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "Dta.fs")
	for _, args := range [][]string{
		{"pack", path},
		{"pack", "--dry-run", path},
		{"undo", path, "03fd1c2b3a495867"},
		{"gc", path},
		{"gc", "--dry-run", path},
	} {
		code, stdout, stderr := zari(t, args...)
		if code != exitFailure || !strings.Contains(stderr, "no such file") {
			t.Errorf("zari %q: exit status %d\n%s%s", args, code, stdout, stderr)
		}
		if made, _ := filepath.Glob(path + "*"); len(made) > 0 {
			t.Errorf("zari %q made %q", args, made)
		}
	}
}

// Nor may a misspelt directory for blobs become one in which there are none: a copy
// would leave them all out.
func TestReadingCommandsMakeNoBlobDirectory(t *testing.T) {
	dir := t.TempDir()
	newSample(t, dir)
	absent := filepath.Join(dir, "blubs")
	url := "file://" + filepath.Join(dir, "Data.fs") + "?blobstorage_dir=" + absent
	for _, args := range [][]string{
		{"copy", url, fileURL(t.TempDir())},
		{"copy", "--verify", "--dry-run", url, fileURL(t.TempDir())},
		{"history", url, "0"},
		{"pack", url},
	} {
		code, stdout, stderr := zari(t, args...)
		if code != exitFailure || !strings.Contains(stderr, "the directory for blobs: stat "+absent) {
			t.Errorf("zari %q: exit status %d\n%s%s", args, code, stdout, stderr)
		}
		if _, err := os.Lstat(absent); err == nil {
			t.Errorf("zari %q made the directory", args)
		}
	}
}
