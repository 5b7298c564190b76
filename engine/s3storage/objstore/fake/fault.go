package fake

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/zaridb/zari/engine/s3storage/objstore"
)

// Errors that a store may answer. Both say nothing about the outcome.
var (
	ErrLost = errors.New("connection reset by peer")
	ErrSlow = errors.New("503 Slow Down")
)

// Kind is a kind of operation.
type Kind string

// The kinds of operations.
const (
	Put    Kind = "Put" // PutFile too
	Get    Kind = "Get"
	Head   Kind = "Head"
	Delete Kind = "Delete"
	List   Kind = "List"
)

// Op is an operation that is about to begin.
type Op struct {
	N      int64  // in the order of the bucket, from 1
	Client string // which client
	Kind   Kind
	Key    string        // or the prefix of a list
	Cond   objstore.Cond // of a Put
	Body   []byte        // of a Put
}

// Fault is what goes wrong with an operation. Its fields can be combined; the zero
// Fault is nothing.
type Fault struct {
	// Delay passes before the operation arrives, and Hold is waited for. If the
	// context ends meanwhile, the caller has its error, and what was delayed is never
	// done, but what was held is, once Hold is closed.
	Delay time.Duration
	Hold  <-chan struct{}

	// Err is returned and nothing is done: ErrSlow, objstore.ErrConflict, any other.
	Err error

	// Lost: it is done, and the answer is lost: Err, or else ErrLost, is returned.
	Lost bool

	// Late: it is done only before the Late-th operation after it, or at Bucket.Land.
	// A Put returns at once Err, or else ErrLost; its condition is looked at when it
	// lands. A Delete returns no error unless there is one here.
	Late int

	// Twice: it arrives twice, and the second answer is what the caller sees.
	Twice bool

	// IgnoreCond: a Put's condition is not looked at.
	IgnoreCond bool

	// Cut: the body of a Get, or a list, breaks off with Err or else ErrLost after
	// Cut-1 bytes or entries.
	Cut int

	// Stale: a list has not heard of the last so many changes.
	Stale int

	// Lack is the share of keys that a list lacks, without an error; which ones
	// depends on their names and on LackSeed.
	Lack     float64
	LackSeed uint64
}

func (f Fault) lostErr() error {
	if f.Err != nil {
		return f.Err
	}
	return ErrLost
}

// Rule says what goes wrong with an operation. It is called by the goroutine of the
// operation, without locks, before anything else; it may block.
type Rule func(Op) Fault

// Nth applies f to the nth operation of the rule, from 1, and nothing to others.
func Nth(n int64, f Fault) Rule {
	var mu sync.Mutex
	var count int64
	return func(Op) Fault {
		mu.Lock()
		defer mu.Unlock()
		if count++; count == n {
			return f
		}
		return Fault{}
	}
}

// Always applies f to every operation.
func Always(f Fault) Rule { return func(Op) Fault { return f } }

// Only asks rule about operations of one kind whose keys begin with prefix.
func Only(kind Kind, prefix string, rule Rule) Rule {
	return func(op Op) Fault {
		if op.Kind == kind && strings.HasPrefix(op.Key, prefix) {
			return rule(op)
		}
		return Fault{}
	}
}

// Rates are how often what goes wrong, each from 0 to 1. At most one thing goes
// wrong with an operation.
type Rates struct {
	Slow     float64 // ErrSlow, nothing is done
	Lost     float64 // done, and the answer is lost
	Late     float64 // Put: an error, and it lands later. Delete: no error, it lands later
	Twice    float64 // arrives twice
	Conflict float64 // Put with a condition: objstore.ErrConflict, nothing is done
	Cut      float64 // Get, List: break off
	Stale    float64 // List
	Lack     float64 // List: lacks one in five
	MaxLate  int     // operations that Late waits at most; 0: 20
}

// Random is a rule that draws from rates, always the same for a seed.
func Random(seed uint64, rates Rates) Rule {
	var mu sync.Mutex
	rnd := rand.New(rand.NewPCG(seed, 0x5eed))
	return func(op Op) Fault {
		mu.Lock()
		defer mu.Unlock()
		return rates.draw(rnd, op)
	}
}

func (r Rates) draw(rnd *rand.Rand, op Op) Fault {
	x := rnd.Float64()
	is := func(rate float64, kinds ...Kind) bool {
		for _, k := range kinds {
			if k == op.Kind {
				x -= rate
				return x < 0
			}
		}
		return false
	}
	if r.MaxLate == 0 {
		r.MaxLate = 20
	}
	switch {
	case is(r.Slow, op.Kind):
		return Fault{Err: ErrSlow}
	case is(r.Lost, Put, Delete):
		return Fault{Lost: true}
	case is(r.Late, Put, Delete):
		return Fault{Late: 1 + rnd.IntN(r.MaxLate)}
	case is(r.Twice, Put, Delete):
		return Fault{Twice: true}
	case op.Cond != objstore.Always && is(r.Conflict, Put):
		return Fault{Err: objstore.ErrConflict}
	case is(r.Cut, Get, List):
		return Fault{Cut: 1 + rnd.IntN(100)}
	case is(r.Stale, List):
		return Fault{Stale: 1 + rnd.IntN(20)}
	case is(r.Lack, List):
		return Fault{Lack: 0.2, LackSeed: rnd.Uint64()}
	}
	return Fault{}
}
