package server

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zaridb/zari/zodb"
)

const (
	writeSize = 64 << 10 // the reader writes out when this much is waiting
	highWater = 1 << 20  // who adds more than this waits for the client to read
)

var errOverflow = errors.New("the client does not read what is sent to it")

// outbox is the queue of frames to one client.
//
// Frames are appended under mu by whoever has something to say, and written by
// one goroutine at a time, without mu: nobody waits for a socket but the one who
// writes to it.
type outbox struct {
	conn  net.Conn
	limit int           // more than this closes the connection
	wake  chan struct{} // tells the writer that frames wait
	fail  func(error)   // called once when writing is no longer possible

	mu      sync.Mutex
	drained sync.Cond // writing has made progress
	buf     []byte
	spare   []byte // the buffer written last, to be used again
	writing bool
	closed  bool
	wrote   time.Time // when a write began last

	view atomic.Uint64 // changed under mu
}

func newOutbox(conn net.Conn, limit int, fail func(error)) *outbox {
	o := &outbox{conn: conn, limit: limit, wake: make(chan struct{}, 1), fail: fail}
	o.drained.L = &o.mu
	return o
}

// View returns the last tid that was queued on this connection.
func (o *outbox) View() zodb.TID { return zodb.TID(o.view.Load()) }

// add appends frames by calling encode on the buffer. It never waits, and does
// nothing once the connection is closed.
func (o *outbox) add(encode func(dst []byte) []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.addLocked(encode)
}

func (o *outbox) addLocked(encode func(dst []byte) []byte) {
	if o.closed {
		return
	}
	o.buf = encode(o.buf)
	if len(o.buf) > o.limit {
		o.closed = true
		go o.fail(errOverflow)
	}
}

// flush writes what is queued, unless somebody else is doing so.
func (o *outbox) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.writing && !o.closed && len(o.buf) > 0 {
		buf := o.buf
		o.buf, o.spare = o.spare[:0], nil
		o.writing = true
		o.wrote = time.Now()
		o.mu.Unlock()
		_, err := o.conn.Write(buf)
		o.mu.Lock()
		o.writing = false
		if cap(buf) <= highWater {
			o.spare = buf
		}
		o.drained.Broadcast()
		if err != nil && !o.closed {
			o.closed = true
			go o.fail(err)
		}
	}
}

// flushAndWait flushes, and waits while the client is far behind. Answers are
// slowed down by it; invalidations, which others queue, are not.
func (o *outbox) flushAndWait() {
	o.flush()
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.buf) > highWater && !o.closed {
		o.drained.Wait()
	}
}

// waits reports whether frames wait, and whether they should be sent now: nothing has
// been since then, so that no answer of late has taken any along.
func (o *outbox) waits(then time.Time) (waiting, overdue bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	waiting = len(o.buf) > 0
	return waiting, waiting && o.wrote.Before(then)
}

// pending returns how many bytes wait to be sent.
func (o *outbox) pending() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.buf)
}

// writeLoop sends what others than the connection's own goroutines have queued.
func (o *outbox) writeLoop(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-o.wake:
			o.flush()
		}
	}
}

// signal makes the writer flush soon. It never waits.
func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.drained.Broadcast()
}
