package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/zaridb/zari/config/pylog"
)

// Logs are the open log files of an [EventLog].
type Logs struct {
	// Handler writes to all of them. It may be used concurrently.
	Handler slog.Handler
	files   []*pylog.File
	syslogs []*pylog.Syslog
}

// Open opens the log files. A nil EventLog logs to the standard error stream, as
// Python's server does when nothing is configured, and one without log files and
// syslog services logs nothing.
func (e *EventLog) Open() (*Logs, error) {
	if e == nil {
		format, err := pylog.Compile(pylog.DefaultFormat, pylog.DefaultDateFormat)
		if err != nil {
			return nil, err
		}
		return &Logs{Handler: pylog.NewHandler(os.Stderr, format, slog.LevelInfo)}, nil
	}
	logs := &Logs{}
	var handlers []slog.Handler
	for i := range e.Files {
		f := &e.Files[i]
		w, err := logs.open(f)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%v: %w", f.Pos, err), logs.Close())
		}
		handlers = append(handlers, pylog.NewHandler(w, f.Format, max(e.Level, f.Level).Slog()))
	}
	for _, s := range e.Syslogs {
		network := "udp"
		if s.Address.Path != "" {
			network = "unix"
		}
		w := pylog.NewSyslog(network, s.Address.String(), s.Facility)
		logs.syslogs = append(logs.syslogs, w)
		handlers = append(handlers, pylog.NewLevelHandler(w, s.Format, max(e.Level, s.Level).Slog()))
	}
	logs.Handler = slog.NewMultiHandler(handlers...)
	return logs, nil
}

func (l *Logs) open(f *LogFile) (io.Writer, error) {
	switch f.Path {
	case "STDOUT":
		return os.Stdout, nil
	case "STDERR":
		return os.Stderr, nil
	}
	file, err := pylog.Open(f.Path, f.Delay, f.Rotation)
	if err != nil {
		return nil, err
	}
	l.files = append(l.files, file)
	return file, nil
}

// Reopen opens all files anew, for the time after a log rotation. A file that
// cannot be opened stays as it was.
func (l *Logs) Reopen() error {
	var errs []error
	for _, f := range l.files {
		errs = append(errs, f.Reopen())
	}
	return errors.Join(errs...)
}

// Close closes all files. Logging fails from then on.
func (l *Logs) Close() error {
	var errs []error
	for _, f := range l.files {
		errs = append(errs, f.Close())
	}
	for _, s := range l.syslogs {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
