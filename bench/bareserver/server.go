// Package bareserver is the yardstick for loads: the least that a server in Go
// can do for a load over a socket.
//
// It reads a frame (four bytes of length, then that many bytes), reads one block
// from a random place of a file with one pread, and answers with a frame that
// has the block in it and is as long as the answer to a loadBefore would be. It
// looks at nothing that it is sent, keeps no index and takes no lock. What a real
// server takes more than this is the price of being one.
//
// It is written as one would write it who wants it good and short: a goroutine
// for each connection, buffers, and a flush when no further question is here.
package bareserver

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
)

// Server answers frames with blocks of a file.
type Server struct {
	File  *os.File // to read from
	Block int      // bytes read for each frame
	Reply int      // bytes of an answer without its header, at least Block
	Seed  uint64   // of the places read
}

// maxQuestion bounds a frame; the questions are small.
const maxQuestion = 1 << 20

const buffer = 64 << 10

// Serve serves until the listener is closed, and returns when all connections
// are over. It closes them itself.
func (s *Server) Serve(l net.Listener) error {
	info, err := s.File.Stat()
	if err != nil {
		return err
	}
	blocks := info.Size() / int64(s.Block)
	if blocks == 0 || s.Reply < s.Block {
		return fmt.Errorf("bareserver: a file of %d bytes, blocks of %d and replies of %d do not go together",
			info.Size(), s.Block, s.Reply)
	}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		open = map[net.Conn]bool{}
	)
	for n := uint64(0); ; n++ {
		c, err := l.Accept()
		if err != nil {
			mu.Lock()
			for c := range open {
				c.Close()
			}
			mu.Unlock()
			wg.Wait()
			return closed(err)
		}
		mu.Lock()
		open[c] = true
		mu.Unlock()
		wg.Go(func() {
			defer c.Close()
			s.answer(c, rand.New(rand.NewPCG(s.Seed, n)), blocks)
			mu.Lock()
			delete(open, c)
			mu.Unlock()
		})
	}
}

func closed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// answer serves one connection until it ends.
func (s *Server) answer(c net.Conn, rnd *rand.Rand, blocks int64) error {
	in, out := bufio.NewReaderSize(c, buffer), bufio.NewWriterSize(c, buffer)
	reply := make([]byte, 4+s.Reply)
	binary.BigEndian.PutUint32(reply, uint32(s.Reply))
	block := reply[4 : 4+s.Block]
	for {
		if err := skipFrame(in); err != nil {
			return err
		}
		if _, err := s.File.ReadAt(block, rnd.Int64N(blocks)*int64(s.Block)); err != nil {
			return err
		}
		if _, err := out.Write(reply); err != nil {
			return err
		}
		if in.Buffered() > 0 {
			continue
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
}

func skipFrame(in *bufio.Reader) error {
	head, err := in.Peek(4)
	if err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head)
	if n > maxQuestion {
		return fmt.Errorf("bareserver: a frame of %d bytes", n)
	}
	_, err = in.Discard(4 + int(n))
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
