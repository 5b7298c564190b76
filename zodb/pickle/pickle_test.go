package pickle

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/zodb"
)

// TestRecordsAreRewrittenByteByByte reads and writes what ZODB wrote.
func TestRecordsAreRewrittenByteByByte(t *testing.T) {
	n := 0
	for _, g := range goldens(t, "record") {
		n++
		class, state, err := DecodeRecord(g.data)
		if err != nil {
			t.Errorf("%s (%s): %v", g.name, g.class, err)
			continue
		}
		out, err := EncodeRecord(class, state)
		if err != nil {
			t.Errorf("%s (%s): %v", g.name, g.class, err)
			continue
		}
		if !bytes.Equal(out, g.data) {
			i := 0
			for i < len(out) && i < len(g.data) && out[i] == g.data[i] {
				i++
			}
			t.Errorf("%s (%s): from byte %d of %d on: %.60q, want %.60q", g.name, g.class, i, len(g.data), out[i:], g.data[i:])
		}
	}
	if n < 100 {
		t.Fatalf("only %d records", n)
	}
}

// TestForeignRecordsSurvive writes records of old forms and reads them again.
func TestForeignRecordsSurvive(t *testing.T) {
	for _, g := range goldens(t, "foreign") {
		class, state, err := DecodeRecord(g.data)
		if g.name == "trailing" {
			if err == nil {
				t.Error("what follows a record is not noticed")
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", g.name, err)
			continue
		}
		out, err := EncodeRecord(class, state)
		if err != nil {
			t.Errorf("%s: %v", g.name, err)
			continue
		}
		class2, state2, err := DecodeRecord(out)
		if d := cmp.Diff([]any{class, state}, []any{class2, state2}); d != "" || err != nil {
			t.Errorf("%s: %v %s", g.name, err, d)
		}
		refs, err := AllReferences(g.data, nil)
		again, err2 := AllReferences(out, nil)
		if d := cmp.Diff(refs, again); d != "" || err != nil || err2 != nil {
			t.Errorf("%s: %v %v %s", g.name, err, err2, d)
		}
	}
}

// TestProtocolsAgree reads one value from the pickles of all protocols: written
// at protocol 3 they must be the same bytes.
func TestProtocolsAgree(t *testing.T) {
	want := map[string][]byte{}
	all := goldens(t, "pickle")
	for _, g := range all {
		if name, ok := strings.CutSuffix(g.name, ".3"); ok {
			want[name] = g.data
		}
	}
	for _, g := range all {
		name := g.name[:len(g.name)-2]
		v, err := Decode(g.data)
		if err != nil {
			t.Errorf("%s: %v", g.name, err)
			continue
		}
		if name == "shared" {
			v = bytesForm(v)
		}
		out, err := Encode(v)
		if err != nil {
			t.Errorf("%s: %v", g.name, err)
			continue
		}
		if !bytes.Equal(out, want[name]) {
			t.Errorf("%s:\n got %.200q\nwant %.200q", g.name, out, want[name])
		}
	}
}

// bytesForm replaces the calls by which older protocols have bytes, in a list.
func bytesForm(v any) any {
	l := v.(*List)
	seen := map[*Object][]byte{}
	for i, item := range l.Items {
		o, ok := item.(*Object)
		if !ok {
			continue
		}
		if _, ok := seen[o]; !ok {
			seen[o], _ = Bytes(o)
		}
		l.Items[i] = seen[o]
	}
	return v
}

func TestIntegers(t *testing.T) {
	for _, v := range []any{
		int64(0), int64(-1), int64(255), int64(256), int64(65535), int64(65536), int64(math.MaxInt32), int64(math.MinInt32),
		int64(math.MaxInt32 + 1), int64(math.MinInt32 - 1), int64(math.MaxInt64), int64(math.MinInt64), int64(-128), int64(128),
		new(big.Int).Lsh(big.NewInt(1), 63), new(big.Int).Lsh(big.NewInt(-1), 64), new(big.Int).Lsh(big.NewInt(-1), 2100),
		new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(-1), 63), big.NewInt(1)), new(big.Int).Lsh(big.NewInt(3), 2000),
	} {
		b, err := Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(b)
		if d := cmp.Diff(v, got, cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })); d != "" || err != nil {
			t.Errorf("%v: %v %s", v, err, d)
		}
	}
}

func TestIntegersOfGo(t *testing.T) {
	big63 := new(big.Int).Lsh(big.NewInt(1), 63)
	for _, pair := range [][2]any{
		{int(-7), int64(-7)}, {int32(-7), int64(-7)}, {uint8(7), int64(7)}, {uint32(7), int64(7)}, {uint(7), int64(7)},
		{uint64(1) << 63, big63}, {big.NewInt(300), int64(300)}, {zodb.OID(1), []byte{7: 1}}, {zodb.TID(1), []byte{7: 1}},
		{[]any{int64(1)}, &List{[]any{int64(1)}}}, {[][]byte{{1}}, &List{[]any{[]byte{1}}}},
	} {
		b, err := Encode(pair[0])
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(b)
		if d := cmp.Diff(pair[1], got, cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })); d != "" || err != nil {
			t.Errorf("%T: %v %s", pair[0], err, d)
		}
	}
}

func TestSharingIsKept(t *testing.T) {
	inner := NewList(int64(1))
	pair := Tuple{"a", inner}
	b, err := Encode(NewList(inner, inner, pair, pair, NewList(int64(1))))
	if err != nil {
		t.Fatal(err)
	}
	v, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	got := v.(*List).Items
	if got[0] != got[1] || got[2].(Tuple)[1] != got[0] || &got[2].(Tuple)[0] != &got[3].(Tuple)[0] {
		t.Error("what was shared is not")
	}
	if got[0] == got[4] {
		t.Error("what was not shared is")
	}
}

func TestLaterFormsAreWrittenAsCalls(t *testing.T) {
	set := &Set{[]any{int64(1)}}
	call := func(name string, arg any) any {
		return &Object{Class: &Global{"builtins", name}, Args: Tuple{arg}}
	}
	for _, pair := range [][2]any{
		{set, call("set", NewList(int64(1)))},
		{&FrozenSet{[]any{int64(1)}}, call("frozenset", NewList(int64(1)))},
		{&ByteArray{[]byte("x")}, call("bytearray", []byte("x"))},
		{&Ext{7}, &Ext{7}}, {&Ext{700}, &Ext{700}}, {&Ext{70000}, &Ext{70000}},
		{ByteString("x"), ByteString("x")}, {ByteString(strings.Repeat("x", 300)), ByteString(strings.Repeat("x", 300))},
		{&Object{Making: Instance, Class: &Global{"m", "C"}, Args: Tuple{int64(1)}},
			&Object{Making: Instance, Class: &Global{"m", "C"}, Args: Tuple{int64(1)}}},
	} {
		b, err := Encode(pair[0])
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(b)
		if d := cmp.Diff(pair[1], got); d != "" || err != nil {
			t.Errorf("%v: %s", err, d)
		}
	}
	b, _ := Encode(NewList(set, set))
	v, _ := Decode(b)
	if items := v.(*List).Items; items[0] != items[1] {
		t.Error("a shared set is not shared any more")
	}
}

func TestDict(t *testing.T) {
	d := NewDict("a", int64(1), ByteString("b"), int64(2), "a", int64(3), int64(9), int64(4))
	if v, ok := d.Get("a"); !ok || v != int64(3) {
		t.Errorf("the last value of a key counts, not %v", v)
	}
	if v, ok := d.Get("b"); !ok || v != int64(2) {
		t.Errorf("b is %v", v)
	}
	if v, ok := d.Get("c"); ok || v != nil {
		t.Errorf("c is %v", v)
	}
	d.Set("b", "new")
	d.Set("c", "newer")
	if b, _ := d.Get("b"); b != "new" || d.Len() != 5 {
		t.Errorf("b is %v of %d", b, d.Len())
	}
	b, err := Encode(d)
	if err != nil {
		t.Fatal(err)
	}
	again, err := DecodeDict(b)
	if diff := cmp.Diff(d, again); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if d, err := DecodeDict(nil); err != nil || d.Len() != 0 {
		t.Errorf("no bytes are %v, %v", d, err)
	}
	if _, err := DecodeDict([]byte("\x80\x03].")); err == nil {
		t.Error("a list is taken for a dict")
	}
}

func TestStreams(t *testing.T) {
	d := NewDecoder([]byte("K\x01.X\x01\x00\x00\x00aq\x00.h\x00."))
	for _, want := range []any{int64(1), "a", "a"} {
		if v, err := d.Decode(); v != want || err != nil {
			t.Errorf("%v, %v, want %v", v, err, want)
		}
	}
	if _, err := d.Decode(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestWriterRefuses(t *testing.T) {
	deep := any(nil)
	for range MaxDepth + 1 {
		deep = Tuple{deep}
	}
	self := Tuple{nil}
	self[0] = self
	for name, v := range map[string]any{
		"deep": deep, "self": self, "channel": make(chan int), "nil list": (*List)(nil), "nil dict": (*Dict)(nil),
		"nil object": (*Object)(nil), "nil global": (*Global)(nil), "nil ref": (*Ref)(nil), "nil int": (*big.Int)(nil),
		"newline": &Global{"a\nb", "c"}, "no kwargs": &Object{Making: NewObjEx, Class: &Global{"a", "b"}},
		"making": &Object{Making: 99, Class: &Global{"a", "b"}}, "nil ext": (*Ext)(nil),
	} {
		if out, err := AppendEncode([]byte("x"), v); err == nil || string(out) != "x" {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
	if _, err := Encode(deep); !errors.Is(err, ErrDepth) {
		t.Errorf("deep: %v", err)
	}
	for name, v := range map[string]any{
		"global": &Global{"a", "b"}, "object": &Object{}, "ref": &Ref{int64(1)}, "ext": &Ext{1}, "set": &Set{},
		"array": &ByteArray{},
	} {
		if _, err := AppendPlain(nil, v); err == nil {
			t.Errorf("%s is plain", name)
		}
	}
}

// TestPlainIsBounded writes what sharing unfolds to 2**60 lists.
func TestPlainIsBounded(t *testing.T) {
	bomb := NewList()
	for range 60 {
		bomb = NewList(bomb, bomb)
	}
	e := encoder{limit: 1 << 16}
	if out, err := e.finish(e.save(bomb)); !errors.Is(err, ErrSize) || len(out) != 0 {
		t.Errorf("%d bytes, %v", len(out), err)
	}
	if b, err := Encode(bomb); err != nil || len(b) > 1000 {
		t.Errorf("with a memo: %d bytes, %v", len(b), err)
	}
}
