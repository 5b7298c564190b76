package memstorage

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Faults are what goes wrong between the servers of a Shared database and the database.
// The numbers say "once in so many", 0 is never.
type Faults struct {
	Seed  uint64
	Delay time.Duration // questions and answers take up to so long

	LostSessions int // a session ends right after the vote that locked with it
	LostReplies  int // a commit is durable, but its server does not hear of it
	LostCommits  int // it does not hear of one that is not
	LateCommits  int // nor of one that becomes durable a while later
}

type faults struct {
	Faults
	mu   sync.Mutex
	rand *rand.Rand
}

func newFaults(f Faults) *faults {
	return &faults{Faults: f, rand: rand.New(rand.NewPCG(f.Seed, 0))}
}

func (f *faults) happens(once int) bool {
	if once == 0 {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rand.IntN(once) == 0
}

func (f *faults) delay() {
	if f.Delay == 0 {
		return
	}
	f.mu.Lock()
	d := time.Duration(f.rand.Int64N(int64(f.Delay)))
	f.mu.Unlock()
	time.Sleep(d)
}
