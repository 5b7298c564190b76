package zodb

import (
	"testing"
	"time"
)

// What Python's TimeStamp gives: TimeStamp(2026, 11, 22, 6, 28, 30.5).raw() and
// TimeStamp(1900, 1, 1, 0, 0, 0).raw().
func TestTIDAt(t *testing.T) {
	for _, c := range []struct {
		time time.Time
		want TID
	}{
		{time.Date(2026, 11, 22, 6, 28, 30, 5e8, time.UTC), 0x040d2e6482222222},
		{time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC), 0},
		{time.Date(1812, 1, 1, 0, 0, 0, 0, time.UTC), 1},
	} {
		if got := TIDAt(c.time); got != c.want {
			t.Errorf("TIDAt(%v) = %v, want %v", c.time, got, c.want)
		}
	}
}

func TestTIDTime(t *testing.T) {
	for _, want := range []time.Time{
		time.Date(2026, 2, 28, 23, 59, 59, 999e6, time.UTC),
		time.Date(2000, 12, 31, 0, 0, 0, 0, time.UTC),
	} {
		if got := TIDAt(want).Time(); got.Sub(want).Abs() > 20*time.Nanosecond {
			t.Errorf("%v comes back as %v", want, got)
		}
	}
}

func TestNextTID(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if got := NextTID(now, 5); got != TIDAt(now) {
		t.Errorf("NextTID = %v", got)
	}
	if got := NextTID(now, TIDAt(now)+9); got != TIDAt(now)+10 {
		t.Errorf("behind a later one: %v", got)
	}
}

func TestUndoID(t *testing.T) {
	tid := TID(0x040d2e92e7063fde)
	if id := tid.UndoID(); string(id) != "BA0ukucGP94=" {
		t.Errorf("UndoID = %s", id)
	}
	if back, err := ParseUndoID(tid.UndoID()); err != nil || back != tid {
		t.Errorf("ParseUndoID = %v, %v", back, err)
	}
	for _, bad := range []string{"", "!", "BA0u"} {
		if _, err := ParseUndoID([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
