package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// pipeListener is a listener whose connections are pipes, so that tests run in a
// bubble of testing/synctest.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{make(chan net.Conn), make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (l *pipeListener) dial(t *testing.T) net.Conn {
	t.Helper()
	a, b := net.Pipe()
	select {
	case l.conns <- b:
	case <-l.closed:
		t.Fatal("the listener is closed")
	}
	return a
}

// service is a server over a storage in memory.
type service struct {
	*Server
	l       *pipeListener
	storage *store.Store
}

func serve(t *testing.T, opts Options) *service {
	t.Helper()
	st, err := store.Open(context.Background(), memstorage.New(memstorage.Options{}), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	opts.Storages = map[string]zodb.Storage{"1": st}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	srv, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	s := &service{srv, newPipeListener(), st}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(s.l) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-done; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve: %v, want %v", err, ErrServerClosed)
		}
		st.Close()
	})
	return s
}

// client is a bare ZEO client. What arrives between replies is kept.
type client struct {
	t      *testing.T
	conn   net.Conn
	codec  wire.Codec
	frames chan *wire.Message // closed when the connection ends
	err    error              // why it ended, to be read after frames is closed
	nextID int64
	events []event // callbacks so far
}

type event struct {
	name string
	tid  zodb.TID
	oids []zodb.OID
}

func (s *service) connect(t *testing.T, codec wire.Codec) *client {
	t.Helper()
	c := &client{t: t, conn: s.l.dial(t), codec: codec, frames: make(chan *wire.Message, 100)}
	t.Cleanup(func() { c.conn.Close() })
	r := wire.NewReader(c.conn, 0)
	if _, err := r.Next(); err != nil {
		t.Fatalf("greeting: %v", err)
	}
	go c.read(r)
	c.write(wire.AppendFrame(nil, codec.Hello()))
	return c
}

// register connects and registers with storage 1.
func (s *service) register(t *testing.T, codec wire.Codec) *client {
	t.Helper()
	c := s.connect(t, codec)
	c.mustCall("register", "1", false)
	return c
}

func (c *client) read(r *wire.Reader) {
	defer close(c.frames)
	for {
		frame, err := r.Next()
		if err != nil {
			c.err = err
			return
		}
		m, err := c.codec.Decode(append([]byte(nil), frame...))
		if err != nil {
			c.err = err
			return
		}
		c.frames <- m
	}
}

func (c *client) write(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// send sends a call and returns its number.
func (c *client) send(method string, args ...any) int64 {
	c.t.Helper()
	c.nextID++
	frame, err := c.codec.AppendCall(nil, c.nextID, method, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(frame)
	return c.nextID
}

func (c *client) oneWay(method string, args ...any) {
	c.t.Helper()
	frame, err := c.codec.AppendOneWay(nil, method, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(frame)
}

// receive waits for the answer to a call. Callbacks before it are kept in events.
func (c *client) receive(id int64) (any, error) {
	c.t.Helper()
	for m := range c.frames {
		if !m.IsReply() {
			c.callback(m)
			continue
		}
		if n, _ := m.Number(); n != id {
			c.t.Fatalf("an answer to call %d, while one to %d is awaited", n, id)
		}
		if err := m.Err(); err != nil {
			return nil, err
		}
		return m.Result()
	}
	return nil, io.ErrClosedPipe
}

func (c *client) callback(m *wire.Message) {
	e := event{name: m.Method}
	if m.Method == "invalidateTransaction" {
		e.tid, _ = m.TID(0)
		e.oids, _ = m.OIDs(1, nil)
	}
	c.events = append(c.events, e)
}

func (c *client) call(method string, args ...any) (any, error) {
	c.t.Helper()
	return c.receive(c.send(method, args...))
}

func (c *client) mustCall(method string, args ...any) any {
	c.t.Helper()
	v, err := c.call(method, args...)
	if err != nil {
		c.t.Fatalf("%s: %v", method, err)
	}
	return v
}

// begin begins a transaction that stores data as oid.
func (c *client) begin(id int64, oid zodb.OID, serial zodb.TID, data string) {
	c.t.Helper()
	c.oneWay("tpc_begin", id, []byte("user"), []byte("why"), pickle.NewDict())
	c.oneWay("storea", oid, serial, []byte(data), id)
}

// commit commits one object and returns the tid.
func (c *client) commit(id int64, oid zodb.OID, serial zodb.TID, data string) zodb.TID {
	c.t.Helper()
	c.begin(id, oid, serial, data)
	c.mustCall("vote", id)
	return asTID(c.t, c.mustCall("tpc_finish", id))
}

// closed waits until the server has closed the connection.
func (c *client) closed() {
	c.t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case _, ok := <-c.frames:
			if !ok {
				return
			}
		case <-timeout:
			c.t.Fatal("the server does not close the connection")
		}
	}
}

func asTID(t *testing.T, v any) zodb.TID {
	t.Helper()
	b, _ := v.([]byte)
	tid, err := zodb.ParseTID(b)
	if err != nil {
		t.Fatalf("%v is not a tid", v)
	}
	return tid
}
