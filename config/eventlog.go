package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zaridb/zari/config/pylog"
	"github.com/zaridb/zari/config/zconfig"
)

// otherHandlers are log handlers of ZConfig that are known, but not to be had.
var otherHandlers = []string{"email-notifier", "http-logger", "win32-eventlog"}

func (l *loader) eventLog(s *zconfig.Section) *EventLog {
	r := l.reader(s, "")
	e := &EventLog{Pos: s.Pos, Level: get(r, "level", pylog.ParseLevel, pylog.Info)}
	r.finish()
	for _, sub := range s.Sections {
		switch {
		case sub.Type == "logfile":
			e.Files = append(e.Files, l.logFile(sub))
		case sub.Type == "syslog":
			e.Syslogs = append(e.Syslogs, l.syslog(sub))
		case slices.Contains(otherHandlers, sub.Type):
			l.fail(sub.Pos, "use <logfile> or <syslog>", "<%s> is not supported yet", sub.Type)
		default:
			l.fail(sub.Pos, zconfig.DidYouMean(sub.Type, []string{"logfile", "syslog"}), "there is no section <%s> in %v", sub.Type, s)
		}
	}
	return e
}

func (l *loader) logFile(s *zconfig.Section) LogFile {
	r := l.reader(s, "")
	f := LogFile{
		Pos:   s.Pos,
		Path:  need(r, "path", l.path),
		Level: get(r, "level", pylog.ParseLevel, pylog.NotSet),
		Delay: get(r, "delay", zconfig.Boolean, false),
	}
	f.Format = l.logFormat(r, pylog.DefaultFormat, pylog.DefaultDateFormat)
	f.Rotation = l.rotation(r, f)
	if k := r.key("encoding"); k != nil && !strings.EqualFold(strings.ReplaceAll(k.Value, "-", ""), "utf8") {
		l.note(k.Pos, "encoding is not used: logs are written in UTF-8")
	}
	if f.Delay && f.isStream() {
		r.remark("delay", "means nothing for "+f.Path)
	}
	r.finish()
	l.noSections(s)
	return f
}

func (l *loader) syslog(s *zconfig.Section) Syslog {
	r := l.reader(s, "")
	log := Syslog{
		Pos:      s.Pos,
		Address:  get(r, "address", zconfig.SocketAddress, zconfig.Address{Host: "localhost", Port: 514, HasPort: true}),
		Facility: get(r, "facility", pylog.ParseFacility, pylog.User),
		Level:    get(r, "level", pylog.ParseLevel, pylog.NotSet),
		Format:   l.logFormat(r, pylog.DefaultSyslogFormat, pylog.DefaultDateFormat),
	}
	r.finish()
	l.noSections(s)
	return log
}

// logFormat reads the keys of a format, with defaults of it and of its dates.
func (l *loader) logFormat(r *reader, format, date string) *pylog.Format {
	format = get(r, "format", compiledFormat, format)
	date = get(r, "dateformat", compiledDate, date)
	r.remark("formatter", "names a Python class, and is not used: lines are written as logging.Formatter writes them")
	get(r, "arbitrary-fields", zconfig.Boolean, false)
	get(r, "style", classic, "")
	f, err := pylog.Compile(format, date)
	if err != nil {
		l.fail(r.s.Pos, "", "%v", err)
	}
	return f
}

func compiledFormat(s string) (string, error) {
	s = pylog.Unescape(s)
	_, err := pylog.Compile(s, "")
	return s, err
}

func compiledDate(s string) (string, error) {
	_, err := pylog.Compile("", s)
	return s, err
}

func classic(s string) (string, error) {
	if !strings.EqualFold(s, "classic") {
		return "", fmt.Errorf("%q is not supported yet: write the fields as %%(message)s, in style classic", s)
	}
	return s, nil
}

// rotation reads the keys that have a log file rotate itself. They go together as
// in ZConfig.
func (l *loader) rotation(r *reader, f LogFile) pylog.Rotation {
	rotation := pylog.Rotation{
		Size: get(r, "max-size", zconfig.ByteSize, 0),
		Keep: get(r, "old-files", fewer, 0),
	}
	interval := get(r, "interval", fewer, 0)
	when := get(r, "when", rhythm, "")
	if when != "" {
		rotation.Schedule, _ = pylog.ParseSchedule(when, interval) // it has been parsed once
	}
	wanted := when != "" || rotation.Size > 0 || rotation.Keep > 0 || interval > 0
	switch {
	case !wanted:
	case f.isStream():
		l.fail(r.s.Pos, "", "%s cannot be rotated", f.Path)
	case rotation.Keep == 0:
		l.fail(r.s.Pos, "say how many are kept, with old-files", "%v rotates, and keeps no old files", r.s)
	case when != "" && rotation.Size > 0:
		l.fail(r.s.Pos, "leave out one", "%v: max-size and when exclude each other", r.s)
	case when == "" && rotation.Size == 0:
		l.fail(r.s.Pos, "say when to rotate, with max-size or when", "%v keeps old files, and does not rotate", r.s)
	}
	return rotation
}

// fewer reads a count that a person may mean.
func fewer(s string) (int, error) {
	const most = 10_000
	n, err := count(s)
	if err == nil && n > most {
		err = fmt.Errorf("%d is more than %d", n, most)
	}
	return n, err
}

func rhythm(s string) (string, error) {
	_, err := pylog.ParseSchedule(s, 0)
	return s, err
}

func (f *LogFile) isStream() bool { return f.Path == "STDOUT" || f.Path == "STDERR" }
