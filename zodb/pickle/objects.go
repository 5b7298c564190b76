package pickle

import (
	"fmt"
	"math/big"
	"slices"
)

// pushGlobal pushes a class or function if it is allowed.
func (d *Decoder) pushGlobal(module, name string) error {
	if d.Allow != nil {
		if err := d.Allow(module, name); err != nil {
			return err
		}
	}
	return d.push(&Global{module, name})
}

func (d *Decoder) global() error {
	module, err := d.line()
	if err != nil {
		return err
	}
	name, err := d.line()
	if err != nil {
		return err
	}
	return d.pushGlobal(module, name)
}

func (d *Decoder) stackGlobal() error {
	names, err := d.popN(2)
	if err != nil {
		return err
	}
	module, ok1 := Text(names[0])
	name, ok2 := Text(names[1])
	if !ok1 || !ok2 {
		return fmt.Errorf("a class named by %T and %T", names[0], names[1])
	}
	return d.pushGlobal(module, name)
}

func (d *Decoder) ext(width uint64) error {
	code, err := d.size(width)
	if err != nil {
		return err
	}
	if d.Allow != nil {
		if err := d.Allow("copyreg", fmt.Sprint(code)); err != nil {
			return err
		}
	}
	return d.push(&Ext{uint32(code)})
}

// make is REDUCE and NEWOBJ: a callable and its arguments.
func (d *Decoder) make(how Making) error {
	parts, err := d.popN(2)
	if err != nil {
		return err
	}
	args, ok := parts[1].(Tuple)
	if !ok {
		return fmt.Errorf("arguments are a %T", parts[1])
	}
	return d.push(&Object{Making: how, Class: parts[0], Args: args})
}

func (d *Decoder) newObjEx() error {
	parts, err := d.popN(3)
	if err != nil {
		return err
	}
	args, ok1 := parts[1].(Tuple)
	kwargs, ok2 := parts[2].(*Dict)
	if !ok1 || !ok2 {
		return fmt.Errorf("arguments are a %T and a %T", parts[1], parts[2])
	}
	return d.push(&Object{Making: NewObjEx, Class: parts[0], Args: args, Kwargs: kwargs})
}

func (d *Decoder) obj() error {
	parts, err := d.popMark()
	if err != nil {
		return err
	}
	if len(parts) == 0 {
		return errUnderflow
	}
	return d.push(&Object{Making: Instance, Class: parts[0], Args: slices.Clone(parts[1:])})
}

func (d *Decoder) inst() error {
	if err := d.global(); err != nil {
		return err
	}
	class, err := d.pop()
	if err != nil {
		return err
	}
	args, err := d.popMark()
	if err != nil {
		return err
	}
	return d.push(&Object{Making: Instance, Class: class, Args: slices.Clone(args)})
}

func (d *Decoder) build() error {
	state, err := d.pop()
	if err != nil {
		return err
	}
	v, err := d.top()
	if err != nil {
		return err
	}
	o, ok := v.(*Object)
	if !ok {
		return fmt.Errorf("state for a %T", v)
	}
	if o.Built {
		return errOrder
	}
	o.Built, o.State = true, state
	return nil
}

func (d *Decoder) binMemo(width uint64, do func(*Decoder, uint64) error) error {
	i, err := d.size(width)
	if err != nil {
		return err
	}
	return do(d, i)
}

// parseLong reads a little-endian two's complement number of any length.
func parseLong(b []byte) any {
	if len(b) <= 8 {
		return shortLong(b)
	}
	be := slices.Clone(b)
	slices.Reverse(be)
	n := new(big.Int).SetBytes(be)
	if be[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(len(be))*8))
	}
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

func shortLong(b []byte) int64 {
	var n uint64
	for i, c := range b {
		n |= uint64(c) << (8 * i)
	}
	if k := len(b); k > 0 && k < 8 && b[k-1] >= 0x80 {
		n |= ^uint64(0) << (8 * k)
	}
	return int64(n)
}
