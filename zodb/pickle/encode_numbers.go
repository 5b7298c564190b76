package pickle

import (
	"encoding/binary"
	"errors"
	"math"
	"math/big"
	"slices"
)

func (e *encoder) int(v int64) {
	switch {
	case v >= 0 && v <= 0xff:
		e.op(opBinInt1, byte(v))
	case v >= 0 && v <= 0xffff:
		e.op(opBinInt2, byte(v), byte(v>>8))
	case v >= math.MinInt32 && v <= math.MaxInt32:
		e.op(opBinInt)
		e.out = binary.LittleEndian.AppendUint32(e.out, uint32(v))
	default:
		b := [8]byte{}
		binary.LittleEndian.PutUint64(b[:], uint64(v))
		n := 8
		for n > 1 && (b[n-1] == 0 && b[n-2] < 0x80 || b[n-1] == 0xff && b[n-2] >= 0x80) {
			n--
		}
		e.op(opLong1, byte(n))
		e.op(b[:n]...)
	}
}

func (e *encoder) uint(v uint64) error {
	if v <= math.MaxInt64 {
		e.int(int64(v))
		return nil
	}
	return e.long(new(big.Int).SetUint64(v))
}

// long writes an integer of any size.
func (e *encoder) long(v *big.Int) error {
	if v == nil {
		return errors.New("pickle: a nil *big.Int")
	}
	if v.IsInt64() {
		e.int(v.Int64())
		return nil
	}
	b := twosComplement(v)
	if len(b) < 256 {
		e.op(opLong1, byte(len(b)))
	} else if err := e.counted(opLong4, len(b)); err != nil {
		return err
	}
	e.op(b...)
	return nil
}

// twosComplement returns the shortest little-endian form with a sign bit.
func twosComplement(v *big.Int) []byte {
	n := uint(v.BitLen()/8 + 1)
	if v.Sign() < 0 {
		v = new(big.Int).Add(v, new(big.Int).Lsh(big.NewInt(1), n*8))
	}
	b := v.FillBytes(make([]byte, n))
	slices.Reverse(b)
	if n > 1 && b[n-1] == 0xff && b[n-2] >= 0x80 {
		b = b[:n-1] // the number is -2**(8k-1)
	}
	return b
}

// AppendInt appends the opcode for an integer.
func AppendInt(dst []byte, v int64) []byte {
	e := encoder{out: dst}
	e.int(v)
	return e.out
}
