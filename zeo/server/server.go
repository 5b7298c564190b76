package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// LevelCritical is the level of what Python's server logs as CRITICAL.
const LevelCritical = slog.LevelError + 4

// Options are the settings of a Server. The zero value is good but for Storages.
type Options struct {
	// Storages by the name that clients register with ("1" by convention). The
	// server does not close them.
	Storages map[string]zodb.Storage

	// Find, if not nil, finds storages that are opened when a client asks for them.
	// The server closes those.
	Find      Find
	MaxExtra  int           // how many of them are open at the same time; default 16
	ExtraIdle time.Duration // one that nobody uses is closed after this time; default a minute

	ReadOnly              bool          // refuse to write whatever the storages can
	InvalidationQueueSize int           // commits that getInvalidations answers from; default 100
	InvalidationAge       time.Duration // beyond the queue, iterate over transactions younger than this; default 0: never
	TransactionTimeout    time.Duration // from vote to finish; default 0: none
	Codec                 wire.Codec    // what is offered to clients; default wire.Pickle

	MaxFrame       int // bytes of one message from a client; default 256 MiB
	MaxConnections int // default 0: as many as the system can hold
	MaxIterators   int // open at the same time on one connection; default 1000
	MaxQueue       int // bytes waiting for a client that does not read; default 256 MiB
	MaxCalls       int // calls of one connection that are executed at the same time; default 64

	Handshake  time.Duration // a client that says nothing for so long after connecting is sent away; default 30 s
	SlowCommit time.Duration // a commit that takes longer is logged; default 1 s

	// SlowLoads makes the loads of one connection run beside each other. It is
	// right for storages that wait for a network.
	SlowLoads bool

	Clock  func() time.Time // default time.Now
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	set(&o.InvalidationQueueSize, 100)
	set(&o.Codec, wire.Pickle)
	set(&o.MaxFrame, 256<<20)
	set(&o.MaxIterators, 1000)
	set(&o.MaxQueue, 256<<20)
	set(&o.MaxCalls, 64)
	set(&o.MaxExtra, 16)
	set(&o.ExtraIdle, time.Minute)
	set(&o.Handshake, 30*time.Second)
	set(&o.SlowCommit, time.Second)
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = o.Logger.With("logger", "ZEO.StorageServer")
	return o
}

// set gives an option its default.
func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

var (
	errNoWatcher = errors.New("the storage cannot tell of its commits")
	errDraining  = errors.New("the server is shutting down and takes no new transactions")
)

// ErrServerClosed is what Serve returns after Close or Drain.
var ErrServerClosed = errors.New("zeo server closed")

// Server serves storages over ZEO.
type Server struct {
	opts   Options
	hubs   map[string]*hub
	extras *extras

	mu        sync.Mutex
	listeners map[net.Listener]bool
	sessions  map[*session]bool
	draining  bool
	closed    bool
	refused   int64         // connections over the limit
	changed   chan struct{} // closed and replaced when sessions or their transactions change
	wg        sync.WaitGroup
	ctx       context.Context // done when the server is closed
	cancel    context.CancelFunc
	tokens    *zodb.Tokens
	finish    *prometheus.HistogramVec
}

// New returns a server for the storages. Close must be called in the end.
func New(opts Options) (*Server, error) {
	s := &Server{
		opts: opts.withDefaults(), hubs: make(map[string]*hub),
		listeners: make(map[net.Listener]bool), sessions: make(map[*session]bool),
		changed: make(chan struct{}), finish: newFinishHistogram(),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.tokens = zodb.NewTokens()
	s.extras = &extras{server: s, open: make(map[string]*extra)}
	for id, storage := range opts.Storages {
		h, err := newHub(id, storage, &s.opts, s.finish.WithLabelValues(id))
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("storage %q: %w", id, err)
		}
		s.hubs[id] = h
	}
	return s, nil
}

// Serve accepts connections from l until Close or Drain, and returns
// ErrServerClosed then. It may be called for several listeners.
func (s *Server) Serve(l net.Listener) error {
	if !s.addListener(l) {
		l.Close()
		return ErrServerClosed
	}
	var delay time.Duration
	for {
		conn, err := l.Accept()
		if err == nil {
			delay = 0
			s.start(conn)
			continue
		}
		if s.isClosed() {
			return ErrServerClosed
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		// out of file descriptors or the like: it may pass
		delay = min(max(2*delay, 5*time.Millisecond), time.Second)
		s.opts.Logger.Error("cannot accept connections", "err", err, "again_in", delay)
		time.Sleep(delay)
	}
}

func (s *Server) addListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.draining {
		return false
	}
	s.listeners[l] = true
	return true
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed || s.draining
}

// start serves one connection in goroutines of its own.
func (s *Server) start(conn net.Conn) {
	s.mu.Lock()
	full := s.opts.MaxConnections > 0 && len(s.sessions) >= s.opts.MaxConnections
	if s.closed || s.draining || full {
		s.refused++
		s.mu.Unlock()
		conn.Close()
		if full {
			s.opts.Logger.Warn("connection refused: there are as many as max-connections allows", "client", addrLabel(conn), "connections", s.opts.MaxConnections)
		}
		return
	}
	x := newSession(s, conn)
	s.sessions[x] = true
	s.wg.Go(x.run)
	s.mu.Unlock()
}

func (s *Server) remove(x *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, x)
	s.notify()
}

// notify wakes Drain. s.mu is held.
func (s *Server) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Drain ends the service gently: no new connections and transactions; those that
// have been voted may finish until ctx is done; then everything is closed.
func (s *Server) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	for l := range s.listeners {
		l.Close()
	}
	s.mu.Unlock()
	for ctx.Err() == nil {
		s.mu.Lock()
		changed := s.changed
		busy := 0
		for x := range s.sessions {
			if x.committing() {
				busy++
			}
		}
		s.mu.Unlock()
		if busy == 0 {
			break
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
	s.Close()
	return ctx.Err()
}

// Close closes all listeners and connections, aborts what is open, and waits
// until commits that have begun have ended. The storages stay open.
func (s *Server) Close() error {
	s.cancel()
	s.mu.Lock()
	s.closed = true
	for l := range s.listeners {
		l.Close()
	}
	for x := range s.sessions {
		s.wg.Go(func() { x.close(nil) }) // saying goodbye over TLS may take a while
	}
	s.mu.Unlock()
	s.wg.Wait()
	s.extras.close()
	for _, h := range s.hubs {
		h.stop()
	}
	return nil
}

// background runs fn, which outlives the connection that asked for it, until the
// server is closed.
func (s *Server) background(fn func(ctx context.Context)) {
	s.wg.Go(func() { fn(s.ctx) })
}

// isDraining reports whether new transactions are refused.
func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// transactionEnded tells Drain.
func (s *Server) transactionEnded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		s.notify()
	}
}

// acquire returns the hub of the storage of a name, which must be released.
func (s *Server) acquire(name string) (*hub, error) {
	if h := s.hubs[name]; h != nil {
		return h, nil
	}
	return s.extras.acquire(name)
}

// Storages returns the names of the storages that are always open, sorted.
func (s *Server) Storages() []string { return slices.Sorted(maps.Keys(s.hubs)) }

func addrLabel(conn net.Conn) string {
	if a := conn.RemoteAddr(); a != nil && a.String() != "" && a.String() != "@" {
		return a.String()
	}
	return conn.LocalAddr().String()
}
