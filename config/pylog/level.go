package pylog

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
)

// Level is a level of Python's logging: 50 is critical, 40 error, 30 warning, 20
// info, 10 debug, 0 notset. ZConfig adds blather (15), trace (5) and all (1).
type Level int

// The levels with a name of their own in log lines.
const (
	NotSet   Level = 0
	Debug    Level = 10
	Info     Level = 20
	Warning  Level = 30
	Error    Level = 40
	Critical Level = 50
)

var levels = map[string]Level{
	"critical": Critical, "fatal": Critical, "error": Error, "warn": Warning, "warning": Warning,
	"info": Info, "blather": 15, "debug": Debug, "trace": 5, "all": 1, "notset": NotSet,
}

// ParseLevel reads the name of a level in any case, or a number from 0 to 50.
func ParseLevel(s string) (Level, error) {
	if l, ok := levels[strings.ToLower(s)]; ok {
		return l, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 50 {
		return 0, fmt.Errorf("%q is not a log level: write critical, error, warn, info, blather, debug, trace, all, "+
			"or a number from 0 to 50", s)
	}
	return Level(n), nil
}

// Slog returns the level of slog that stands for l: the four that both know are
// the same, the others lie evenly between them.
func (l Level) Slog() slog.Level {
	return slog.Level(floorDiv((int(l)-20)*4, 10))
}

// fromSlog returns the level of Python that stands for l.
func fromSlog(l slog.Level) Level {
	return Level(min(max(floorDiv(int(l)*10, 4)+20, 1), 50))
}

func floorDiv(a, b int) int {
	q := a / b
	if a%b != 0 && a < 0 {
		q--
	}
	return q
}

// String returns the name that a log line shows: that of the nearest level of
// Python which is not above l.
func (l Level) String() string {
	switch {
	case l >= Critical:
		return "CRITICAL"
	case l >= Error:
		return "ERROR"
	case l >= Warning:
		return "WARNING"
	case l >= Info:
		return "INFO"
	case l > NotSet:
		return "DEBUG"
	}
	return "NOTSET"
}
