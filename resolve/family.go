package resolve

import (
	"math"
	"math/big"

	"github.com/zaridb/zari/zodb/pickle"
)

// kind is a letter in the name of a family: how keys or values are kept in C.
type kind byte

const (
	none    kind = 0   // a set has no values
	object  kind = 'O' // any object
	int32s  kind = 'I'
	int64s  kind = 'L'
	uint32s kind = 'U'
	uint64s kind = 'Q'
	floats  kind = 'F' // 32 bits
	bytes2  kind = 'f'
	bytes6  kind = 's'
)

// family is the kinds of keys and values.
type family struct{ key, value kind }

func (f family) mapping() bool { return f.value != none }

func (f family) compareKeys(c *comparer, a, b any) (int, error) { return f.key.compare(c, a, b) }

func (f family) compareValues(c *comparer, a, b any) (int, error) { return f.value.compare(c, a, b) }

// convert is COPY_KEY_FROM_ARG and COPY_VALUE_FROM_ARG of the C code, and what is
// given back by COPY_..._TO_OBJECT.
func (k kind) convert(v any) (any, error) {
	switch k {
	case object:
		return v, nil
	case int32s:
		return integer(v, math.MinInt32, math.MaxInt32)
	case int64s:
		return integer(v, math.MinInt64, math.MaxInt64)
	case uint32s:
		return integer(v, 0, math.MaxUint32)
	case uint64s:
		return unsigned(v)
	case floats:
		return float(v)
	case bytes2:
		return fixed(v, 2)
	case bytes6:
		return fixed(v, 6)
	}
	return nil, refuse(BadRecord)
}

func integer(v any, low, high int64) (any, error) {
	n, ok := canonical(v).(int64)
	if !ok || n < low || n > high {
		return nil, refuse(BadRecord)
	}
	return n, nil
}

func unsigned(v any) (any, error) {
	switch n := canonical(v).(type) {
	case int64:
		if n >= 0 {
			return n, nil
		}
	case *big.Int:
		if n.IsUint64() {
			return n, nil
		}
	}
	return nil, refuse(BadRecord)
}

// float rounds to C's float by way of a double; an int must fit C's long.
func float(v any) (any, error) {
	switch n := canonical(v).(type) {
	case int64:
		return float64(float32(n)), nil
	case float64:
		return float64(float32(n)), nil
	}
	return nil, refuse(BadRecord)
}

func fixed(v any, n int) (any, error) {
	b, ok := canonical(v).([]byte)
	if !ok || len(b) != n {
		return nil, refuse(BadRecord)
	}
	return b, nil
}

// compare is TEST_KEY_SET_OR and TEST_VALUE of the C code, on converted values.
func (k kind) compare(c *comparer, a, b any) (int, error) {
	switch k {
	case object, bytes2, bytes6:
		return c.compare(a, b)
	case floats:
		return compareFloats(a.(float64), b.(float64)), nil
	}
	return compareNumbers(a, b), nil
}

// compareFloats says 0 if neither is less, NaN included, as C's macro does.
func compareFloats(x, y float64) int {
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// load reads the state of a Bucket or Set: (items,) or (items, next), where items
// are keys and values in turn, or keys. (_bucket_setstate, _set_setstate)
func (f family) load(state any) (*bucket, error) {
	if state == nil {
		return &bucket{}, nil
	}
	parts, ok := state.(pickle.Tuple)
	if !ok || len(parts) < 1 || len(parts) > 2 {
		return nil, refuse(BadRecord)
	}
	items, ok := parts[0].(pickle.Tuple)
	if !ok {
		return nil, refuse(BadRecord)
	}
	b := &bucket{}
	if len(parts) == 2 {
		if b.next, ok = parts[1].(*pickle.Ref); !ok {
			return nil, refuse(BadRecord)
		}
	}
	if err := f.fill(b, items); err != nil {
		return nil, err
	}
	return b, nil
}

func (f family) fill(b *bucket, items pickle.Tuple) error {
	step := 1
	if f.mapping() {
		step = 2
		b.values = make([]any, 0, len(items)/2)
	}
	b.keys = make([]any, 0, len(items)/step)
	for ; len(items) >= step; items = items[step:] {
		key, err := f.key.convert(items[0])
		if err != nil {
			return err
		}
		b.keys = append(b.keys, key)
		if step == 1 {
			continue
		}
		value, err := f.value.convert(items[1])
		if err != nil {
			return err
		}
		b.values = append(b.values, value)
	}
	return nil
}

// state is the inverse of load. (bucket_getstate)
func (f family) state(b *bucket) pickle.Tuple {
	items := make(pickle.Tuple, 0, 2*len(b.keys))
	for i, key := range b.keys {
		items = append(items, key)
		if f.mapping() {
			items = append(items, b.values[i])
		}
	}
	if b.next == nil {
		return pickle.Tuple{items}
	}
	return pickle.Tuple{items, b.next}
}

// mergeBucket merges the states of a Bucket or Set.
func (f family) mergeBucket(base, committed, wanted any) (any, error) {
	var loaded [3]*bucket
	for i, state := range []any{base, committed, wanted} {
		b, err := f.load(state)
		if err != nil {
			return nil, err
		}
		loaded[i] = b
	}
	merged, err := mergeBuckets(f, loaded[0], loaded[1], loaded[2])
	if err != nil {
		return nil, err
	}
	return f.state(merged), nil
}

// mergeTree merges the states of a BTree or TreeSet that is empty or has one
// bucket, which then is part of its state. (BTree__p_resolveConflict)
func (f family) mergeTree(base, committed, wanted any) (any, error) {
	var only [3]any
	for i, state := range []any{base, committed, wanted} {
		bucket, err := onlyBucket(state)
		if err != nil {
			return nil, err
		}
		only[i] = bucket
	}
	merged, err := f.mergeBucket(only[0], only[1], only[2])
	if err != nil {
		return nil, err
	}
	return pickle.Tuple{pickle.Tuple{merged}}, nil
}

// onlyBucket takes the state of the only bucket out of a tree's: ((state,),). That
// of an empty tree is None. (get_bucket_state)
func onlyBucket(tree any) (any, error) {
	if tree == nil {
		return nil, nil
	}
	t, ok := tree.(pickle.Tuple)
	if !ok {
		return nil, refuse(BadRecord)
	}
	if len(t) == 2 {
		return nil, refuse(ManyBuckets)
	}
	if len(t) != 1 {
		return nil, refuse(BadRecord)
	}
	if t, ok = t[0].(pickle.Tuple); !ok || len(t) != 1 {
		return nil, refuse(BadRecord)
	}
	if t, ok = t[0].(pickle.Tuple); !ok {
		return nil, refuse(BadRecord)
	}
	return t, nil
}
