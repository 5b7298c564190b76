package pylog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Rotation says when a log file is moved away to begin a new one, as
// RotatingFileHandler and TimedRotatingFileHandler of Python's logging.handlers do
// it. The zero value: never.
type Rotation struct {
	Size     int64     // bytes: what would make the file as large goes into a new one; 0: not by size
	Schedule *Schedule // nil: not by time
	Keep     int       // how many old files are kept
}

// On reports whether the file rotates itself.
func (r Rotation) On() bool { return r.Size > 0 || r.Schedule != nil }

// Schedule is a rhythm of rotations: every so many seconds, minutes, hours or days
// since the file was last written, or each midnight, or the midnight that ends a day
// of the week, in local time.
type Schedule struct {
	step    time.Duration // of the first four, otherwise 0
	weekday time.Weekday
	weekly  bool
	layout  string // of the time in the names of old files
	pattern *regexp.Regexp
}

// ParseSchedule reads a rhythm in Python's words: S, M, H, D, MIDNIGHT, or W0
// (Monday) to W6, in any case. interval counts the units of the first four; 0 means
// one.
func ParseSchedule(when string, interval int) (*Schedule, error) {
	unit := strings.ToUpper(when)
	s := &Schedule{layout: "2006-01-02"}
	switch unit {
	case "S":
		s.step, s.layout = time.Second, "2006-01-02_15-04-05"
	case "M":
		s.step, s.layout = time.Minute, "2006-01-02_15-04"
	case "H":
		s.step, s.layout = time.Hour, "2006-01-02_15"
	case "D":
		s.step = 24 * time.Hour
	case "MIDNIGHT":
	case "W0", "W1", "W2", "W3", "W4", "W5", "W6":
		s.weekly, s.weekday = true, time.Weekday((unit[1]-'0'+1)%7)
	default:
		return nil, fmt.Errorf("%q is not a rhythm: write S, M, H, D, MIDNIGHT, or W0 (Monday) to W6", when)
	}
	s.step *= time.Duration(max(interval, 1))
	s.pattern = regexp.MustCompile(`^` + regexp.MustCompile(`\d`).ReplaceAllString(s.layout, `\d`) + `$`)
	return s, nil
}

// next returns when to rotate a file that was last written, or begun, at t.
func (s *Schedule) next(t time.Time) time.Time {
	if s.step > 0 {
		return t.Add(s.step)
	}
	for day := 1; ; day++ {
		midnight := time.Date(t.Year(), t.Month(), t.Day()+day, 0, 0, 0, 0, t.Location())
		if ended := midnight.AddDate(0, 0, -1).Weekday(); !s.weekly || ended == s.weekday {
			return midnight
		}
	}
}

// begin returns when the part began that ends at t: old files are named after it.
func (s *Schedule) begin(t time.Time) time.Time {
	switch {
	case s.step > 0:
		return t.Add(-s.step)
	case s.weekly:
		return t.AddDate(0, 0, -7)
	}
	return t.AddDate(0, 0, -1)
}

// due reports whether the file is to be rotated before n more bytes are written.
func (f *File) due(n int) bool {
	switch {
	case !f.regular || f.size == 0:
		return false
	case f.rotation.Size > 0 && f.size+int64(n) >= f.rotation.Size:
		return true
	}
	return f.rotation.Schedule != nil && !f.now().Before(f.next)
}

// rotate moves the file away and opens a new one. If it cannot be moved, it stays
// in use.
func (f *File) rotate() error {
	if err := f.moveAway(); err != nil && !os.IsNotExist(err) {
		return err
	}
	old := f.f
	if err := f.open(); err != nil {
		return err
	}
	err := old.Close()
	if f.rotation.Schedule != nil {
		err = errors.Join(err, f.removeOld())
	}
	return err
}

func (f *File) moveAway() error {
	s := f.rotation.Schedule
	if s == nil {
		return f.shift()
	}
	return os.Rename(f.path, f.path+"."+s.begin(f.next).Format(s.layout))
}

// shift renames the file to .1, .1 to .2, and so on. The last one is overwritten.
func (f *File) shift() error {
	for i := f.rotation.Keep - 1; i > 0; i-- {
		err := os.Rename(f.path+"."+strconv.Itoa(i), f.path+"."+strconv.Itoa(i+1))
		if err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return os.Rename(f.path, f.path+".1")
}

// removeOld removes the oldest files, by their names, until as many are left as
// are kept.
func (f *File) removeOld() error {
	entries, err := os.ReadDir(filepath.Dir(f.path))
	if err != nil {
		return err
	}
	prefix := filepath.Base(f.path) + "."
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		suffix, ok := strings.CutPrefix(e.Name(), prefix)
		return !ok || !f.rotation.Schedule.pattern.MatchString(suffix)
	})
	for len(entries) > f.rotation.Keep { // ReadDir sorts, and the names are times
		if err := os.Remove(filepath.Join(filepath.Dir(f.path), entries[0].Name())); err != nil {
			return err
		}
		entries = entries[1:]
	}
	return nil
}
