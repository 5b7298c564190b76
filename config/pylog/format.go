package pylog

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What ZConfig uses where a configuration says nothing.
const (
	DefaultFormat     = "------\n%(asctime)s %(levelname)s %(name)s %(message)s"
	DefaultDateFormat = "%Y-%m-%dT%H:%M:%S"
)

// maxWidth bounds the width and precision of a field.
const maxWidth = 1000

// line is what one log line is made from.
type line struct {
	time    time.Time
	level   Level
	name    string
	message string
	source  source
	process int
	start   time.Time // of the program
}

type source struct {
	file, function string
	number         int
}

// A piece appends its part of a line.
type piece func(dst []byte, l *line) []byte

// Format is a compiled format of log lines. It may be used concurrently.
type Format struct {
	pieces []piece
	date   *dateFormat
	source bool // the line names the place in the program that logged it
}

// Compile compiles the format of a line, in Python's % style, and that of its
// asctime. An empty dateformat means Python's own: 2026-11-01 10:00:00,123.
func Compile(format, dateformat string) (*Format, error) {
	date, err := compileDate(dateformat)
	if err != nil {
		return nil, err
	}
	f := &Format{date: date}
	for {
		text, rest, found := strings.Cut(format, "%")
		if text != "" {
			f.pieces = append(f.pieces, func(dst []byte, _ *line) []byte { return append(dst, text...) })
		}
		if !found {
			return f, nil
		}
		format, err = f.placeholder(rest)
		if err != nil {
			return nil, err
		}
	}
}

// placeholder compiles what follows a percent sign, and returns the rest.
func (f *Format) placeholder(s string) (rest string, err error) {
	if strings.HasPrefix(s, "%") {
		f.pieces = append(f.pieces, func(dst []byte, _ *line) []byte { return append(dst, '%') })
		return s[1:], nil
	}
	inner, ok := strings.CutPrefix(s, "(")
	name, spec, closed := strings.Cut(inner, ")")
	if !ok || !closed {
		return "", fmt.Errorf("%%%.20s is not %%(FIELD)s; write %%%% for a percent sign", s)
	}
	field, ok := fields[name]
	if !ok {
		return "", fmt.Errorf("unknown field %q", name)
	}
	conv, rest, err := cutConversion(spec)
	if err != nil {
		return "", fmt.Errorf("%%(%s): %w", name, err)
	}
	p, err := f.compileField(field, conv)
	if err != nil {
		return "", fmt.Errorf("%%(%s)%c: %w", name, conv.verb, err)
	}
	f.pieces = append(f.pieces, p)
	f.source = f.source || slices.Contains(sourceFields, name)
	return rest, nil
}

// conversion is what follows the name of a field: flags, width, precision, verb.
type conversion struct {
	flags     string // of "-+ 0"
	width     string
	precision string // with its point, "" for none
	verb      byte
}

func cutConversion(s string) (c conversion, rest string, err error) {
	c.flags, s = cutSet(s, "-+ 0")
	c.width, s = cutSet(s, "0123456789")
	if strings.HasPrefix(s, ".") {
		c.precision, s = cutSet(s[1:], "0123456789")
		c.precision = "." + c.precision
	}
	if tooWide(c.width) || tooWide(strings.TrimPrefix(c.precision, ".")) {
		return c, "", fmt.Errorf("the width is more than %d", maxWidth)
	}
	if s == "" || !strings.Contains("srdiuxXofFeEgG", s[:1]) {
		return c, "", fmt.Errorf("%q does not begin with a conversion such as s or d", fmt.Sprintf("%.10s", s))
	}
	c.verb = s[0]
	return c, s[1:], nil
}

func cutSet(s, set string) (run, rest string) {
	rest = strings.TrimLeft(s, set)
	return s[:len(s)-len(rest)], rest
}

func tooWide(digits string) bool {
	n, err := strconv.Atoi(digits)
	return digits != "" && (err != nil || n > maxWidth)
}

// compileField joins a field, which gives a string, an int64 or a float64, and a
// conversion.
func (f *Format) compileField(field func(*Format, *line) any, c conversion) (piece, error) {
	_, isText := field(f, &line{}).(string)
	verb, convert := "", toText
	switch c.verb {
	case 's', 'r':
		// The zero flag does not fill up strings in Python.
		verb = "%" + strings.NewReplacer("0", "", "+", "", " ", "").Replace(c.flags) + c.width + c.precision + "s"
		if c.verb == 'r' {
			convert = toRepr
		}
	case 'd', 'i', 'u', 'o', 'x', 'X':
		verb, convert = "%"+c.flags+c.width+c.precision+strings.NewReplacer("i", "d", "u", "d").Replace(string(c.verb)), toInt
	default:
		if c.precision == "" {
			c.precision = ".6" // Go's g means the shortest
		}
		verb, convert = "%"+c.flags+c.width+c.precision+string(c.verb), toFloat
	}
	if isText && c.verb != 's' && c.verb != 'r' {
		return nil, fmt.Errorf("the field is no number")
	}
	if verb == "%s" {
		return func(dst []byte, l *line) []byte { return append(dst, convert(field(f, l)).(string)...) }, nil
	}
	return func(dst []byte, l *line) []byte { return fmt.Appendf(dst, verb, convert(field(f, l))) }, nil
}

func toText(v any) any {
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		s := strconv.FormatFloat(v, 'f', -1, 64)
		if v == math.Trunc(v) {
			s += ".0"
		}
		return s
	}
	return v
}

func toRepr(v any) any {
	if s, ok := v.(string); ok {
		return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + "'"
	}
	return toText(v)
}

func toInt(v any) any {
	if f, ok := v.(float64); ok {
		return int64(f)
	}
	return v
}

func toFloat(v any) any {
	if i, ok := v.(int64); ok {
		return float64(i)
	}
	return v
}

func (f *Format) append(dst []byte, l *line) []byte {
	for _, p := range f.pieces {
		dst = p(dst, l)
	}
	return append(dst, '\n')
}

// Unescape replaces \n, \t, \b, \f and \r by the characters that they stand for,
// as ZConfig does with the formats in a file.
func Unescape(s string) string {
	for _, r := range [...][2]string{{`\n`, "\n"}, {`\t`, "\t"}, {`\b`, "\b"}, {`\f`, "\f"}, {`\r`, "\r"}} {
		s = strings.ReplaceAll(s, r[0], r[1])
	}
	return s
}
