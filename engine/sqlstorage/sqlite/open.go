package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/internal/vfs"
)

// Options say which database to open, and how.
type Options struct {
	Dir string // with main.sqlite3 and oids.sqlite3: RelStorage's data-dir

	// Create makes the directory and the files if they are not there.
	Create bool

	// ReadOnly opens the database such that it cannot be written.
	ReadOnly bool

	// Readers bounds the connections that read. Default 8.
	Readers int

	// Busy is how long to wait for a lock that another process has. Default 30 s.
	Busy time.Duration

	// Poll is how long to wait until looking again for what others have committed.
	// Default 20 ms.
	Poll time.Duration

	// Pragmas are set on every connection, after our own.
	Pragmas map[string]string
}

func (o Options) withDefaults() Options {
	if o.Readers == 0 {
		o.Readers = 8
	}
	if o.Busy == 0 {
		o.Busy = 30 * time.Second
	}
	if o.Poll == 0 {
		o.Poll = 20 * time.Millisecond
	}
	return o
}

// DB is an open database.
type DB struct {
	opts    Options
	path    string // of main.sqlite3
	fs      vfs.FS
	readers *pool
	writer  *pool // of one
	oids    oids  // oids.sqlite3

	watcher *pool // of one, for Wait
	version int64 // data_version, as the last Wait saw it

	mu    sync.Mutex
	voted *locked // who has the lock of the database, if somebody has voted
}

var (
	_ sqlstorage.Dialect = (*DB)(nil)
	_ sqlstorage.Limiter = (*DB)(nil)
)

// Open opens the database in a directory.
func Open(ctx context.Context, o Options) (*DB, error) {
	o = o.withDefaults()
	d := &DB{opts: o, path: filepath.Join(o.Dir, "main.sqlite3"), fs: vfs.OS()}
	d.oids = oids{db: d, path: filepath.Join(o.Dir, "oids.sqlite3")}
	if err := d.exists(); err != nil {
		return nil, err
	}
	var err error
	if d.writer, err = d.newPool(d.path, 1); err != nil {
		return nil, err
	}
	if d.readers, err = d.newPool(d.path, o.Readers, "query_only(1)"); err != nil {
		return nil, errors.Join(err, d.writer.close())
	}
	if d.watcher, err = d.newPool(d.path, 1, "query_only(1)"); err != nil {
		return nil, errors.Join(err, d.writer.close(), d.readers.close())
	}
	if err := d.journal(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// exists sees to it that there is a directory, and a file unless one may be made.
func (d *DB) exists() error {
	if d.opts.Create && !d.opts.ReadOnly {
		return os.MkdirAll(d.opts.Dir, 0o777)
	}
	_, err := os.Stat(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w (data-dir must name a directory with main.sqlite3; create-schema makes a new one)", err)
	}
	return err
}

// source is the name under which the driver opens a file: an error if the settings are
// no settings. What an operator sets comes after our own, and what last makes sure of
// comes after that.
func (d *DB) source(path string, last ...string) (string, error) {
	pragmas := []string{fmt.Sprintf("busy_timeout(%d)", d.opts.Busy.Milliseconds()), "foreign_keys(1)", "synchronous(FULL)"}
	for _, name := range slices.Sorted(maps.Keys(d.opts.Pragmas)) {
		value := d.opts.Pragmas[name]
		if !word.MatchString(name) || !word.MatchString(value) {
			return "", fmt.Errorf("%s: pragma %q = %q: both are one word or number", path, name, value)
		}
		pragmas = append(pragmas, fmt.Sprintf("%s(%s)", name, value))
	}
	q := url.Values{"_dqs": {"false"}, "_txlock": {"immediate"}, "_pragma": append(pragmas, last...)}
	switch {
	case d.opts.ReadOnly:
		q.Set("mode", "ro")
	case d.opts.Create:
		q.Set("mode", "rwc")
	default:
		q.Set("mode", "rw")
	}
	abs, err := filepath.Abs(path)
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(abs), RawQuery: q.Encode()}
	return u.String(), err
}

// word is what may be set in a pragma.
var word = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// journal switches to WAL, which is a property of the file.
func (d *DB) journal(ctx context.Context) error {
	if d.opts.ReadOnly {
		return nil
	}
	return d.writer.lend(ctx, func(s *session) error {
		mode, err := s.text(ctx, "PRAGMA journal_mode=WAL")
		if err == nil && mode != "wal" {
			err = fmt.Errorf("%s cannot be used with a write-ahead log (journal_mode is %q): is it in a network file system?", d.path, mode)
		}
		return err
	})
}

// Name implements sqlstorage.Dialect.
func (d *DB) Name() string { return "sqlite:" + d.path }

// MaxState implements sqlstorage.Limiter: SQLite has no larger values.
func (d *DB) MaxState() int64 { return maxValue }

// MaxBlob implements sqlstorage.Limiter. A blob is one value.
func (d *DB) MaxBlob() int64 { return maxValue }

// maxValue is SQLITE_MAX_LENGTH less some room for the rest of the row.
const maxValue = 1_000_000_000 - 4096

// Pools implements sqlstorage.Dialect.
func (d *DB) Pools() []sqlstorage.Pool {
	return []sqlstorage.Pool{d.readers.figures("loads"), d.writer.figures("writes"), d.watcher.figures("watch")}
}

// Close implements sqlstorage.Dialect.
func (d *DB) Close() error {
	d.writer.shut()
	d.releaseVoted()
	return errors.Join(d.oids.close(), d.watcher.close(), d.readers.close(), d.writer.close())
}
