package wire

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

func TestReaderReadsFrames(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var stream []byte
	var want [][]byte
	for _, size := range []int{0, 1, 10, bufferSize - headerSize, bufferSize, 3 * bufferSize, 5, keepSize + 7, 0, 9} {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		want = append(want, b)
		stream = AppendFrame(stream, b)
	}
	for name, src := range map[string]io.Reader{
		"whole": bytes.NewReader(stream),
		"half":  iotest.HalfReader(bytes.NewReader(stream)),
		"bytes": iotest.OneByteReader(bytes.NewReader(stream)),
		"eof":   iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		r := NewReader(src, 0)
		for i, w := range want {
			got, err := r.Next()
			if err != nil || !bytes.Equal(got, w) {
				t.Fatalf("%s: frame %d: %d bytes, %v; want %d", name, i, len(got), err, len(w))
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("%s: at the end: %v", name, err)
		}
		if len(r.buf) > bufferSize {
			t.Errorf("%s: a buffer of %d bytes is kept", name, len(r.buf))
		}
	}
}

func TestReaderEnds(t *testing.T) {
	whole := AppendFrame(nil, []byte("hello"))
	for n := 1; n < len(whole); n++ {
		if _, err := NewReader(bytes.NewReader(whole[:n]), 0).Next(); err != io.ErrUnexpectedEOF {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	boom := errors.New("boom")
	if _, err := NewReader(iotest.ErrReader(boom), 0).Next(); err != boom {
		t.Errorf("got %v", err)
	}
}

func TestReaderLimit(t *testing.T) {
	r := NewReader(bytes.NewReader(AppendFrame(nil, make([]byte, 101))), 100)
	_, err := r.Next()
	if e, ok := errors.AsType[*FrameSizeError](err); !ok || e.Size != 101 || e.Limit != 100 {
		t.Errorf("got %v", err)
	}
	// A header alone must not make the reader allocate what it announces.
	r = NewReader(bytes.NewReader([]byte{0x03, 0xff, 0xff, 0xff, 1, 2, 3}), 0)
	if _, err := r.Next(); err != io.ErrUnexpectedEOF {
		t.Errorf("got %v", err)
	}
	if len(r.buf) > bufferSize {
		t.Errorf("%d bytes were allocated for 3 that came", len(r.buf))
	}
}

func TestReaderBuffered(t *testing.T) {
	stream := AppendFrame(AppendFrame(nil, []byte("one")), []byte("two"))
	r := NewReader(bytes.NewReader(stream[:len(stream)-1]), 0)
	if r.Buffered() {
		t.Error("a frame before anything is read")
	}
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if r.Buffered() {
		t.Error("the second frame lacks a byte")
	}
	r = NewReader(bytes.NewReader(stream), 0)
	if _, err := r.Next(); err != nil || !r.Buffered() {
		t.Errorf("the second frame is there: %v", err)
	}
}

func TestHandshake(t *testing.T) {
	for _, c := range []Codec{Pickle, Msgpack} {
		if got, err := ParseHello(c.Hello()); got != c || err != nil {
			t.Errorf("%v: %v, %v", c, got, err)
		}
	}
	if string(Pickle.Hello()) != "Z5" || string(Msgpack.Hello()) != "M5" {
		t.Error("bad greetings")
	}
	for _, bad := range []string{"", "Z", "5", "Z4", "Z6", "X5", "Z55", "z5", "ruok?", "\x005"} {
		if _, err := ParseHello([]byte(bad)); err == nil || err == ErrRuok {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := ParseHello([]byte(Ruok)); err != ErrRuok {
		t.Errorf("ruok: %v", err)
	}
}
