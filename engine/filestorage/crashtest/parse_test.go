package crashtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/zaridb/zari/internal/vfs"
)

// parse reads a Data.fs from the first byte to the last. It knows the format from
// ZODB/FileStorage/format.py, and nothing of the engine.
//
//	"FS30", then transactions of:
//	8 tid, 8 length, 1 status, 2+2+2 lengths of user, description, extension, these
//	data records
//	8 length once more; the length does not count these
//
//	a data record: 8 oid, 8 tid, 8 previous position, 8 transaction position,
//	2 zero, 8 length; then the data, or if length is 0, 8 back pointer
func parse(fsys vfs.FS, name string) error {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	if len(b) < 4 || string(b[:4]) != "FS30" {
		return fmt.Errorf("it begins with %q", b[:min(4, len(b))])
	}
	p := parser{b: b, newest: make(map[uint64]uint64)}
	for pos := uint64(4); pos < uint64(len(b)); {
		if pos, err = p.txn(pos); err != nil {
			return err
		}
	}
	return nil
}

type parser struct {
	b      []byte
	tid    uint64
	newest map[uint64]uint64 // positions of records
}

func (p *parser) u64(pos uint64) uint64 { return binary.BigEndian.Uint64(p.b[pos:]) }
func (p *parser) u16(pos uint64) uint64 { return uint64(binary.BigEndian.Uint16(p.b[pos:])) }

// txn checks a transaction and returns the position of the next.
func (p *parser) txn(pos uint64) (uint64, error) {
	fail := func(what string, args ...any) (uint64, error) {
		return 0, fmt.Errorf("transaction at %d: %s", pos, fmt.Sprintf(what, args...))
	}
	left := uint64(len(p.b)) - pos
	if left < 23+8 {
		return fail("only %d bytes are left", left)
	}
	tid, length, status := p.u64(pos), p.u64(pos+8), p.b[pos+16]
	head := 23 + p.u16(pos+17) + p.u16(pos+19) + p.u16(pos+21)
	switch {
	case tid <= p.tid:
		return fail("tid %x after %x", tid, p.tid)
	case length < head || length > left-8:
		return fail("length %d, with a head of %d and %d bytes left", length, head, left)
	case status != ' ' && status != 'p':
		return fail("status %q", status)
	case p.u64(pos+length) != length:
		return fail("length %d, and %d at its end", length, p.u64(pos+length))
	}
	p.tid = tid
	end := pos + length
	for at := pos + head; at < end; {
		n, err := p.record(at, pos, end)
		if err != nil {
			return fail("record at %d: %v", at, err)
		}
		at += n
	}
	return end + 8, nil
}

// record checks a data record and returns its length.
func (p *parser) record(pos, txn, end uint64) (uint64, error) {
	if end-pos < 42+1 {
		return 0, errors.New("it is too short")
	}
	oid, tid, prev, length := p.u64(pos), p.u64(pos+8), p.u64(pos+16), p.u64(pos+34)
	size := 42 + length
	if length == 0 {
		size = 42 + 8
	}
	switch {
	case tid != p.tid:
		return 0, fmt.Errorf("tid %x", tid)
	case p.u64(pos+24) != txn:
		return 0, fmt.Errorf("it says its transaction is at %d", p.u64(pos+24))
	case p.u16(pos+32) != 0:
		return 0, errors.New("it has a version")
	case length > end-pos || size > end-pos:
		return 0, fmt.Errorf("length %d", length)
	case prev != p.newest[oid]:
		return 0, fmt.Errorf("it says the previous record of %x is at %d, not %d", oid, prev, p.newest[oid])
	}
	if length == 0 {
		back := p.u64(pos + 42)
		if back != 0 && (back >= pos || p.u64(back) != oid) {
			return 0, fmt.Errorf("it points back to %d, where is no record of %x", back, oid)
		}
	}
	p.newest[oid] = pos
	return size, nil
}
