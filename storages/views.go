package storages

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/wrapper/before"
	"github.com/zaridb/zari/zodb"
)

// Views finds views of storages by names of the form NAME@INSTANT: what the
// database was like at that instant, as ZODB.DB.open(at=...) has it. A transaction
// that was committed at the very instant is seen.
//
// The instant is a time, in UTC unless it ends in a time zone
// (2026-11-01T10:00, 2026-11-01, 2026-11-01T10:00:30.5+01:00), a time ago (-90m,
// -2h, -7d), or a transaction id (0x03f1a5e0c2b4d688).
type Views struct {
	Storages map[string]zodb.Storage
	Now      func() time.Time
}

// Find tells how the view of a name is opened. The key is the same for all names
// of one instant. Opening it leaves the storage itself alone.
func (v Views) Find(name string) (key string, open func(ctx context.Context) (zodb.Storage, error), err error) {
	i := strings.LastIndexByte(name, '@')
	if i < 0 {
		return "", nil, fmt.Errorf("unknown storage: %s", name)
	}
	base := v.Storages[name[:i]]
	if base == nil {
		return "", nil, fmt.Errorf("unknown storage: %s, of which a view is asked for", name[:i])
	}
	at, err := v.instant(name[i+1:])
	if err != nil {
		return "", nil, fmt.Errorf("storage %s: %w", name, err)
	}
	if at > max(base.LastTID(), zodb.TIDAt(v.Now())) {
		return "", nil, fmt.Errorf("storage %s: %s lies in the future", name, at.Time().Format(time.RFC3339))
	}
	return fmt.Sprintf("%s@0x%v", name[:i], at), func(ctx context.Context) (zodb.Storage, error) {
		return before.New(ctx, base, before.Options{Before: at + 1, Borrowed: true})
	}, nil
}

var errInstant = errors.New("write a time as 2026-11-01T10:00 (UTC) or 2026-11-01T10:00:30+01:00, " +
	"a time ago as -90m, -2h or -7d, or a transaction id as 0x and up to 16 hexadecimal digits")

// instant returns the tid of the last instant that is seen.
func (v Views) instant(text string) (zodb.TID, error) {
	if digits, ok := strings.CutPrefix(text, "0x"); ok {
		n, err := strconv.ParseUint(digits, 16, 63)
		if err != nil || n == 0 {
			return 0, fmt.Errorf("%q is not a transaction id: %w", text, errInstant)
		}
		return zodb.TID(n), nil
	}
	if ago, ok := strings.CutPrefix(text, "-"); ok {
		d, err := duration(ago)
		if err != nil {
			return 0, fmt.Errorf("%q is not a time ago: %w", text, errInstant)
		}
		// whole seconds, so that who asks at the same time gets the same view
		return zodb.TIDAt(v.Now().Truncate(time.Second).Add(-d)), nil
	}
	t, err := parseTime(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a time: %w", text, errInstant)
	}
	return zodb.TIDAt(t), nil
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

func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04Z07:00"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return config.ParseTime(text)
}
