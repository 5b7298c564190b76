package client

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// session is the time with one server, from register until the main connection is
// lost.
//
// The main connection carries loads and short questions, and everything that the
// server says of commits: it alone decides the order in which they are told here.
// Each transaction, iteration and blob has a connection of its own meanwhile.
type session struct {
	s        *Storage
	addr     string
	main     *conn
	readOnly bool
	begin    zodb.TID // what register answered

	mu     sync.Mutex
	queue  []zodb.Change // heard of, not yet told
	queued int           // oids in it
	heard  zodb.TID      // of the last change that was in it
	wake   chan struct{}
	idle   []*conn
	busy   map[*conn]bool // whether it may outlive the session
	closed bool
}

const (
	maxQueuedOIDs = 16 << 20 // what waits to be told of
	maxIdle       = 64       // connections that are kept for the next user
)

var (
	errQueue = errors.New("the server tells of commits faster than they can be told on")
	errOver  = errors.New("the session with the server is over")
)

// open connects to an address. Where only reading is possible and that is good
// enough, the session is read-only.
func (s *Storage) open(ctx context.Context, addr string) (*session, error) {
	x := &session{s: s, addr: addr, wake: make(chan struct{}, 1), busy: make(map[*conn]bool)}
	ctx, cancel := context.WithTimeout(ctx, 2*dialTimeout)
	defer cancel()
	c, err := x.connect(ctx, func(_ *conn, m *wire.Message) error { return x.callback(m) })
	if err != nil {
		return nil, err
	}
	x.main = c
	if err := x.join(ctx); err != nil {
		x.end(err)
		return nil, fmt.Errorf("server %s: %w", addr, err)
	}
	return x, nil
}

func (x *session) connect(ctx context.Context, callback func(*conn, *wire.Message) error) (*conn, error) {
	nc, err := x.s.opts.dial(ctx, x.addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	return newConn(nc, x.addr, x.s.opts.MaxFrame, callback)
}

// join registers, and makes sure that the server is not behind what was told here
// already.
func (x *session) join(ctx context.Context) error {
	opts := &x.s.opts
	x.readOnly = opts.ReadOnly
	err := x.register(ctx, x.main, &x.begin)
	if errors.Is(err, zodb.ErrReadOnly) && opts.ReadOnlyFallback {
		x.readOnly = true
		err = x.register(ctx, x.main, &x.begin)
	}
	if err != nil {
		return err
	}
	if last := x.s.LastTID(); x.begin < last {
		return &BehindError{Server: x.begin, Here: last}
	}
	info, length, size, err := getInfo(ctx, x.main)
	if err != nil {
		return err
	}
	x.s.info.Store(&info)
	x.s.setSize(length, size)
	if opts.Label != "" {
		return x.main.post("set_client_label", opts.Label)
	}
	return nil
}

// BehindError says that the server's last transaction is older than one that it
// has told of before: its data were replaced, by those of an old backup perhaps.
type BehindError struct{ Server, Here zodb.TID }

func (e *BehindError) Error() string {
	return fmt.Sprintf("the server's last transaction is %v, older than %v, which was seen before: has an older state been restored there? If that is meant, restart this client", e.Server, e.Here)
}

// register chooses the storage, and reads the server's last tid.
func (x *session) register(ctx context.Context, c *conn, last *zodb.TID) error {
	return c.call(ctx, "register", func(m *wire.Message) (err error) {
		*last, err = tidOf(m)
		return err
	}, x.s.opts.Storage, x.readOnly)
}

// tidOf reads a message's first argument, the tid of a transaction.
func tidOf(m *wire.Message) (zodb.TID, error) {
	tid, err := m.TID(0)
	if err == nil && tid > zodb.MaxTID {
		err = fmt.Errorf("%v is no tid", tid)
	}
	return tid, err
}

// callback takes what the server says on the main connection.
func (x *session) callback(m *wire.Message) error {
	switch m.Method {
	case "invalidateTransaction":
		tid, err := tidOf(m)
		if err != nil {
			return err
		}
		oids, err := m.OIDs(1, nil)
		if err != nil {
			return err
		}
		return x.enqueue(zodb.Change{TID: tid, OIDs: oids})
	case "info":
		return x.s.noteInfo(m)
	}
	return fmt.Errorf("the server calls %q", m.Method)
}

func (x *session) enqueue(c zodb.Change) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.queued += len(c.OIDs) + 1; x.queued > maxQueuedOIDs {
		return errQueue
	}
	x.queue = append(x.queue, c)
	x.heard = max(x.heard, c.TID)
	x.nudge()
	return nil
}

// heardOf returns the last commit that the server has told of.
func (x *session) heardOf() zodb.TID {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.heard
}

// nudge makes the publisher look at what there is.
func (x *session) nudge() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

func (x *session) take() []zodb.Change {
	x.mu.Lock()
	defer x.mu.Unlock()
	q := x.queue
	x.queue, x.queued = nil, 0
	return q
}

// end ends the session, and all connections but those whose transaction is being
// finished.
func (x *session) end(reason error) {
	x.mu.Lock()
	x.closed = true
	conns := x.idle
	x.idle = nil
	for c, survives := range x.busy {
		if !survives {
			conns = append(conns, c)
		}
	}
	x.mu.Unlock()
	for _, c := range conns {
		c.close(reason)
	}
	x.main.close(reason)
}

// over reports whether there are none of those.
func (x *session) over() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.busy) == 0
}

// kill also ends them.
func (x *session) kill(reason error) {
	x.mu.Lock()
	conns := make([]*conn, 0, len(x.busy))
	for c := range x.busy {
		conns = append(conns, c)
	}
	x.mu.Unlock()
	for _, c := range conns {
		c.close(reason)
	}
}

// acquire returns a connection for one user, beside the main one.
func (x *session) acquire(ctx context.Context) (*conn, error) {
	x.mu.Lock()
	for n := len(x.idle); n > 0; n = len(x.idle) {
		c := x.idle[n-1]
		x.idle = x.idle[:n-1]
		if c.lost() == nil {
			x.busy[c] = false
			x.mu.Unlock()
			return c, nil
		}
	}
	closed := x.closed
	x.mu.Unlock()
	if closed {
		return nil, fmt.Errorf("%w: %w", ErrDisconnected, errOver)
	}
	return x.dialBeside(ctx)
}

func (x *session) dialBeside(ctx context.Context) (*conn, error) {
	c, err := x.connect(ctx, sideCallback)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDisconnected, err)
	}
	var last zodb.TID
	if err := x.register(ctx, c, &last); err != nil {
		c.close(err)
		return nil, err
	}
	x.mu.Lock()
	closed := x.closed
	if !closed {
		x.busy[c] = false
	}
	x.mu.Unlock()
	if closed {
		c.close(errOver)
		return nil, fmt.Errorf("%w: %w", ErrDisconnected, errOver)
	}
	return c, nil
}

// release gives a connection back. One that is not clean is closed.
func (x *session) release(c *conn, clean bool) {
	x.mu.Lock()
	delete(x.busy, c)
	keep := clean && !x.closed && c.lost() == nil && len(x.idle) < maxIdle
	if keep {
		x.idle = append(x.idle, c)
	}
	x.mu.Unlock()
	if !keep {
		c.close(errOver)
	}
}

// survive lets a connection outlive the session until it is released. It reports
// whether the session is still there.
func (x *session) survive(c *conn) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return false
	}
	x.busy[c] = true
	return true
}
