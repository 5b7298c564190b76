package store

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Abilities is a set of things that a storage can do.
type Abilities uint

const (
	Undo    Abilities = 1 << iota // zodb.Undoer
	Restore                       // zodb.Restorer and zodb.Appender
	Delete                        // zodb.Deleter
	Records                       // zodb.RecordIterator
)

// Options are the settings of a Store. The zero value is good.
type Options struct {
	Name string // for people, where the engine has no name

	// Without is what the store shall not offer though the engine could.
	Without Abilities

	// LockWait bounds how long a vote waits for locks; then it is a conflict.
	// Two clients may vote in two servers in opposite order. Default 30 s.
	LockWait time.Duration

	// TxnMemory is how many bytes of data one transaction may hold in memory;
	// what is beyond is spooled to a file in SpoolDir. Default 16 MiB.
	TxnMemory int64
	SpoolDir  string // default: the system's directory for temporary files

	// BatchBytes bounds the data of one append. Default 64 MiB. A transaction
	// that is larger goes alone.
	BatchBytes int64

	// WindowBytes and WindowAge bound what is kept of overwritten states where the
	// medium forgets them (HistoryFree), for the snapshots that clients have open.
	// Default 64 MiB and 10 minutes.
	WindowBytes int64
	WindowAge   time.Duration

	Resolver Resolver // nil: every conflict goes to the client
	Gate     Gate     // nil: what is durable is published
	Clock    Clock    // default time.Now
	Logger   *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.LockWait == 0 {
		o.LockWait = 30 * time.Second
	}
	if o.TxnMemory == 0 {
		o.TxnMemory = 16 << 20
	}
	if o.BatchBytes == 0 {
		o.BatchBytes = 64 << 20
	}
	if o.WindowBytes == 0 {
		o.WindowBytes = 64 << 20
	}
	if o.WindowAge == 0 {
		o.WindowAge = 10 * time.Minute
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// oidBlock is how many oids are reserved durably at a time. A crash loses the
// rest of a block.
const oidBlock = 16384

var (
	errLockTimeout = errors.New("timed out waiting for other transactions")
	errUnsupported = fmt.Errorf("storage cannot do this: %w", errors.ErrUnsupported)
)
