package crashtest

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"
)

const (
	sample = 300 // rounds in every run of the tests
	enough = 5   // failures after which no more are looked for
)

func TestPowerLoss(t *testing.T) {
	if os.Getenv("ZARI_SEED") != "" {
		playOne(t)
		return
	}
	rounds, enough := number(t, "ZARI_ROUNDS", sample), number(t, "ZARI_FAILURES", enough)
	total, failed := stats{}, 0
	begin := time.Now()
	for seed := range uint64(rounds) {
		s, log, err := play(t, seed, plant{})
		if err != nil {
			t.Errorf("seed %d: %v\n\n%s\nto see it again: ZARI_SEED=%d go test -run TestPowerLoss ./engine/filestorage/crashtest", seed, err, log, seed)
			if failed++; failed == enough {
				t.FailNow()
			}
		}
		total.add(s)
		if n := seed + 1; n%1000 == 0 {
			fmt.Fprintf(os.Stderr, "%d of %d rounds, %v: %+v\n", n, rounds, time.Since(begin).Round(time.Second), total)
		}
	}
	t.Logf("%d rounds in %v: %+v", rounds, time.Since(begin).Round(time.Millisecond), total)
	if rounds >= sample {
		total.wantAll(t)
	}
}

// TestSeedDecides: a round that fails can be seen again.
func TestSeedDecides(t *testing.T) {
	if raceDetector {
		t.Skip("under the race detector Go schedules at random")
	}
	for seed := range uint64(20) {
		s1, log1, err1 := play(t, seed, plant{})
		s2, log2, err2 := play(t, seed, plant{})
		s1.refused, s2.refused = 0, 0 // how many are, once the power is off, is chance
		if s1 != s2 || log1 != log2 || (err1 == nil) != (err2 == nil) {
			t.Errorf("seed %d: first\n%s%+v %v\nand then\n%s%+v %v", seed, log1, s1, err1, log2, s2, err2)
		}
	}
}

func playOne(t *testing.T) {
	seed := uint64(number(t, "ZARI_SEED", 0))
	s, log, err := play(t, seed, plant{})
	t.Logf("%s%+v", log, s)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
}

// number reads a number from the environment.
func number(t *testing.T, name string, or int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return or
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// wantAll wants everything to have happened often.
func (s stats) wantAll(t *testing.T) {
	t.Helper()
	for what, n := range map[string]int{
		"power cuts": s.cuts, "lives": s.lives, "kills": s.kills, "acknowledged commits": s.acked, "commits in doubt": s.doubted,
		"refusals": s.refused, "commits found without having been acknowledged": s.revived, "undone records": s.undone,
		"blobs": s.blobs, "packs": s.packs, "faults": s.faults,
		"batches that were synced with the one before": s.streamed,
	} {
		if n < 20 {
			t.Errorf("only %d %s: the rounds prove too little", n, what)
		}
	}
}

// watch ends the tests with all stacks if a round never ends. Time stands still
// inside of a round, so it must be watched from outside.
func watch(seed uint64) (stop func()) {
	timer := time.AfterFunc(5*time.Minute, func() {
		buf := make([]byte, 1<<20)
		panic(fmt.Sprintf("seed %d does not end\n%s", seed, buf[:runtime.Stack(buf, true)]))
	})
	return func() { timer.Stop() }
}
