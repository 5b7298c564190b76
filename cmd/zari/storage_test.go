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
	s, err := openStorage(ctx, filepath.Join(dir, "Data.fs"), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	s, err = openStorageTo(ctx, &said, conf, true)
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
	if _, err := openStorage(ctx, "nothing://x", true); !errors.As(err, new(usageError)) {
		t.Errorf("an unknown scheme: %v", err)
	}
	if _, err := openStorage(ctx, filepath.Join(dir, "absent.fs"), true); err == nil || errors.As(err, new(usageError)) {
		t.Errorf("an absent file: %v", err)
	}
}
