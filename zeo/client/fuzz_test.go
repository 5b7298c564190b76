package client_test

import (
	"context"
	"encoding/binary"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/zaridb/zari/zeo/client"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// hostile is a server that registers clients and then says what it likes: data are
// pieces, each of a kind and two bytes of length. It takes one for every call.
type hostile struct {
	codec wire.Codec
	mu    sync.Mutex
	data  []byte
	wg    sync.WaitGroup
}

// piece takes the next one. ok is false when there are no more.
func (h *hostile) piece() (kind byte, body []byte, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.data) < 3 {
		return 0, nil, false
	}
	n := min(int(binary.BigEndian.Uint16(h.data[1:])), len(h.data)-3)
	kind, body = h.data[0], h.data[3:3+n]
	h.data = h.data[3+n:]
	return kind, body, true
}

// more reports whether the server has anything left to say.
func (h *hostile) more() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.data) >= 3
}

func (h *hostile) dial(context.Context, string, string) (net.Conn, error) {
	a, b := net.Pipe()
	h.wg.Go(func() { h.serve(b) })
	return a, nil
}

func (h *hostile) serve(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write(wire.AppendFrame(nil, h.codec.Hello())); err != nil {
		return
	}
	r := wire.NewReader(c, 0)
	if _, err := r.Next(); err != nil {
		return
	}
	for {
		frame, err := r.Next()
		if err != nil {
			return
		}
		m, err := h.codec.Decode(frame)
		if err != nil {
			return
		}
		answer, ok := h.answer(m)
		if !ok {
			return
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

// answer is what the server says to a call, false to hang up.
func (h *hostile) answer(m *wire.Message) ([]byte, bool) {
	switch {
	case m.Async:
		return nil, true
	case m.Method == "register":
		return h.codec.AppendTID(nil, m.ID, 100), true
	case m.Method == "get_info":
		reply, err := h.codec.AppendReply(nil, m.ID, pickle.NewDict(
			"length", int64(1), "size", int64(1), "name", "x", "supportsUndo", true, "supports_record_iternext", true, "zari_tokens", true,
			"interfaces", pickle.Tuple{pickle.Tuple{"ZODB.interfaces", "IStorageIteration"}, pickle.Tuple{"ZODB.interfaces", "IExternalGC"}}))
		return reply, err == nil
	}
	kind, body, ok := h.piece()
	if !ok {
		return nil, false
	}
	switch kind % 4 {
	case 0:
		return wire.AppendFrame(nil, body), true
	case 1:
		return h.reply(m.ID, 0, body), true
	case 2:
		return h.reply(m.ID, 2, body), true
	}
	return body, true // not even a frame
}

// reply makes a reply whose result is any bytes.
func (h *hostile) reply(id wire.RawID, flag byte, body []byte) []byte {
	var frame []byte
	if h.codec == wire.Pickle {
		frame = append(append([]byte("\x80\x03("), id...), 'K', flag)
		frame = append(append(append(frame, "X\x06\x00\x00\x00.reply"...), body...), "t."...)
	} else {
		frame = append(append([]byte{0x94}, id...), flag)
		frame = append(append(frame, "\xa6.reply"...), body...)
	}
	return wire.AppendFrame(nil, frame)
}

// uses call everything that a storage has.
var uses = []func(ctx context.Context, s *client.Storage){
	func(ctx context.Context, s *client.Storage) { s.LoadBefore(ctx, 1, zodb.MaxTID) },
	func(ctx context.Context, s *client.Storage) { s.History(ctx, 1, 3) },
	func(ctx context.Context, s *client.Storage) { s.LoadSerial(ctx, 1, 90) },
	func(ctx context.Context, s *client.Storage) { s.UndoLog(ctx, 0, 5, nil) },
	func(ctx context.Context, s *client.Storage) { s.NewOIDs(ctx, 3) },
	func(ctx context.Context, s *client.Storage) { s.ChangesSince(ctx, 50) },
	func(ctx context.Context, s *client.Storage) { s.Outcome(ctx, zodb.Token{1}) },
	func(ctx context.Context, s *client.Storage) { s.Sync(ctx) },
	useTransactions, useRecords, useTxn,
}

func useTransactions(ctx context.Context, s *client.Storage) {
	n := 0
	for range s.Transactions(ctx, 0, 0) {
		if n++; n > 5 {
			break
		}
	}
}

func useRecords(ctx context.Context, s *client.Storage) {
	n := 0
	for range s.Current(ctx, 90, 0, 1000) {
		if n++; n > 5 {
			break
		}
	}
}

func useTxn(ctx context.Context, s *client.Storage) {
	txn, err := s.Begin(ctx, zodb.TxnMeta{})
	if err != nil {
		return
	}
	defer txn.Abort()
	txn.Store(ctx, 1, 0, []byte("x"))
	if votes, err := txn.Vote(ctx); err == nil && len(votes.Conflicts) == 0 {
		txn.Finish(ctx, nil)
	}
}

// FuzzServer has a client use a server that answers anything: the client neither
// dies nor hangs.
func FuzzServer(f *testing.F) {
	seedServer(f)
	f.Fuzz(func(t *testing.T, msgpack bool, data []byte) {
		h := &hostile{codec: wire.Pickle, data: data}
		if msgpack {
			h.codec = wire.Msgpack
		}
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		s, err := client.Open(ctx, client.Options{
			Addresses: []string{"hostile:1"}, Dial: h.dial, Wait: true, MaxFrame: 1 << 20,
			WaitTimeout: 20 * time.Millisecond, MinRetry: time.Millisecond,
		})
		if err == nil {
			for _, use := range uses {
				if h.more() {
					use(ctx, s)
				}
			}
			s.Close()
		}
		h.wg.Wait()
	})
}

func seedServer(f *testing.F) {
	for _, codec := range []wire.Codec{wire.Pickle, wire.Msgpack} {
		var data []byte
		for _, v := range []any{
			pickle.Tuple{[]byte("data"), zodb.TID(90), nil},
			pickle.NewList(pickle.NewDict("tid", zodb.TID(90), "user_name", []byte("u"), "description", []byte("d"), "size", int64(4), "k", "v")),
			[]byte("data"),
			pickle.NewList(pickle.NewDict("id", zodb.TID(90).UndoID(), "user_name", []byte("u"), "description", []byte("d"), "size", int64(4))),
			pickle.NewList(zodb.OID(7), zodb.OID(8)),
			int64(0), nil, // is 50 a transaction?
			zodb.TID(70),
			nil, zodb.TID(100), // Sync
			int64(1), pickle.Tuple{zodb.TID(90), " ", []byte{}, []byte{}, pickle.NewDict("a", int64(1))},
			int64(2), pickle.Tuple{zodb.OID(1), zodb.TID(90), []byte("data"), nil}, nil,
			nil,
			pickle.Tuple{zodb.TID(100), pickle.NewList(zodb.OID(3))},
			pickle.Tuple{zodb.OID(1), zodb.TID(90), []byte("data"), zodb.OID(2)},
			pickle.NewList(pickle.NewDict("oid", zodb.OID(1), "serials", pickle.Tuple{zodb.TID(90), zodb.TID(80)}, "data", []byte("x"))),
			zodb.TID(101),
		} {
			frame, err := codec.AppendReply(nil, wire.RawID{}, v)
			if err != nil {
				f.Fatal(err)
			}
			body := frame[4+1+1+7:] // length, tuple, flag, name
			if codec == wire.Pickle {
				body = frame[4+3+2+11 : len(frame)-2]
			}
			data = append(binary.BigEndian.AppendUint16(append(data, 1), uint16(len(body))), body...)
			f.Add(codec == wire.Msgpack, append(binary.BigEndian.AppendUint16([]byte{1}, uint16(len(body))), body...))
		}
		f.Add(codec == wire.Msgpack, data)
		invalidation := codec.AppendInvalidation(nil, 101, []zodb.OID{1})[4:]
		f.Add(codec == wire.Msgpack, append(binary.BigEndian.AppendUint16([]byte{0}, uint16(len(invalidation))), invalidation...))
	}
	f.Add(false, []byte("\x03\x00\x04\xff\xff\xff\xff"))
}
