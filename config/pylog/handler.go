package pylog

import (
	"context"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// NameKey is the key of the attribute that names the logger, as in
// slog.With(pylog.NameKey, "ZEO.StorageServer").
const NameKey = "logger"

// ClientKey is the key of the attribute that tells which client a line is about.
// It stands in parentheses before the message, where ZEO's server puts its label.
const ClientKey = "client"

const defaultName = "zari"

var programStart = time.Now()

// LevelWriter is written lines of which it wants to know the level.
type LevelWriter interface {
	WriteLevel(l Level, line []byte) error
}

// plainWriter is a writer that does not care for levels.
type plainWriter struct{ io.Writer }

func (w plainWriter) WriteLevel(_ Level, line []byte) error {
	_, err := w.Write(line)
	return err
}

// Handler writes records as lines of a [Format]. It makes one Write for a record.
type Handler struct {
	w      LevelWriter
	mu     *sync.Mutex // of w; shared with the handlers derived from this one
	format *Format
	level  slog.Leveler
	fields attrFields
	prefix string // of keys: the groups that are open, each with a point
}

// attrFields are the attributes of a record, as far as they have been seen.
type attrFields struct {
	name   string
	client string // "(label) ", or nothing
	rest   []byte // " key=value" of each other attribute
}

var _ slog.Handler = (*Handler)(nil)

// NewHandler returns a handler that writes records of at least the given level
// to w, nil meaning all.
func NewHandler(w io.Writer, format *Format, level slog.Leveler) *Handler {
	return NewLevelHandler(plainWriter{w}, format, level)
}

// NewLevelHandler is [NewHandler] for a [LevelWriter].
func NewLevelHandler(w LevelWriter, format *Format, level slog.Leveler) *Handler {
	return &Handler{w: w, mu: new(sync.Mutex), format: format, level: level, fields: attrFields{name: defaultName}}
}

// Enabled reports whether records of the level are written.
func (h *Handler) Enabled(_ context.Context, level slog.Level) bool {
	return h.level == nil || level >= h.level.Level()
}

// Handle writes a record. Its time is shown in the zone that it is in.
func (h *Handler) Handle(_ context.Context, r slog.Record) error {
	f := h.fields
	f.rest = slices.Clip(f.rest)
	r.Attrs(func(a slog.Attr) bool {
		f.add(h.prefix, a)
		return true
	})
	l := &line{
		time: r.Time, level: fromSlog(r.Level), name: f.name, message: f.client + r.Message + string(f.rest),
		process: os.Getpid(), start: programStart,
	}
	if l.time.IsZero() {
		l.time = time.Now()
	}
	if h.format.source {
		l.source = sourceOf(r.PC)
	}
	text := h.format.append(make([]byte, 0, 256), l)
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.w.WriteLevel(l.level, text)
}

// WithAttrs returns a handler that adds the attributes to each record.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	d := *h
	d.fields.rest = slices.Clip(d.fields.rest)
	for _, a := range attrs {
		d.fields.add(h.prefix, a)
	}
	return &d
}

// WithGroup returns a handler that puts "name." before the keys to come.
func (h *Handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	d := *h
	d.prefix += name + "."
	return &d
}

// add takes one attribute, or those of a group.
func (f *attrFields) add(prefix string, a slog.Attr) {
	v := a.Value.Resolve()
	switch {
	case v.Kind() == slog.KindGroup:
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, sub := range v.Group() {
			f.add(prefix, sub)
		}
	case a.Equal(slog.Attr{}):
	case a.Key == NameKey && prefix == "":
		f.name = v.String()
	case a.Key == ClientKey && prefix == "":
		f.client = "(" + plain(v.String()) + ") "
	default:
		f.rest = append(f.rest, ' ')
		f.rest = append(f.rest, quoted(prefix+a.Key)...)
		f.rest = append(f.rest, '=')
		f.rest = append(f.rest, quoted(text(v))...)
	}
}

// plain is quoted for a text that may have spaces.
func plain(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) || !utf8.ValidString(s) {
		return strconv.Quote(s)
	}
	return s
}

func text(v slog.Value) string {
	if v.Kind() == slog.KindTime {
		return v.Time().Format(time.RFC3339Nano)
	}
	return v.String()
}

// quoted quotes what would not read as one word: attributes hold what clients
// send, and must not be able to pretend to be lines of the log.
func quoted(s string) string {
	odd := func(r rune) bool { return r == '"' || r == '=' || r == ' ' || !strconv.IsPrint(r) }
	if s == "" || !utf8.ValidString(s) || strings.ContainsFunc(s, odd) {
		return strconv.Quote(s)
	}
	return s
}

func sourceOf(pc uintptr) source {
	frame, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	return source{file: frame.File, function: frame.Function, number: frame.Line}
}
