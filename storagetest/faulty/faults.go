package faulty

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/zaridb/zari/zodb"
)

// Call is an operation on a wrapped storage.
type Call struct {
	// Op names the method: "LoadBefore", "NewOIDs", "Begin", "Txn.Store",
	// "Txn.Vote", "Txn.Finish", "Transactions" (once for each transaction that is
	// yielded) and so on.
	Op  string
	N   int // counts all calls since Set, from 0
	OID zodb.OID
	TID zodb.TID
}

// Fault is what happens to a call. The zero Fault lets it through.
type Fault struct {
	// Err is returned instead of doing the call.
	Err error
	// Lost does the call, but returns Err instead of its answer; without an Err,
	// zodb.ErrCommitUnknown.
	Lost bool
	// Delay is called first, if it is not nil. It may wait for anything; the call
	// fails with the error that it returns.
	Delay func(ctx context.Context) error
}

// Rule chooses the fault of a call. It is called by one goroutine at a time.
type Rule func(Call) Fault

// Faults is a rule and a count that any number of storages share. It is safe for
// concurrent use.
type Faults struct {
	mu   sync.Mutex
	rule Rule
	n    int
	hits int
}

// New returns Faults without a rule.
func New() *Faults { return new(Faults) }

// Set sets the rule, nil for none, and begins to count anew.
func (f *Faults) Set(rule Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rule, f.n, f.hits = rule, 0, 0
}

// Calls returns how many calls there were since Set, and how many met a fault.
func (f *Faults) Calls() (calls, faults int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n, f.hits
}

// of counts a call and returns its fault.
func (f *Faults) of(c Call) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.N = f.n
	f.n++
	if f.rule == nil {
		return Fault{}
	}
	fault := f.rule(c)
	if fault.Lost && fault.Err == nil {
		fault.Err = zodb.ErrCommitUnknown
	}
	if fault.Err != nil || fault.Delay != nil {
		f.hits++
	}
	return fault
}

// do runs a call, or its fault. undo, if not nil, gives up what the call began
// when its answer is not passed on, or when it is not done.
func (f *Faults) do(ctx context.Context, c Call, call func() error, undo func()) error {
	fault := f.of(c)
	if fault.Delay != nil {
		if err := fault.Delay(ctx); err != nil {
			fault.Err = err
		}
	}
	if fault.Err == nil {
		return call()
	}
	if fault.Lost {
		// Whatever the answer is, nobody hears it.
		_ = call()
	}
	if undo != nil {
		undo()
	}
	return fault.Err
}

// Nth is the fault at call number n, counted from 0.
func Nth(n int, fault Fault) Rule {
	return func(c Call) Fault {
		if c.N == n {
			return fault
		}
		return Fault{}
	}
}

// From is the fault at every call from number n on.
func From(n int, fault Fault) Rule {
	return func(c Call) Fault {
		if c.N >= n {
			return fault
		}
		return Fault{}
	}
}

// On is the fault at every call of the named operations.
func On(fault Fault, ops ...string) Rule {
	return If(fault, func(c Call) bool { return slices.Contains(ops, c.Op) })
}

// If is the fault at every call that pred accepts.
func If(fault Fault, pred func(Call) bool) Rule {
	return func(c Call) Fault {
		if pred(c) {
			return fault
		}
		return Fault{}
	}
}

// Randomly is the fault at about one call of every n, chosen by seed.
func Randomly(seed uint64, n int, fault Fault) Rule {
	rnd := rand.New(rand.NewPCG(seed, 0))
	return func(Call) Fault {
		if rnd.IntN(n) == 0 {
			return fault
		}
		return Fault{}
	}
}

// First is the first fault that one of the rules has.
func First(rules ...Rule) Rule {
	return func(c Call) Fault {
		for _, rule := range rules {
			if f := rule(c); f.Err != nil || f.Lost || f.Delay != nil {
				return f
			}
		}
		return Fault{}
	}
}
