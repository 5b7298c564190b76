package check

import (
	"bytes"
	"cmp"
	"math"
	"math/big"
	"strings"

	"github.com/zaridb/zari/zodb/pickle"
)

// compareKeys compares two keys as Python does. It reports false where that is not
// certain: objects with an order of their own, values of different types, the str of
// Python 2.
func compareKeys(a, b any) (int, bool) {
	if a == nil || b == nil { // BTrees sorts None before everything else
		return cmp.Compare(bit(a != nil), bit(b != nil)), true
	}
	switch a := a.(type) {
	case string:
		b, ok := b.(string)
		return strings.Compare(a, b), ok // UTF-8 has the order of code points
	case pickle.Tuple:
		b, ok := b.(pickle.Tuple)
		if !ok {
			return 0, false
		}
		return compareTuples(a, b)
	}
	if x, ok := number(a); ok {
		y, ok := number(b)
		if !ok {
			return 0, false
		}
		return x.Cmp(y), true
	}
	x, ok1 := pickle.Bytes(a)
	y, ok2 := pickle.Bytes(b)
	return bytes.Compare(x, y), ok1 && ok2 && isText(a) == isText(b)
}

func isText(v any) bool {
	_, ok := v.(pickle.ByteString)
	return ok
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// compareTuples compares item by item. An item that is None has no order.
func compareTuples(a, b pickle.Tuple) (int, bool) {
	for i := range min(len(a), len(b)) {
		if (a[i] == nil) != (b[i] == nil) {
			return 0, false
		}
		if c, ok := compareKeys(a[i], b[i]); !ok || c != 0 {
			return c, ok
		}
	}
	return cmp.Compare(len(a), len(b)), true
}

// number is an int, a float or a bool as an exact number.
func number(v any) (*big.Float, bool) {
	switch v := v.(type) {
	case bool:
		return big.NewFloat(float64(bit(v))), true
	case int64:
		return new(big.Float).SetInt64(v), true
	case *big.Int:
		return new(big.Float).SetInt(v), true
	case float64:
		if math.IsNaN(v) {
			return nil, false
		}
		return big.NewFloat(v), true
	}
	return nil, false
}
