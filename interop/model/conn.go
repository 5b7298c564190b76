package model

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// errLost says that the connection ended before the answer came; errStuck that
// the answer did not come in time.
var (
	errLost  = errors.New("connection lost")
	errStuck = errors.New("no answer")
)

// Handler is told what arrives, by the goroutine that reads the connection.
type Handler interface {
	// Frame is called for every frame, before anything else.
	Frame()
	// Callback takes a call of the server. An error ends the connection.
	Callback(m *wire.Message) error
}

// Call is a call on its way.
type Call struct {
	method string
	then   func(*wire.Message) error
	done   chan struct{}
	err    error // good when done is closed
}

// Wait waits for the answer, but no longer than bound. It returns the error that
// the server answered with, or what then returned.
func (c *Call) Wait(bound time.Duration) error {
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case <-c.done:
		return c.err
	case <-timer.C:
		return fmt.Errorf("%s: %w in %v", c.method, errStuck, bound)
	}
}

// loadKey is the id that ZEO's client gives to a load.
type loadKey [16]byte

// Conn is one raw ZEO connection. One goroutine sends; another, its own, reads,
// and handles each frame before it reads the next.
type Conn struct {
	nc      net.Conn
	codec   wire.Codec
	handler Handler
	bound   time.Duration
	out     []byte
	serial  int64

	gate   sync.Mutex // held while a frame is handled, or none shall be
	closed chan struct{}

	mu     sync.Mutex
	calls  map[int64]*Call
	loads  map[loadKey]*Call
	lost   error // why the connection ended
	silent bool  // it was closed on this side
}

// Dial connects, and answers the server's greeting with the codec. addr is
// host:port, or the path of a socket.
func Dial(addr string, codec wire.Codec, bound time.Duration, h Handler) (*Conn, error) {
	network := "tcp"
	if strings.Contains(addr, "/") {
		network = "unix"
	}
	nc, err := net.DialTimeout(network, addr, bound)
	if err != nil {
		return nil, err
	}
	c := &Conn{
		nc: nc, codec: codec, handler: h, bound: bound, closed: make(chan struct{}),
		calls: make(map[int64]*Call), loads: make(map[loadKey]*Call),
	}
	r := wire.NewReader(nc, 0)
	if err := c.greet(r); err != nil {
		nc.Close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	go c.read(r)
	return c, nil
}

func (c *Conn) greet(r *wire.Reader) error {
	if err := c.nc.SetDeadline(time.Now().Add(c.bound)); err != nil {
		return err
	}
	hello, err := r.Next()
	if err != nil {
		return err
	}
	if _, err := wire.ParseHello(hello); err != nil {
		return err
	}
	if _, err := c.nc.Write(wire.AppendFrame(nil, c.codec.Hello())); err != nil {
		return err
	}
	return c.nc.SetDeadline(time.Time{})
}

// Close drops the connection without a word, and waits for its reader to end.
func (c *Conn) Close() {
	c.mu.Lock()
	c.silent = true
	c.mu.Unlock()
	c.nc.Close()
	<-c.closed
}

// Pause leaves what arrives unread, but for what the reader's buffer holds, until
// resume is called.
func (c *Conn) Pause() (resume func()) {
	c.gate.Lock()
	return c.gate.Unlock
}

// Post queues a one-way call; the next Send puts it on the wire.
func (c *Conn) Post(method string, args ...any) {
	out, err := c.codec.AppendOneWay(c.out, method, args...)
	c.keep(out, method, err)
}

// Send sends a call, with all that was queued. then, if not nil, takes the answer
// while nothing that arrived later has been looked at; without it errors are
// returned by Wait and results dropped.
func (c *Conn) Send(method string, then func(*wire.Message) error, args ...any) *Call {
	call, n := c.add(method, then, nil)
	c.append(n, method, args)
	c.Flush() // if it fails, so does the call
	return call
}

// QueueLoad queues a loadBefore under the id that ZEO's client gives it; if such
// a load is in flight, under a number.
func (c *Conn) QueueLoad(oid zodb.OID, before zodb.TID, then func(*wire.Message) error) *Call {
	o, t := bytesOf(oid), bytesOf(before)
	key := loadKey(append(o[:8:8], t...))
	call, n := c.add("loadBefore", then, &key)
	id := any(n)
	if n == 0 {
		id = pickle.Tuple{o, t}
	}
	c.append(id, "loadBefore", []any{o, t})
	return call
}

// Flush puts on the wire what was queued.
func (c *Conn) Flush() error {
	out := c.out
	c.out = c.out[:0]
	if cap(c.out) > 1<<20 {
		c.out = nil
	}
	if err := c.nc.SetWriteDeadline(time.Now().Add(c.bound)); err != nil {
		return c.fail(err)
	}
	if _, err := c.nc.Write(out); err != nil {
		return c.fail(err)
	}
	return nil
}

// append queues a call.
func (c *Conn) append(id any, method string, args []any) {
	out, err := c.codec.AppendCall(c.out, id, method, args...)
	c.keep(out, method, err)
}

// keep takes what was encoded. The model sends nothing that cannot be.
func (c *Conn) keep(out []byte, method string, err error) {
	if err != nil {
		panic(fmt.Sprintf("model: %s cannot be encoded: %v", method, err))
	}
	c.out = out
}

// add enters a call under the key, if that is free, else under a new number n. On
// a lost connection the call has failed already.
func (c *Conn) add(method string, then func(*wire.Message) error, key *loadKey) (call *Call, n int64) {
	call = &Call{method: method, then: then, done: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost != nil {
		call.err = c.lost
		close(call.done)
		return call, 1
	}
	if key != nil && c.loads[*key] == nil {
		c.loads[*key] = call
		return call, 0
	}
	c.serial++
	c.calls[c.serial] = call
	return call, c.serial
}
