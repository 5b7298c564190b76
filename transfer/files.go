package transfer

import (
	"bytes"
	"context"
	"io"
	"os"
)

// filePiece is how much of each file is compared at a time.
const filePiece = 1 << 20

// fileComparer compares files, and keeps its buffers from one pair to the next.
type fileComparer struct{ buf [2][]byte }

// firstDifference returns where two files differ first, -1 if they are equal, and
// how many bytes are equal up to there.
func (c *fileComparer) firstDifference(ctx context.Context, one, two string) (at, equal int64, err error) {
	var files [2]*os.File
	for i, path := range []string{one, two} {
		if files[i], err = os.Open(path); err != nil {
			return 0, 0, err
		}
		defer files[i].Close()
	}
	for {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		a, err := c.read(0, files[0])
		if err != nil {
			return 0, 0, err
		}
		b, err := c.read(1, files[1])
		if err != nil {
			return 0, 0, err
		}
		if !bytes.Equal(a, b) {
			equal += commonLen(a, b)
			return equal, equal, nil
		}
		equal += int64(len(a))
		if len(a) < filePiece {
			return -1, equal, nil
		}
	}
}

func (c *fileComparer) read(i int, f *os.File) ([]byte, error) {
	if c.buf[i] == nil {
		c.buf[i] = make([]byte, filePiece)
	}
	n, err := io.ReadFull(f, c.buf[i])
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return c.buf[i][:n], err
}

// commonLen returns how many bytes at the beginning are the same.
func commonLen(a, b []byte) int64 {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return int64(n)
}
