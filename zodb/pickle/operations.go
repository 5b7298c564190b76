package pickle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// operations has what each opcode but STOP does.
var operations = [256]func(*Decoder) error{
	opMark:          func(d *Decoder) error { d.marks = append(d.marks, len(d.stack)); return nil },
	opPop:           (*Decoder).drop,
	opPopMark:       func(d *Decoder) error { _, err := d.popMark(); return err },
	opDup:           (*Decoder).dup,
	opBinBytes:      func(d *Decoder) error { return d.pushBytes(4) },
	opShortBinBytes: func(d *Decoder) error { return d.pushBytes(1) },
	opBinBytes8:     func(d *Decoder) error { return d.pushBytes(8) },
	opByteArray8:    (*Decoder).pushByteArray,
	opFloat:         (*Decoder).textFloat,
	opBinFloat:      (*Decoder).binFloat,
	opInt:           (*Decoder).textInt,
	opLong:          (*Decoder).textLong,
	opBinInt:        (*Decoder).binInt,
	opBinInt1:       func(d *Decoder) error { return d.pushUint(1) },
	opBinInt2:       func(d *Decoder) error { return d.pushUint(2) },
	opLong1:         func(d *Decoder) error { return d.pushLong(1) },
	opLong4:         func(d *Decoder) error { return d.pushLong(4) },
	opNone:          func(d *Decoder) error { return d.push(nil) },
	opNewTrue:       func(d *Decoder) error { return d.push(true) },
	opNewFalse:      func(d *Decoder) error { return d.push(false) },
	opPersID:        (*Decoder).textPersID,
	opBinPersID:     (*Decoder).persID,
	opString:        (*Decoder).textString,
	opBinString:     func(d *Decoder) error { return d.pushByteString(4) },
	opShortBinStr:   func(d *Decoder) error { return d.pushByteString(1) },
	opUnicode:       (*Decoder).textUnicode,
	opBinUnicode:    func(d *Decoder) error { return d.pushText(4) },
	opShortUnicode:  func(d *Decoder) error { return d.pushText(1) },
	opBinUnicode8:   func(d *Decoder) error { return d.pushText(8) },
	opEmptyTuple:    func(d *Decoder) error { return d.push(Tuple{}) },
	opEmptyList:     func(d *Decoder) error { return d.push(&List{}) },
	opEmptyDict:     func(d *Decoder) error { return d.push(&Dict{}) },
	opEmptySet:      func(d *Decoder) error { return d.push(&Set{}) },
	opTuple1:        func(d *Decoder) error { return d.tupleN(1) },
	opTuple2:        func(d *Decoder) error { return d.tupleN(2) },
	opTuple3:        func(d *Decoder) error { return d.tupleN(3) },
	opTuple:         (*Decoder).tuple,
	opList:          (*Decoder).list,
	opDict:          (*Decoder).dict,
	opFrozenSet:     (*Decoder).frozenSet,
	opAppend:        (*Decoder).appendOne,
	opAppends:       (*Decoder).appends,
	opAddItems:      (*Decoder).addItems,
	opSetItem:       (*Decoder).setItem,
	opSetItems:      (*Decoder).setItems,
	opGlobal:        (*Decoder).global,
	opStackGlobal:   (*Decoder).stackGlobal,
	opExt1:          func(d *Decoder) error { return d.ext(1) },
	opExt2:          func(d *Decoder) error { return d.ext(2) },
	opExt4:          func(d *Decoder) error { return d.ext(4) },
	opReduce:        func(d *Decoder) error { return d.make(Reduce) },
	opNewObj:        func(d *Decoder) error { return d.make(NewObj) },
	opNewObjEx:      (*Decoder).newObjEx,
	opObj:           (*Decoder).obj,
	opInst:          (*Decoder).inst,
	opBuild:         (*Decoder).build,
	opPut:           func(d *Decoder) error { return d.textMemo((*Decoder).put) },
	opGet:           func(d *Decoder) error { return d.textMemo((*Decoder).get) },
	opBinPut:        func(d *Decoder) error { return d.binMemo(1, (*Decoder).put) },
	opLongBinPut:    func(d *Decoder) error { return d.binMemo(4, (*Decoder).put) },
	opBinGet:        func(d *Decoder) error { return d.binMemo(1, (*Decoder).get) },
	opLongBinGet:    func(d *Decoder) error { return d.binMemo(4, (*Decoder).get) },
	opMemoize:       func(d *Decoder) error { return d.put(uint64(len(d.memo) + len(d.sparse))) },
	opProto:         (*Decoder).proto,
	opFrame:         func(d *Decoder) error { _, err := d.take(8); return err },
	opNextBuffer:    func(*Decoder) error { return errors.New("out-of-band data are not at hand") },
	opReadonlyBuf:   func(*Decoder) error { return errors.New("out-of-band data are not at hand") },
}

func (d *Decoder) proto() error {
	v, err := d.byte()
	if err == nil && v > highest {
		return fmt.Errorf("protocol %d is unknown", v)
	}
	return err
}

// drop is POP, which also takes back a mark that nothing lies on.
//
// Picklers drop a value in two cases. A recursive tuple or object turns out to be
// in the memo already when its parts have been written: the copy is dropped and
// the one in the memo taken. And a state setter is called for its effect: that
// cannot be told in the tree, so it is refused rather than lost.
func (d *Decoder) drop() error {
	if n := len(d.marks); n > 0 && d.marks[n-1] == len(d.stack) {
		d.marks = d.marks[:n-1]
		return nil
	}
	v, err := d.pop()
	if err != nil {
		return err
	}
	if o, ok := v.(*Object); ok && o.Making == Reduce && !d.takenAgain(o) {
		return errors.New("a call for its effect only")
	}
	return nil
}

// takenAgain reports whether the next opcode takes an object like o from the memo.
func (d *Decoder) takenAgain(o *Object) bool {
	ahead := Decoder{in: d.in, pos: d.pos, memo: d.memo, sparse: d.sparse, MaxValues: 1}
	op, err := ahead.byte()
	if err != nil {
		return false
	}
	switch op {
	case opBinGet:
		err = ahead.binMemo(1, (*Decoder).get)
	case opLongBinGet:
		err = ahead.binMemo(4, (*Decoder).get)
	case opGet:
		err = ahead.textMemo((*Decoder).get)
	default:
		return false
	}
	if err != nil {
		return false
	}
	again, ok := ahead.stack[0].(*Object)
	return ok && again.Making == o.Making && sameClass(again.Class, o.Class)
}

func sameClass(a, b any) bool {
	x, ok1 := a.(*Global)
	y, ok2 := b.(*Global)
	return ok1 && ok2 && *x == *y
}

func (d *Decoder) dup() error {
	v, err := d.top()
	if err != nil {
		return err
	}
	return d.push(v)
}

func (d *Decoder) pushBytes(width uint64) error {
	b, err := d.counted(width)
	if err != nil {
		return err
	}
	return d.push(b)
}

func (d *Decoder) pushByteArray() error {
	b, err := d.counted(8)
	if err != nil {
		return err
	}
	return d.push(&ByteArray{b})
}

func (d *Decoder) pushText(width uint64) error {
	s, err := d.countedText(width)
	if err != nil {
		return err
	}
	return d.push(s)
}

func (d *Decoder) pushByteString(width uint64) error {
	s, err := d.countedText(width)
	if err != nil {
		return err
	}
	return d.push(ByteString(s))
}

func (d *Decoder) pushUint(width uint64) error {
	n, err := d.size(width)
	if err != nil {
		return err
	}
	return d.push(int64(n))
}

func (d *Decoder) binInt() error {
	n, err := d.size(4)
	if err != nil {
		return err
	}
	return d.push(int64(int32(n)))
}

func (d *Decoder) binFloat() error {
	b, err := d.take(8)
	if err != nil {
		return err
	}
	return d.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
}

func (d *Decoder) pushLong(width uint64) error {
	b, err := d.counted(width)
	if err != nil {
		return err
	}
	return d.push(parseLong(b))
}

func (d *Decoder) persID() error {
	id, err := d.pop()
	if err != nil {
		return err
	}
	return d.pushRef(id)
}

func (d *Decoder) pushRef(id any) error {
	r := &Ref{id}
	if d.collect {
		d.refs = append(d.refs, r)
	}
	return d.push(r)
}
