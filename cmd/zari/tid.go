package main

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/zaridb/zari/storages"
	"github.com/zaridb/zari/zodb"
)

// tidHelp is for the help texts of commands with flags that are tids.
const tidHelp = `A transaction is named by its tid, in 16 hexadecimal digits, or by a time:
2026-11-01, 2026-11-01T10:00 or 2026-11-01T10:00:30.5, in UTC unless a time zone
such as +01:00 follows; now, or so long ago: -90m, -2h, -7d.`

// tidFlag is a flag that names a transaction or a time.
type tidFlag struct{ tid *zodb.TID }

var _ pflag.Value = tidFlag{}

func (f tidFlag) Type() string { return "TID" }

func (f tidFlag) String() string {
	if f.tid == nil || *f.tid == 0 {
		return ""
	}
	return f.tid.String()
}

func (f tidFlag) Set(s string) (err error) {
	*f.tid, err = parseTID(s)
	return err
}

// parseTID reads a tid, or the tid of a time.
func parseTID(s string) (zodb.TID, error) { return storages.ParseInstant(s, time.Now()) }

// when shows a tid's time.
func when(tid zodb.TID) string { return tid.Time().UTC().Format("2006-01-02 15:04:05.000000") }

// isoTime is a tid's time for JSON.
func isoTime(tid zodb.TID) string { return tid.Time().UTC().Format(time.RFC3339Nano) }
