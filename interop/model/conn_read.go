package model

import (
	"fmt"

	"github.com/zaridb/zari/zeo/wire"
)

// read handles frames until the connection ends.
func (c *Conn) read(r *wire.Reader) {
	defer close(c.closed)
	var m wire.Message
	for {
		frame, err := r.Next()
		if err == nil {
			c.gate.Lock() // not while Pause lasts
			err = c.handle(frame, &m)
			c.gate.Unlock()
		}
		if err != nil {
			c.fail(err)
			c.nc.Close()
			return
		}
	}
}

// handle takes one frame. An error is the server's fault.
func (c *Conn) handle(frame []byte, m *wire.Message) error {
	c.handler.Frame()
	if err := c.codec.Parse(frame, m); err != nil {
		return fmt.Errorf("a frame of %d bytes: %w", len(frame), err)
	}
	if !m.IsReply() {
		return c.handler.Callback(m)
	}
	call := c.take(m)
	if call == nil {
		return fmt.Errorf("an answer to call %x, which was not made", m.ID)
	}
	call.err = call.answer(m)
	close(call.done)
	return nil
}

// answer gives a reply to the one who waits. A vote looks at its errors itself,
// and a load too; the others fail with them.
func (c *Call) answer(m *wire.Message) error {
	switch {
	case c.then == nil:
		return c.named(m.Err())
	case c.method == "vote" || c.method == "loadBefore":
		return c.then(m)
	}
	if err := m.Err(); err != nil {
		return c.named(err)
	}
	return c.named(c.then(m))
}

func (c *Call) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", c.method, err)
}

// take finds the call that a reply answers, and forgets it.
func (c *Conn) take(m *wire.Message) *Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n, ok := m.Number(); ok {
		call := c.calls[n]
		delete(c.calls, n)
		return call
	}
	key, ok := pairIn(m.ID)
	if !ok {
		return nil
	}
	call := c.loads[key]
	delete(c.loads, key)
	return call
}

// pairIn finds two strings of eight bytes in an id, in either encoding: each is
// preceded by one byte for its type and one for its length.
func pairIn(id []byte) (key loadKey, ok bool) {
	for len(id) >= 20 && id[1] != 8 {
		id = id[1:]
	}
	if len(id) < 20 || id[11] != 8 {
		return key, false
	}
	copy(key[:8], id[2:10])
	copy(key[8:], id[12:20])
	return key, true
}

// fail ends all calls. The first reason counts.
func (c *Conn) fail(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost != nil {
		return c.lost
	}
	if c.silent {
		err = fmt.Errorf("closed on this side: %w", err)
	}
	c.lost = fmt.Errorf("%w: %w", errLost, err)
	for n, call := range c.calls {
		delete(c.calls, n)
		call.err = c.lost
		close(call.done)
	}
	for key, call := range c.loads {
		delete(c.loads, key)
		call.err = c.lost
		close(call.done)
	}
	return c.lost
}
