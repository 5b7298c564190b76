package pickle

import (
	"encoding/hex"
	"math/big"
	"strconv"
	"strings"
)

// AppendText appends a tree for people, in the notation of Python:
//
//	{'title': 'Home', 'when': datetime.date(2026-11-25), 'parent': <0x2a app.Folder>}
//
// What does not fit on a line is broken over several. References are written <oid
// class>, <oid in database> or <weak oid>; an instance as its class, the arguments
// that make it, and behind a | what is set in it afterwards. What is shared is
// marked &1 at its first place and is *1 at others. Unlike AppendJSON it is not meant
// to be read back.
func (v View) AppendText(dst []byte, tree any) []byte {
	p := &printer{View: v.withDefaults(), shared: sharedIn(tree)}
	p.MaxDepth = min(p.MaxDepth, maxTextDepth)
	d := p.doc(tree, 0)
	return append(dst, d.lines("", textWidth)...)
}

// A text of more levels is nothing for people, and its indentation would grow with
// their square.
const (
	maxTextDepth = 60
	textWidth    = 100
)

// doc is a piece of text: a word, or brackets around parts.
type doc struct {
	word  string // or what is before the brackets
	open  string // "" for a word
	close string
	parts []doc
	width int // on one line
}

func word(s string) doc { return doc{word: s, width: len(s)} }

func bracket(before, open string, parts []doc, close string) doc {
	d := doc{word: before, open: open, close: close, parts: parts, width: len(before) + len(open) + len(close)}
	for _, p := range parts {
		d.width += p.width + 2
	}
	return d
}

// after puts something before a doc.
func (d doc) after(s string) doc {
	d.word = s + d.word
	d.width += len(s)
	return d
}

// lines lays a doc out. indent is that of its first line.
func (d doc) lines(indent string, width int) string {
	var b strings.Builder
	d.write(&b, indent, width)
	return b.String()
}

func (d doc) write(b *strings.Builder, indent string, width int) {
	b.WriteString(d.word)
	if d.open == "" {
		return
	}
	b.WriteString(d.open)
	flat := len(indent)+d.width <= width || len(d.parts) == 0
	inner := indent + "  "
	for i, p := range d.parts {
		switch {
		case !flat:
			b.WriteString("\n" + inner)
		case i > 0:
			b.WriteString(", ")
		}
		p.write(b, inner, width)
		if !flat {
			b.WriteString(",")
		}
	}
	if !flat {
		b.WriteString("\n" + indent)
	}
	b.WriteString(d.close)
}

type printer struct {
	View
	used   int
	shared map[identity]int
	ids    int
}

func (p *printer) word(s string) doc {
	p.used += len(s)
	return word(s)
}

func (p *printer) doc(v any, depth int) doc {
	switch v := v.(type) {
	case nil:
		return p.word("None")
	case bool:
		if v {
			return p.word("True")
		}
		return p.word("False")
	case int64:
		return p.word(strconv.FormatInt(v, 10))
	case *big.Int:
		return p.word(v.String())
	case float64:
		return p.word(floatText(v))
	case string:
		return p.word(quoted(v))
	case []byte:
		return p.bytes("b", v)
	case ByteString:
		return p.word(quoted(string(v)))
	case *ByteArray:
		return p.bytes("bytearray ", v.Data)
	case *Global:
		return p.word(v.String())
	case *Ext:
		return p.word("extension " + strconv.FormatUint(uint64(v.Code), 10))
	}
	return p.container(v, depth)
}

// quoted is a str in single quotes.
func quoted(s string) string {
	q := strconv.Quote(s)
	q = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	return "'" + strings.ReplaceAll(q, "'", `\'`) + "'"
}

// shownBytes is how many bytes of binary data are shown.
const shownBytes = 64

func (p *printer) bytes(prefix string, b []byte) doc {
	if printable(b) {
		return p.word(prefix + quoted(string(b)))
	}
	if len(b) > shownBytes {
		return p.word(prefix + "'" + hex.EncodeToString(b[:shownBytes]) + "'... (" + strconv.Itoa(len(b)) + " bytes, in hex)")
	}
	return p.word(prefix + "'" + hex.EncodeToString(b) + "' (hex)")
}

func (p *printer) container(v any, depth int) doc {
	if b, ok := Bytes(v); ok {
		return p.bytes("b", b)
	}
	if r, ok := v.(*Ref); ok {
		return p.ref(r, depth)
	}
	who, _ := identityOf(v)
	id, shared := p.shared[who]
	switch {
	case shared && id > 0:
		return p.word("*" + strconv.Itoa(id))
	case depth >= p.MaxDepth:
		return p.word("...(too deep)")
	case p.used > p.MaxBytes:
		return p.word("...(too long)")
	case !shared:
		return p.parts(v, depth+1)
	}
	p.ids++
	p.shared[who] = p.ids
	name := "&" + strconv.Itoa(p.ids) + " "
	return p.parts(v, depth+1).after(name)
}

func (p *printer) parts(v any, depth int) doc {
	switch v := v.(type) {
	case Tuple:
		d := bracket("", "(", p.list(v, depth), ")")
		if len(v) == 1 && len(d.parts) == 1 {
			d.close = ",)"
		}
		return d
	case *List:
		return bracket("", "[", p.list(v.Items, depth), "]")
	case *Set:
		return bracket("set ", "{", p.list(v.Items, depth), "}")
	case *FrozenSet:
		return bracket("frozenset ", "{", p.list(v.Items, depth), "}")
	case *Dict:
		return bracket("", "{", p.entries(v.Entries, depth), "}")
	case *Object:
		return p.object(v, depth)
	}
	return p.word("?")
}

func (p *printer) list(items []any, depth int) []doc {
	docs := make([]doc, 0, len(items))
	for i, item := range items {
		if p.used > p.MaxBytes {
			return append(docs, p.word("...("+strconv.Itoa(len(items)-i)+" more)"))
		}
		docs = append(docs, p.doc(item, depth))
	}
	return docs
}

func (p *printer) entries(entries []Entry, depth int) []doc {
	docs := make([]doc, 0, len(entries))
	for i, e := range entries {
		if p.used > p.MaxBytes {
			return append(docs, p.word("...("+strconv.Itoa(len(entries)-i)+" more)"))
		}
		key := p.doc(e.Key, depth)
		docs = append(docs, p.doc(e.Value, depth).after(key.lines("", 1<<30)+": "))
	}
	return docs
}

func (p *printer) ref(r *Ref, depth int) doc {
	t, err := r.Target()
	if err != nil {
		return p.doc(r.ID, depth+1).after("persistent id ")
	}
	s := "<"
	if t.Strength == Weak {
		s += "weak "
	}
	s += t.OID.String()
	if t.Database != "" {
		s += " in " + t.Database
	}
	if t.Class != (Class{}) {
		s += " " + t.Class.String()
	}
	return p.word(s + ">")
}

func (p *printer) object(o *Object, depth int) doc {
	if m, ok := momentOf(o); ok {
		parts := []doc{p.word(m.text)}
		if m.fold {
			parts = append(parts, p.word("fold=1"))
		}
		if m.hasZone {
			parts = append(parts, p.doc(m.zone, depth))
		}
		return bracket("datetime."+m.kind, "(", parts, ")")
	}
	parts := p.list(o.Args, depth)
	if d, ok := o.Kwargs.(*Dict); ok {
		for _, e := range p.entries(d.Entries, depth) {
			parts = append(parts, e.after("**"))
		}
	}
	for _, i := range p.list(o.Items, depth) {
		parts = append(parts, i.after("+ "))
	}
	parts = append(parts, p.entries(o.Entries, depth)...)
	if o.Built {
		parts = append(parts, p.doc(o.State, depth).after("| "))
	}
	return bracket(p.doc(o.Class, depth).lines("", 1<<30), "(", parts, ")")
}
