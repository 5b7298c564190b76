package bench

import (
	"fmt"
	"net"
	"time"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// Workload names what the connections do. The package documentation says what
// each of them is.
type Workload string

// The workloads.
const (
	Load      Workload = "load"
	Commit    Workload = "commit"
	Mixed     Workload = "mixed"
	SlowVoter Workload = "slow-voter"
	Fill      Workload = "fill"
)

// Workloads lists them all, in the order of the documentation.
func Workloads() []Workload { return []Workload{Load, Commit, Mixed, SlowVoter, Fill} }

// Pick names a way to choose the object to load next.
type Pick string

// The ways to choose. They tell how much a cache of the server helps.
const (
	Random Pick = "random" // any object at any time
	Hot    Pick = "hot"    // any of the first HotSet objects
	Cold   Pick = "cold"   // none again before all others had their turn, scattered
)

// Picks lists them all.
func Picks() []Pick { return []Pick{Random, Hot, Cold} }

// Options say what to measure and how. Start from [Defaults].
type Options struct {
	Address string     // HOST:PORT, or the path of a Unix socket (with a slash)
	Storage string     // the storage's name on the server
	Codec   wire.Codec // of every connection

	Connections int
	InFlight    int // loads that each connection has in flight (load, mixed)
	Duration    time.Duration
	Warmup      time.Duration // unmeasured, before

	FirstOID zodb.OID // of the objects to load or to fill
	Objects  int      // to load from, to fill, or to share (mixed)
	Size     int      // bytes of the data of an object that is written

	Pick   Pick // of objects to load
	HotSet int  // objects that Hot picks from

	PerTxn    int     // objects in a commit
	Conflicts float64 // share of commits made to conflict (commit), 0 to 1
	Writes    float64 // share of operations that are commits (mixed), 0 to 1
	Stall     time.Duration
	Batch     int // objects in a transaction of fill

	Seed uint64 // of every random choice
	PID  int    // the server's process; 0: look for it

	// Raw speaks to a bare frame server: no handshake, the frames of load as they
	// are, answers in the order of the questions and not looked into.
	Raw bool
}

// Defaults returns options that suit a first look at a server.
func Defaults() Options {
	return Options{
		Address:     "127.0.0.1:8100",
		Storage:     "1",
		Codec:       wire.Pickle,
		Connections: 16,
		InFlight:    1,
		Duration:    10 * time.Second,
		Warmup:      time.Second,
		FirstOID:    1,
		Objects:     100_000,
		Size:        1024,
		Pick:        Random,
		HotSet:      1000,
		PerTxn:      1,
		Writes:      0.1,
		Stall:       time.Second,
		Batch:       1000,
		Seed:        1,
	}
}

// A UsageError says which option is wrong.
type UsageError struct{ Message string }

func (e *UsageError) Error() string { return e.Message }

// Most that the options may ask for: enough for any machine, and little enough
// that a slip of the finger does no harm.
const (
	maxConnections = 10_000
	maxInFlight    = 10_000
	maxPerTxn      = 100_000
	maxObjects     = 1 << 30
	maxSize        = 64 << 20
)

// Check returns a *UsageError for the first option that makes no sense.
func (o *Options) Check() error {
	switch {
	case network(o.Address) == "tcp" && !hasPort(o.Address):
		return usage("--address %q is neither HOST:PORT nor the path of a socket", o.Address)
	case o.Codec != wire.Pickle && o.Codec != wire.Msgpack:
		return usage("--codec must be pickle or msgpack")
	case o.Pick != Random && o.Pick != Hot && o.Pick != Cold:
		return usage("--pick must be random, hot or cold")
	case o.Duration <= 0:
		return usage("--duration must be more than nothing")
	case o.Warmup < 0 || o.Stall < 0:
		return usage("--warmup and --stall cannot be negative")
	}
	for _, n := range []struct {
		name            string
		value, from, to int
	}{
		{"--connections", o.Connections, 1, maxConnections},
		{"--in-flight", o.InFlight, 1, maxInFlight},
		{"--objects", o.Objects, 1, maxObjects},
		{"--size", o.Size, MinSize, maxSize},
		{"--hot-set", o.HotSet, 1, maxObjects},
		{"--per-commit", o.PerTxn, 1, maxPerTxn},
		{"--batch", o.Batch, 1, maxPerTxn},
	} {
		if n.value < n.from || n.value > n.to {
			return usage("%s must be from %d to %d, not %d", n.name, n.from, n.to, n.value)
		}
	}
	if !isShare(o.Conflicts) || !isShare(o.Writes) {
		return usage("--conflicts and --writes are shares, from 0 to 1")
	}
	return nil
}

func isShare(v float64) bool { return v >= 0 && v <= 1 }

func usage(format string, args ...any) error {
	return &UsageError{fmt.Sprintf(format, args...)}
}

func hasPort(address string) bool {
	_, port, err := net.SplitHostPort(address)
	return err == nil && port != ""
}
