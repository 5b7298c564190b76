package pickle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// DefaultMaxValues is how many values a decoder makes unless told otherwise.
const DefaultMaxValues = 1 << 24

// Decoder reads pickles that follow one another and share one memo, as those of
// a ZODB record do. The trees alias its input, which must not change any more.
type Decoder struct {
	// MaxValues, if set before the first Decode, bounds the values made.
	MaxValues int
	// Allow, if set, is asked about every class or function that is named; its
	// error ends decoding.
	Allow func(module, name string) error

	in     []byte
	pos    int
	start  int    // offset of the opcode at work
	text   string // in, as a string: strings are cut from it
	values int
	stack  []any
	marks  []int // stack heights
	memo   []any
	sparse map[uint64]any // memo entries that do not follow in order

	collect bool // keep refs
	refs    []*Ref
}

// NewDecoder returns a decoder of in.
func NewDecoder(in []byte) *Decoder { return &Decoder{in: in} }

// Decode reads one pickle, which must fill all of b. The tree aliases b.
func Decode(b []byte) (any, error) {
	d := NewDecoder(b)
	v, err := d.Decode()
	if err != nil {
		return nil, err
	}
	if rest := d.Rest(); len(rest) != 0 {
		return nil, fmt.Errorf("pickle: %d bytes follow the end", len(rest))
	}
	return v, nil
}

// DecodeDict reads a pickle of a dict; no bytes at all are an empty dict. It
// serves the extensions of transactions.
func DecodeDict(b []byte) (*Dict, error) {
	if len(b) == 0 {
		return &Dict{}, nil
	}
	v, err := Decode(b)
	if err != nil {
		return nil, err
	}
	d, ok := v.(*Dict)
	if !ok {
		return nil, fmt.Errorf("pickle: a dict was expected, not a %T", v)
	}
	return d, nil
}

// Rest returns the input that has not been read yet.
func (d *Decoder) Rest() []byte { return d.in[d.pos:] }

// Decode reads the next pickle. It returns io.EOF if there is no more input,
// and a *SyntaxError for anything that is not a pickle.
func (d *Decoder) Decode() (any, error) {
	if d.pos == len(d.in) {
		return nil, io.EOF
	}
	if d.MaxValues == 0 {
		d.MaxValues = DefaultMaxValues
	}
	d.stack, d.marks = d.stack[:0], d.marks[:0]
	for {
		d.start = d.pos
		op, err := d.byte()
		if err != nil {
			return nil, d.fail(0, err)
		}
		if op == opStop {
			v, err := d.pop()
			if err != nil {
				return nil, d.fail(op, err)
			}
			return v, nil
		}
		do := operations[op]
		if do == nil {
			return nil, d.fail(op, errOpcode)
		}
		if err := do(d); err != nil {
			return nil, d.fail(op, err)
		}
	}
}

var (
	errOpcode    = errors.New("unknown opcode")
	errShort     = errors.New("the input ends within it")
	errUnderflow = errors.New("the stack has too few values")
	errMark      = errors.New("there is no mark")
	errMemo      = errors.New("the memo has no such entry")
	errValues    = errors.New("too many values")
)

func (d *Decoder) fail(op byte, err error) error {
	return &SyntaxError{Offset: d.start, Op: op, Reason: err.Error()}
}

func (d *Decoder) byte() (byte, error) {
	if d.pos >= len(d.in) {
		return 0, errShort
	}
	b := d.in[d.pos]
	d.pos++
	return b, nil
}

// take returns the next n bytes of the input, with no room to append.
func (d *Decoder) take(n uint64) ([]byte, error) {
	if n > uint64(len(d.in)-d.pos) {
		return nil, errShort
	}
	b := d.in[d.pos : d.pos+int(n) : d.pos+int(n)]
	d.pos += int(n)
	return b, nil
}

// size reads a little-endian number of 1, 2, 4 or 8 bytes.
func (d *Decoder) size(width uint64) (uint64, error) {
	b, err := d.take(width)
	if err != nil {
		return 0, err
	}
	switch width {
	case 1:
		return uint64(b[0]), nil
	case 2:
		return uint64(binary.LittleEndian.Uint16(b)), nil
	case 4:
		return uint64(binary.LittleEndian.Uint32(b)), nil
	}
	return binary.LittleEndian.Uint64(b), nil
}

// counted reads bytes preceded by their number in width bytes.
func (d *Decoder) counted(width uint64) ([]byte, error) {
	n, err := d.size(width)
	if err != nil {
		return nil, err
	}
	return d.take(n)
}

// countedText is counted, as a string that costs nothing after the first.
func (d *Decoder) countedText(width uint64) (string, error) {
	b, err := d.counted(width)
	if err != nil {
		return "", err
	}
	if d.text == "" {
		d.text = string(d.in)
	}
	return d.text[d.pos-len(b) : d.pos], nil
}

func (d *Decoder) push(v any) error {
	if d.values >= d.MaxValues {
		return errValues
	}
	d.values++
	d.stack = append(d.stack, v)
	return nil
}

// floor is the height below which the stack must not be touched now.
func (d *Decoder) floor() int {
	if len(d.marks) == 0 {
		return 0
	}
	return d.marks[len(d.marks)-1]
}

func (d *Decoder) pop() (any, error) {
	n := len(d.stack) - 1
	if n < d.floor() {
		return nil, errUnderflow
	}
	v := d.stack[n]
	d.stack = d.stack[:n]
	return v, nil
}

func (d *Decoder) top() (any, error) {
	if len(d.stack) <= d.floor() {
		return nil, errUnderflow
	}
	return d.stack[len(d.stack)-1], nil
}

// popMark removes what lies above the last mark and returns it. The slice is
// good until the next push.
func (d *Decoder) popMark() ([]any, error) {
	if len(d.marks) == 0 {
		return nil, errMark
	}
	m := d.floor()
	d.marks = d.marks[:len(d.marks)-1]
	items := d.stack[m:]
	d.stack = d.stack[:m]
	return items, nil
}

// popN removes the last n values and returns them, good until the next push.
func (d *Decoder) popN(n int) ([]any, error) {
	if len(d.stack)-n < d.floor() {
		return nil, errUnderflow
	}
	m := len(d.stack) - n
	items := d.stack[m:]
	d.stack = d.stack[:m]
	return items, nil
}

func (d *Decoder) put(i uint64) error {
	v, err := d.top()
	if err != nil {
		return err
	}
	switch n := uint64(len(d.memo)); {
	case i < n:
		d.memo[i] = v
	case i == n:
		d.memo = append(d.memo, v)
	default:
		if d.sparse == nil {
			d.sparse = map[uint64]any{}
		}
		d.sparse[i] = v
	}
	return nil
}

func (d *Decoder) get(i uint64) error {
	if v, ok := d.sparse[i]; ok {
		return d.push(v)
	}
	if i >= uint64(len(d.memo)) {
		return errMemo
	}
	return d.push(d.memo[i])
}
