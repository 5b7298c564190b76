package resolve

import (
	"math"
	"math/big"
	"slices"

	"github.com/zaridb/zari/zodb/pickle"
)

// fieldClass is a class outside the families of BTrees that is known by each of
// its names in each of its modules.
type fieldClass struct {
	modules []string
	names   []string
	merge   merge
}

// fieldClasses are the classes that packages in use define a merge for.
func fieldClasses() []fieldClass {
	return []fieldClass{
		// BTrees/Length.py: the lengths of Products.ZCatalog, zope.index, hypatia and
		// repoze.catalog, Products.BTreeFolder2, zope.container, and others.
		{[]string{"BTrees.Length"}, []string{"Length"}, mergeLength},

		// zope.minmax, zope/minmax/_minmax.py: the access times of zope.session.
		{[]string{"zope.minmax._minmax", "zope.minmax"}, []string{"Maximum"}, mergeMaximum},
		{[]string{"zope.minmax._minmax", "zope.minmax"}, []string{"Minimum"}, mergeMinimum},

		// nti.zodb, nti/zodb/minmax.py.
		{[]string{"nti.zodb.minmax"}, []string{"NumericMaximum", "_SafeMaximum"}, mergeMaximum},
		{[]string{"nti.zodb.minmax"}, []string{"NumericMinimum"}, mergeMinimum},
		{[]string{"nti.zodb.minmax"}, []string{"MergingCounter"}, mergeCounter},

		// zc.queue, zc/queue/_queue.py; the older names are from its version 1.
		{[]string{"zc.queue._queue", "zc.queue"}, []string{"Queue"}, mergeQueue},
		{[]string{"zc.queue._queue", "zc.queue"}, []string{"BucketQueue", "PersistentQueue"}, mergeBucketQueue},
		{[]string{"zc.queue._queue", "zc.queue"}, []string{"CompositeQueue", "CompositePersistentQueue"}, mergeQueue},

		// Products.Sessions, Products/Transience/Transience.py and TransientObject.py.
		{[]string{"Products.Transience.Transience"}, []string{"Increaser"}, mergeIncreaser},
		{[]string{"Products.Transience.Transience"}, []string{"Length2"}, mergeLength2},
		{[]string{"Products.Transience.TransientObject"}, []string{"TransientObject"}, mergeTransientObject},
	}
}

// mergeLength adds both changes: committed + wanted - base.
func mergeLength(base, committed, wanted any) (any, error) {
	sum, err := add(committed, wanted)
	if err != nil {
		return nil, err
	}
	return subtract(sum, base)
}

// mergeCounter is mergeLength for numbers, but that two resets to zero are one.
func mergeCounter(base, committed, wanted any) (any, error) {
	c := &comparer{}
	if same, err := c.equal(committed, wanted); err != nil {
		return nil, err
	} else if zero, _ := c.equal(wanted, int64(0)); same && zero {
		return int64(0), nil
	}
	theirs, err := subtract(committed, base)
	if err != nil {
		return nil, err
	}
	ours, err := subtract(wanted, base)
	if err != nil {
		return nil, err
	}
	sum, err := add(base, theirs)
	if err != nil {
		return nil, err
	}
	return add(sum, ours)
}

func mergeMaximum(_, committed, wanted any) (any, error) { return largest(committed, wanted) }

func mergeMinimum(_, committed, wanted any) (any, error) {
	less, err := (&comparer{}).less(wanted, committed)
	if err != nil || less {
		return wanted, err
	}
	return committed, nil
}

func mergeIncreaser(base, committed, wanted any) (any, error) {
	return largest(base, committed, wanted)
}

// largest is Python's max: of equal values the first.
func largest(first any, more ...any) (any, error) {
	c := &comparer{}
	for _, v := range more {
		less, err := c.less(first, v)
		if err != nil {
			return nil, err
		}
		if less {
			first = v
		}
	}
	return first, nil
}

// mergeLength2 adds the increments and takes the largest decrement.
func mergeLength2(base, committed, wanted any) (any, error) {
	old, theirs, ours, err := dicts(base, committed, wanted)
	if err != nil {
		return nil, err
	}
	var values [6]any
	for i, d := range []*pickle.Dict{old, theirs, ours} {
		ceiling, ok := d.Get("ceiling")
		floor, ok2 := d.Get("floor")
		if !ok || !ok2 {
			return nil, refuse(BadRecord)
		}
		values[i], values[3+i] = ceiling, floor
	}
	ceiling, err := mergeLength(values[0], values[1], values[2])
	if err != nil {
		return nil, err
	}
	floor, err := largest(values[3], values[4], values[5])
	if err != nil {
		return nil, err
	}
	value, err := subtract(ceiling, floor)
	if err != nil {
		return nil, err
	}
	ours.Set("ceiling", ceiling)
	ours.Set("floor", floor)
	ours.Set("value", value)
	return ours, nil
}

// dicts returns three states that must be dicts.
func dicts(base, committed, wanted any) (a, b, c *pickle.Dict, err error) {
	a, ok1 := base.(*pickle.Dict)
	b, ok2 := committed.(*pickle.Dict)
	c, ok3 := wanted.(*pickle.Dict)
	if !ok1 || !ok2 || !ok3 {
		return nil, nil, nil, refuse(BadRecord)
	}
	return a, b, c, nil
}

// mergeTransientObject lets an invalid session stay invalid, and else the state
// win that was modified last; if none was, the one that was accessed last. All
// must be of the same session.
func mergeTransientObject(base, committed, wanted any) (any, error) {
	a, b, c, err := dicts(base, committed, wanted)
	if err != nil {
		return nil, err
	}
	states := []*pickle.Dict{a, b, c}
	for _, s := range states {
		if _, ok := s.Get("_invalid"); ok {
			return s, nil
		}
	}
	cmp := &comparer{}
	for _, name := range []string{"token", "id", "_created"} {
		x, y, z := get(a, name, nil), get(b, name, nil), get(c, name, nil)
		if same, err := cmp.equal(x, y); err != nil || !same {
			return nil, orRule(err)
		}
		if same, err := cmp.equal(y, z); err != nil || !same {
			return nil, orRule(err)
		}
	}
	if err := latestFirst(states, "_last_modified"); err != nil {
		return nil, err
	}
	if modified, ok := states[0].Get("_last_modified"); ok {
		if zero, err := cmp.equal(modified, int64(0)); err != nil || !zero {
			return states[0], err
		}
	}
	if err := latestFirst(states, "_last_accessed"); err != nil {
		return nil, err
	}
	return states[0], nil
}

func get(d *pickle.Dict, key string, otherwise any) any {
	if v, ok := d.Get(key); ok {
		return v
	}
	return otherwise
}

func orRule(err error) error {
	if err == nil {
		return refuse(Rule)
	}
	return err
}

// latestFirst sorts states by a time, equals stay in order. Times that are
// not numbers are sorted by Python as its algorithm happens to compare them.
func latestFirst(states []*pickle.Dict, name string) error {
	for _, s := range states {
		v := canonical(get(s, name, int64(0)))
		if !isNumber(v) || isNaN(v) {
			return refuse(Uncertain)
		}
	}
	slices.SortStableFunc(states, func(x, y *pickle.Dict) int {
		return compareNumbers(canonical(get(y, name, int64(0))), canonical(get(x, name, int64(0))))
	})
	return nil
}

// add is Python's + of two numbers.
func add(a, b any) (any, error) {
	return arithmetic(a, b, (*big.Int).Add, func(x, y float64) float64 { return x + y })
}

// subtract is Python's - of two numbers.
func subtract(a, b any) (any, error) {
	return arithmetic(a, b, (*big.Int).Sub, func(x, y float64) float64 { return x - y })
}

// arithmetic computes with ints of any size, or with floats if there is one.
func arithmetic(a, b any, ints func(z, x, y *big.Int) *big.Int, floats func(x, y float64) float64) (any, error) {
	a, b = canonical(a), canonical(b)
	if x, y, ok := asInts(a, b); ok {
		z := ints(new(big.Int), x, y)
		if z.IsInt64() {
			return z.Int64(), nil
		}
		return z, nil
	}
	x, okX := asFloat(a)
	y, okY := asFloat(b)
	if !okX || !okY {
		return nil, refuse(Incomparable)
	}
	return floats(x, y), nil
}

func asInts(a, b any) (x, y *big.Int, ok bool) {
	x, okX := asInt(a)
	y, okY := asInt(b)
	return x, y, okX && okY
}

func asInt(v any) (*big.Int, bool) {
	switch v := v.(type) {
	case int64:
		return big.NewInt(v), true
	case *big.Int:
		return v, true
	}
	return nil, false
}

// asFloat converts a number to a double, as Python does for arithmetic with one: to
// the nearest, and never to infinity.
func asFloat(v any) (float64, bool) {
	if f, ok := v.(float64); ok {
		return f, true
	}
	n, ok := asInt(v)
	if !ok {
		return 0, false
	}
	f, _ := new(big.Float).SetInt(n).Float64()
	return f, !math.IsInf(f, 0)
}
