package pickle

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"github.com/zaridb/zari/zodb"
)

// References appends to dst the oids that a record refers to: the ordinary
// references within its database, which keep their targets. Weak references and
// those to other databases are left out, and an oid that is referred to twice is
// there twice. (It equals ZODB.serialize.referencesf.)
//
// It runs the pickle's stack machine over the places of values instead of values,
// and allocates nothing but room in dst. Where a place does not tell enough, the
// record is read in full.
func References(record []byte, dst []zodb.OID) ([]zodb.OID, error) {
	s := scanners.Get().(*scanner)
	out, ok := s.record(record, dst)
	s.in = nil
	scanners.Put(s)
	if ok {
		return out, nil
	}
	return referencesInFull(record, dst)
}

func referencesInFull(record []byte, dst []zodb.OID) ([]zodb.OID, error) {
	refs, err := readRefs(record)
	if err != nil {
		return dst, err
	}
	for _, r := range refs {
		if _, special := r.ID.(*List); special {
			continue
		}
		t, err := r.Target()
		if err != nil {
			return dst, err
		}
		dst = append(dst, t.OID)
	}
	return dst, nil
}

// ForeignError says that a record refers to another database.
type ForeignError struct{ Database string }

func (e *ForeignError) Error() string {
	return fmt.Sprintf("it refers to the database %q, from which objects here may be referred to: "+
		"pack without garbage collection (pack-gc false), and collect garbage in all databases together with zari gc", e.Database)
}

// OwnReferences is [References] for databases that stand alone: a record that refers
// to another database is a *ForeignError. A garbage collection that looks at one
// database must not be sure of itself then.
func OwnReferences(record []byte, dst []zodb.OID) ([]zodb.OID, error) {
	s := scanners.Get().(*scanner)
	out, ok := s.record(record, dst)
	lists := s.lists
	s.in = nil
	scanners.Put(s)
	if ok && !lists {
		return out, nil
	}
	refs, err := AllReferences(record, nil)
	if err != nil {
		return dst, err
	}
	for _, r := range refs {
		if r.Database != "" && r.Strength == Strong {
			return dst, &ForeignError{r.Database}
		}
	}
	return References(record, dst)
}

// cell stands for a value: what it is, as far as references need it, and where
// the bytes of the oid lie.
type cell struct {
	kind cellKind
	at   uint32
	size uint32 // of what is at; of a pair where its class is, 0 for no class
}

type cellKind byte

const (
	aValue  cellKind = iota
	anOID            // bytes or text, at
	aPair            // a tuple that begins with the eight bytes at
	badPair          // a tuple that begins with other bytes
	aClass           // module and name, a line each, at
	aList            // of whatever
	noCell           // of the memo, where nothing has been put
)

// scanner is the machine. Its slices are used again.
type scanner struct {
	in    []byte
	pos   int
	stack []cell
	marks []int
	memo  []cell
	gaps  bool // the memo has entries that were never put
	lists bool // a persistent id was a list
	dst   []zodb.OID
	all   bool // refs are wanted, with classes, instead of dst
	refs  []Reference
	names map[string]Class // by the lines of a class
}

var scanners = sync.Pool{New: func() any { return new(scanner) }}

// Bounds of what a scanner keeps between records, and of positions in cells.
const (
	keepCells = 1 << 16
	maxScan   = math.MaxInt32
)

// record scans both pickles. It reports false if it is not sure.
func (s *scanner) record(record []byte, dst []zodb.OID) (out []zodb.OID, ok bool) {
	if len(record) >= maxScan {
		return dst, false
	}
	if cap(s.stack) > keepCells || cap(s.memo) > keepCells {
		s.stack, s.memo = nil, nil
	}
	s.in, s.pos, s.dst, s.memo, s.gaps, s.lists = record, 0, dst, s.memo[:0], false, false
	ok = s.pickle() // the class
	ok = ok && s.pickle()
	out, s.dst = s.dst, nil
	if !ok {
		return dst, false
	}
	return out, true
}

func (s *scanner) pickle() bool {
	s.stack, s.marks = s.stack[:0], s.marks[:0]
	for s.pos < len(s.in) {
		op := s.in[s.pos]
		s.pos++
		if op == opStop {
			return len(s.stack) > s.floor()
		}
		a := actions[op]
		if a.do == nil {
			return false
		}
		if !a.do(s, a.arg) {
			return false
		}
	}
	return false
}

func (s *scanner) floor() int {
	if len(s.marks) == 0 {
		return 0
	}
	return s.marks[len(s.marks)-1]
}

func (s *scanner) push(c cell) bool {
	s.stack = append(s.stack, c)
	return true
}

// pop removes n values.
func (s *scanner) pop(n int) bool {
	if len(s.stack)-n < s.floor() {
		return false
	}
	s.stack = s.stack[:len(s.stack)-n]
	return true
}

// popMark removes what lies above the last mark, and returns where that was.
func (s *scanner) popMark() (height int, ok bool) {
	n := len(s.marks)
	if n == 0 {
		return 0, false
	}
	height = s.marks[n-1]
	s.marks = s.marks[:n-1]
	return height, true
}

// action is what the scanner does for an opcode, arg being a number it needs.
type action struct {
	do  func(s *scanner, arg int) bool
	arg int
}

// actions has no entry for the opcodes that are left to the full reader: lines of
// text that are values, and what makes a scan unsure.
var actions = [256]action{
	opMark:          {(*scanner).mark, 0},
	opPop:           {(*scanner).drop, 0},
	opPopMark:       {(*scanner).toMark, 0},
	opDup:           {(*scanner).dup, 0},
	opNone:          {(*scanner).skip, 0},
	opNewTrue:       {(*scanner).skip, 0},
	opNewFalse:      {(*scanner).skip, 0},
	opBinInt1:       {(*scanner).skip, 1},
	opBinInt2:       {(*scanner).skip, 2},
	opBinInt:        {(*scanner).skip, 4},
	opBinFloat:      {(*scanner).skip, 8},
	opExt1:          {(*scanner).skip, 1},
	opExt2:          {(*scanner).skip, 2},
	opExt4:          {(*scanner).skip, 4},
	opLong1:         {(*scanner).skipCounted, 1},
	opLong4:         {(*scanner).skipCounted, 4},
	opBinUnicode8:   {(*scanner).skipCounted, 8},
	opByteArray8:    {(*scanner).skipCounted, 8},
	opShortUnicode:  {(*scanner).bytes, 1},
	opBinUnicode:    {(*scanner).bytes, 4},
	opShortBinBytes: {(*scanner).bytes, 1},
	opBinBytes:      {(*scanner).bytes, 4},
	opBinBytes8:     {(*scanner).bytes, 8},
	opShortBinStr:   {(*scanner).bytes, 1},
	opBinString:     {(*scanner).bytes, 4},
	opEmptyTuple:    {(*scanner).skip, 0},
	opEmptyDict:     {(*scanner).skip, 0},
	opEmptySet:      {(*scanner).skip, 0},
	opEmptyList:     {(*scanner).emptyList, 0},
	opTuple1:        {(*scanner).tupleN, 1},
	opTuple2:        {(*scanner).tupleN, 2},
	opTuple3:        {(*scanner).tupleN, 3},
	opTuple:         {(*scanner).tuple, 0},
	opList:          {(*scanner).list, 0},
	opDict:          {(*scanner).replaceMark, 0},
	opFrozenSet:     {(*scanner).replaceMark, 0},
	opObj:           {(*scanner).replaceMark, 0},
	opInst:          {(*scanner).inst, 0},
	opAppend:        {(*scanner).absorb, 1},
	opSetItem:       {(*scanner).absorb, 2},
	opBuild:         {(*scanner).absorb, 1},
	opAppends:       {(*scanner).absorbMark, 0},
	opSetItems:      {(*scanner).absorbMark, 0},
	opAddItems:      {(*scanner).absorbMark, 0},
	opGlobal:        {(*scanner).global, 0},
	opStackGlobal:   {(*scanner).combine, 2},
	opReduce:        {(*scanner).combine, 2},
	opNewObj:        {(*scanner).combine, 2},
	opNewObjEx:      {(*scanner).combine, 3},
	opBinPersID:     {(*scanner).reference, 0},
	opBinPut:        {(*scanner).put, 1},
	opLongBinPut:    {(*scanner).put, 4},
	opBinGet:        {(*scanner).get, 1},
	opLongBinGet:    {(*scanner).get, 4},
	opMemoize:       {(*scanner).memoize, 0},
	opProto:         {(*scanner).skipOnly, 1},
	opFrame:         {(*scanner).skipOnly, 8},
}

func (s *scanner) skipOnly(n int) bool {
	s.pos += n
	return s.pos <= len(s.in)
}

func (s *scanner) skip(n int) bool {
	s.pos += n
	return s.pos <= len(s.in) && s.push(cell{})
}

// size reads a length of 1, 4 or 8 bytes, and makes sure that so much follows.
func (s *scanner) size(width int) (n int, ok bool) {
	if width > len(s.in)-s.pos {
		return 0, false
	}
	b := s.in[s.pos:]
	s.pos += width
	switch width {
	case 1:
		n = int(b[0])
	case 4:
		n = int(binary.LittleEndian.Uint32(b))
	default:
		u := binary.LittleEndian.Uint64(b)
		if u >= maxScan {
			return 0, false
		}
		n = int(u)
	}
	return n, n >= 0 && n <= len(s.in)-s.pos
}

func (s *scanner) skipCounted(width int) bool {
	n, ok := s.size(width)
	if !ok {
		return false
	}
	return s.skip(n)
}

// bytes remembers the place of what may be an oid.
func (s *scanner) bytes(width int) bool {
	n, ok := s.size(width)
	if !ok {
		return false
	}
	c := cell{anOID, uint32(s.pos), uint32(n)}
	s.pos += n
	return s.push(c)
}
