package config

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/zaridb/zari/config/zconfig"
)

const (
	defaultQueueSize = 100
	defaultMaxViews  = 16
)

// NewServer returns a server with the defaults, to which env contributes.
func NewServer(env func(string) (string, bool)) Server {
	return Server{
		InvalidationQueueSize: defaultQueueSize, MergeSplits: true, MaxViews: defaultMaxViews, Msgpack: isSet(env, "ZEO_MSGPACK"),
	}
}

func isSet(env func(string) (string, bool), name string) bool {
	v, ok := env(name)
	return ok && v != ""
}

func (l *loader) server(s *zconfig.Section) Server {
	r := l.reader(s, "")
	srv := Server{
		Pos:                      s.Pos,
		Address:                  need(r, "address", zconfig.SocketAddress),
		ReadOnly:                 get(r, "read-only", zconfig.Boolean, false),
		InvalidationQueueSize:    get(r, "invalidation-queue-size", count, defaultQueueSize),
		InvalidationAge:          get(r, "invalidation-age", seconds, 0),
		TransactionTimeout:       get(r, "transaction-timeout", wholeSeconds, 0),
		ClientConflictResolution: get(r, "client-conflict-resolution", zconfig.Boolean, false),
		MergeSplits:              get(r, "merge-splits", zconfig.Boolean, true),
		Msgpack:                  get(r, "msgpack", zconfig.Boolean, isSet(l.env, "ZEO_MSGPACK")),
		PIDFilename:              get(r, "pid-filename", l.path, ""),

		MaxFrameSize:         get(r, "max-frame-size", zconfig.ByteSize, 0),
		MaxConnections:       get(r, "max-connections", count, 0),
		MaxTransactionMemory: get(r, "max-transaction-memory", zconfig.ByteSize, 0),
		MaxIterators:         get(r, "max-iterators", count, 0),
		MaxQueueSize:         get(r, "max-queue-size", zconfig.ByteSize, 0),
		MaxViews:             get(r, "max-views", count, defaultMaxViews),
		SlowCommit:           get(r, "slow-commit", zconfig.TimeInterval, 0),
	}
	if k := r.key("metrics-address"); k != nil {
		// Without a host it stays on this machine: metrics are nobody else's business
		// unless somebody says so.
		srv.MetricsAddress = get(r, "metrics-address", metricsAddress, nil)
		srv.NoMetrics = srv.MetricsAddress == nil
	}
	if k := r.key("address"); k != nil && srv.Address.Path == "" && !srv.Address.HasPort {
		l.note(k.Pos, "address has no port: any free one is used")
	}
	if srv.PIDFilename == "" && !srv.ReadOnly {
		srv.PIDFilename = l.instancePID()
	}
	l.retiredKeys(r)
	r.finish()
	l.noSections(s, "ssl")
	srv.SSL = l.onlySSL(s)
	return srv
}

// metricsAddress returns nil for off.
func metricsAddress(s string) (*zconfig.Address, error) {
	if strings.EqualFold(s, "off") {
		return nil, nil
	}
	a, err := zconfig.SocketConnectionAddress(s)
	return &a, err
}

// retiredKeys are those that old servers had.
func (l *loader) retiredKeys(r *reader) {
	r.remark("monitor-address", "is not served: the monitor port has gone from ZEO; see metrics-address")
	for _, name := range []string{"authentication-protocol", "authentication-database", "authentication-realm"} {
		r.refuse(name, "password authentication has gone from the ZEO protocol: use <ssl> with client certificates")
	}
}

func wholeSeconds(s string) (time.Duration, error) {
	n, err := count(s)
	return time.Duration(n) * time.Second, err
}

// instancePID is where runzeo writes its process id in a Zope instance.
func (l *loader) instancePID() string {
	home, ok := l.env("INSTANCE_HOME")
	if !ok || home == "" {
		return ""
	}
	return filepath.Join(home, "var", "ZEO.pid")
}

func (l *loader) onlySSL(s *zconfig.Section) *SSL {
	var ssl *SSL
	seen := make(map[string]*zconfig.Section)
	for _, sub := range s.Sections {
		if sub.Type == "ssl" && l.once(seen, sub) {
			ssl = l.ssl(sub)
		}
	}
	return ssl
}

const passwordFunction = "it names a Python function, and Zari runs no Python: " +
	"keep the key in a file without a password that only the server can read"

func (l *loader) ssl(s *zconfig.Section) *SSL {
	r := l.reader(s, "")
	ssl := &SSL{
		Pos:          s.Pos,
		Certificate:  need(r, "certificate", l.path),
		Key:          get(r, "key", l.optionalPath, ""),
		Authenticate: need(r, "authenticate", l.authenticate),
	}
	if ssl.Authenticate == "SIGNED" || ssl.Authenticate == "-" {
		ssl.Authenticate, ssl.SystemRoots = "", true
	}
	r.refuse("password-function", passwordFunction)
	for _, name := range []string{"check-hostname", "server-hostname"} {
		r.refuse(name, "this is for clients: a server does not check the host names of its clients")
	}
	r.finish()
	l.noSections(s)
	return ssl
}

func (l *loader) authenticate(s string) (string, error) {
	if s == "DYNAMIC" {
		return "", fmt.Errorf("DYNAMIC stands for certificates that a Python program adds: name a file or folder of certificates")
	}
	return l.path(s)
}

// runnerKeys are those of zdaemon's <runner>.
var runnerKeys = []string{
	"program", "python", "zdrun", "socket-name", "daemon", "directory", "backoff-limit", "forever", "exit-codes",
	"start-test-program", "start-timeout", "stop-timeout", "user", "umask", "hang-around", "default-to-interactive",
	"logfile", "transcript", "prompt",
}

// runner reads the section that tells zdaemon how to start a server.
func (l *loader) runner(s *zconfig.Section) {
	r := l.reader(s, "")
	for _, name := range runnerKeys {
		r.key(name)
	}
	r.finish()
	l.noSections(s, "eventlog")
	l.note(s.Pos, "<runner> is for zdaemon (zeoctl), and is not used here: let the system's service manager start the server")
}
