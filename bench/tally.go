package bench

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/zaridb/zari/zodb"
)

// The phases of a run. Only what ends while measuring is counted.
const (
	warming int32 = iota
	measuring
	stopping
)

// The kinds of operations.
const (
	opLoad = iota
	opCommit
	opKinds
)

var opNames = [opKinds]string{opLoad: "load", opCommit: "commit"}

// maxMessages bounds the different error messages that a tally keeps.
const maxMessages = 5

// A tally is what one worker counts. The worker alone touches it until it has
// ended.
type tally struct {
	phase *atomic.Int32 // of the run

	done      [opKinds]Histogram
	conflicts uint64
	missing   uint64
	errors    uint64
	messages  []string
}

// stopped says whether the worker should end.
func (t *tally) stopped() bool { return t.phase.Load() == stopping }

func (t *tally) measuring() bool { return t.phase.Load() == measuring }

// ok counts an operation that was begun at that time and has ended now.
func (t *tally) ok(kind int, began time.Time) {
	if t.measuring() {
		t.done[kind].Record(time.Since(began))
	}
}

// refused counts an operation that the server answered with an error: a
// conflict, an object that is not there, or a failure. Failures count whenever
// they happen.
func (t *tally) refused(err error) {
	if _, ok := errors.AsType[*zodb.ConflictError](err); ok {
		t.conflict()
		return
	}
	if _, ok := errors.AsType[*zodb.NoObjectError](err); ok {
		t.absent()
		return
	}
	t.fail(err)
}

func (t *tally) conflict() {
	if t.measuring() {
		t.conflicts++
	}
}

func (t *tally) absent() {
	if t.measuring() {
		t.missing++
	}
}

// fail counts a failure and keeps its message if it is new.
func (t *tally) fail(err error) {
	t.errors++
	t.keep(err.Error())
}

func (t *tally) keep(message string) {
	for _, m := range t.messages {
		if m == message {
			return
		}
	}
	if len(t.messages) < maxMessages {
		t.messages = append(t.messages, message)
	}
}

// merge adds what other counted.
func (t *tally) merge(other *tally) {
	for k := range t.done {
		t.done[k].Merge(&other.done[k])
	}
	t.conflicts += other.conflicts
	t.missing += other.missing
	t.errors += other.errors
	for _, m := range other.messages {
		t.keep(m)
	}
}
