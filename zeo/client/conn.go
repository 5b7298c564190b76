package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/zaridb/zari/zeo/wire"
)

// ErrDisconnected says that there is no connection to a server, or that it was
// lost before the answer came.
var ErrDisconnected = errors.New("not connected to a ZEO server")

const (
	highWater   = 1 << 20 // who adds more than this to what is to be sent waits
	keepBuffer  = 1 << 20 // larger buffers are given back
	dialTimeout = 10 * time.Second
)

// call is a call on its way.
type call struct {
	method string
	then   func(*wire.Message) error // takes the answer, in the reader; nil to drop it
	done   chan struct{}
	err    error // good when done is closed
}

// conn is one connection to a server. Any goroutine sends; one reads, and hands
// over each message before it reads the next.
type conn struct {
	nc       net.Conn
	addr     string
	codec    wire.Codec
	callback func(*conn, *wire.Message) error // takes what the server says unasked
	patience time.Duration                    // how long a write may take
	done     chan struct{}                    // closed when the connection is lost
	ended    sync.WaitGroup

	wmu  sync.Mutex
	room sync.Cond // the writer has made progress
	out  []byte
	dead bool
	wake chan struct{}

	mu    sync.Mutex
	calls map[int64]*call
	last  int64
	txns  int64
	err   error     // why the connection is lost
	blob  *download // the blob that the server is sending
}

// newConn answers the server's greeting on nc, with the same encoding, and starts
// the connection's goroutines.
func newConn(nc net.Conn, addr string, maxFrame int, callback func(*conn, *wire.Message) error) (*conn, error) {
	c := &conn{
		nc: nc, addr: addr, callback: callback, patience: time.Minute, done: make(chan struct{}),
		wake: make(chan struct{}, 1), calls: make(map[int64]*call),
	}
	c.room.L = &c.wmu
	r := wire.NewReader(nc, maxFrame)
	if err := c.greet(r); err != nil {
		nc.Close()
		return nil, fmt.Errorf("server %s: %w", addr, err)
	}
	c.ended.Go(func() { c.fail(c.read(r)) })
	c.ended.Go(c.write)
	return c, nil
}

func (c *conn) greet(r *wire.Reader) error {
	if err := c.nc.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	hello, err := r.Next()
	if err != nil {
		return fmt.Errorf("no greeting: %w", err)
	}
	if c.codec, err = wire.ParseHello(hello); err != nil {
		return err
	}
	if _, err := c.nc.Write(wire.AppendFrame(nil, c.codec.Hello())); err != nil {
		return err
	}
	return c.nc.SetDeadline(time.Time{})
}

// close ends the connection for the given reason and waits for its goroutines. It
// must not be called by them.
func (c *conn) close(reason error) {
	c.fail(reason)
	c.ended.Wait()
}

// fail ends all calls. The first reason counts.
func (c *conn) fail(reason error) {
	c.mu.Lock()
	first := c.err == nil
	var calls map[int64]*call
	if first {
		c.err = fmt.Errorf("%w: %s: %w", ErrDisconnected, c.addr, reason)
		calls, c.calls = c.calls, nil
	}
	c.mu.Unlock()
	if !first {
		return
	}
	close(c.done)
	c.nc.Close()
	c.wmu.Lock()
	c.dead = true
	c.room.Broadcast()
	c.wmu.Unlock()
	for _, k := range calls {
		k.err = c.err
		close(k.done)
	}
}

// nextTxn returns a name for a transaction.
func (c *conn) nextTxn() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.txns++
	return c.txns
}

// lost returns why the connection is lost, nil if it is not.
func (c *conn) lost() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// send adds frames to what is to be sent, and waits while that is much.
func (c *conn) send(encode func(dst []byte) ([]byte, error)) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	for len(c.out) > highWater && !c.dead {
		c.room.Wait()
	}
	if c.dead {
		return c.lost()
	}
	out, err := encode(c.out)
	if err != nil {
		return err
	}
	c.out = out
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return nil
}

// write sends what others have added.
func (c *conn) write() {
	var spare []byte
	for {
		select {
		case <-c.done:
			return
		case <-c.wake:
		}
		c.wmu.Lock()
		buf := c.out
		c.out = spare[:0]
		c.room.Broadcast()
		c.wmu.Unlock()
		if err := c.nc.SetWriteDeadline(time.Now().Add(c.patience)); err != nil {
			c.fail(err)
			return
		}
		if _, err := c.nc.Write(buf); err != nil {
			c.fail(err)
			return
		}
		spare = nil
		if cap(buf) <= keepBuffer {
			spare = buf
		}
	}
}

// post sends a call that is not answered.
func (c *conn) post(method string, args ...any) error {
	return c.send(func(dst []byte) ([]byte, error) { return c.codec.AppendOneWay(dst, method, args...) })
}

// start sends a call whose answer then takes. Who starts a call waits for it.
func (c *conn) start(method string, then func(*wire.Message) error, args ...any) *call {
	return c.startEncoded(method, then, func(dst []byte, n int64) ([]byte, error) {
		return c.codec.AppendCall(dst, n, method, args...)
	})
}

func (c *conn) startEncoded(method string, then func(*wire.Message) error, encode func(dst []byte, n int64) ([]byte, error)) *call {
	k := &call{method: method, then: then, done: make(chan struct{})}
	c.mu.Lock()
	if c.err != nil {
		k.err = c.err
		close(k.done)
		c.mu.Unlock()
		return k
	}
	c.last++
	n := c.last
	c.calls[n] = k
	c.mu.Unlock()
	if err := c.send(func(dst []byte) ([]byte, error) { return encode(dst, n) }); err != nil {
		c.mu.Lock()
		_, mine := c.calls[n]
		delete(c.calls, n)
		c.mu.Unlock()
		if mine {
			k.err = err
			close(k.done)
		}
	}
	return k
}

// wait waits for a call's answer. When ctx ends the answer will be dropped.
func (c *conn) wait(ctx context.Context, k *call) error {
	select {
	case <-k.done:
		return k.err
	default:
	}
	select {
	case <-k.done:
		return k.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	for n, other := range c.calls {
		if other == k {
			c.calls[n] = &call{method: k.method, done: make(chan struct{})}
			c.mu.Unlock()
			return ctx.Err()
		}
	}
	c.mu.Unlock()
	<-k.done // the answer is being taken
	return k.err
}

// call calls a method and waits for the answer, which then takes.
func (c *conn) call(ctx context.Context, method string, then func(*wire.Message) error, args ...any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return c.wait(ctx, c.start(method, then, args...))
}

// read hands over messages until the connection ends.
func (c *conn) read(r *wire.Reader) error {
	var m wire.Message
	for {
		frame, err := r.Next()
		if err != nil {
			return err
		}
		if err := c.codec.Parse(frame, &m); err != nil {
			return fmt.Errorf("undecodable message: %w", err)
		}
		if err := c.handle(&m); err != nil {
			return err
		}
	}
}

// handle takes one message. An error ends the connection: the server does not
// speak the protocol.
func (c *conn) handle(m *wire.Message) error {
	if !m.IsReply() {
		return c.callback(c, m)
	}
	n, ok := m.Number()
	c.mu.Lock()
	k := c.calls[n]
	delete(c.calls, n)
	c.mu.Unlock()
	if !ok || k == nil {
		return fmt.Errorf("an answer to a call that was not made: id %.20x", []byte(m.ID))
	}
	k.err = m.Err()
	if k.err == nil && k.then != nil {
		if err := k.then(m); err != nil {
			k.err = fmt.Errorf("the answer to %s: %w", k.method, err)
			close(k.done)
			return k.err
		}
	}
	close(k.done)
	return nil
}
