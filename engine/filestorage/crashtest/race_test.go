//go:build race

package crashtest

// raceDetector: Go then schedules goroutines at random on purpose.
const raceDetector = true
