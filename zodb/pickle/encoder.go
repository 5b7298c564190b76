package pickle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"unsafe"

	"github.com/zaridb/zari/zodb"
)

// Limits of what is written. Depth is that of the tree; a Python program with
// its usual recursion limit cannot write pickles deeper than a few hundred.
const (
	MaxDepth = 10000
	MaxBytes = math.MaxInt32 // of one pickle, or record
	MaxPlain = 64 << 20      // of plain data, which sharing unfolds
)

// Errors of the writer.
var (
	ErrDepth = errors.New("pickle: the value is nested too deeply")
	ErrSize  = errors.New("pickle: the value is too large")
)

// Encode writes a pickle of protocol 3. Beside the types of trees it takes int,
// uint, the sized ones, []any (a list), [][]byte (a list of bytes), and
// [zodb.OID] and [zodb.TID], written as their eight bytes.
func Encode(v any) ([]byte, error) { return AppendEncode(nil, v) }

// AppendEncode is Encode, appended to dst. On an error dst is returned as it was.
func AppendEncode(dst []byte, v any) ([]byte, error) {
	e := encoder{out: dst, from: len(dst), limit: MaxBytes, memo: map[identity]uint32{}}
	return e.finish(e.pickle(v))
}

// AppendPlain appends what the opcodes between PROTO and STOP are for v, written
// without a memo: shared values are written again each time. It is what ZEO
// messages are made of. Classes, functions, instances and references are refused,
// for a receiver would have to run code.
func AppendPlain(dst []byte, v any) ([]byte, error) {
	e := encoder{out: dst, from: len(dst), limit: MaxPlain}
	return e.finish(e.save(v))
}

// EncodeRecord writes a ZODB data record: class and state with one memo.
//
// The names of classes are written as they are in the tree. In a pickle of a
// protocol below 3 Python 3 looks up those of Python 2's library, such as
// __builtin__.set, under their new names; in what is written here, of protocol 3, it
// does not. Records of that age are of Python 2, which needs the old names.
func EncodeRecord(class, state any) ([]byte, error) {
	e := encoder{limit: MaxBytes, memo: map[identity]uint32{}}
	err := e.pickle(class)
	if err == nil {
		err = e.pickle(state)
	}
	return e.finish(err)
}

// encoder writes opcodes to out. Without a memo it is plain.
type encoder struct {
	out   []byte
	from  int // where this encoder's part of out begins
	limit int // bytes
	memo  map[identity]uint32
	depth int
}

// identity tells which Python object a value is. The pointer also keeps the
// value alive, so that its address is not used again meanwhile.
type identity struct {
	at   unsafe.Pointer
	len  int
	kind byte
}

func (e *encoder) finish(err error) ([]byte, error) {
	if err != nil {
		return e.out[:e.from], err
	}
	return e.out, nil
}

func (e *encoder) pickle(v any) error {
	e.op(opProto, protocol)
	if err := e.save(v); err != nil {
		return err
	}
	e.op(opStop)
	return nil
}

func (e *encoder) op(b ...byte) { e.out = append(e.out, b...) }

// save writes v and leaves it on the stack.
func (e *encoder) save(v any) error {
	if len(e.out)-e.from > e.limit {
		return ErrSize
	}
	switch v := v.(type) {
	case nil:
		e.op(opNone)
	case bool:
		e.bool(v)
	case int64:
		e.int(v)
	case float64:
		e.op(opBinFloat)
		e.out = binary.BigEndian.AppendUint64(e.out, math.Float64bits(v))
	case string:
		return e.text(v)
	case []byte:
		return e.bytes(v)
	case zodb.OID:
		e.eight(uint64(v))
	case zodb.TID:
		e.eight(uint64(v))
	default:
		return e.saveDeep(v)
	}
	return nil
}

// saveDeep writes the values that have parts, and those that are rare.
func (e *encoder) saveDeep(v any) error {
	if e.depth == MaxDepth {
		return ErrDepth
	}
	e.depth++
	err := e.saveParts(v)
	e.depth--
	return err
}

func (e *encoder) saveParts(v any) error {
	switch v := v.(type) {
	case Tuple:
		return e.tuple(v)
	case *List:
		return e.list(v)
	case *Dict:
		return e.dict(v)
	case *Object:
		return e.object(v)
	case *Global:
		return e.global(v)
	case *Ref:
		return e.ref(v)
	case ByteString:
		return e.byteString(v)
	case []any:
		return e.list(&List{v})
	case [][]byte:
		return e.byteList(v)
	}
	return e.saveRare(v)
}

func (e *encoder) saveRare(v any) error {
	switch v := v.(type) {
	case *big.Int:
		return e.long(v)
	case int:
		e.int(int64(v))
	case int32:
		e.int(int64(v))
	case uint32:
		e.int(int64(v))
	case uint8:
		e.int(int64(v))
	case uint:
		return e.uint(uint64(v))
	case uint64:
		return e.uint(v)
	case *Set:
		return e.viaCall(identity{at: unsafe.Pointer(v)}, "set", &List{v.Items})
	case *FrozenSet:
		return e.viaCall(identity{at: unsafe.Pointer(v)}, "frozenset", &List{v.Items})
	case *ByteArray:
		return e.viaCall(identity{at: unsafe.Pointer(v)}, "bytearray", v.Data)
	case *Ext:
		return e.ext(v)
	default:
		return fmt.Errorf("pickle: a %T cannot be written", v)
	}
	return nil
}

// seen writes a GET for what is in the memo.
func (e *encoder) seen(id identity) bool {
	i, ok := e.memo[id]
	if !ok {
		return false
	}
	if i < 256 {
		e.op(opBinGet, byte(i))
		return true
	}
	e.op(opLongBinGet)
	e.out = binary.LittleEndian.AppendUint32(e.out, i)
	return true
}

// put enters what is on the stack in the memo.
func (e *encoder) put(id identity) {
	if e.memo == nil {
		return
	}
	i := uint32(len(e.memo))
	e.memo[id] = i
	if i < 256 {
		e.op(opBinPut, byte(i))
		return
	}
	e.op(opLongBinPut)
	e.out = binary.LittleEndian.AppendUint32(e.out, i)
}

func textIdentity(s, kind string) identity {
	if s == "" {
		return identity{kind: kind[0]}
	}
	return identity{unsafe.Pointer(unsafe.StringData(s)), len(s), kind[0]}
}

func (e *encoder) text(s string) error {
	id := textIdentity(s, "X")
	if e.seen(id) {
		return nil
	}
	if err := e.counted(opBinUnicode, len(s)); err != nil {
		return err
	}
	e.out = append(e.out, s...)
	e.put(id)
	return nil
}

func (e *encoder) byteString(s ByteString) error {
	id := textIdentity(string(s), "U")
	if e.seen(id) {
		return nil
	}
	if err := e.shortOr(opShortBinStr, opBinString, len(s)); err != nil {
		return err
	}
	e.out = append(e.out, s...)
	e.put(id)
	return nil
}

func (e *encoder) bytes(b []byte) error {
	id := identity{unsafe.Pointer(unsafe.SliceData(b)), len(b), 'C'}
	if len(b) == 0 {
		id.at = nil
	}
	if e.seen(id) {
		return nil
	}
	if err := e.shortOr(opShortBinBytes, opBinBytes, len(b)); err != nil {
		return err
	}
	e.out = append(e.out, b...)
	e.put(id)
	return nil
}

// eight writes the bytes of an oid or tid, which are never shared.
func (e *encoder) eight(v uint64) {
	e.op(opShortBinBytes, 8)
	e.out = binary.BigEndian.AppendUint64(e.out, v)
	e.put(identity{at: unsafe.Pointer(new(uint64))})
}

func (e *encoder) shortOr(short, long byte, n int) error {
	if n < 256 {
		e.op(short, byte(n))
		return nil
	}
	return e.counted(long, n)
}

// counted writes an opcode with a length of four bytes.
func (e *encoder) counted(op byte, n int) error {
	if n > MaxBytes {
		return ErrSize
	}
	e.op(op)
	e.out = binary.LittleEndian.AppendUint32(e.out, uint32(n))
	return nil
}

func (e *encoder) bool(v bool) {
	if v {
		e.op(opNewTrue)
		return
	}
	e.op(opNewFalse)
}
