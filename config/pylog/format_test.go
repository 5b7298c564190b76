package pylog

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// sample is a line whose fields are all known.
func sample() *line {
	at := time.Date(2026, 11, 1, 9, 5, 7, 123_456_000, time.UTC)
	return &line{
		time: at, level: Warning, name: "ZEO.StorageServer", message: "it's new", process: 4711,
		source: source{file: "/src/zeo/server.go", function: "server.run", number: 42},
		start:  at.Add(-1500 * time.Millisecond),
	}
}

// formats and what Python's logging makes of them with the fields of sample.
var formats = []struct{ format, date, want string }{
	{DefaultFormat, DefaultDateFormat, "------\n2026-11-01T09:05:07 WARNING ZEO.StorageServer it's new"},
	{"%(asctime)s", "", "2026-11-01 09:05:07,123"},
	{"plain", "", "plain"},
	{"", "", ""},
	{"100%% %(message)s%%", "", "100% it's new%"},
	{"[%(levelname)-10s|%(levelname)10s|%(levelname).3s|%(levelname)010s|%(levelname)+s]", "", "[WARNING   |   WARNING|WAR|   WARNING|WARNING]"},
	{"%(levelno)d %(levelno)s %(levelno)05d %(levelno)+d %(levelno)-5d| %(levelno)x %(levelno)i %(levelno)u", "", "30 30 00030 +30 30   | 1e 30 30"},
	{"%(levelno)f %(levelno).2f %(levelno)e %(levelno)g", "", "30.000000 30.00 3.000000e+01 30"},
	{"%(msecs)d %(msecs)03d %(msecs)s %(msecs).1f", "", "123 123 123.0 123.0"},
	{"%(relativeCreated)d %(relativeCreated)s", "", "1500 1500.0"},
	{"%(created)f %(created)d %(created)s", "", "1793523907.123456 1793523907 1793523907.123456"},
	{"%(name)r %(message)r %(levelno)r", "", "'ZEO.StorageServer' 'it\\'s new' 30"},
	{"%(filename)s %(module)s %(pathname)s:%(lineno)d %(funcName)s", "", "server.go server /src/zeo/server.go:42 server.run"},
	{"%(process)d %(processName)s %(threadName)s %(thread)d", "", "4711 MainProcess MainThread 4711"},
	{"%(asctime)s", "%a %A %b %B %d %e %H %I %p %j %y %Y", "Sun Sunday Nov November 01  1 09 09 AM 305 26 2026"},
	{"%(asctime)s", "%D %F %T %R %r %c|%x|%X", "11/01/26 2026-11-01 09:05:07 09:05 09:05:07 AM Sun Nov  1 09:05:07 2026|11/01/26|09:05:07"},
	{"%(asctime)s", "%C %G %V %U %W %u %w %h %%Y %n%t.", "20 2026 44 44 43 7 0 Nov %Y \n\t."},
	{"%(asctime)s", "%Z %z %m/%d %M%S", "UTC +0000 11/01 0507"},
	{"%(asctime)-22s|", "%H:%M", "09:05                 |"},
}

func TestFormat(t *testing.T) {
	for _, tt := range formats {
		f, err := Compile(tt.format, tt.date)
		if err != nil {
			t.Errorf("Compile(%q, %q): %v", tt.format, tt.date, err)
			continue
		}
		if got := string(f.append(nil, sample())); got != tt.want+"\n" {
			t.Errorf("%q, %q gives\n%q, want\n%q", tt.format, tt.date, got, tt.want+"\n")
		}
	}
}

const script = `
import json, logging, os, sys, time
os.environ["TZ"] = "UTC"
time.tzset()
at = 1793523907.123456
for format, date in json.load(sys.stdin):
    r = logging.LogRecord("ZEO.StorageServer", 30, "/src/zeo/server.go", 42, "it's new", (), None, "server.run")
    r.created, r.msecs, r.relativeCreated = at, 123.0, 1500.0
    r.process = r.thread = 4711
    r.filename, r.module = "server.go", "server"
    # As ZConfig does, without the check that there is a field.
    f = logging.Formatter(format, date or None, validate=False)
    f._style._fmt = format
    # repr quotes with double quotes where there is a single one inside.
    print(json.dumps(f.format(r).replace('"it\'s new"', "'it\\'s new'")))
`

// What the table says is what Python says.
func TestFormatPython(t *testing.T) {
	python := os.Getenv("ZARI_PYTHON")
	if python == "" {
		t.Skip("ZARI_PYTHON does not name a Python")
	}
	var input [][2]string
	for _, tt := range formats {
		input = append(input, [2]string{tt.format, tt.date})
	}
	stdin, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-c", script)
	cmd.Stdin = strings.NewReader(string(stdin))
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(out)))
	for _, tt := range formats {
		var got string
		if err := d.Decode(&got); err != nil {
			t.Fatal(err)
		}
		if got != tt.want {
			t.Errorf("%q, %q: Python gives\n%q, the table says\n%q", tt.format, tt.date, got, tt.want)
		}
	}
}

func TestCompileErrors(t *testing.T) {
	tests := []struct{ format, date, want string }{
		{"%s", "", `%s is not %(FIELD)s; write %% for a percent sign`},
		{"100%", "", `% is not %(FIELD)s; write %% for a percent sign`},
		{"%(message", "", `%(message is not %(FIELD)s; write %% for a percent sign`},
		{"%(massage)s", "", `unknown field "massage"`},
		{"%(message)", "", `%(message): "" does not begin with a conversion such as s or d`},
		{"%(message)q", "", `%(message): "q" does not begin with a conversion such as s or d`},
		{"%(message)*s", "", `%(message): "*s" does not begin with a conversion such as s or d`},
		{"%(message)d", "", `%(message)d: the field is no number`},
		{"%(message)99999999999999999999s", "", `%(message): the width is more than 1000`},
		{"%(message).1001s", "", `%(message): the width is more than 1000`},
		{"x", "%Q", `unknown directive "%Q" in the date format`},
		{"x", "%", `a lone % ends the date format`},
	}
	for _, tt := range tests {
		_, err := Compile(tt.format, tt.date)
		if err == nil || err.Error() != tt.want {
			t.Errorf("Compile(%q, %q): %v\nwant %s", tt.format, tt.date, err, tt.want)
		}
	}
}

func TestUnescape(t *testing.T) {
	if got := Unescape(`------\n%(asctime)s\t\b\f\r\x`); got != "------\n%(asctime)s\t\b\f\r\\x" {
		t.Errorf("%q", got)
	}
}

func FuzzCompile(f *testing.F) {
	for _, tt := range formats {
		f.Add(tt.format, tt.date)
	}
	f.Fuzz(func(t *testing.T, format, date string) {
		c, err := Compile(format, date)
		if err != nil {
			return
		}
		got := c.append(nil, sample())
		if limit := 64 + (len(format)+1)*(maxWidth+64+64*len(date)); len(got) > limit {
			t.Errorf("%q, %q gives %d bytes", format, date, len(got))
		}
	})
}
