package pickle

import (
	"errors"
	"fmt"
	"slices"
)

func (d *Decoder) tupleN(n int) error {
	items, err := d.popN(n)
	if err != nil {
		return err
	}
	return d.push(Tuple(slices.Clone(items)))
}

func (d *Decoder) tuple() error {
	items, err := d.popMark()
	if err != nil {
		return err
	}
	return d.push(Tuple(slices.Clone(items)))
}

func (d *Decoder) list() error {
	items, err := d.popMark()
	if err != nil {
		return err
	}
	return d.push(&List{slices.Clone(items)})
}

func (d *Decoder) frozenSet() error {
	items, err := d.popMark()
	if err != nil {
		return err
	}
	return d.push(&FrozenSet{slices.Clone(items)})
}

func (d *Decoder) dict() error {
	items, err := d.popMark()
	if err != nil {
		return err
	}
	entries, err := pairs(items)
	if err != nil {
		return err
	}
	return d.push(&Dict{entries})
}

func (d *Decoder) appendOne() error {
	items, err := d.popN(1)
	if err != nil {
		return err
	}
	return d.extend(items)
}

func (d *Decoder) appends() error {
	items, err := d.popMark()
	if err != nil {
		return err
	}
	return d.extend(items)
}

// extend appends items to what is on top of the stack.
func (d *Decoder) extend(items []any) error {
	v, err := d.top()
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case *List:
		v.Items = append(v.Items, items...)
	case *Object:
		if v.Built || len(v.Entries) > 0 {
			return errOrder
		}
		v.Items = append(v.Items, items...)
	default:
		return fmt.Errorf("items for a %T", v)
	}
	return nil
}

// errOrder refuses what no pickler does, and the tree could not tell.
var errOrder = errors.New("an object gets items, entries or state in an unusual order")

func (d *Decoder) addItems() error {
	items, err := d.popMark()
	if err != nil {
		return err
	}
	v, err := d.top()
	if err != nil {
		return err
	}
	s, ok := v.(*Set)
	if !ok {
		return fmt.Errorf("members for a %T", v)
	}
	s.Items = append(s.Items, items...)
	return nil
}

func (d *Decoder) setItem() error {
	items, err := d.popN(2)
	if err != nil {
		return err
	}
	return d.update(items)
}

func (d *Decoder) setItems() error {
	items, err := d.popMark()
	if err != nil {
		return err
	}
	return d.update(items)
}

// update sets pairs of items in what is on top of the stack.
func (d *Decoder) update(items []any) error {
	entries, err := pairs(items)
	if err != nil {
		return err
	}
	v, err := d.top()
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case *Dict:
		v.Entries = append(v.Entries, entries...)
	case *Object:
		if v.Built {
			return errOrder
		}
		v.Entries = append(v.Entries, entries...)
	default:
		return fmt.Errorf("entries for a %T", v)
	}
	return nil
}

func pairs(items []any) ([]Entry, error) {
	if len(items)%2 != 0 {
		return nil, errors.New("a key has no value")
	}
	entries := make([]Entry, 0, len(items)/2)
	for kv := range slices.Chunk(items, 2) {
		entries = append(entries, Entry{kv[0], kv[1]})
	}
	return entries, nil
}
