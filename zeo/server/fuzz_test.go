package server

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// FuzzPort sends bytes to the port: raw, or as frames after the handshake, or as
// frames of a registered client. Whatever they are, the server lives, keeps to its
// limits, and serves another client.
func FuzzPort(f *testing.F) {
	seedPort(f)
	l, bystander := fuzzServer(f)
	f.Fuzz(func(t *testing.T, mode byte, data []byte) {
		a, b := net.Pipe()
		l.conns <- b
		go io.Copy(io.Discard, a) // the server may say what it likes
		a.SetDeadline(time.Now().Add(10 * time.Second))
		codec := wire.Pickle
		if mode&1 != 0 {
			codec = wire.Msgpack
		}
		send := data
		if mode&2 != 0 {
			send = wire.AppendFrame(nil, codec.Hello())
			if mode&4 != 0 {
				send, _ = codec.AppendCall(send, int64(1), "register", "1", false)
			}
			send = appendFrames(send, data)
		}
		a.Write(send) // the server may close the connection meanwhile
		a.Close()
		if err := bystander.ping(); err != nil {
			t.Fatalf("another client is disturbed: %v", err)
		}
	})
}

// appendFrames cuts data into frames: two bytes of length, then so many bytes.
func appendFrames(dst, data []byte) []byte {
	for len(data) >= 2 {
		n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
		dst = wire.AppendFrame(dst, data[2:2+n])
		data = data[2+n:]
	}
	return dst
}

func seedPort(f *testing.F) {
	for _, codec := range []wire.Codec{wire.Pickle, wire.Msgpack} {
		mode := byte(6)
		if codec == wire.Msgpack {
			mode |= 1
		}
		var data []byte
		add := func(frame []byte, err error) {
			if err != nil {
				f.Fatal(err)
			}
			data = binary.BigEndian.AppendUint16(data, uint16(len(frame)-4))
			data = append(data, frame[4:]...)
		}
		add(codec.AppendOneWay(nil, "tpc_begin", int64(1), []byte("u"), []byte("d"), pickle.NewDict("k", "v")))
		add(codec.AppendOneWay(nil, "storea", zodb.OID(1), zodb.TID(0), []byte("x"), int64(1)))
		add(codec.AppendCall(nil, int64(2), "vote", int64(1)))
		add(codec.AppendCall(nil, int64(3), "tpc_finish", int64(1)))
		add(codec.AppendCall(nil, int64(4), "loadBefore", zodb.OID(1), zodb.MaxTID))
		add(codec.AppendCall(nil, int64(5), "undoInfo", int64(0), int64(-20), pickle.NewDict("user_name", "u")))
		add(codec.AppendCall(nil, int64(6), "iterator_start", nil, nil))
		add(codec.AppendCall(nil, int64(7), "iterator_next", int64(0)))
		f.Add(mode, data)
		for name := range methods {
			frame, err := codec.AppendCall(nil, int64(1), name, zodb.OID(1), zodb.TID(2), []byte("x"), nil, int64(1))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(mode, append(binary.BigEndian.AppendUint16(nil, uint16(len(frame)-4)), frame[4:]...))
		}
	}
	f.Add(byte(0), []byte("\x00\x00\x00\x04ruok"))
	f.Add(byte(0), []byte("\xff\xff\xff\xff"))
	f.Add(byte(0), []byte("GET / HTTP/1.1\r\n\r\n"))
}

// bystander is a client that looks whether the server still answers.
type bystander struct {
	conn  net.Conn
	r     *wire.Reader
	codec wire.Codec
}

func (b *bystander) ping() error {
	frame, err := b.codec.AppendCall(nil, int64(1), "ping")
	if err != nil {
		return err
	}
	b.conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := b.conn.Write(frame); err != nil {
		return err
	}
	for {
		answer, err := b.r.Next()
		if err != nil {
			return err
		}
		m, err := b.codec.Decode(answer)
		if err != nil || m.IsReply() {
			return err
		}
	}
}

func fuzzServer(f *testing.F) (*pipeListener, *bystander) {
	st, err := store.Open(context.Background(), memstorage.New(memstorage.Options{}), store.Options{})
	if err != nil {
		f.Fatal(err)
	}
	srv, err := New(Options{
		Storages: map[string]zodb.Storage{"1": st}, MaxFrame: 1 << 20, MaxIterators: 10, MaxQueue: 8 << 20,
	})
	if err != nil {
		f.Fatal(err)
	}
	l := newPipeListener()
	go srv.Serve(l)
	f.Cleanup(func() {
		srv.Close()
		st.Close()
	})
	a, c := net.Pipe()
	l.conns <- c
	b := &bystander{conn: a, r: wire.NewReader(a, 0), codec: wire.Pickle}
	if _, err := b.r.Next(); err != nil {
		f.Fatal(err)
	}
	hello := wire.AppendFrame(nil, b.codec.Hello())
	hello, err = b.codec.AppendCall(hello, int64(0), "register", "1", false)
	if err != nil {
		f.Fatal(err)
	}
	go a.Write(hello)
	if _, err := b.r.Next(); err != nil {
		f.Fatal(err)
	}
	return l, b
}
