package pylog

import (
	"path"
	"strings"
)

// sourceFields are the fields that need the place which logged the record.
var sourceFields = []string{"pathname", "filename", "module", "lineno", "funcName"}

// fields gives the attributes of Python's LogRecord: a string, an int64 or a
// float64 each, of the same type for every line.
var fields = map[string]func(*Format, *line) any{
	"asctime":         func(f *Format, l *line) any { return f.date.string(l.time) },
	"created":         func(_ *Format, l *line) any { return float64(l.time.UnixMicro()) / 1e6 },
	"msecs":           func(_ *Format, l *line) any { return float64(l.time.Nanosecond() / 1e6) },
	"relativeCreated": func(_ *Format, l *line) any { return float64(l.time.Sub(l.start).Microseconds()) / 1e3 },
	"name":            func(_ *Format, l *line) any { return l.name },
	"levelname":       func(_ *Format, l *line) any { return l.level.String() },
	"levelno":         func(_ *Format, l *line) any { return int64(l.level) },
	"message":         func(_ *Format, l *line) any { return l.message },
	"pathname":        func(_ *Format, l *line) any { return l.source.file },
	"filename":        func(_ *Format, l *line) any { return base(l.source.file) },
	"module":          func(_ *Format, l *line) any { return strings.TrimSuffix(base(l.source.file), ".go") },
	"lineno":          func(_ *Format, l *line) any { return int64(l.source.number) },
	"funcName":        func(_ *Format, l *line) any { return base(l.source.function) },
	"process":         func(_ *Format, l *line) any { return int64(l.process) },
	"processName":     func(_ *Format, _ *line) any { return "MainProcess" },
	"thread":          func(_ *Format, l *line) any { return int64(l.process) },
	"threadName":      func(_ *Format, _ *line) any { return "MainThread" },
	"taskName":        func(_ *Format, _ *line) any { return "None" },
}

func base(name string) string {
	if name == "" {
		return ""
	}
	return path.Base(name)
}
