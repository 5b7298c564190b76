// Package pylog writes log records as lines of Python's logging package, so that
// what operators and tests look for in a ZEO server's log is found in ours.
//
// # The model
//
// A [Format] is a compiled pair of Python strings: the format of a line, such as
//
//	%(asctime)s %(levelname)s %(name)s %(message)s
//
// and the format of its asctime, such as %Y-%m-%dT%H:%M:%S. A [Handler] is a
// [log/slog.Handler] that writes such lines to an [io.Writer], which may be a
// [File]: one that can be opened again after its file has been moved away, or that
// moves it away itself, by a [Rotation]; or to a [Syslog] service.
//
// A record's fields come from slog so: name is the attribute [NameKey] ("zari"
// where there is none), message is the message followed by all other attributes
// as key=value, and preceded by the attribute [ClientKey] in parentheses, and levelname and levelno are those of the nearest level of
// Python below. Fields that only make sense in Python (thread, processName) have
// fixed values.
//
// The meaning of the formats is that of Python's logging.Formatter and
// time.strftime, without locales: names of days and months are English. What is
// allowed in a format is checked when it is compiled, as ZConfig does.
package pylog
