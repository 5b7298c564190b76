package pickle

import (
	"bytes"
	"encoding/binary"

	"github.com/zaridb/zari/zodb"
)

// reference ends a persistent id. Bytes, and tuples that begin with bytes, refer
// to an object of this database; lists never do, unless they hold one item only
// (weak, too). Anything else, and any oid that has not eight bytes, is unsure.
func (s *scanner) reference(int) bool {
	n := len(s.stack) - 1
	if n < s.floor() {
		return false
	}
	c := s.stack[n]
	s.stack[n] = cell{}
	switch {
	case c.kind == aList:
		s.lists = true
		return !s.all
	case c.kind != aPair && (c.kind != anOID || c.size != 8):
		return false
	}
	oid := zodb.OID(binary.BigEndian.Uint64(s.in[c.at:]))
	if !s.all {
		s.dst = append(s.dst, oid)
		return true
	}
	return s.withClass(oid, c)
}

// maxNames bounds the classes that a scanner remembers.
const maxNames = 1 << 12

// withClass notes a reference with the class that a pair has.
func (s *scanner) withClass(oid zodb.OID, c cell) bool {
	r := Reference{OID: oid}
	if c.kind == aPair {
		if c.size == 0 {
			return false
		}
		lines := s.in[c.size:]
		module := bytes.IndexByte(lines, '\n')
		end := module + 1 + bytes.IndexByte(lines[module+1:], '\n') // both are there, as skipNames has seen
		class, ok := s.names[string(lines[:end])]
		if !ok {
			if len(s.names) >= maxNames || s.names == nil {
				s.names = make(map[string]Class)
			}
			class = Class{string(lines[:module]), string(lines[module+1 : end])}
			s.names[string(lines[:end])] = class
		}
		r.Class = class
	}
	s.refs = append(s.refs, r)
	return true
}

func (s *scanner) mark(int) bool {
	s.marks = append(s.marks, len(s.stack))
	return true
}

// drop is POP, which also takes back a mark that nothing lies on.
func (s *scanner) drop(int) bool {
	if n := len(s.marks); n > 0 && s.marks[n-1] == len(s.stack) {
		s.marks = s.marks[:n-1]
		return true
	}
	return s.pop(1)
}

func (s *scanner) toMark(int) bool {
	m, ok := s.popMark()
	if ok {
		s.stack = s.stack[:m]
	}
	return ok
}

func (s *scanner) dup(int) bool {
	n := len(s.stack)
	return n > s.floor() && s.push(s.stack[n-1])
}

func (s *scanner) emptyList(int) bool { return s.push(cell{kind: aList}) }

// tupleOf returns the cell of a tuple of the given items.
func tupleOf(items []cell) cell {
	if len(items) == 0 || items[0].kind != anOID {
		return cell{}
	}
	c := cell{kind: aPair, at: items[0].at}
	if items[0].size != 8 {
		c.kind = badPair
	}
	if last := items[len(items)-1]; last.kind == aClass {
		c.size = last.at
	}
	return c
}

func (s *scanner) tupleN(n int) bool {
	m := len(s.stack) - n
	if m < s.floor() {
		return false
	}
	c := tupleOf(s.stack[m:])
	s.stack = s.stack[:m]
	return s.push(c)
}

func (s *scanner) tuple(int) bool {
	m, ok := s.popMark()
	if !ok {
		return false
	}
	c := tupleOf(s.stack[m:])
	s.stack = s.stack[:m]
	return s.push(c)
}

func (s *scanner) list(int) bool {
	return s.toMark(0) && s.push(cell{kind: aList})
}

func (s *scanner) replaceMark(int) bool {
	return s.toMark(0) && s.push(cell{})
}

func (s *scanner) inst(int) bool {
	return s.skipNames() && s.replaceMark(0)
}

// absorb puts the last n values into the one below.
func (s *scanner) absorb(n int) bool {
	return s.pop(n) && len(s.stack) > s.floor()
}

func (s *scanner) absorbMark(int) bool {
	return s.toMark(0) && len(s.stack) > s.floor()
}

// combine makes one value of the last n.
func (s *scanner) combine(n int) bool {
	return s.pop(n) && s.push(cell{})
}

// skipNames skips two lines, a module's name and that of something in it.
func (s *scanner) skipNames() bool {
	for range 2 {
		n := bytes.IndexByte(s.in[s.pos:], '\n')
		if n < 0 {
			return false
		}
		s.pos += n + 1
	}
	return true
}

func (s *scanner) global(int) bool {
	c := cell{kind: aClass, at: uint32(s.pos)}
	return s.skipNames() && s.push(c)
}

func (s *scanner) index(width int) (int, bool) {
	if width > len(s.in)-s.pos {
		return 0, false
	}
	b := s.in[s.pos:]
	s.pos += width
	if width == 1 {
		return int(b[0]), true
	}
	return int(binary.LittleEndian.Uint32(b)), true
}

// put enters the last value in the memo. Entries that leave a wide gap are left
// to the full reader.
func (s *scanner) put(width int) bool {
	i, ok := s.index(width)
	if !ok || len(s.stack) <= s.floor() || i < 0 || i > len(s.memo)+len(s.in) {
		return false
	}
	c := s.stack[len(s.stack)-1]
	if i == len(s.memo) {
		s.memo = append(s.memo, c)
		return true
	}
	s.gaps = s.gaps || i > len(s.memo)
	for len(s.memo) <= i {
		s.memo = append(s.memo, cell{kind: noCell})
	}
	s.memo[i] = c
	return true
}

func (s *scanner) get(width int) bool {
	i, ok := s.index(width)
	if !ok || i < 0 || i >= len(s.memo) || s.memo[i].kind == noCell {
		return false
	}
	return s.push(s.memo[i])
}

func (s *scanner) memoize(int) bool {
	if s.gaps || len(s.stack) <= s.floor() {
		return false
	}
	s.memo = append(s.memo, s.stack[len(s.stack)-1])
	return true
}
