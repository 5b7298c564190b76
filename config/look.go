package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/zaridb/zari/config/zconfig"
)

// Look compares c with this machine, without changing anything: files and folders
// that have to be there and are not, which is why c could not be served here, are
// [Errors]; what would be made new is noted.
func Look(c *Config) ([]Note, error) {
	l := &looker{}
	if c.ZEO.Address.Path != "" {
		l.folder(c.ZEO.Pos, "the socket", c.ZEO.Address.Path)
	}
	if ssl := c.ZEO.SSL; ssl != nil {
		l.files(ssl.Pos, ssl.Certificate, ssl.Key, ssl.Authenticate)
	}
	seen := make(map[Storage]bool)
	for _, s := range c.Storages {
		for part := range All(s) {
			if !seen[part] {
				seen[part] = true
				l.storage(part)
			}
		}
	}
	if c.EventLog != nil {
		for _, f := range c.EventLog.Files {
			if !f.isStream() {
				l.folder(f.Pos, "the log", f.Path)
			}
		}
	}
	if len(l.errs) > 0 {
		return nil, l.errs
	}
	return l.notes, nil
}

// looker collects what is missing.
type looker struct {
	notes []Note
	errs  Errors
}

func (l *looker) storage(s Storage) {
	switch s := s.(type) {
	case *FileStorage:
		l.data(s)
	case *ClientStorage:
		if s.SSL != nil {
			l.files(s.SSL.Pos, s.SSL.Certificate, s.SSL.Key, s.SSL.Authenticate)
		}
	case *RelStorage:
		l.database(s)
	case *BeforeStorage:
		if s.File != "" && !l.exists(s.Pos, s.File) {
			l.folder(s.Pos, "the time", s.File)
		}
	}
}

func (l *looker) data(s *FileStorage) {
	info, err := os.Stat(s.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && s.ReadOnly:
		l.fail(s.Pos, "%s is not there, and is only to be read", s.Path)
	case errors.Is(err, fs.ErrNotExist):
		if l.folder(s.Pos, "the file", s.Path) {
			l.notes = append(l.notes, Note{s.Pos, s.Path + " is not there: it is made new"})
		}
	case err != nil:
		l.fail(s.Pos, "%v", err)
	case !info.Mode().IsRegular():
		l.fail(s.Pos, "%s is not a file", s.Path)
	}
}

// database looks for the files of a SQL database. Nothing is connected to.
func (l *looker) database(s *RelStorage) {
	l.files(s.Pos, s.ReplicaConf)
	switch sql := s.SQL.(type) {
	case *PostgreSQL:
		l.files(sql.Pos, sql.Files()...)
	case *MySQL:
		l.files(sql.Pos, sql.OptionFile, sql.SSLCA, sql.SSLCert, sql.SSLKey)
	case *SQLite:
		l.sqlite(s, sql)
	}
}

func (l *looker) sqlite(s *RelStorage, sql *SQLite) {
	main := filepath.Join(sql.DataDir, "main.sqlite3")
	if l.exists(sql.Pos, main) {
		return
	}
	switch {
	case s.ReadOnly || !s.CreateSchema:
		l.fail(sql.Pos, "%s is not there, and is not to be made", main)
	case l.folder(sql.Pos, "the database", sql.DataDir):
		l.notes = append(l.notes, Note{sql.Pos, main + " is not there: it is made new"})
	}
}

// files reports those that are not there.
func (l *looker) files(pos zconfig.Pos, paths ...string) {
	for _, path := range paths {
		if path != "" && !l.exists(pos, path) {
			l.fail(pos, "%s is not there", path)
		}
	}
}

// folder reports whether the folder of a file is there.
func (l *looker) folder(pos zconfig.Pos, what, path string) bool {
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return true
	}
	l.fail(pos, "the folder of %s, %s, is not there", what, dir)
	return false
}

// exists reports whether there is something at path. What cannot be told is
// reported, and counts as there.
func (l *looker) exists(pos zconfig.Pos, path string) bool {
	_, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.fail(pos, "%v", err)
	}
	return !errors.Is(err, fs.ErrNotExist)
}

func (l *looker) fail(pos zconfig.Pos, format string, args ...any) {
	l.errs = append(l.errs, zconfig.Errorf(pos, "%s", fmt.Sprintf(format, args...)))
}
