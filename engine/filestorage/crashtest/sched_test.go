package crashtest

import (
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing/synctest"
)

// sched lets the goroutines of a round go on one at a time, in an order that
// follows from a seed.
type sched struct {
	rng *rand.Rand

	mu     sync.Mutex
	parked map[string]chan struct{}
	free   bool   // nobody is held up any more
	pass   string // nobody is held up at this point now
}

func newSched(seed uint64) *sched {
	return &sched{rng: rand.New(rand.NewPCG(seed, 10)), parked: make(map[string]chan struct{})}
}

// park waits for its turn. No two goroutines may use the same name at a time.
func (s *sched) park(name string) {
	s.mu.Lock()
	if s.free || s.pass == name {
		s.mu.Unlock()
		return
	}
	turn := make(chan struct{})
	s.parked[name] = turn
	s.mu.Unlock()
	<-turn
}

// idle runs a function that must not be held up at a point, and reports false
// without running it if somebody is held up there now. It is for what holds a
// mutex while it waits for others to pass the point: to a bubble, waiting for a
// mutex is not waiting, and nobody would get his turn any more.
func (s *sched) idle(name string, do func()) bool {
	s.mu.Lock()
	if s.parked[name] != nil {
		s.mu.Unlock()
		return false
	}
	s.pass = name
	s.mu.Unlock()
	do()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pass = ""
	return true
}

// step waits until nobody can go on by himself, and lets one go on. It reports
// whether there was one.
func (s *sched) step() bool {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	names := slices.Sorted(maps.Keys(s.parked))
	if len(names) == 0 {
		return false
	}
	name := names[s.rng.IntN(len(names))]
	close(s.parked[name])
	delete(s.parked, name)
	return true
}

// release lets everybody go on, now and later.
func (s *sched) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = true
	for name, turn := range s.parked {
		close(turn)
		delete(s.parked, name)
	}
}
