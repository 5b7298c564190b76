package storages

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

func TestImport(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	source, dst := filepath.Join(dir, "old.fs"), filepath.Join(dir, "new.fs")
	s, err := OpenURL(ctx, source, Options{})
	if err != nil {
		t.Fatal(err)
	}
	old := commit(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c := &config.Import{Source: &config.FileStorage{Path: source}, Destination: &config.FileStorage{Path: dst}}

	lock, err := vfs.OS().Lock(source + ".lock") // another server
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, c, Options{}); err == nil || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("import of a file that a server has open: %v", err)
	}
	lock.Close()
	same := &config.Import{Source: c.Source, Destination: &config.FileStorage{Path: source}}
	if _, err := Open(ctx, same, Options{}); err == nil || !strings.Contains(err.Error(), "same file") {
		t.Errorf("import of a file into itself: %v", err)
	}
	if s, err = OpenURL(ctx, source, Options{}); err != nil {
		t.Fatalf("an import that failed keeps the source locked: %v", err)
	}
	s.Close()

	if s, err = Open(ctx, c, Options{}); err != nil {
		t.Fatal(err)
	}
	mine := commit(t, s)
	if mine == old {
		t.Errorf("%v was handed out again", mine)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if unfinished, err := importState(dst).Unfinished(); err != nil || time.Now().After(end) {
			t.Fatalf("unfinished: %v, %v", unfinished, err)
		} else if !unfinished {
			break
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	plain := &config.FileStorage{Path: dst}
	for _, c := range []config.Storage{c, plain} {
		s, err := Open(ctx, c, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, oid := range []zodb.OID{old, mine} {
			if _, err := s.LoadBefore(ctx, oid, zodb.MaxTID); err != nil {
				t.Errorf("after the import: %v", err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	left, err := os.ReadDir(importDir(dst))
	if err != nil || len(left) != 1 {
		t.Errorf("left beside the destination: %v, %v", left, err)
	}

	// As if it were not done.
	state, err := importState(dst).Load()
	if err != nil {
		t.Fatal(err)
	}
	state.Done = false
	if err := importState(dst).Save(state); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, plain, Options{}); err == nil || !strings.Contains(err.Error(), "zari serve --import "+source+" "+dst) {
		t.Errorf("opening a part of a database: %v", err)
	}
	if _, err := Open(ctx, c, Options{ReadOnly: true}); err == nil {
		t.Error("an import that must not write is opened")
	}
}

// A source with blobs that was named without their directory must not become a
// database without them.
func TestImportWithoutBlobsIsNeverDone(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	source, dst := filepath.Join(dir, "old.fs"), filepath.Join(dir, "new.fs")
	s, err := OpenURL(ctx, source, Options{})
	if err != nil {
		t.Fatal(err)
	}
	blob, err := pickle.EncodeRecord(&pickle.Global{Module: "ZODB.blob", Name: "Blob"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	commitData(t, s, blob)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c := &config.Import{
		Source:      &config.FileStorage{Path: source},
		Destination: &config.FileStorage{Path: dst, BlobDir: filepath.Join(dir, "blobs")},
	}
	log, w := io.Pipe()
	said := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(log)
		for lines.Scan() {
			if _, line, ok := strings.Cut(lines.Text(), "the import "); ok && len(said) == 0 {
				said <- line
			}
		}
	}()
	if s, err = Open(ctx, c, Options{Logger: slog.New(slog.NewTextHandler(w, nil))}); err != nil {
		t.Fatal(err)
	}
	if line := <-said; !strings.Contains(line, "does not get on") || !strings.Contains(line, "is a blob") {
		t.Errorf("it says %q", line)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if unfinished, err := importState(dst).Unfinished(); !unfinished || err != nil {
		t.Errorf("the import is declared done: %v", err)
	}

	c.Source.(*config.FileStorage).BlobDir = filepath.Join(dir, "misspelt")
	if _, err := Open(ctx, c, Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory of blobs that is not there: %v", err)
	}
}
