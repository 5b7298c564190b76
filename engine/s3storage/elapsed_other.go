//go:build !linux

package s3storage

import "time"

// elapsed returns a clock that only goes forward. Whether it goes on while the machine
// is suspended is the system's affair; where it stands, the wall clock's word
// counts as well.
func elapsed() func() time.Duration {
	start := time.Now()
	wall := start.Round(0)
	return func() time.Duration { return max(time.Since(start), time.Now().Round(0).Sub(wall)) }
}
