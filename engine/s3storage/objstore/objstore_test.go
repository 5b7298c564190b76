package objstore

import (
	"errors"
	"strings"
	"testing"
)

func TestRangeIn(t *testing.T) {
	for _, test := range []struct {
		r           Range
		size        int64
		off, length int64
		bad         bool
	}{
		{Range{}, 10, 0, 10, false},
		{Range{}, 0, 0, 0, false},
		{Range{Off: 3}, 10, 3, 7, false},
		{Range{Off: 3, Len: 4}, 10, 3, 4, false},
		{Range{Off: 3, Len: 400}, 10, 3, 7, false},
		{Range{Off: 9, Len: 1}, 10, 9, 1, false},
		{Range{Off: 10, Len: 1}, 10, 0, 0, true},
		{Range{Len: 1}, 0, 0, 0, true},
		{Range{Len: -1}, 10, 0, 0, true},
		{Suffix(4), 10, 6, 4, false},
		{Suffix(40), 10, 0, 10, false},
		{Suffix(4), 0, 0, 0, true},
		{Range{Off: -4, Len: 1}, 10, 6, 4, false},
		{Range{Off: 1<<63 - 1, Len: 1<<63 - 1}, 10, 0, 0, true},
		{Range{Off: 1, Len: 1<<63 - 1}, 10, 1, 9, false},
		{Range{Off: -1 << 63}, 10, 0, 10, false},
	} {
		off, length, err := test.r.In(test.size)
		if off != test.off || length != test.length || errors.Is(err, ErrRange) != test.bad || err != nil && !test.bad {
			t.Errorf("%+v of %d: %d %d %v", test.r, test.size, off, length, err)
		}
	}
}

func TestCheckKey(t *testing.T) {
	for _, key := range []string{"a", "log/00000000000000000001", "seg/0f/01H-x_y.z", "a=b+c/d", strings.Repeat("a/", 399) + "b"} {
		if err := CheckKey(key); err != nil {
			t.Error(err)
		}
	}
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "a/../b", ".a", "a/.b", "a b", "ä", "a\x00", "a\\b", "a:b", "a%b",
		strings.Repeat("x", 201), strings.Repeat("a/", 400) + "b",
	} {
		if err := CheckKey(key); !errors.Is(err, ErrKey) {
			t.Errorf("%q: %v", key, err)
		}
	}
}

func TestCond(t *testing.T) {
	no := string(IfMatch(""))
	for c, want := range map[Cond]string{Always: "", IfAbsent: "", IfMatch(`"x"`): `"x"`, IfMatch(""): no, IfMatch(`""`): no, IfMatch("*"): no} {
		if etag, ok := c.ETag(); ok != (want != "") || ok && etag != want {
			t.Errorf("%q: %q %v", c, etag, ok)
		}
	}
}
