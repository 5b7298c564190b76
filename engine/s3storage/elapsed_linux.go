package s3storage

import (
	"time"

	"golang.org/x/sys/unix"
)

// elapsed returns a clock that goes on while the machine is suspended; Go's own
// stands then.
func elapsed() func() time.Duration {
	start := time.Now()
	return func() time.Duration {
		var ts unix.Timespec
		if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
			return time.Since(start)
		}
		return time.Duration(ts.Nano())
	}
}
