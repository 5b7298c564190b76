package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/zaridb/zari/bench/harness"
)

// target is the kind of storage that is copied to.
type target interface {
	fresh(program string) (place string, err error) // an empty place for the copies of a program
	url(place string) string                        // for zari
	copyByPython(ctx context.Context, b *bench, source, place string) (seconds float64, err error)
	rival() string // what Python copies with

	// check checks Python's copy, by itself or against ours, which is known to be right.
	check(ctx context.Context, b *bench, source string, places map[string]string) error
	close()
}

func (b *bench) openTarget(dir string) (target, error) {
	if b.to == "file" {
		return folders{dir}, nil
	}
	p, err := harness.StartPostgres("max_wal_size=4GB")
	if err != nil {
		return nil, err
	}
	return &databases{Postgres: p, dir: dir}, nil
}

// folders have a Data.fs and blobs each.
type folders struct{ dir string }

func (f folders) fresh(program string) (string, error) {
	to := filepath.Join(f.dir, program)
	return to, errors.Join(os.RemoveAll(to), os.Mkdir(to, 0o700))
}

func (f folders) url(place string) string { return fileURL(place) }
func (f folders) rival() string           { return "python copyTransactionsFrom" }
func (f folders) close()                  {}

func (f folders) copyByPython(ctx context.Context, b *bench, source, place string) (float64, error) {
	out, err := harness.Output(ctx, b.python, "-c", copyProgram, source, place)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
}

func (f folders) check(ctx context.Context, b *bench, source string, places map[string]string) error {
	return b.verify(ctx, source, f.url(places["python"]))
}

// fileURL names the storage in a folder.
func fileURL(dir string) string {
	return "file://" + filepath.Join(dir, "Data.fs") + "?blobstorage_dir=" + filepath.Join(dir, "blobs")
}

// databases are those of one PostgreSQL.
type databases struct {
	*harness.Postgres
	dir string
}

func (d *databases) fresh(program string) (string, error) { return program, d.Empty(program) }
func (d *databases) url(place string) string              { return d.URL(place) }
func (d *databases) rival() string                        { return "zodbconvert" }
func (d *databases) close()                               { d.Stop() }

const convert = "import sys; from relstorage.zodbconvert import main; sys.exit(main(['zodbconvert'] + sys.argv[1:]))"

func (d *databases) copyByPython(ctx context.Context, b *bench, source, place string) (float64, error) {
	conf := filepath.Join(d.dir, "convert.conf")
	text := fmt.Sprintf(`%%import relstorage
<filestorage source>
  path %s/Data.fs
  blob-dir %s/blobs
</filestorage>
<relstorage destination>
  blob-dir %s
  <postgresql>
    dsn %s
  </postgresql>
</relstorage>
`, source, source, filepath.Join(d.dir, "cache"), d.DSN(place))
	if err := errors.Join(os.RemoveAll(filepath.Join(d.dir, "cache")), os.WriteFile(conf, []byte(text), 0o600)); err != nil {
		return 0, err
	}
	began := time.Now()
	_, err := harness.Output(ctx, b.python, "-c", convert, conf)
	return time.Since(began).Seconds(), err
}

const contents = `SELECT count(*), sum(hashtextextended(concat(zoid, ' ', tid, ' ', prev_tid, ' ', md5, ' ', state_size), 0)),
	(SELECT sum(hashtextextended(concat(tid, ' ', username, ' ', description, ' ', extension), 0)) FROM "transaction"), (SELECT count(*) FROM blob_chunk)
	FROM object_state`

// check compares rows: RelStorage does not keep what an undo went back to.
func (d *databases) check(_ context.Context, _ *bench, _ string, places map[string]string) error {
	python, err := d.Tool("psql", "-At", "-d", d.DSN(places["python"]), "-c", contents)
	if err != nil {
		return err
	}
	zari, err := d.Tool("psql", "-At", "-d", d.DSN(places["zari"]), "-c", contents)
	if err == nil && string(python) != string(zari) {
		err = fmt.Errorf("other rows: %s, and ours are %s", python, zari)
	}
	return err
}
