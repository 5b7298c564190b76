package bareserver_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/zaridb/zari/bench/bareserver"
)

// blockFile makes a file of n blocks; every byte of a block is the block's number.
func blockFile(t *testing.T, n, size int) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "blocks")
	var b []byte
	for i := range n {
		b = append(b, bytes.Repeat([]byte{byte(i)}, size)...)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestEachFrameIsAnsweredWithABlock(t *testing.T) {
	const block, reply = 64, 80
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &bareserver.Server{File: blockFile(t, 10, block), Block: block, Reply: reply, Seed: 1}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()

	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const asked = 50
	var questions []byte
	for i := range asked {
		questions = binary.BigEndian.AppendUint32(questions, uint32(i))
		questions = append(questions, make([]byte, i)...)
	}
	if _, err := c.Write(questions); err != nil {
		t.Fatal(err)
	}
	in, seen := bufio.NewReader(c), map[byte]bool{}
	for i := range asked {
		answer := make([]byte, 4+reply)
		if _, err := io.ReadFull(in, answer); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if n := binary.BigEndian.Uint32(answer); n != reply {
			t.Fatalf("answer %d has %d bytes, want %d", i, n, reply)
		}
		got := answer[4 : 4+block]
		if !bytes.Equal(got, bytes.Repeat(got[:1], block)) {
			t.Fatalf("answer %d is not one block of the file: %x", i, got)
		}
		seen[got[0]] = true
	}
	if len(seen) < 5 {
		t.Errorf("%d answers came from only %d of 10 blocks", asked, len(seen))
	}
	l.Close() // with the connection still open
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestWhatDoesNotGoTogetherIsRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f := blockFile(t, 1, 10)
	for _, s := range []*bareserver.Server{
		{File: f, Block: 100, Reply: 100},
		{File: f, Block: 10, Reply: 9},
	} {
		if err := s.Serve(l); err == nil {
			t.Errorf("block %d, reply %d: no error", s.Block, s.Reply)
		}
	}
}
