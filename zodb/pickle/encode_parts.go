package pickle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unsafe"
)

// batch is how many items the pickler puts between two marks.
const batch = 1000

func tupleIdentity(t Tuple) identity {
	return identity{unsafe.Pointer(unsafe.SliceData(t)), len(t), 't'}
}

// tuple writes the items first. A tuple that contains itself by way of some list
// is then in the memo already: the copy is dropped and that one taken.
func (e *encoder) tuple(t Tuple) error {
	if len(t) == 0 {
		e.op(opEmptyTuple)
		return nil
	}
	id := tupleIdentity(t)
	if e.seen(id) {
		return nil
	}
	if len(t) > 3 {
		e.op(opMark)
	}
	for _, v := range t {
		if err := e.save(v); err != nil {
			return err
		}
	}
	if _, ok := e.memo[id]; ok {
		return e.replaceTuple(id)
	}
	switch len(t) {
	case 1, 2, 3:
		e.op(opTuple1 + byte(len(t)-1))
	default:
		e.op(opTuple)
	}
	e.put(id)
	return nil
}

func (e *encoder) replaceTuple(id identity) error {
	if id.len > 3 {
		e.op(opPopMark)
	} else {
		for range id.len {
			e.op(opPop)
		}
	}
	e.seen(id)
	return nil
}

func (e *encoder) list(l *List) error {
	if l == nil {
		return errNil
	}
	id := identity{at: unsafe.Pointer(l)}
	if e.seen(id) {
		return nil
	}
	e.op(opEmptyList)
	e.put(id)
	return e.items(l.Items, len(l.Items) == 1)
}

func (e *encoder) byteList(l [][]byte) error {
	items := make([]any, len(l))
	for i, b := range l {
		items[i] = b
	}
	return e.list(&List{items})
}

var errNil = errors.New("pickle: a nil pointer in a tree")

// items appends to the list on the stack. single says that a batch of one is
// written as APPEND: the pickler does so for a list of one item, and for the last
// item of what is only a kind of list.
func (e *encoder) items(items []any, single bool) error {
	for len(items) > 0 {
		n := min(len(items), batch)
		if n == 1 && single {
			if err := e.save(items[0]); err != nil {
				return err
			}
			e.op(opAppend)
			return nil
		}
		e.op(opMark)
		for _, v := range items[:n] {
			if err := e.save(v); err != nil {
				return err
			}
		}
		e.op(opAppends)
		items = items[n:]
	}
	return nil
}

func (e *encoder) dict(d *Dict) error {
	if d == nil {
		return errNil
	}
	id := identity{at: unsafe.Pointer(d)}
	if e.seen(id) {
		return nil
	}
	e.op(opEmptyDict)
	e.put(id)
	if err := e.entries(d.Entries, len(d.Entries) == 1); err != nil {
		return err
	}
	if n := len(d.Entries); n > 0 && n%batch == 0 {
		e.op(opMark, opSetItems) // the C pickler's loop runs once more
	}
	return nil
}

// entries sets in the dict on the stack, in batches as items does.
func (e *encoder) entries(entries []Entry, single bool) error {
	for len(entries) > 0 {
		n := min(len(entries), batch)
		if n == 1 && single {
			if err := e.entry(entries[0]); err != nil {
				return err
			}
			e.op(opSetItem)
			return nil
		}
		e.op(opMark)
		for _, kv := range entries[:n] {
			if err := e.entry(kv); err != nil {
				return err
			}
		}
		e.op(opSetItems)
		entries = entries[n:]
	}
	return nil
}

func (e *encoder) entry(kv Entry) error {
	if err := e.save(kv.Key); err != nil {
		return err
	}
	return e.save(kv.Value)
}

// errPlain refuses what a message must not carry.
func (e *encoder) errPlain(what string) error {
	return fmt.Errorf("pickle: %s in plain data", what)
}

func (e *encoder) global(g *Global) error {
	if g == nil {
		return errNil
	}
	if e.memo == nil {
		return e.errPlain("class or function " + g.String())
	}
	id := identity{at: unsafe.Pointer(g)}
	if e.seen(id) {
		return nil
	}
	if strings.Contains(g.Module, "\n") || strings.Contains(g.Name, "\n") {
		return fmt.Errorf("pickle: a newline in the name %q", g.String())
	}
	e.op(opGlobal)
	e.out = append(e.out, g.Module...)
	e.out = append(e.out, '\n')
	e.out = append(e.out, g.Name...)
	e.out = append(e.out, '\n')
	e.put(id)
	return nil
}

func (e *encoder) ext(x *Ext) error {
	switch {
	case x == nil:
		return errNil
	case e.memo == nil:
		return e.errPlain("an extension code")
	case x.Code <= 0xff:
		e.op(opExt1, byte(x.Code))
	case x.Code <= 0xffff:
		e.op(opExt2, byte(x.Code), byte(x.Code>>8))
	default:
		e.op(opExt4)
		e.out = binary.LittleEndian.AppendUint32(e.out, x.Code)
	}
	return nil
}

func (e *encoder) ref(r *Ref) error {
	if r == nil {
		return errNil
	}
	if e.memo == nil {
		return e.errPlain("a reference")
	}
	if err := e.save(r.ID); err != nil {
		return err
	}
	e.op(opBinPersID)
	return nil
}

// viaCall writes what protocol 3 has no opcode for as a call of its type.
func (e *encoder) viaCall(id identity, name string, arg any) error {
	if e.memo == nil {
		return e.errPlain("a " + name)
	}
	if e.seen(id) {
		return nil
	}
	return e.call(id, &Object{Class: &Global{"builtins", name}, Args: Tuple{arg}})
}

func (e *encoder) object(o *Object) error {
	if o == nil {
		return errNil
	}
	if e.memo == nil {
		return e.errPlain("an instance")
	}
	id := identity{at: unsafe.Pointer(o)}
	if e.seen(id) {
		return nil
	}
	return e.call(id, o)
}

// call writes the making of an object, and what is done to it then.
func (e *encoder) call(id identity, o *Object) error {
	if err := e.callee(o); err != nil {
		return err
	}
	if _, ok := e.memo[id]; ok { // it is among its own arguments
		e.op(opPop)
		e.seen(id)
		return nil
	}
	e.put(id)
	if err := e.items(o.Items, true); err != nil {
		return err
	}
	if err := e.entries(o.Entries, true); err != nil {
		return err
	}
	if !o.Built {
		return nil
	}
	if err := e.save(o.State); err != nil {
		return err
	}
	e.op(opBuild)
	return nil
}

func (e *encoder) callee(o *Object) error {
	if o.Making == Instance {
		e.op(opMark)
	}
	if err := e.save(o.Class); err != nil {
		return err
	}
	switch o.Making {
	case Reduce, NewObj:
		if err := e.save(o.Args); err != nil {
			return err
		}
		if o.Making == Reduce {
			e.op(opReduce)
		} else {
			e.op(opNewObj)
		}
		return nil
	case Instance:
		for _, v := range o.Args {
			if err := e.save(v); err != nil {
				return err
			}
		}
		e.op(opObj)
		return nil
	case NewObjEx:
		return e.newObjEx(o)
	}
	return fmt.Errorf("pickle: an object with an unknown making %d", o.Making)
}

// newObjEx writes what protocol 3 has no opcode for as Python does:
// functools.partial(cls.__new__, cls, *args, **kwargs)().
func (e *encoder) newObjEx(o *Object) error {
	kwargs, ok := o.Kwargs.(*Dict)
	if !ok {
		return fmt.Errorf("pickle: keyword arguments are a %T", o.Kwargs)
	}
	getattr := &Object{Class: &Global{"builtins", "getattr"}, Args: Tuple{o.Class, "__new__"}}
	args := append(Tuple{getattr, o.Class}, o.Args...)
	partial := &Object{
		Making: Reduce,
		Class:  &Global{"functools", "partial"},
		Args:   Tuple{getattr},
		Built:  true,
		State:  Tuple{getattr, args[1:], kwargs, nil},
	}
	if err := e.save(partial); err != nil {
		return err
	}
	e.op(opEmptyTuple, opReduce)
	return nil
}
