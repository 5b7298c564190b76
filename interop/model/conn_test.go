package model

import (
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// script is the server's side of one connection, played by a test.
type script struct {
	t     *testing.T
	nc    net.Conn
	r     *wire.Reader
	codec wire.Codec
}

// play starts a server that follows the script, and returns its address.
func play(t *testing.T, follow func(*script)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		s := &script{t: t, nc: nc, r: wire.NewReader(nc, 0)}
		s.write(wire.AppendFrame(nil, wire.Pickle.Hello()))
		hello, err := s.r.Next()
		if err != nil {
			return
		}
		if s.codec, err = wire.ParseHello(hello); err != nil {
			t.Error(err)
			return
		}
		follow(s)
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

func (s *script) write(b []byte) {
	if _, err := s.nc.Write(b); err != nil {
		s.t.Error(err)
	}
}

// next reads a call and keeps its id.
func (s *script) next(method string) wire.RawID {
	frame, err := s.r.Next()
	if err != nil {
		s.t.Errorf("waiting for %s: %v", method, err)
		return nil
	}
	m, err := s.codec.Decode(frame)
	if err != nil || m.Method != method {
		s.t.Errorf("got %v, %v; want %s", m, err, method)
		return nil
	}
	return slices.Clone(m.ID)
}

func (s *script) reply(id wire.RawID, result any) {
	b, err := s.codec.AppendReply(nil, id, result)
	if err != nil {
		s.t.Error(err)
	}
	s.write(b)
}

// log is a Handler that notes what arrives.
type log struct{ arrived []string }

func (l *log) Frame() { l.arrived = append(l.arrived, "frame") }
func (l *log) Callback(m *wire.Message) error {
	l.arrived = append(l.arrived, m.Method)
	return nil
}

func (l *log) note(what string) func(*wire.Message) error {
	return func(*wire.Message) error { l.arrived = append(l.arrived, what); return nil }
}

// Answers may come in any order, and are handled in the order in which they come,
// with callbacks in between. Loads have the ids that ZEO's client gives them,
// unless two are equal.
func TestConnHandlesFramesInOrder(t *testing.T) {
	for _, codec := range []wire.Codec{wire.Pickle, wire.Msgpack} {
		t.Run(codec.String(), func(t *testing.T) {
			addr := play(t, func(s *script) {
				a, b, again, ping := s.next("loadBefore"), s.next("loadBefore"), s.next("loadBefore"), s.next("ping")
				if slices.Equal(a, again) {
					t.Error("two loads in flight have one id")
				}
				s.reply(ping, nil)
				s.reply(again, nil)
				s.write(s.codec.AppendInvalidation(nil, 5, []zodb.OID{1}))
				s.reply(b, nil)
				s.reply(a, nil)
			})
			var l log
			c, err := Dial(addr, codec, 5*time.Second, &l)
			if err != nil {
				t.Fatal(err)
			}
			calls := []*Call{
				c.QueueLoad(1, 2, l.note("load 1")),
				c.QueueLoad(3, zodb.MaxTID, l.note("load 3")),
				c.QueueLoad(1, 2, l.note("load 1 again")),
				c.Send("ping", l.note("ping")),
			}
			for _, call := range calls {
				if err := call.Wait(5 * time.Second); err != nil {
					t.Error(err)
				}
			}
			c.Close()
			want := []string{
				"frame", "ping", "frame", "load 1 again", "frame", "invalidateTransaction", "frame", "load 3", "frame", "load 1",
			}
			if !slices.Equal(l.arrived, want) {
				t.Errorf("got %q,\nwant %q", l.arrived, want)
			}
		})
	}
}

// Errors come back as the server sent them.
func TestConnReturnsErrors(t *testing.T) {
	addr := play(t, func(s *script) {
		s.write(s.codec.AppendError(nil, s.next("vote"), &zodb.ConflictError{OID: 7, Committed: 9, Read: 8}))
		s.write(s.codec.AppendError(nil, s.next("ping"), zodb.ErrReadOnly))
	})
	c, err := Dial(addr, wire.Pickle, 5*time.Second, &log{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Send("vote", func(m *wire.Message) error { return m.Err() }, int64(1)).Wait(5 * time.Second)
	if k, ok := errors.AsType[*zodb.ConflictError](err); !ok || k.OID != 7 || k.Committed != 9 || k.Read != 8 {
		t.Errorf("got %v", err)
	}
	if err := c.Send("ping", nil).Wait(5 * time.Second); !errors.Is(err, zodb.ErrReadOnly) {
		t.Errorf("got %v", err)
	}
}

// A lost connection ends the calls under way and those that come after; a silent
// one ends the wait only.
func TestConnLostAndStuck(t *testing.T) {
	lost := make(chan struct{})
	addr := play(t, func(s *script) {
		s.next("ping")
		<-lost
	})
	c, err := Dial(addr, wire.Pickle, 5*time.Second, &log{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	call := c.Send("ping", nil)
	if err := call.Wait(10 * time.Millisecond); !errors.Is(err, errStuck) {
		t.Errorf("a server that is silent: %v", err)
	}
	close(lost)
	if err := call.Wait(5 * time.Second); !errors.Is(err, errLost) {
		t.Errorf("a server that is gone: %v", err)
	}
	if err := c.Send("ping", nil).Wait(5 * time.Second); !errors.Is(err, errLost) {
		t.Errorf("a call after that: %v", err)
	}
}

// What is no answer to any call, or no message at all, ends the connection.
func TestConnRefusesNonsense(t *testing.T) {
	for name, frame := range map[string][]byte{
		"unasked answer": wire.Pickle.AppendNone(nil, wire.RawID{'K', 99}),
		"garbage":        wire.AppendFrame(nil, []byte("garbage")),
	} {
		t.Run(name, func(t *testing.T) {
			addr := play(t, func(s *script) {
				s.next("ping")
				s.write(frame)
				_, _ = s.r.Next() // until the client is gone
			})
			c, err := Dial(addr, wire.Pickle, 5*time.Second, &log{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Send("ping", nil).Wait(5 * time.Second); !errors.Is(err, errLost) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestPairIn(t *testing.T) {
	oid, tid := bytesOf(zodb.OID(8<<56|8)), bytesOf(zodb.MaxTID)
	for _, codec := range []wire.Codec{wire.Pickle, wire.Msgpack} {
		b, err := codec.AppendCall(nil, pickle.Tuple{oid, tid}, "loadBefore", oid, tid)
		if err != nil {
			t.Fatal(err)
		}
		m, err := codec.Decode(b[4:])
		if err != nil {
			t.Fatal(err)
		}
		key, ok := pairIn(m.ID)
		if !ok || string(key[:8]) != string(oid) || string(key[8:]) != string(tid) {
			t.Errorf("%v: %x gave %x, %v", codec, []byte(m.ID), key, ok)
		}
	}
	for _, id := range [][]byte{nil, {1}, make([]byte, 30), []byte("C\x08short")} {
		if _, ok := pairIn(id); ok {
			t.Errorf("%x was taken for a pair", id)
		}
	}
}

func FuzzPairIn(f *testing.F) {
	f.Add([]byte("C\x0812345678C\x0812345678\x86"))
	f.Add([]byte("\x92\xc4\x0812345678\xc4\x0812345678"))
	f.Fuzz(func(t *testing.T, id []byte) {
		key, ok := pairIn(id)
		if ok && len(id) < len(key)+4 {
			t.Errorf("%x has no room for %x", id, key)
		}
	})
}

// An answer that does not come is a violation, with the connection's name; what an
// actor fails with is one too, unless its server was killed.
func TestClientReportsSilence(t *testing.T) {
	end := make(chan struct{})
	addr := play(t, func(s *script) {
		s.reply(s.next("register"), bytesOf(zodb.TID(3)))
		s.next("ping")
		<-end
	})
	defer close(end)
	r := NewRunner(Config{})
	cl, err := connect(addr, "client 1", wire.Pickle, 50*time.Millisecond, r.checker, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if cl.s.View() != 3 {
		t.Errorf("the view is %v", cl.s.View())
	}
	if err := cl.ping(); !errors.Is(err, errStuck) {
		t.Errorf("got %v", err)
	}
	a := r.actors[0]
	a.last = cl.s
	r.failed(a, errStuck, false) // reported by the wait
	r.failed(a, errLost, true)   // by the kill
	r.failed(a, errLost, false)
	found, _ := r.checker.Violations()
	if len(found) != 2 || found[0].Rule != RuleStuck || found[0].Session != "client 1" || found[1].Rule != RuleDropped {
		t.Errorf("got %v", found)
	}
}
