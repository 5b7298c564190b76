package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zaridb/zari/internal/revisions"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

var (
	_ zodb.Storage        = (*Storage)(nil)
	_ zodb.Asser          = (*Storage)(nil)
	_ zodb.Watcher        = (*Storage)(nil)
	_ zodb.Syncer         = (*Storage)(nil)
	_ zodb.Iterator       = (*Storage)(nil)
	_ zodb.RecordIterator = (*Storage)(nil)
	_ zodb.Historian      = (*Storage)(nil)
	_ zodb.Undoer         = (*Storage)(nil)
	_ zodb.Packer         = (*Storage)(nil)
	_ zodb.BlobStore      = (*Storage)(nil)
	_ zodb.Restorer       = (*Storage)(nil)
	_ zodb.Deleter        = (*Storage)(nil)
	_ zodb.Outcomer       = (*Storage)(nil)
	_ zodb.Recaller       = (*Storage)(nil)
)

// Storage is the storage of a ZEO server.
type Storage struct {
	opts   Options
	cache  *revisions.Cache // its position is what was told last
	blobs  *blobCache       // nil: none
	tokens *zodb.Tokens
	info   atomic.Pointer[serverInfo] // of the last server, nil before the first
	length atomic.Int64
	size   atomic.Int64
	slots  chan struct{} // one for each connection beside the main one

	ctx    context.Context // done when the storage is closed
	cancel context.CancelFunc
	wg     sync.WaitGroup
	gap    bool // the server told of a commit too late: what it tells is not all that there was. run's own

	observers observers
	last      atomic.Uint64 // what LastTID returns, changed under observers

	mu        sync.Mutex
	session   *session
	down      error         // why there is none
	changed   chan struct{} // closed and replaced when the session, down, last or a finish changes
	joined    bool          // there has been a session
	finishing map[*finish]bool
}

// observers are told of every change. The mutex is held meanwhile.
type observers struct {
	sync.Mutex
	list []*observer
}

type observer struct{ fn func(zodb.Change) }

var errNoAnswer = errors.New("no server has answered yet")

// Open returns the storage of a server. With Options.Wait it waits for a
// connection, and returns ErrDisconnected if there is none in time; ctx bounds the
// wait as well. Without it the storage connects in the background, and its
// operations wait.
func Open(ctx context.Context, opts Options) (*Storage, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Storage{
		opts: opts, cache: revisions.New(opts.CacheBytes), tokens: zodb.NewTokens(), down: errNoAnswer,
		slots: make(chan struct{}, opts.MaxConnections), changed: make(chan struct{}), finishing: make(map[*finish]bool),
	}
	if opts.BlobDir != "" {
		if s.blobs, err = openBlobCache(opts); err != nil {
			return nil, err
		}
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.wg.Go(s.run)
	if opts.Wait {
		if _, err := s.connected(ctx); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

// Close ends the connections. Commits under way fail with zodb.ErrCommitUnknown.
func (s *Storage) Close() error {
	s.cancel()
	s.wg.Wait()
	return nil
}

// lasting is how long a session is good: after it the next attempt to connect is made
// at once.
const lasting = time.Second

// run connects, tells of what the server tells, and connects again.
func (s *Storage) run() {
	var past []*session // those with a finish that has outlived them
	delay := s.opts.MinRetry
	for s.ctx.Err() == nil {
		began := time.Now()
		x, err := s.connect(s.ctx, false)
		if err == nil {
			err = s.serve(x)
		}
		if s.ctx.Err() != nil {
			err = zodb.ErrClosed
		}
		s.setDown(err)
		if x != nil {
			x.end(err)
			past = slices.DeleteFunc(append(past, x), (*session).over)
		}
		if x != nil && time.Since(began) > lasting {
			delay = s.opts.MinRetry
			continue
		}
		s.sleep(delay)
		delay = min(2*delay, s.opts.MaxRetry)
	}
	s.setDown(zodb.ErrClosed)
	for _, x := range past {
		x.kill(zodb.ErrClosed)
	}
}

func (s *Storage) sleep(d time.Duration) {
	select {
	case <-s.ctx.Done():
	case <-time.After(d):
	}
}

// connect tries the addresses in turn. One that can only be read is taken if no
// other can be written, and never if a writable one is asked for.
func (s *Storage) connect(ctx context.Context, writable bool) (*session, error) {
	var errs []error
	var fallback *session
	for _, addr := range s.opts.Addresses {
		x, err := s.open(ctx, addr)
		switch {
		case err != nil:
			errs = append(errs, err)
			continue
		case !x.readOnly || s.opts.ReadOnly:
			if fallback != nil {
				fallback.end(errOver)
			}
			return x, nil
		case fallback == nil && !writable:
			fallback = x
		default:
			x.end(errOver)
		}
	}
	if fallback != nil {
		return fallback, nil
	}
	return nil, errors.Join(errs...)
}

// setDown notes that there is no session, and why.
func (s *Storage) setDown(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session != nil || s.down == nil || s.down.Error() != err.Error() {
		if !errors.Is(err, zodb.ErrClosed) {
			s.opts.Logger.Warn("not connected", "err", err)
		}
	}
	s.session, s.down = nil, err
	s.notify()
}

func (s *Storage) setSession(x *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session, s.down, s.joined = x, nil, true
	s.notify()
	s.opts.Logger.Info("connected", "server", x.addr, "protocol", x.main.codec, "read_only", x.readOnly, "last", x.begin)
}

// notify wakes those who wait for anything. s.mu is held.
func (s *Storage) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// await waits until ready, which is called with s.mu held, returns true or an
// error. It gives up when ctx ends or the storage is closed.
func (s *Storage) await(ctx context.Context, ready func() (bool, error)) error {
	for {
		s.mu.Lock()
		ok, err := ready()
		changed := s.changed
		s.mu.Unlock()
		if ok || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ctx.Done():
			return zodb.ErrClosed
		}
	}
}

// connected returns the session, waiting for one as long as operations wait.
func (s *Storage) connected(ctx context.Context) (*session, error) {
	if s.ctx.Err() != nil {
		return nil, zodb.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, s.opts.WaitTimeout)
	defer cancel()
	var x *session
	err := s.await(limited, func() (bool, error) {
		x = s.session
		return x != nil, nil
	})
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		return nil, fmt.Errorf("%w: %w", ErrDisconnected, s.down)
	}
	return x, err
}

// attempts is how often a question is asked whose connection is lost. It may be the
// answer that the connection cannot carry.
const attempts = 5

// retry calls fn with a session, and again with another one when the connection is
// lost: for questions, which may be asked twice.
func (s *Storage) retry(ctx context.Context, fn func(x *session) error) error {
	for left := attempts; ; left-- {
		x, err := s.connected(ctx)
		if err != nil {
			return err
		}
		err = fn(x)
		if err == nil || !errors.Is(err, ErrDisconnected) || errors.Is(err, zodb.ErrClosed) || left == 1 {
			return err
		}
		s.leave(ctx, x)
	}
}

// leave waits until a session whose main connection is lost is given up.
func (s *Storage) leave(ctx context.Context, x *session) {
	if x.main.lost() == nil { // another connection was lost
		s.sleep(s.opts.MinRetry)
		return
	}
	_ = s.await(ctx, func() (bool, error) { return s.session != x, nil }) // if ctx ends, whoever asked is told so next
}

// ask calls a method on the main connection.
func (s *Storage) ask(ctx context.Context, method string, then func(*wire.Message) error, args ...any) error {
	return s.retry(ctx, func(x *session) error { return x.main.call(ctx, method, then, args...) })
}

// acquire returns a session and one of its connections beside the main one.
func (s *Storage) acquire(ctx context.Context, x *session) (*conn, error) {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.ctx.Done():
		return nil, zodb.ErrClosed
	}
	c, err := x.acquire(ctx)
	if err != nil {
		<-s.slots
		if s.ctx.Err() != nil {
			err = zodb.ErrClosed
		}
	}
	return c, err
}

func (s *Storage) release(x *session, c *conn, clean bool) {
	x.release(c, clean)
	<-s.slots
}

// beside calls fn with a connection of its own.
func (s *Storage) beside(ctx context.Context, fn func(c *conn) error) error {
	return s.retry(ctx, func(x *session) error {
		c, err := s.acquire(ctx, x)
		if err != nil {
			return err
		}
		err = fn(c)
		s.release(x, c, err == nil)
		return err
	})
}

// Info implements zodb.Storage.
func (s *Storage) Info() zodb.Info {
	s.mu.Lock()
	readOnly := s.opts.ReadOnly || s.session != nil && s.session.readOnly
	s.mu.Unlock()
	name := s.opts.Name
	set(&name, s.can().name)
	set(&name, s.opts.Addresses[0])
	return zodb.Info{Name: name, Objects: s.length.Load(), Size: s.size.Load(), ReadOnly: readOnly}
}

func (s *Storage) setSize(length, size int64) {
	s.length.Store(max(length, 0))
	s.size.Store(max(size, 0))
}

func (s *Storage) noteInfo(m *wire.Message) error {
	v, err := m.Value(0)
	if err != nil {
		return err
	}
	if d, ok := v.(*pickle.Dict); ok {
		s.setSize(sizes(d))
	}
	return nil
}

// LastTID implements zodb.Storage.
func (s *Storage) LastTID() zodb.TID { return zodb.TID(s.last.Load()) }

// Observe implements zodb.Watcher.
func (s *Storage) Observe(fn func(zodb.Change)) (after zodb.TID, stop func()) {
	o := &observer{fn}
	s.observers.Lock()
	defer s.observers.Unlock()
	s.observers.list = append(slices.Clone(s.observers.list), o)
	return s.LastTID(), func() {
		s.observers.Lock()
		defer s.observers.Unlock()
		s.observers.list = slices.DeleteFunc(slices.Clone(s.observers.list), func(x *observer) bool { return x == o })
	}
}
