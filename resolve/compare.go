package resolve

import (
	"bytes"
	"cmp"
	"math"
	"math/big"
	"strings"
	"unicode/utf8"

	"github.com/zaridb/zari/zodb/pickle"
)

// Limits of the comparisons of one merge. Shared parts of a tree unfold, so the
// work must be counted.
const (
	maxDepth = 100
	maxSteps = 1 << 22
)

// comparer compares values as Python's == and < do. An error says that Python
// raises one (Incomparable), or that only the application knows (Uncertain).
type comparer struct{ depth, steps int }

// CompareKeys compares two keys of a BTree as its package does: the result is
// negative, 0 or positive. It reports false where the order is not certain.
func CompareKeys(a, b any) (order int, certain bool) {
	order, err := new(comparer).compare(a, b)
	return order, err == nil
}

func (c *comparer) enter() error {
	c.steps++
	if c.depth >= maxDepth || c.steps > maxSteps {
		return refuse(TooLarge)
	}
	c.depth++
	return nil
}

// compare is the macro COMPARE in BTrees/objectkeymacros.h: None is smallest;
// else < is asked before ==, so that two equal values without an order, such as
// dicts, are an error.
func (c *comparer) compare(a, b any) (int, error) {
	switch {
	case a == nil && b == nil:
		return 0, nil
	case a == nil:
		return -1, nil
	case b == nil:
		return 1, nil
	}
	if x, ok := a.(string); ok {
		if y, ok := b.(string); ok && validText(x) && validText(y) {
			return strings.Compare(x, y), nil
		}
	}
	if less, err := c.less(a, b); err != nil || less {
		return -1, err
	}
	equal, err := c.equal(a, b)
	if err != nil || !equal {
		return 1, err
	}
	return 0, nil
}

// validText reports whether Python reads s as a str: UTF-8 in which surrogates
// may stand alone. Its code points are in the order of its bytes.
func validText(s string) bool {
	for !utf8.ValidString(s) {
		i := strings.IndexByte(s, 0xed)
		if i < 0 || len(s) < i+3 || s[i+1] < 0x80 || s[i+1] > 0xbf || s[i+2] < 0x80 || s[i+2] > 0xbf || !utf8.ValidString(s[:i]) {
			return false
		}
		s = s[i+3:]
	}
	return true
}

// canonical gives values that Python loads as one type one form: what has several
// spellings in pickles, and what is an instance there but a plain value for a
// comparison.
func canonical(v any) any {
	switch v := v.(type) {
	case bool:
		if v {
			return int64(1)
		}
		return int64(0)
	case pickle.ByteString:
		if isASCII(string(v)) {
			return string(v)
		}
	case *pickle.FrozenSet:
		return &pickle.Set{Items: v.Items}
	case *pickle.Object:
		return canonicalObject(v)
	}
	return v
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func canonicalObject(o *pickle.Object) any {
	if b, ok := pickle.Bytes(o); ok {
		return b
	}
	class, _ := o.Class.(*pickle.Global)
	if class == nil || len(o.Items) > 0 || len(o.Entries) > 0 {
		return o
	}
	if *class == zopeClass {
		return zopeTimeOf(o)
	}
	if o.Making != pickle.Reduce || o.Built {
		return o
	}
	switch *class {
	case pickle.Global{Module: "builtins", Name: "set"}, pickle.Global{Module: "__builtin__", Name: "set"},
		pickle.Global{Module: "builtins", Name: "frozenset"}, pickle.Global{Module: "__builtin__", Name: "frozenset"}:
		if len(o.Args) == 1 {
			if l, ok := o.Args[0].(*pickle.List); ok {
				return &pickle.Set{Items: l.Items}
			}
		}
	case pickle.Global{Module: "datetime", Name: "datetime"}:
		return momentOf(o, 10)
	case pickle.Global{Module: "datetime", Name: "date"}:
		return momentOf(o, 4)
	}
	return o
}

// equal is a == b, where one object is equal to itself.
func (c *comparer) equal(a, b any) (bool, error) {
	if err := c.enter(); err != nil {
		return false, err
	}
	defer func() { c.depth-- }()
	a, b = canonical(a), canonical(b)
	if eq, known, err := equalReference(a, b); known {
		return eq, err
	}
	if eq, known, err := equalNamed(a, b); known {
		return eq, err
	}
	if x, y, ok := numbers(a, b); ok {
		return !isNaN(x) && !isNaN(y) && compareNumbers(x, y) == 0, nil
	}
	switch x := a.(type) {
	case nil:
		return b == nil, nil
	case string:
		y, ok := b.(string)
		return ok && x == y, textError(a, b)
	case pickle.ByteString:
		y, ok := b.(pickle.ByteString)
		return ok && x == y, textError(a, b)
	case []byte:
		y, ok := b.([]byte)
		return ok && bytes.Equal(x, y), textError(a, b)
	case moment:
		y, ok := b.(moment)
		if ok && !x.like(y) {
			return false, refuse(Uncertain)
		}
		return ok && x == y, nil
	case pickle.Tuple:
		y, ok := b.(pickle.Tuple)
		if !ok {
			return false, nil
		}
		i, err := c.firstDifference(x, y)
		return i < 0 && len(x) == len(y), err
	case *pickle.List:
		y, ok := b.(*pickle.List)
		if !ok || len(x.Items) != len(y.Items) {
			return false, nil
		}
		i, err := c.firstDifference(x.Items, y.Items)
		return i < 0, err
	case *pickle.Dict:
		y, ok := b.(*pickle.Dict)
		if !ok {
			return false, nil
		}
		return c.equalDicts(x, y)
	case *pickle.Set:
		y, ok := b.(*pickle.Set)
		if !ok {
			return false, nil
		}
		small, large, err := subset(x, y)
		return small && !large, err
	}
	return false, nil
}

// textError refuses a comparison of what is text in one Python and bytes in
// another, and of what no Python would load.
func textError(a, b any) error {
	for _, v := range []any{a, b} {
		if s, ok := v.(string); ok && !validText(s) {
			return refuse(BadRecord)
		}
	}
	_, oldA := a.(pickle.ByteString)
	_, oldB := b.(pickle.ByteString)
	if oldA != oldB {
		return refuse(Uncertain)
	}
	return nil
}

// equalNamed compares where a class, a function or an instance is involved: only
// the name is known, so only sameness is.
func equalNamed(a, b any) (equal, known bool, err error) {
	switch x := a.(type) {
	case *pickle.Global:
		if y, ok := b.(*pickle.Global); ok && *x == *y {
			return true, true, nil
		}
		return false, true, refuse(Uncertain)
	case *pickle.Ext:
		if y, ok := b.(*pickle.Ext); ok && *x == *y {
			return true, true, nil
		}
		return false, true, refuse(Uncertain)
	}
	if x, y, ok := zopeTimes(a, b); ok {
		equal, err = x.equal(y)
		return equal, true, err
	}
	if foreign(a) || foreign(b) {
		return false, true, refuse(Uncertain)
	}
	return false, false, nil
}

// foreign reports whether the application may say how v compares.
func foreign(v any) bool {
	switch v.(type) {
	case nil, string, pickle.ByteString, []byte, int64, float64, *big.Int, moment, pickle.Tuple, *pickle.List, *pickle.Dict,
		*pickle.Set, *pickle.Ref:
		return false
	}
	return true
}

// firstDifference returns the index of the first items that are not equal, or -1
// if the shorter is the beginning of the longer.
func (c *comparer) firstDifference(x, y []any) (int, error) {
	for i := range min(len(x), len(y)) {
		if eq, err := c.equal(x[i], y[i]); err != nil || !eq {
			return i, err
		}
	}
	return -1, nil
}

// less is a < b.
func (c *comparer) less(a, b any) (bool, error) {
	if err := c.enter(); err != nil {
		return false, err
	}
	defer func() { c.depth-- }()
	a, b = canonical(a), canonical(b)
	if _, known, err := equalReference(a, b); known {
		return false, err
	}
	if x, y, ok := zopeTimes(a, b); ok {
		return x.micros < y.micros, nil
	}
	if foreign(a) || foreign(b) {
		return false, refuse(Uncertain)
	}
	if x, y, ok := numbers(a, b); ok {
		return !isNaN(x) && !isNaN(y) && compareNumbers(x, y) < 0, nil
	}
	switch x := a.(type) {
	case string:
		if y, ok := b.(string); ok {
			return x < y, textError(a, b)
		}
	case pickle.ByteString:
		if y, ok := b.(pickle.ByteString); ok {
			return x < y, nil
		}
	case []byte:
		if y, ok := b.([]byte); ok {
			return bytes.Compare(x, y) < 0, nil
		}
	case moment:
		if y, ok := b.(moment); ok {
			if !x.like(y) {
				return false, refuse(Uncertain)
			}
			return x.at < y.at, nil
		}
	case pickle.Tuple:
		if y, ok := b.(pickle.Tuple); ok {
			return c.lessItems(x, y)
		}
	case *pickle.List:
		if y, ok := b.(*pickle.List); ok {
			return c.lessItems(x.Items, y.Items)
		}
	case *pickle.Set:
		if y, ok := b.(*pickle.Set); ok {
			small, large, err := subset(x, y)
			return small && large, err
		}
	}
	return false, refuse(Incomparable)
}

func (c *comparer) lessItems(x, y []any) (bool, error) {
	i, err := c.firstDifference(x, y)
	if err != nil {
		return false, err
	}
	if i < 0 {
		return len(x) < len(y), nil
	}
	return c.less(x[i], y[i])
}

func (c *comparer) equalDicts(x, y *pickle.Dict) (bool, error) {
	inX, err := lastOf(x)
	if err != nil {
		return false, err
	}
	inY, err := lastOf(y)
	if err != nil || len(inX) != len(inY) {
		return false, err
	}
	for _, e := range x.Entries {
		key, _ := hashKey(e.Key, 0)
		other, ok := inY[key]
		if !ok {
			return false, nil
		}
		if eq, err := c.equal(inX[key], other); err != nil || !eq {
			return false, err
		}
	}
	return true, nil
}

// lastOf indexes a dict: of a key that occurs twice the last value counts.
func lastOf(d *pickle.Dict) (map[string]any, error) {
	m := make(map[string]any, len(d.Entries))
	for _, e := range d.Entries {
		key, err := hashKey(e.Key, 0)
		if err != nil {
			return nil, err
		}
		m[key] = e.Value
	}
	return m, nil
}

// subset reports whether x is among y, and whether y has more.
func subset(x, y *pickle.Set) (small, large bool, err error) {
	inX, err := hashKeys(x.Items)
	if err != nil {
		return false, false, err
	}
	inY, err := hashKeys(y.Items)
	if err != nil {
		return false, false, err
	}
	for k := range inX {
		if !inY[k] {
			return false, false, nil
		}
	}
	return true, len(inX) < len(inY), nil
}

func hashKeys(items []any) (map[string]bool, error) {
	keys := make(map[string]bool, len(items))
	for _, v := range items {
		k, err := hashKey(v, 0)
		if err != nil {
			return nil, err
		}
		keys[k] = true
	}
	return keys, nil
}

// hashKey returns a string that is the same for values that are one key of a
// dict. What has no hash in Python, or one that the application knows, is an
// error.
func hashKey(v any, depth int) (string, error) {
	if depth > maxDepth {
		return "", refuse(TooLarge)
	}
	v = canonical(v)
	switch v := v.(type) {
	case nil:
		return "N", nil
	case string:
		if !validText(v) {
			return "", refuse(BadRecord)
		}
		return "s" + v, nil
	case []byte:
		return "b" + string(v), nil
	case int64, float64, *big.Int:
		return numberKey(v)
	case pickle.Tuple:
		var all strings.Builder
		all.WriteString("(")
		for _, item := range v {
			k, err := hashKey(item, depth+1)
			if err != nil {
				return "", err
			}
			if all.Len() > maxSteps {
				return "", refuse(TooLarge)
			}
			all.WriteString(big.NewInt(int64(len(k))).String() + ":" + k)
		}
		return all.String(), nil
	case *pickle.List, *pickle.Dict, *pickle.Set, *pickle.Ref:
		return "", refuse(Incomparable)
	}
	return "", refuse(Uncertain)
}

func numberKey(v any) (string, error) {
	switch v := v.(type) {
	case int64:
		return "i" + big.NewInt(v).String(), nil
	case *big.Int:
		return "i" + v.String(), nil
	case float64:
		if math.IsNaN(v) {
			return "", refuse(Uncertain)
		}
		if math.IsInf(v, 0) || v != math.Trunc(v) {
			return "f" + big.NewFloat(v).Text('p', 0), nil
		}
		n, _ := big.NewFloat(v).Int(nil)
		return "i" + n.String(), nil
	}
	return "", refuse(Uncertain)
}

// numbers returns a and b if both are numbers.
func numbers(a, b any) (x, y any, ok bool) {
	return a, b, isNumber(a) && isNumber(b)
}

func isNumber(v any) bool {
	switch v.(type) {
	case int64, float64, *big.Int:
		return true
	}
	return false
}

func isNaN(v any) bool {
	f, ok := v.(float64)
	return ok && math.IsNaN(f)
}

// compareNumbers compares exactly, as Python does for an int and a float.
func compareNumbers(a, b any) int {
	x, okX := a.(int64)
	y, okY := b.(int64)
	if okX && okY {
		return cmp.Compare(x, y)
	}
	f, okF := a.(float64)
	g, okG := b.(float64)
	if okF && okG {
		return cmp.Compare(f, g)
	}
	return exact(a).Cmp(exact(b))
}

func exact(v any) *big.Float {
	switch v := v.(type) {
	case int64:
		return new(big.Float).SetInt64(v)
	case *big.Int:
		return new(big.Float).SetInt(v)
	case float64:
		return big.NewFloat(v)
	}
	return new(big.Float)
}
