package pickle

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/zodb"
)

// unview reads what AppendJSON writes: the proof that nothing is lost. It is for tests
// and panics where it does not understand.
type unview struct {
	d    *json.Decoder
	same map[int]any
}

func (u *unview) token() json.Token {
	t, err := u.d.Token()
	if err != nil {
		panic(err)
	}
	return t
}

func (u *unview) value() any {
	switch t := u.token().(type) {
	case nil, bool, string:
		return t
	case json.Number:
		if strings.ContainsAny(t.String(), ".e") {
			f, err := t.Float64()
			if err != nil {
				panic(err)
			}
			return f
		}
		n, err := t.Int64()
		if err != nil {
			panic(err)
		}
		return n
	case json.Delim:
		if t == '[' {
			return &List{u.items()}
		}
		return u.object()
	}
	panic("a token of another kind")
}

// items reads the rest of an array.
func (u *unview) items() []any {
	var items []any
	for u.d.More() {
		items = append(items, u.value())
	}
	u.token()
	return items
}

func (u *unview) array() []any { u.token(); return u.items() }

// tuple makes the tuple before what is in it, which may name it.
func (u *unview) tuple(keep func(any)) Tuple {
	var parts []json.RawMessage
	if err := u.d.Decode(&parts); err != nil {
		panic(err)
	}
	t := make(Tuple, len(parts))
	keep(t)
	for i, p := range parts {
		d := json.NewDecoder(bytes.NewReader(p))
		d.UseNumber()
		t[i] = (&unview{d, u.same}).value()
	}
	return t
}

func (u *unview) pairs() []Entry {
	u.token()
	var entries []Entry
	for u.d.More() {
		kv := u.array()
		entries = append(entries, Entry{kv[0], kv[1]})
	}
	u.token()
	return entries
}

func (u *unview) text() string { return u.value().(string) }

func (u *unview) base64() []byte {
	b, err := base64.StdEncoding.DecodeString(u.text())
	if err != nil {
		panic(err)
	}
	return b
}

func (u *unview) global() *Global {
	switch v := u.value().(type) {
	case string:
		module, name, _ := strings.Cut(v, ":")
		return &Global{module, name}
	case *List:
		return &Global{v.Items[0].(string), v.Items[1].(string)}
	}
	panic("no global")
}

// object reads the rest of a JSON object.
func (u *unview) object() any {
	id := 0
	keep := func(v any) {
		if id != 0 {
			u.same[id] = v
		}
	}
	if !u.d.More() {
		u.token()
		return &Dict{}
	}
	key := u.token().(string)
	if key == "@id" {
		id = int(u.value().(int64))
		if !u.d.More() {
			u.token()
			d := &Dict{}
			keep(d)
			return d
		}
		key = u.token().(string)
	}
	v := u.tagged(key, keep)
	for u.d.More() {
		u.more(v)
	}
	u.token()
	if f, ok := v.(*float64); ok {
		return *f
	}
	if m, ok := v.(*momentView); ok {
		v = m.object()
		keep(v)
	}
	if m, ok := v.(*refView); ok {
		v = m.ref()
		keep(v)
	}
	return v
}

func (u *unview) tagged(key string, keep func(any)) any {
	making := map[string]Making{"@call": Reduce, "@new": NewObj, "@new_ex": NewObjEx, "@instance": Instance}
	if m, ok := making[key]; ok {
		o := &Object{Making: m}
		keep(o)
		o.Class = u.value() // a class by name stands there as its name
		if name, ok := o.Class.(string); ok {
			module, name, _ := strings.Cut(name, ":")
			o.Class = &Global{module, name}
		}
		return o
	}
	switch key {
	case "@same":
		return u.same[int(u.value().(int64))]
	case "@int":
		n, _ := new(big.Int).SetString(u.text(), 10)
		if n.IsInt64() {
			return n.Int64()
		}
		return n
	case "@float":
		f, err := strconv.ParseFloat(u.text(), 64)
		if err != nil {
			panic(err)
		}
		if math.IsNaN(f) {
			f = pythonNaN
		}
		return &f
	case "@str":
		return string(u.base64())
	case "@bytes":
		return []byte(u.text())
	case "@bytes64":
		return u.base64()
	case "@str2":
		return ByteString(u.text())
	case "@str2_64":
		return ByteString(u.base64())
	case "@bytearray64":
		return &ByteArray{u.base64()}
	case "@global":
		return u.global()
	case "@ext":
		return &Ext{uint32(u.value().(int64))}
	case "@tuple":
		return u.tuple(keep)
	case "@list":
		l := &List{}
		keep(l)
		l.Items = u.array()
		return l
	case "@set":
		s := &Set{}
		keep(s)
		s.Items = u.array()
		return s
	case "@frozenset":
		return &FrozenSet{u.array()}
	case "@dict":
		d := &Dict{}
		keep(d)
		d.Entries = u.pairs()
		return d
	case "@persistent_id":
		return &Ref{u.value()}
	case "@ref":
		oid, err := strconv.ParseUint(u.text(), 0, 64)
		if err != nil {
			panic(err)
		}
		return &refView{oid: zodb.OID(oid)}
	case "@datetime", "@date", "@time":
		return &momentView{kind: key[1:], text: u.text()}
	}
	if strings.HasPrefix(key, "@") {
		panic("unknown tag " + key)
	}
	d := &Dict{}
	keep(d)
	d.Entries = append(d.Entries, Entry{key, u.value()})
	return d
}

// more reads a further member of a JSON object.
func (u *unview) more(v any) {
	key := u.token().(string)
	switch v := v.(type) {
	case *Dict:
		v.Entries = append(v.Entries, Entry{key, u.value()})
	case *Object:
		switch key {
		case "args":
			v.Args = u.array()
		case "kwargs":
			v.Kwargs = u.value()
		case "items":
			v.Items = u.array()
		case "entries":
			v.Entries = u.pairs()
		case "state":
			v.Built, v.State = true, u.value()
		}
	case *refView:
		switch key {
		case "class":
			v.class = u.global()
		case "database":
			v.database = u.text()
		case "weak":
			v.weak = u.value().(bool)
		}
	case *momentView:
		switch key {
		case "fold":
			v.fold = u.value().(int64) == 1
		case "tz":
			v.tz, v.hasTZ = u.value(), true
		}
	case *float64:
		bits, err := strconv.ParseUint(u.text(), 16, 64)
		if err != nil {
			panic(err)
		}
		*v = math.Float64frombits(bits)
	}
}

type refView struct {
	oid      zodb.OID
	class    *Global
	database string
	weak     bool
}

func (r *refView) ref() *Ref {
	b := r.oid.Bytes()
	switch {
	case r.weak && r.database != "":
		return &Ref{NewList("w", Tuple{b[:], r.database})}
	case r.weak:
		return &Ref{NewList("w", Tuple{b[:]})}
	case r.database != "" && r.class != nil:
		return &Ref{NewList("m", Tuple{r.database, b[:], r.class})}
	case r.database != "":
		return &Ref{NewList("n", Tuple{r.database, b[:]})}
	case r.class != nil:
		return &Ref{Tuple{b[:], r.class}}
	}
	return &Ref{b[:]}
}

type momentView struct {
	kind, text string
	fold       bool
	tz         any
	hasTZ      bool
}

func (m *momentView) object() *Object {
	date, clock, _ := strings.Cut(m.text, "T")
	if m.kind == "time" {
		date, clock = "", m.text
	}
	var b []byte
	var n [7]int
	if date != "" {
		fmt.Sscanf(date, "%d-%d-%d", &n[0], &n[1], &n[2])
		b = append(b, byte(n[0]>>8), byte(n[0]), byte(n[1]), byte(n[2]))
	}
	if clock != "" {
		hms, us, _ := strings.Cut(clock, ".")
		fmt.Sscanf(hms, "%d:%d:%d", &n[3], &n[4], &n[5])
		n[6], _ = strconv.Atoi(us)
		b = append(b, byte(n[3]), byte(n[4]), byte(n[5]), byte(n[6]>>16), byte(n[6]>>8), byte(n[6]))
	}
	if m.fold && m.kind == "time" {
		b[0] |= 128
	} else if m.fold {
		b[2] |= 128
	}
	o := &Object{Making: Reduce, Class: &Global{"datetime", m.kind}, Args: Tuple{b}}
	if m.hasTZ {
		o.Args = append(o.Args, m.tz)
	}
	return o
}

// TestJSONLosesNothing reads the JSON of every record of the samples back, and makes its
// JSON again: nothing has changed. Where all is in the form that ZODB writes today, the
// record is the same to the byte, too.
func TestJSONLosesNothing(t *testing.T) {
	same, records := 0, 0
	for _, g := range goldens(t, "record", "foreign") {
		class, state, err := DecodeRecord(g.data)
		if err != nil {
			continue // what the reader refuses is tested elsewhere
		}
		records++
		view := View{}.AppendJSON(nil, Tuple{class, state})
		back := readView(t, g.name, view).(Tuple)
		if d := cmp.Diff(string(view), string(View{}.AppendJSON(nil, back))); d != "" {
			t.Errorf("%s: %s", g.name, d)
		}
		if again, err := EncodeRecord(back[0], back[1]); err == nil && bytes.Equal(again, g.data) {
			same++
		}
		if _, err := (View{}).AppendRecordJSON(nil, g.data); err != nil {
			t.Errorf("%s: %v", g.name, err)
		}
	}
	t.Logf("%d of %d records are the same to the byte", same, records)
	if same < records/2 || records < 100 {
		t.Errorf("only %d of %d records are the same to the byte", same, records)
	}
}

func readView(t *testing.T, name string, view []byte) any {
	t.Helper()
	if !json.Valid(view) {
		t.Fatalf("%s: no JSON: %s", name, view)
	}
	d := json.NewDecoder(bytes.NewReader(view))
	d.UseNumber()
	return (&unview{d, make(map[int]any)}).value()
}

// TestJSONForms has each form once.
func TestJSONForms(t *testing.T) {
	oid := []byte{0, 0, 0, 0, 0, 0, 0, 42}
	thing := &Global{"app.sub", "Thing.Inner"}
	list := NewList(int64(1))
	ring := NewList()
	ring.Items = append(ring.Items, ring)
	call := func(o *Object, args ...any) *Object { o.Making, o.Args = Reduce, args; return o }
	datetime := func(name string, args ...any) *Object {
		return call(&Object{Class: &Global{"datetime", name}}, args...)
	}
	for _, c := range []struct {
		v    any
		want string
	}{
		{nil, `null`}, {true, `true`}, {int64(-5), `-5`}, {int64(1<<53 + 1), `{"@int":"9007199254740993"}`},
		{new(big.Int).Lsh(big.NewInt(1), 70), `{"@int":"1180591620717411303424"}`},
		{1.0, `1.0`}, {1e300, `1e+300`}, {math.Inf(-1), `{"@float":"-inf"}`}, {math.Inf(1), `{"@float":"inf"}`}, {pythonNaN, `{"@float":"nan"}`},
		{math.Float64frombits(0x7ff8000000000001), `{"@float":"nan","bits":"7ff8000000000001"}`},
		{"ä\n<", `"ä\n\u003c"`}, {"\xed\xa0\x80", `{"@str":"7aCA"}`},
		{[]byte("abc"), `{"@bytes":"abc"}`}, {[]byte{0, 255}, `{"@bytes64":"AP8="}`},
		{ByteString("abc"), `{"@str2":"abc"}`}, {&ByteArray{[]byte("a")}, `{"@bytearray64":"YQ=="}`},
		{Tuple{}, `{"@tuple":[]}`}, {Tuple{int64(1), "a"}, `{"@tuple":[1,"a"]}`}, {list, `[1]`},
		{NewDict(), `{}`}, {NewDict("b", int64(1), "a", int64(2)), `{"b":1,"a":2}`},
		{NewDict(int64(1), "x"), `{"@dict":[[1,"x"]]}`}, {NewDict("@ref", "x"), `{"@dict":[["@ref","x"]]}`},
		{NewDict("a", int64(1), "a", int64(2)), `{"@dict":[["a",1],["a",2]]}`},
		{&Set{[]any{int64(1)}}, `{"@set":[1]}`}, {&FrozenSet{[]any{int64(1)}}, `{"@frozenset":[1]}`},
		{thing, `{"@global":"app.sub:Thing.Inner"}`}, {&Global{"a:b", "c"}, `{"@global":["a:b","c"]}`}, {&Ext{7}, `{"@ext":7}`},
		{&Ref{oid}, `{"@ref":"0x2a"}`}, {&Ref{Tuple{oid, thing}}, `{"@ref":"0x2a","class":"app.sub:Thing.Inner"}`},
		{&Ref{NewList("w", Tuple{oid})}, `{"@ref":"0x2a","weak":true}`},
		{&Ref{NewList("m", Tuple{"db", oid, thing})}, `{"@ref":"0x2a","class":"app.sub:Thing.Inner","database":"db"}`},
		{&Ref{NewList(oid)}, `{"@persistent_id":[{"@bytes64":"AAAAAAAAACo="}]}`}, {&Ref{"odd"}, `{"@persistent_id":"odd"}`},
		{&Ref{Tuple{oid, Tuple{thing, nil}}}, `{"@persistent_id":{"@tuple":[{"@bytes64":"AAAAAAAAACo="},{"@tuple":[{"@global":"app.sub:Thing.Inner"},null]}]}}`},
		{datetime("datetime", []byte{0x07, 0xea, 11, 25, 10, 30, 5, 0, 0, 1}), `{"@datetime":"2026-11-25T10:30:05.000001"}`},
		{datetime("datetime", []byte{0x07, 0xea, 139, 25, 10, 30, 5, 0, 0, 0}, thing), `{"@datetime":"2026-11-25T10:30:05","fold":1,"tz":{"@global":"app.sub:Thing.Inner"}}`},
		{datetime("date", []byte{0x07, 0xea, 2, 3}), `{"@date":"2026-02-03"}`}, {datetime("time", []byte{138, 30, 5, 0, 0, 0}), `{"@time":"10:30:05","fold":1}`},
		{datetime("date", []byte{0x07, 0xea, 13, 3}), `{"@call":"datetime:date","args":[{"@bytes64":"B+oNAw=="}]}`},
		{&Object{Making: NewObj, Class: thing, Built: true, State: NewDict("a", int64(1))}, `{"@new":"app.sub:Thing.Inner","state":{"a":1}}`},
		{&Object{Making: NewObjEx, Class: thing, Args: Tuple{int64(1)}, Kwargs: NewDict("k", nil)}, `{"@new_ex":"app.sub:Thing.Inner","args":[1],"kwargs":{"k":null}}`},
		{&Object{Making: Instance, Class: thing, Items: []any{int64(1)}, Entries: []Entry{{"k", int64(2)}}}, `{"@instance":"app.sub:Thing.Inner","items":[1],"entries":[["k",2]]}`},
		{NewList(list, list), `[{"@id":1,"@list":[1]},{"@same":1}]`}, {ring, `{"@id":1,"@list":[{"@same":1}]}`},
	} {
		got := View{}.AppendJSON(nil, c.v)
		if string(got) != c.want {
			t.Errorf("%#v is %s, want %s", c.v, got, c.want)
			continue
		}
		if back := (View{}).AppendJSON(nil, readView(t, c.want, got)); string(back) != c.want {
			t.Errorf("%s comes back as %s", c.want, back)
		}
	}
}

// TestViewBounds: a view of anything ends, and is whole.
func TestViewBounds(t *testing.T) {
	deep := NewList()
	for range 100_000 {
		deep = NewList(deep)
	}
	wide := NewDict()
	for i := range 10_000 {
		wide.Entries = append(wide.Entries, Entry{fmt.Sprint(i), "some text"})
	}
	bomb := NewList()
	for range 60 { // unfolds to 2^60
		bomb = NewList(bomb, bomb)
	}
	for name, v := range map[string]any{"deep": deep, "wide": wide, "bomb": bomb, "both": NewList(deep, wide, bomb, Tuple{wide, wide})} {
		view := View{MaxDepth: 50, MaxBytes: 2000}
		got := view.AppendJSON(nil, v)
		if !json.Valid(got) || len(got) > 4000 {
			t.Errorf("%s: %d bytes: %.200s", name, len(got), got)
		}
		if !bytes.Contains(got, []byte(`"@cut"`)) {
			t.Errorf("%s: is not cut", name)
		}
		if text := view.AppendText(nil, v); len(text) > 100_000 {
			t.Errorf("%s: %d bytes of text", name, len(text))
		}
	}
}

// TestText is the view for people.
func TestText(t *testing.T) {
	oid := []byte{0, 0, 0, 0, 0, 0, 0, 42}
	thing := &Global{"app", "Thing"}
	list := NewList(int64(1))
	long := strings.Repeat("long ", 20)
	tree := NewDict(
		"it's", nil, "n", Tuple{int64(1)}, "ref", &Ref{Tuple{oid, thing}}, "weak", &Ref{NewList("w", Tuple{oid, "db"})},
		"new", &Object{Making: NewObj, Class: thing, Args: Tuple{true}, Built: true, State: NewDict("a", 1.5)},
		"bytes", []byte{1, 2}, "list", list, "again", list, "long", NewList(long, long),
	)
	const want = `{
  'it\'s': None,
  'n': (1,),
  'ref': <0x2a app.Thing>,
  'weak': <weak 0x2a in db>,
  'new': app.Thing(True, | {'a': 1.5}),
  'bytes': b'0102' (hex),
  'list': &1 [1],
  'again': *1,
  'long': [
    'LONG',
    'LONG',
  ],
}`
	got := string(View{}.AppendText(nil, tree))
	if d := cmp.Diff(strings.ReplaceAll(want, "LONG", long), got); d != "" {
		t.Error(d)
	}
}

func FuzzView(f *testing.F) {
	f.Add([]byte("\x80\x03capp\nThing\nq\x00.\x80\x03}q\x01X\x01\x00\x00\x00aq\x02K\x01s."))
	f.Fuzz(func(t *testing.T, data []byte) {
		class, state, err := DecodeRecord(data)
		if err != nil {
			return
		}
		view := View{MaxDepth: 100, MaxBytes: 1 << 16}
		if got := view.AppendJSON(nil, Tuple{class, state}); !json.Valid(got) {
			t.Errorf("no JSON: %s", got)
		}
		view.AppendText(nil, Tuple{class, state})
	})
}
