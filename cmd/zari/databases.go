package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/zaridb/zari/check"
	"github.com/zaridb/zari/config/zconfig"
)

// database is a database that a command line or a configuration file names.
type database struct {
	name    string // "" for the only one
	path    string // of its Data.fs
	blobDir string // "" for none
}

// label is how a person knows the database.
func (d database) label() string {
	if d.name != "" {
		return d.name
	}
	return d.path
}

// namedDatabases reads the databases of a command: arguments PATH or NAME=PATH, and a
// file with sections <zodb NAME>, in which conf is not "".
func namedDatabases(args []string, conf string) ([]database, error) {
	var all []database
	if conf != "" {
		var err error
		if all, err = configuredDatabases(conf); err != nil {
			return nil, err
		}
	}
	for _, a := range args {
		name, path, named := strings.Cut(a, "=")
		if !named {
			name, path = "", a
		}
		all = append(all, database{name: name, path: path})
	}
	if len(all) == 0 {
		return nil, errors.New("name a storage, or a configuration file with -C")
	}
	seen := make(map[string]bool)
	for _, d := range all {
		switch {
		case len(all) > 1 && d.name == "":
			return nil, fmt.Errorf("%s: several databases need names: write NAME=%s", d.path, d.path)
		case seen[d.name]:
			return nil, fmt.Errorf("two databases are named %q", d.name)
		}
		seen[d.name] = true
	}
	return all, nil
}

// configuredDatabases reads the sections <zodb NAME> (or <zodb_db NAME>, as in a
// zope.conf) of a file.
func configuredDatabases(path string) ([]database, error) {
	doc, err := zconfig.Load(path, zconfig.Options{})
	if err != nil {
		return nil, err
	}
	var all []database
	for _, s := range doc.Sections {
		if s.Type != "zodb" && s.Type != "zodb_db" {
			continue
		}
		d, err := configuredDatabase(s)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	if len(all) == 0 {
		return nil, zconfig.Errorf(doc.Pos, "there is no section <zodb NAME>")
	}
	return all, nil
}

func configuredDatabase(s *zconfig.Section) (database, error) {
	d := database{name: s.Name}
	if name, ok := keyOf(s, "database-name"); ok {
		d.name = name
	}
	if d.name == "" {
		return d, zconfig.Errorf(s.Pos, "%v needs a name, by which references know the database", s)
	}
	inner := s
	for {
		if len(inner.Sections) != 1 {
			return d, zconfig.Errorf(inner.Pos, "%v needs one storage", inner)
		}
		inner = inner.Sections[0]
		if dir, ok := keyOf(inner, "blob-dir"); ok {
			d.blobDir = dir
		}
		if inner.Type != "blobstorage" {
			break
		}
	}
	if inner.Type != "filestorage" {
		return d, zconfig.Errorf(inner.Pos, "<%s>: only a <filestorage> can be opened here", inner.Type)
	}
	path, ok := keyOf(inner, "path")
	if !ok {
		return d, zconfig.Errorf(inner.Pos, "%v has no path", inner)
	}
	d.path = path
	return d, nil
}

func keyOf(s *zconfig.Section, name string) (string, bool) {
	for _, k := range s.Keys {
		if k.Lower() == name {
			return k.Value, true
		}
	}
	return "", false
}

// files are databases that are open.
type files []*check.File

// openFiles opens databases to look at them. They may be served meanwhile.
func openFiles(all []database) (files, error) {
	var fs files
	for _, d := range all {
		f, err := check.OpenFile(d.path)
		if err != nil {
			fs.close()
			return nil, err
		}
		fs = append(fs, f)
	}
	return fs, nil
}

func (fs files) close() {
	for _, f := range fs {
		f.Close() // they were only read
	}
}

// sources are the databases for package check.
func (fs files) sources(all []database) []check.Database {
	dbs := make([]check.Database, len(fs))
	for i, f := range fs {
		dbs[i] = check.Database{Name: all[i].name, Source: f}
	}
	return dbs
}

// meter prints how far long work has come, on a terminal.
type meter struct {
	out  io.Writer
	last time.Time
	wide int
}

// newMeter returns a meter on standard error, nil if that is no terminal.
func newMeter() *meter {
	info, err := os.Stderr.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return &meter{out: os.Stderr}
}

func (m *meter) show(step string, done, total int64) {
	if m == nil || time.Since(m.last) < 200*time.Millisecond {
		return
	}
	m.last = time.Now()
	line := step
	if total > 0 {
		line = fmt.Sprintf("%s: %d%%", step, done*100/total)
	}
	m.print(line)
}

func (m *meter) print(line string) {
	fmt.Fprintf(m.out, "\r%s%s", line, strings.Repeat(" ", max(0, m.wide-len(line))))
	m.wide = len(line)
}

// clear makes room for other output.
func (m *meter) clear() {
	if m != nil && m.wide > 0 {
		m.print("")
		fmt.Fprint(m.out, "\r")
		m.wide = 0
	}
}

// absent explains a path that is not there.
func absent(path string, err error) error {
	if errors.Is(err, os.ErrNotExist) && filepath.Ext(path) == "" {
		return fmt.Errorf("%w (a storage is the path of a Data.fs)", err)
	}
	return err
}
