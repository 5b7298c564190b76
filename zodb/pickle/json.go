package pickle

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of a view, unless told otherwise.
const (
	DefaultViewDepth = 500
	DefaultViewBytes = 64 << 20
)

// View bounds how much of a tree is shown. The zero value has the defaults.
type View struct {
	MaxDepth int // of nesting
	MaxBytes int // of output, which may be exceeded by one value
}

func (v View) withDefaults() View {
	if v.MaxDepth == 0 {
		v.MaxDepth = DefaultViewDepth
	}
	if v.MaxBytes == 0 {
		v.MaxBytes = DefaultViewBytes
	}
	return v
}

// AppendJSON appends a tree as JSON in which nothing of it is lost:
//
//	None, True, False      null, true, false
//	int                    number; {"@int": "9007199254740993"} beyond 2^53
//	float                  number with a point or an exponent; {"@float": "nan"}, "inf", "-inf",
//	                       with "bits" where a NaN has others than usual
//	str                    string; {"@str": base64 of its UTF-8} with lone surrogates
//	bytes                  {"@bytes": "printable ASCII"}, {"@bytes64": base64}
//	str of Python 2        {"@str2": "..."}, {"@str2_64": base64}
//	bytearray              {"@bytearray64": base64}
//	tuple                  {"@tuple": [...]}
//	list                   [...]
//	dict                   {"key": value ...} in its order if its keys are different strs and none
//	                       begins with @; else {"@dict": [[key, value] ...]}
//	set, frozenset         {"@set": [...]}, {"@frozenset": [...]}
//	class, function        {"@global": "module:name"}, or ["module", "name"]
//	copyreg's table        {"@ext": code}
//	reference              {"@ref": "0x2a", "class": "module:name", "database": "other", "weak": true}
//	other persistent id    {"@persistent_id": value}
//	datetime, date, time   {"@datetime": "2026-11-25T10:00:00.000001", "fold": 1, "tz": value}, ...
//	any other instance     {"@new": "module:name", "args": [...], "items": [...],
//	                       "entries": [[key, value] ...], "state": value};
//	                       "@call" where a function is called, "@new_ex" (with "kwargs") and
//	                       "@instance" for what [Making] calls so
//
// Bytes are the same whichever of the forms that [Bytes] reads they are pickled in.
// What occurs twice in the tree, or in itself, is {"@id": 1, ...} at its first place
// and {"@same": 1} at others; a list is {"@id": 1, "@list": [...]} then. What does not
// fit the bounds is {"@cut": "depth"} or {"@cut": "size"}.
func (v View) AppendJSON(dst []byte, tree any) []byte {
	w := &jsonWriter{View: v.withDefaults(), out: dst, shared: sharedIn(tree), base: len(dst)}
	w.value(tree, 0)
	return w.out
}

// AppendRecordJSON appends {"class": "module:name", "state": ...} for a ZODB record.
// Where the first pickle is more than the class, it follows as "class_pickle".
func (v View) AppendRecordJSON(dst, record []byte) ([]byte, error) {
	class, state, err := DecodeRecord(record)
	if err != nil {
		return dst, err
	}
	w := &jsonWriter{View: v.withDefaults(), out: dst, shared: sharedIn(class, state), base: len(dst)}
	w.raw(`{"class":`)
	if c, ok := classIn(class); ok {
		w.name(Global(c))
	} else {
		w.raw("null")
	}
	if _, plain := class.(*Global); !plain {
		w.raw(`,"class_pickle":`)
		w.value(class, 0)
	}
	w.raw(`,"state":`)
	w.value(state, 0)
	w.raw("}")
	return w.out, nil
}

type jsonWriter struct {
	View
	out    []byte
	base   int
	shared map[identity]int // 0: not shown yet; else its @id
	ids    int
}

func (w *jsonWriter) raw(s string) { w.out = append(w.out, s...) }

func (w *jsonWriter) full() bool { return len(w.out)-w.base > w.MaxBytes }

func (w *jsonWriter) text(s string) {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings always marshal
	}
	w.out = append(w.out, b...)
}

// tagged writes {"tag":"text"}.
func (w *jsonWriter) tagged(tag, text string) {
	w.raw(`{"` + tag + `":`)
	w.text(text)
	w.raw("}")
}

func (w *jsonWriter) cut(why string) { w.tagged("@cut", why) }

func (w *jsonWriter) value(v any, depth int) {
	switch v := v.(type) {
	case nil:
		w.raw("null")
	case bool:
		w.out = strconv.AppendBool(w.out, v)
	case int64:
		w.int(v)
	case *big.Int:
		w.tagged("@int", v.String())
	case float64:
		w.float(v)
	case string:
		w.str(v)
	case []byte:
		w.bytes("@bytes", "@bytes64", v)
	case ByteString:
		w.bytes("@str2", "@str2_64", []byte(v))
	case *ByteArray:
		w.tagged("@bytearray64", base64.StdEncoding.EncodeToString(v.Data))
	case *Global:
		w.raw(`{"@global":`)
		w.name(*v)
		w.raw("}")
	case *Ext:
		w.raw(`{"@ext":` + strconv.FormatUint(uint64(v.Code), 10) + "}")
	default:
		w.container(v, depth)
	}
}

// Integers beyond these are not exact in all readers of JSON.
const maxJSONInt = 1 << 53

func (w *jsonWriter) int(v int64) {
	if v > maxJSONInt || v < -maxJSONInt {
		w.tagged("@int", strconv.FormatInt(v, 10))
		return
	}
	w.out = strconv.AppendInt(w.out, v, 10)
}

func (w *jsonWriter) float(f float64) {
	switch {
	case math.IsNaN(f) && math.Float64bits(f) != math.Float64bits(pythonNaN):
		w.raw(`{"@float":"nan","bits":"` + strconv.FormatUint(math.Float64bits(f), 16) + `"}`)
	case math.IsNaN(f):
		w.tagged("@float", "nan")
	case math.IsInf(f, 0):
		w.tagged("@float", strings.TrimPrefix(strings.ToLower(strconv.FormatFloat(f, 'g', -1, 64)), "+"))
	default:
		w.raw(floatText(f))
	}
}

// pythonNaN is float('nan').
var pythonNaN = math.Float64frombits(0x7ff8 << 48)

// floatText is a float with a point or an exponent.
func floatText(f float64) string {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(s, ".eIN") {
		s += ".0"
	}
	return s
}

func (w *jsonWriter) str(s string) {
	if !utf8.ValidString(s) {
		w.tagged("@str", base64.StdEncoding.EncodeToString([]byte(s)))
		return
	}
	w.text(s)
}

func (w *jsonWriter) bytes(readable, encoded string, b []byte) {
	if printable(b) {
		w.tagged(readable, string(b))
		return
	}
	w.tagged(encoded, base64.StdEncoding.EncodeToString(b))
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

func (w *jsonWriter) name(g Global) {
	if strings.Contains(g.Module, ":") || !utf8.ValidString(g.Module) || !utf8.ValidString(g.Name) {
		w.raw("[")
		w.str(g.Module)
		w.raw(",")
		w.str(g.Name)
		w.raw("]")
		return
	}
	w.text(g.Module + ":" + g.Name)
}

// container writes what can hold other values.
func (w *jsonWriter) container(v any, depth int) {
	if b, ok := Bytes(v); ok {
		w.bytes("@bytes", "@bytes64", b)
		return
	}
	who, _ := identityOf(v)
	id, shared := w.shared[who]
	if shared && id > 0 {
		w.raw(`{"@same":` + strconv.Itoa(id) + "}")
		return
	}
	switch {
	case depth >= w.MaxDepth:
		w.cut("depth")
		return
	case w.full():
		w.cut("size")
		return
	}
	head := "{"
	if shared {
		w.ids++
		w.shared[who] = w.ids
		head = `{"@id":` + strconv.Itoa(w.ids) + ","
	}
	w.parts(head, shared, v, depth+1)
}

// parts writes a container. head begins a JSON object, with the id if shared.
func (w *jsonWriter) parts(head string, shared bool, v any, depth int) {
	switch v := v.(type) {
	case Tuple:
		w.list(head+`"@tuple":`, v, "}", depth)
	case *List:
		if !shared {
			w.list("", v.Items, "", depth)
			return
		}
		w.list(head+`"@list":`, v.Items, "}", depth)
	case *Set:
		w.list(head+`"@set":`, v.Items, "}", depth)
	case *FrozenSet:
		w.list(head+`"@frozenset":`, v.Items, "}", depth)
	case *Dict:
		w.dict(head, v, depth)
	case *Ref:
		w.ref(head, v, depth)
	case *Object:
		w.object(head, v, depth)
	default:
		w.raw(head)
		w.raw(`"@unknown":null}`)
	}
}

func (w *jsonWriter) list(head string, items []any, tail string, depth int) {
	w.raw(head)
	w.raw("[")
	for i, item := range items {
		if i > 0 {
			w.raw(",")
		}
		if w.full() {
			w.cut("size")
			break
		}
		w.value(item, depth)
	}
	w.raw("]")
	w.raw(tail)
}

func (w *jsonWriter) dict(head string, d *Dict, depth int) {
	if !plainKeys(d.Entries) {
		w.raw(head + `"@dict":`)
		w.entries(d.Entries, depth)
		w.raw("}")
		return
	}
	w.raw(head)
	for i, e := range d.Entries {
		if w.full() {
			w.raw(`"@cut":"size",`)
			break
		}
		w.text(e.Key.(string))
		w.raw(":")
		w.value(e.Value, depth)
		if i < len(d.Entries)-1 {
			w.raw(",")
		}
	}
	w.closeObject()
}

// closeObject ends a JSON object, behind a comma or not.
func (w *jsonWriter) closeObject() {
	if w.out[len(w.out)-1] == ',' {
		w.out = w.out[:len(w.out)-1]
	}
	w.raw("}")
}

func plainKeys(entries []Entry) bool {
	seen := make(map[string]bool, len(entries))
	for _, e := range entries {
		k, ok := e.Key.(string)
		if !ok || strings.HasPrefix(k, "@") || !utf8.ValidString(k) || seen[k] {
			return false
		}
		seen[k] = true
	}
	return true
}

func (w *jsonWriter) entries(entries []Entry, depth int) {
	w.raw("[")
	for i, e := range entries {
		if i > 0 {
			w.raw(",")
		}
		if w.full() {
			w.cut("size")
			break
		}
		w.raw("[")
		w.value(e.Key, depth)
		w.raw(",")
		w.value(e.Value, depth)
		w.raw("]")
	}
	w.raw("]")
}

func (w *jsonWriter) ref(head string, r *Ref, depth int) {
	t, ok := r.plain()
	if !ok {
		w.raw(head + `"@persistent_id":`)
		w.value(r.ID, depth)
		w.raw("}")
		return
	}
	w.raw(head + `"@ref":"` + t.OID.String() + `"`)
	if t.Class != (Class{}) {
		w.raw(`,"class":`)
		w.name(Global(t.Class))
	}
	if t.Database != "" {
		w.raw(`,"database":`)
		w.str(t.Database)
	}
	if t.Strength == Weak {
		w.raw(`,"weak":true`)
	}
	w.raw("}")
}

// plain returns the target of a reference whose persistent id says no more than
// that: an oid, a database, a class by name.
func (r *Ref) plain() (Reference, bool) {
	t, err := r.Target()
	if err != nil {
		return t, false
	}
	switch id := r.ID.(type) {
	case Tuple:
		_, named := id[len(id)-1].(*Global)
		return t, len(id) == 2 && named
	case *List:
		if len(id.Items) == 1 {
			return t, false
		}
		args := id.Items[1].(Tuple) // as Target has seen
		_, named := args[len(args)-1].(*Global)
		return t, len(args) < 3 || named
	}
	return t, true
}

var makingTags = map[Making]string{Reduce: "@call", NewObj: "@new", NewObjEx: "@new_ex", Instance: "@instance"}

func (w *jsonWriter) object(head string, o *Object, depth int) {
	if m, ok := momentOf(o); ok {
		w.moment(head, m, depth)
		return
	}
	w.raw(head + `"` + makingTags[o.Making] + `":`)
	if g, ok := o.Class.(*Global); ok {
		w.name(*g)
	} else {
		w.value(o.Class, depth)
	}
	if len(o.Args) > 0 {
		w.list(`,"args":`, o.Args, "", depth)
	}
	if o.Making == NewObjEx {
		w.raw(`,"kwargs":`)
		w.value(o.Kwargs, depth)
	}
	if len(o.Items) > 0 {
		w.list(`,"items":`, o.Items, "", depth)
	}
	if len(o.Entries) > 0 {
		w.raw(`,"entries":`)
		w.entries(o.Entries, depth)
	}
	if o.Built {
		w.raw(`,"state":`)
		w.value(o.State, depth)
	}
	w.raw("}")
}

func (w *jsonWriter) moment(head string, m moment, depth int) {
	w.raw(head + `"@` + m.kind + `":"` + m.text + `"`)
	if m.fold {
		w.raw(`,"fold":1`)
	}
	if m.hasZone {
		w.raw(`,"tz":`)
		w.value(m.zone, depth)
	}
	w.raw("}")
}
