package pickle

import (
	"errors"
	"fmt"
	"io"
)

// DecodeRecord reads a ZODB data record: the class (a *Global, or one of the
// older forms that [ClassOf] knows) and the state.
func DecodeRecord(record []byte) (class, state any, err error) {
	d := NewDecoder(record)
	if class, state, err = d.record(); err != nil {
		return nil, nil, err
	}
	if rest := d.Rest(); len(rest) != 0 {
		return nil, nil, fmt.Errorf("pickle: %d bytes follow the record", len(rest))
	}
	return class, state, nil
}

func (d *Decoder) record() (class, state any, err error) {
	if class, err = d.Decode(); err != nil {
		return nil, nil, recordEnd(err, "class")
	}
	if state, err = d.Decode(); err != nil {
		return nil, nil, recordEnd(err, "state")
	}
	return class, state, nil
}

func recordEnd(err error, part string) error {
	if err == io.EOF {
		return fmt.Errorf("pickle: a record without a %s", part)
	}
	return err
}

// Class is a class by its names.
type Class struct{ Module, Name string }

// String returns module and name, joined by a dot.
func (c Class) String() string { return c.Module + "." + c.Name }

var errClass = errors.New("pickle: the record does not begin with a class")

// ClassOf returns the class of a ZODB data record. It knows the forms in which
// ZODB has written it: the class; (class, arguments); and the same with the class
// as a tuple of its names. (ZODB/serialize.py, "Class metadata".)
func ClassOf(record []byte) (Class, error) {
	d := NewDecoder(record)
	v, err := d.Decode()
	if err != nil {
		return Class{}, recordEnd(err, "class")
	}
	if c, ok := classIn(v); ok {
		return c, nil
	}
	return Class{}, errClass
}

func classIn(v any) (Class, bool) {
	switch v := v.(type) {
	case *Global:
		return Class(*v), true
	case Tuple:
		if len(v) != 2 {
			return Class{}, false
		}
		if module, ok := Text(v[0]); ok {
			name, ok := Text(v[1])
			return Class{module, name}, ok
		}
		return classIn(v[0])
	}
	return Class{}, false
}
