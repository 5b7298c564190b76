package client_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/zaridb/zari/zeo/client"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// answers serves a connection: every call is answered with what reply says.
func answers(c net.Conn, reply func(m *wire.Message) any) {
	defer c.Close()
	codec := wire.Pickle
	r := wire.NewReader(c, 0)
	if _, err := c.Write(wire.AppendFrame(nil, codec.Hello())); err != nil {
		return
	}
	if _, err := r.Next(); err != nil {
		return
	}
	for {
		frame, err := r.Next()
		if err != nil {
			return
		}
		m, err := codec.Decode(frame)
		if err != nil {
			return
		}
		if m.Async {
			continue
		}
		out, err := codec.AppendReply(nil, m.ID, reply(m))
		if err != nil {
			return
		}
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

// An answer to a finish that is neither a tid nor an error does not say that the
// transaction is not committed.
func TestUnreadableAnswerToFinish(t *testing.T) {
	for name, answer := range map[string]any{"text": "done", "no tid": zodb.TID(^uint64(0))} {
		t.Run(name, func(t *testing.T) {
			s := open(t, client.Options{Addresses: []string{"x:1"}, Dial: func(context.Context, string, string) (net.Conn, error) {
				a, b := net.Pipe()
				go answers(b, func(m *wire.Message) any {
					switch m.Method {
					case "register":
						return zodb.TID(100)
					case "get_info":
						return pickle.NewDict("length", int64(1), "size", int64(1), "name", "x")
					case "vote":
						return pickle.NewList()
					case "tpc_finish":
						return answer
					}
					return nil
				})
				return a, nil
			}})
			defer s.Close()
			txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
			if err != nil {
				t.Fatal(err)
			}
			defer txn.Abort()
			if _, err := txn.Vote(t.Context()); err != nil {
				t.Fatal(err)
			}
			if tid, err := txn.Finish(t.Context(), nil); !errors.Is(err, zodb.ErrCommitUnknown) {
				t.Errorf("Finish: %v, %v; want that it is not known", tid, err)
			}
		})
	}
}
