package pylog

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// dateFormat is a compiled format of time.strftime.
type dateFormat struct {
	parts []func(dst []byte, t time.Time) []byte
}

// layouts are the directives that Go's package time has a layout for.
var layouts = map[byte]string{
	'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'e': "_2", 'H': "15", 'I': "03", 'M': "04", 'S': "05",
	'p': "PM", 'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'j': "002", 'Z': "MST", 'z': "-0700",
	'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05",
	'D': "01/02/06", 'F': "2006-01-02", 'R': "15:04", 'T': "15:04:05", 'r': "03:04:05 PM",
}

// numbers are the directives that give a number, and its width.
var numbers = map[byte]struct {
	width int
	of    func(time.Time) int64
}{
	'C': {2, func(t time.Time) int64 { return int64(t.Year() / 100) }},
	'G': {4, func(t time.Time) int64 { y, _ := t.ISOWeek(); return int64(y) }},
	'V': {2, func(t time.Time) int64 { _, w := t.ISOWeek(); return int64(w) }},
	'U': {2, func(t time.Time) int64 { return int64((t.YearDay() + 6 - int(t.Weekday())) / 7) }},
	'W': {2, func(t time.Time) int64 { return int64((t.YearDay() + 6 - (int(t.Weekday())+6)%7) / 7) }},
	'u': {1, func(t time.Time) int64 { return int64((t.Weekday()+6)%7 + 1) }},
	'w': {1, func(t time.Time) int64 { return int64(t.Weekday()) }},
	's': {1, time.Time.Unix},
}

func compileDate(format string) (*dateFormat, error) {
	d := &dateFormat{}
	if format == "" {
		d.layout("2006-01-02 15:04:05,000")
		return d, nil
	}
	for {
		text, rest, found := strings.Cut(format, "%")
		d.text(text)
		if !found {
			return d, nil
		}
		if rest == "" {
			return nil, errors.New("a lone % ends the date format")
		}
		if err := d.directive(rest[0]); err != nil {
			return nil, err
		}
		format = rest[1:]
	}
}

func (d *dateFormat) directive(c byte) error {
	if layout, ok := layouts[c]; ok {
		d.layout(layout)
		return nil
	}
	if n, ok := numbers[c]; ok {
		d.parts = append(d.parts, func(dst []byte, t time.Time) []byte { return fmt.Appendf(dst, "%0*d", n.width, n.of(t)) })
		return nil
	}
	switch c {
	case '%':
		d.text("%")
	case 'n':
		d.text("\n")
	case 't':
		d.text("\t")
	default:
		return fmt.Errorf("unknown directive %s in the date format", strconv.QuoteToASCII("%"+string(rune(c))))
	}
	return nil
}

func (d *dateFormat) layout(layout string) {
	d.parts = append(d.parts, func(dst []byte, t time.Time) []byte { return t.AppendFormat(dst, layout) })
}

func (d *dateFormat) text(s string) {
	if s != "" {
		d.parts = append(d.parts, func(dst []byte, _ time.Time) []byte { return append(dst, s...) })
	}
}

func (d *dateFormat) string(t time.Time) string {
	var buf [64]byte
	dst := buf[:0]
	for _, p := range d.parts {
		dst = p(dst, t)
	}
	return string(dst)
}
