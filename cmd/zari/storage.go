package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/config/zconfig"
	"github.com/zaridb/zari/storages"
	"github.com/zaridb/zari/zodb"
)

// storageHelp is for the help texts of commands that take a storage.
const storageHelp = `A storage is named by
  Data.fs                            a file
  file:///srv/Data.fs?blobstorage_dir=/srv/blobs
  zeo://HOST:PORT?storage=1          a storage of a running server
  postgres://USER@HOST/NAME          a SQL database in RelStorage's tables; so mysql://
  sqlite:///srv/db                   likewise; the directory of a SQLite database
  FILE.conf, FILE.conf#NAME          what a zeo.conf, zope.conf or zodb.conf names
  demo:(BASE)/(CHANGES)              changes beside a base that stays as it is`

// purpose is what a command opens a storage for.
type purpose int

const (
	toRead   purpose = iota // what is there; a misspelt name must not become an empty database
	toChange                // likewise
	toFill                  // what is there, or is made
)

// openStorage opens what an argument of a command names. Warnings, and how far
// long work has come, go to standard error. A wrong name, or a fault in the file
// that it names, is a usageError.
func openStorage(ctx context.Context, where string, to purpose) (zodb.Storage, error) {
	return openStorageTo(ctx, os.Stderr, where, to)
}

func openStorageTo(ctx context.Context, w io.Writer, where string, to purpose) (zodb.Storage, error) {
	c, err := findStorage(w, where)
	if err != nil {
		return nil, err
	}
	return openFound(ctx, w, where, c, to)
}

// findStorage finds out what an argument names, and tells what is to be told of it.
func findStorage(w io.Writer, where string) (config.Storage, error) {
	c, notes, err := config.FindStorage(where, nil)
	if err != nil {
		return nil, usageError{err}
	}
	for _, n := range notes {
		fmt.Fprintln(w, n)
	}
	return c, nil
}

// openFound opens what findStorage has found. Blobs of servers and databases are kept
// in a directory for the while where none is named.
func openFound(ctx context.Context, w io.Writer, where string, c config.Storage, to purpose) (zodb.Storage, error) {
	lacking := lackBlobDir(c)
	if len(lacking) == 0 {
		return openNamed(ctx, w, where, c, to)
	}
	dir, err := os.MkdirTemp("", "zari-blobs-*")
	if err != nil {
		return nil, err
	}
	for i, blobDir := range lacking {
		*blobDir = filepath.Join(dir, strconv.Itoa(i))
	}
	s, err := openNamed(ctx, w, where, c, to)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return passing{s, dir}, nil
}

// lackBlobDir returns where the directories for copies of blobs go in which c has
// none, though it may have blobs.
func lackBlobDir(c config.Storage) (lacking []*string) {
	if client, ok := c.(*config.ClientStorage); ok && client.BlobDir == "" {
		lacking = append(lacking, &client.BlobDir)
	}
	for part := range config.All(c) {
		if rs, ok := part.(*config.RelStorage); ok && rs.BlobDir == "" && !rs.BlobsOutside {
			lacking = append(lacking, &rs.BlobDir)
		}
	}
	return lacking
}

// passing is a storage with a directory that goes when it is closed.
type passing struct {
	zodb.Storage
	dir string
}

func (p passing) As(target any) bool { return zodb.PassOn(p.Storage, target) }

func (p passing) Close() error { return errors.Join(p.Storage.Close(), os.RemoveAll(p.dir)) }

func openNamed(ctx context.Context, w io.Writer, where string, c config.Storage, to purpose) (zodb.Storage, error) {
	s, err := storages.Open(ctx, c, storages.Options{
		ReadOnly: to == toRead,
		Existing: to != toFill,
		Logger:   slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Progress: everyFew(func(storage, what string, percent int64) {
			fmt.Fprintf(w, "%s: %s: %d %%\n", storage, what, percent)
		}),
	})
	if _, ok := errors.AsType[*zconfig.Error](err); ok {
		return nil, usageError{err}
	}
	if corrupt, ok := errors.AsType[*zodb.CorruptError](err); ok && corrupt.File == where {
		return nil, err // it names the file
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	return s, nil
}

// everyFew makes a progress function that calls tell every few seconds.
func everyFew(tell func(storage, what string, percent int64)) func(storage, what string, done, total int64) {
	last := time.Now()
	return func(storage, what string, done, total int64) {
		if total <= 0 || time.Since(last) < 3*time.Second {
			return
		}
		last = time.Now()
		tell(storage, what, done*100/total)
	}
}
