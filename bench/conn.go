package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

const dialTimeout = 10 * time.Second

// A conn is a connection to a server: frames out of one buffer and into another.
// It belongs to one goroutine, but for Close.
type conn struct {
	net.Conn
	codec wire.Codec
	in    *wire.Reader
	msg   wire.Message // the last one read
	out   []byte       // frames to send

	view   zodb.TID // the last transaction that the server has told of
	lastID int64    // of a call
}

// dial connects, shakes hands, and registers. A connection that only loads says
// so, and works with servers that are read-only.
func dial(ctx context.Context, o *Options, readOnly bool) (*conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	nc, err := d.DialContext(ctx, network(o.Address), o.Address)
	if err != nil {
		return nil, fmt.Errorf("bench: no server: %w", err)
	}
	c := &conn{Conn: nc, codec: o.Codec, in: wire.NewReader(nc, 0), lastID: otherIDs}
	if o.Raw {
		return c, nil
	}
	if err := c.register(o.Storage, readOnly); err != nil {
		nc.Close()
		return nil, fmt.Errorf("bench: server %s: %w", o.Address, err)
	}
	return c, nil
}

func (c *conn) register(storage string, readOnly bool) error {
	c.SetReadDeadline(time.Now().Add(dialTimeout))
	defer c.SetReadDeadline(time.Time{})
	greeting, err := c.in.Next()
	if err != nil {
		return fmt.Errorf("no greeting: %w", err)
	}
	if len(greeting) < 2 || greeting[1] != '5' {
		return fmt.Errorf("speaks %.10q, not version 5 of the ZEO protocol", greeting)
	}
	c.out = wire.AppendFrame(c.out, c.codec.Hello())
	if err := c.call("register", storage, readOnly); err != nil {
		return err
	}
	c.view, err = c.msg.TID(0)
	return err
}

// call asks the server something and waits for the answer, which is then in msg.
func (c *conn) call(method string, args ...any) (err error) {
	c.lastID++
	c.out, err = c.codec.AppendCall(c.out, c.lastID, method, args...)
	if err != nil {
		return err
	}
	return c.await(c.lastID)
}

// await sends what is in the buffer and waits until the answer to a call is in
// msg. Whatever else the server says meanwhile is passed over. An error that the
// server answered is a *refusal.
func (c *conn) await(id int64) error {
	if err := c.flush(); err != nil {
		return err
	}
	for {
		if err := c.read(); err != nil {
			return err
		}
		if got, ok := c.msg.Number(); !ok || got != id || !c.msg.IsReply() {
			continue
		}
		if err := c.msg.Err(); err != nil {
			return &refusal{err}
		}
		return nil
	}
}

// next reads the next message into msg. What there is to send is sent when all
// messages that are here already have been dealt with.
func (c *conn) next() error {
	if !c.in.Buffered() {
		if err := c.flush(); err != nil {
			return err
		}
	}
	return c.read()
}

func (c *conn) read() error {
	f, err := c.in.Next()
	if err != nil {
		return err
	}
	return c.codec.Parse(f, &c.msg)
}

// flush sends what is in the buffer.
func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.Write(c.out)
	c.out = c.out[:0]
	return err
}

// A refusal is an error that the server answered, on a connection that goes on.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func isRefusal(err error) bool {
	_, ok := errors.AsType[*refusal](err)
	return ok
}

// Ready waits until the server answers, trying again while nobody listens yet.
// It returns the last error when ctx ends.
func Ready(ctx context.Context, o Options) error {
	const pause = 2 * time.Millisecond
	for {
		c, err := dial(ctx, &o, true)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}
