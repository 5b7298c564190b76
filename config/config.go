package config

import (
	"strings"
	"time"

	"github.com/zaridb/zari/config/pylog"
	"github.com/zaridb/zari/config/zconfig"
)

// Config is what a file says.
type Config struct {
	ZEO      Server
	Storages []Storage // at least one, in the order of the file, by different names
	Defined  []Storage // those in <storages>, for others to use, by names that are not among the others either
	EventLog *EventLog // nil: nothing is said of logs
	Notes    []Note    // what a person should know of this file, in the order of the lines
}

// Note is something in a file that is accepted but does not do what it would do
// with Python's server.
type Note struct {
	Pos  zconfig.Pos
	Text string
}

// String returns "FILE:LINE: text".
func (n Note) String() string { return n.Pos.String() + ": " + n.Text }

// Errors are the faults of a file, in the order of the lines.
type Errors []*zconfig.Error

// Error returns a line for each fault.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the faults.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, err := range e {
		errs[i] = err
	}
	return errs
}

// Server is the section <zeo>.
type Server struct {
	Pos     zconfig.Pos
	Address zconfig.Address // address: where clients connect

	ReadOnly                 bool          // read-only: no client may write
	InvalidationQueueSize    int           // invalidation-queue-size, default 100
	InvalidationAge          time.Duration // invalidation-age, in seconds in the file; 0: not used
	TransactionTimeout       time.Duration // transaction-timeout, in seconds in the file; 0: none
	ClientConflictResolution bool          // client-conflict-resolution
	MergeSplits              bool          // merge-splits: Zari's own
	Msgpack                  bool          // msgpack, or else whether ZEO_MSGPACK is in the environment
	PIDFilename              string        // pid-filename, or else $INSTANCE_HOME/var/ZEO.pid; "": none
	SSL                      *SSL          // <ssl>; nil: no TLS

	// Zari's own keys. Zero means the server's default.

	MetricsAddress       *zconfig.Address // metrics-address: metrics and health over HTTP; without a host: 127.0.0.1
	NoMetrics            bool             // metrics-address off
	MaxFrameSize         int64            // max-frame-size: bytes of one message from a client
	MaxConnections       int              // max-connections
	MaxTransactionMemory int64            // max-transaction-memory: bytes of a transaction that are not spooled to disk
	MaxIterators         int              // max-iterators: open at a time on one connection
	MaxQueueSize         int64            // max-queue-size: bytes that wait for a client which does not read
	MaxViews             int              // max-views, default 16: how many views of storages as they were (NAME@TIME) may be open; 0: there are none
	SlowCommit           time.Duration    // slow-commit: commits that take longer are logged
}

// SSL is the section <ssl> of <zeo>.
type SSL struct {
	Pos         zconfig.Pos
	Certificate string // certificate: the server's, in PEM
	Key         string // key, in PEM; "": it is in the file of the certificate

	// authenticate: a file or folder with the certificates that clients' ones are
	// checked against; "" with SystemRoots.
	Authenticate string
	SystemRoots  bool // authenticate SIGNED, or -: the authorities that the system trusts
}

// EventLog is the section <eventlog>.
type EventLog struct {
	Pos   zconfig.Pos
	Level pylog.Level // level, default info: what is logged at all
	Files []LogFile

	Syslogs []Syslog
}

// Syslog is the section <syslog> of <eventlog>: lines go to a syslog service.
type Syslog struct {
	Pos      zconfig.Pos
	Address  zconfig.Address // address, default localhost:514
	Facility pylog.Facility  // facility, default user
	Level    pylog.Level     // level, default notset
	Format   *pylog.Format   // format and dateformat
}

// LogFile is the section <logfile> of <eventlog>.
type LogFile struct {
	Pos    zconfig.Pos
	Path   string        // path; STDOUT and STDERR mean the streams
	Level  pylog.Level   // level, default notset: all that the event log has
	Format *pylog.Format // format and dateformat
	Delay  bool          // delay: the file is made when the first line is written

	// max-size, or when and interval, and old-files; zero: it does not rotate itself
	Rotation pylog.Rotation
}
