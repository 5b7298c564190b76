// Package front keeps the newest slots of a log before they are in the bucket.
//
// # The model
//
// A log in a bucket is durable when its object is, which takes tens of milliseconds. A front takes
// the same bytes under the same number in one, and whoever writes moves them to the
// bucket behind, one slot after the other. So what the bucket has is always the beginning of what the
// front has had, and a reader of the bucket alone is a little behind.
//
// A front is entered by a fence in the bucket that names it, and left by a fence in it that
// names the bucket. So who has read the log up to a slot knows where the next one is
// written, and nobody writes it anywhere else.
//
// # What a Put may answer
//
// The same as that of an object: it is there; somebody has been quicker; or nothing is
// known, now or later, and the same bytes are put again. Fencing needs no more: a writer that is
// over finds its slot taken. Slot numbers are never used twice, also not when their slots
// have been trimmed; so, unlike in a bucket, a Put that comes very late has to fail.
//
// # The implementations
//
//   - pglog: a table in PostgreSQL
//   - disklog: files on a disk of the writer
//   - memory: for tests, over a fake bucket with its faults
//
// fronttest is the contract as a test suite.
package front

import (
	"context"
	"errors"
	"io"

	"github.com/zaridb/zari/engine/s3storage/layout"
)

// Slots are where slots of a log are written and read: a front, or the bucket itself.
type Slots interface {
	// Put writes a slot. nil: it is durable. ErrTaken: there is or was something in the slot,
	// perhaps the same from an earlier Put. Any other error says nothing, neither now nor
	// later. The epoch is that of the object; a front takes none that is smaller than
	// one before.
	Put(ctx context.Context, slot, epoch uint64, object []byte) error

	// Get returns what is durable in a slot. ErrNone: nothing, or not any more.
	Get(ctx context.Context, slot uint64) ([]byte, error)
}

// Log is a front. There is one Put at a time; the other methods may be called meanwhile.
type Log interface {
	Slots

	// Last returns the last slot that was written, also if it has been trimmed, or the one
	// that the log was created behind.
	Last(ctx context.Context) (uint64, error)

	// Trim forgets slots up to one: they are in the bucket.
	Trim(ctx context.Context, upTo uint64) error

	// Remove forgets all of the log: its slots are in the bucket, and there it goes on. A Put that
	// comes later still has to fail.
	Remove(ctx context.Context) error

	io.Closer
}

// Place is where fronts are kept, each under an id. It is used by several goroutines.
type Place interface {
	Kind() layout.FrontKind

	// String tells people where it is, without secrets.
	String() string

	// Create makes a log whose first slot comes behind the slot last. It may be called again
	// with the same id and another slot before the first Put.
	Create(ctx context.Context, id layout.ID, last, epoch uint64) (Log, error)

	// Open opens a log. ErrNoLog: it is not here.
	Open(ctx context.Context, id layout.ID) (Log, error)

	// MaxObject is how large an object may be.
	MaxObject() int64

	io.Closer
}

// Errors of fronts.
var (
	ErrTaken  = errors.New("the slot is taken")
	ErrNone   = errors.New("there is nothing in the slot")
	ErrNoLog  = errors.New("there is no such log")
	ErrBehind = errors.New("the log ends before slots that it has had: it is an old copy, or was restored")
)
