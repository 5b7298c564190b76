package resolve

import (
	"bytes"

	"github.com/zaridb/zari/zodb/pickle"
)

// moment is a date or a datetime. At has year, month, day, and so on, the larger
// part first; its length tells which it is. Zone is the pickle of the time zone,
// empty for none.
type moment struct{ at, zone string }

// like reports whether two moments are compared by at alone: both are dates, or
// both are datetimes of the same time zone.
func (m moment) like(other moment) bool { return len(m.at) == len(other.at) && m.zone == other.zone }

// momentOf reads the arguments that datetime's classes pickle
// (Modules/_datetimemodule.c): bytes, and perhaps a time zone. A fold stands in the
// month's high bit, and counts for nothing within one time zone.
func momentOf(o *pickle.Object, n int) any {
	if len(o.Args) < 1 || len(o.Args) > 2 {
		return o
	}
	b, ok := pickle.Bytes(o.Args[0])
	if !ok || len(b) != n {
		return o
	}
	at := bytes.Clone(b)
	at[2] &= 0x7f
	if at[2] < 1 || at[2] > 12 {
		return o
	}
	m := moment{at: string(at)}
	if len(o.Args) == 2 {
		if m.zone, ok = zoneOf(o.Args[1]); !ok || n != 10 {
			return o
		}
	}
	return m
}

// zoneOf returns the pickle of a time zone, if two that are pickled the same are
// one object or of one offset: those of pytz, and datetime.timezone.
func zoneOf(v any) (string, bool) {
	o, ok := v.(*pickle.Object)
	if !ok || o.Making != pickle.Reduce || o.Built || len(o.Items) > 0 || len(o.Entries) > 0 {
		return "", false
	}
	class, _ := o.Class.(*pickle.Global)
	if class == nil {
		return "", false
	}
	switch *class {
	case pickle.Global{Module: "pytz", Name: "_UTC"}, pickle.Global{Module: "pytz", Name: "_p"},
		pickle.Global{Module: "datetime", Name: "timezone"}:
		zone, err := pickle.Encode(o)
		return string(zone), err == nil
	}
	return "", false
}

// zopeTime is a DateTime of Zope's package of that name, as it is in catalogs:
// DateTime/DateTime.py.
type zopeTime struct {
	micros int64
	zone   string
}

var zopeClass = pickle.Global{Module: "DateTime.DateTime", Name: "DateTime"}

// zopeTimeOf reads the state (microseconds, naive, zone).
func zopeTimeOf(o *pickle.Object) any {
	state, ok := o.State.(pickle.Tuple)
	if o.Making != pickle.NewObj || len(o.Args) > 0 || !o.Built || !ok || len(state) != 3 {
		return o
	}
	micros, ok := state[0].(int64)
	_, isBool := state[1].(bool)
	zone, isText := pickle.Text(state[2])
	if !ok || !isBool || !isText {
		return o
	}
	return zopeTime{micros, zone}
}

// equal compares as all versions do: those since 3 say that one time in two zones
// differs, earlier ones that it does not.
func (z zopeTime) equal(other zopeTime) (bool, error) {
	if z.micros == other.micros && z.zone != other.zone {
		return false, refuse(Uncertain)
	}
	return z.micros == other.micros, nil
}

func zopeTimes(a, b any) (x, y zopeTime, ok bool) {
	x, okX := a.(zopeTime)
	y, okY := b.(zopeTime)
	return x, y, okX && okY
}
