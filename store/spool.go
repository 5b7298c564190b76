package store

import (
	"fmt"
	"io"
	"os"
)

// spool keeps the data of one large transaction in a temporary file, which has
// no name any more and so vanishes with the process.
type spool struct {
	file *os.File
	size int64
}

// put appends data and returns a handle to read them back.
func (s *spool) put(dir string, data []byte) (*spooled, error) {
	if s.file == nil {
		f, err := os.CreateTemp(dir, "zari-transaction-*")
		if err != nil {
			return nil, fmt.Errorf("spooling a large transaction: %w", err)
		}
		os.Remove(f.Name())
		s.file = f
	}
	if _, err := s.file.WriteAt(data, s.size); err != nil {
		return nil, fmt.Errorf("spooling a large transaction: %w", err)
	}
	p := &spooled{spool: s, off: s.size, n: len(data)}
	s.size += int64(len(data))
	return p, nil
}

func (s *spool) close() {
	if s.file != nil {
		s.file.Close()
	}
}

// spooled is one record's data in a spool. It is a txnlog.Spooled.
type spooled struct {
	spool *spool
	off   int64
	n     int
}

func (p *spooled) Len() int { return p.n }

func (p *spooled) Read() ([]byte, error) {
	b := make([]byte, p.n)
	if _, err := p.spool.file.ReadAt(b, p.off); err != nil && err != io.EOF {
		return nil, fmt.Errorf("reading a spooled transaction: %w", err)
	}
	return b, nil
}
