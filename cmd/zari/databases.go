package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/zaridb/zari/check"
	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/storages"
	"github.com/zaridb/zari/zodb"
)

// database is a database that a command line or a configuration file names.
type database struct {
	name  string // by which references know it; "" for the only one
	where string // as a person wrote it
	found config.Storage

	// file and blobDir are of what is a Data.fs. It is read as a file, without an
	// engine, so that a server may have it open, and damage does not hide the rest.
	file    string
	blobDir string
}

const databasesHelp = storageHelp + `

Databases that refer to each other are named together: write NAME=STORAGE for each,
or name a configuration file that has sections <zodb NAME> (a zodb.conf, zope.conf)
with -C. A Data.fs is read beside the server that has it open.`

// findDatabases finds the databases of a command: arguments STORAGE or NAME=STORAGE,
// and those of the file conf, if it is not "".
func findDatabases(args []string, conf string) ([]database, error) {
	var all []database
	if conf != "" {
		var err error
		if all, err = configuredDatabases(conf); err != nil {
			return nil, err
		}
	}
	for _, a := range args {
		name, where, named := strings.Cut(a, "=")
		if !named || strings.ContainsAny(name, ":/?") {
			name, where = "", a
		}
		c, notes, err := config.FindStorage(where, nil)
		if err != nil {
			return nil, err
		}
		for _, n := range notes {
			fmt.Fprintln(os.Stderr, n)
		}
		all = append(all, newDatabase(name, where, c))
	}
	return all, checkNames(all)
}

func checkNames(all []database) error {
	if len(all) == 0 {
		return errors.New("name a storage, or a configuration file with -C")
	}
	seen := make(map[string]bool)
	for _, d := range all {
		switch {
		case len(all) > 1 && d.name == "":
			return fmt.Errorf("%s: several databases need names: write NAME=%s", d.where, d.where)
		case seen[d.name]:
			return fmt.Errorf("two databases are named %q", d.name)
		}
		seen[d.name] = true
	}
	return nil
}

// configuredDatabases finds the sections <zodb NAME> of a file, or <zodb_db NAME>.
func configuredDatabases(path string) ([]database, error) {
	c, err := config.LoadStorages(path, nil)
	if err != nil {
		return nil, err
	}
	var all []database
	for _, s := range c.Storages {
		if d, ok := s.(*config.Database); ok {
			all = append(all, newDatabase(d.DatabaseName, path+"#"+d.Name, d))
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: there is no section <zodb NAME>", path)
	}
	return all, nil
}

func newDatabase(name, where string, found config.Storage) database {
	d := database{name: name, where: where, found: found}
	d.file, d.blobDir = dataFile(found)
	return d
}

// dataFile returns the path of the Data.fs that a storage is, "" if it is none, and
// its blob directory. Compression does not matter: records tell it themselves.
func dataFile(s config.Storage) (file, blobDir string) {
	switch s := s.(type) {
	case *config.FileStorage:
		return s.Path, s.BlobDir
	case *config.BlobStorage:
		file, _ = dataFile(s.Storage)
		return file, s.BlobDir
	case *config.Database:
		return dataFile(s.Storage)
	case *config.ZlibStorage:
		return dataFile(s.Storage)
	case *config.Use:
		return dataFile(s.Storage)
	}
	return "", ""
}

// opened are databases that are open to be looked at.
type opened struct {
	all     []database
	files   []*check.File // nil for what is no file
	sources []check.Database
	closers []io.Closer
}

// openDatabases opens databases to look at them.
func openDatabases(ctx context.Context, all []database) (*opened, error) {
	o := &opened{all: all}
	for _, d := range all {
		if err := o.open(ctx, d); err != nil {
			o.close()
			return nil, err
		}
	}
	return o, nil
}

func (o *opened) open(ctx context.Context, d database) error {
	if d.file != "" {
		if err := storages.RefuseUnfinished(d.file); err != nil {
			return err
		}
		f, err := check.OpenFile(d.file)
		if err != nil {
			return err
		}
		o.files = append(o.files, f)
		o.sources = append(o.sources, check.Database{Name: d.name, Source: f})
		o.closers = append(o.closers, f)
		return nil
	}
	s, err := openStorage(ctx, d.where, toRead)
	if err != nil {
		return err
	}
	o.files = append(o.files, nil)
	o.sources = append(o.sources, check.Database{Name: d.name, Source: check.Storage{Storage: s}})
	o.closers = append(o.closers, s)
	return nil
}

// close closes everything: it was only read.
func (o *opened) close() {
	for _, c := range o.closers {
		c.Close()
	}
}

// walk learns where the objects of files are. It reports nothing of damage.
func (o *opened) walk(ctx context.Context, m *meter) error {
	for _, f := range o.files {
		if f == nil {
			continue
		}
		if err := f.Walk(ctx, &check.Report{Progress: m.show}); err != nil {
			return err
		}
	}
	return nil
}

// load loads an object; nil if there is none.
func (o *opened) load(ctx context.Context, db int, oid zodb.OID) (*check.Record, error) {
	r, err := o.sources[db].Source.Load(ctx, oid)
	if _, absent := errors.AsType[*zodb.NoObjectError](err); absent {
		return nil, nil
	}
	return r, err
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
	line := fmt.Sprintf("%s: %d", step, done)
	if total > 0 {
		line = fmt.Sprintf("%s: %d %%", step, done*100/total)
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
