package storages

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/zodb"
)

var errInstant = errors.New("write a time such as 2026-11-01T10:00 (UTC) or 2026-11-01T10:00:30+01:00, " +
	"a time ago such as -90m, -2h or -7d, now, or a tid in 16 hexadecimal digits or after 0x")

// ParseInstant reads what people write to name a transaction or a time, and returns
// the tid:
//
//   - a time, in UTC unless it ends in a time zone: 2026-11-01, 2026-11-01T10:00,
//     2026-11-01T10:00:30.5+01:00
//   - how long before now: -90m, -2h, -7d; or now
//   - a tid: 03f1a5e0c2b4d688, 0x3f
func ParseInstant(text string, now time.Time) (zodb.TID, error) {
	t, err := parseTime(text, now)
	if err == nil {
		return zodb.TIDAt(t), nil
	}
	digits, marked := strings.CutPrefix(text, "0x")
	if marked || len(digits) == 16 {
		if n, err := strconv.ParseUint(digits, 16, 63); err == nil && n != 0 {
			return zodb.TID(n), nil
		}
	}
	return 0, fmt.Errorf("%q is neither a tid nor a time: %w", text, errInstant)
}

func parseTime(text string, now time.Time) (time.Time, error) {
	if text == "now" {
		return now, nil
	}
	if ago, ok := strings.CutPrefix(text, "-"); ok {
		d, err := duration(ago)
		// whole seconds, so that who asks at the same time gets the same answer
		return now.Truncate(time.Second).Add(-d), err
	}
	for _, layout := range []string{"2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04Z07:00"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return config.ParseTime(strings.TrimSuffix(text, "Z"))
}

// duration reads a duration as Go writes it, or a number of days.
func duration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		err = errInstant
	}
	return d, err
}
