package wire

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// wrap makes a call of ping with the given opcodes as its one argument.
func wrap(opcodes string) []byte {
	return []byte("\x80\x03(K\x01\x89X\x04\x00\x00\x00ping" + opcodes + "\x85t.")
}

func TestParseRefuses(t *testing.T) {
	deep := strings.Repeat("]", 200) + strings.Repeat("a", 199)
	for name, frame := range map[string][]byte{
		"empty":              {},
		"not a pickle":       []byte("GET / HTTP/1.1\r\n\r\n"),
		"eval":               wrap("cbuiltins\neval\nX\x03\x00\x00\x001+1\x85R"),
		"system":             wrap("cos\nsystem\nX\x02\x00\x00\x00id\x85R"),
		"getattr":            wrap("c__builtin__\ngetattr\n"),
		"stack global":       wrap("X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93"),
		"inst":               wrap("(ios\nsystem\n"),
		"extension code":     wrap("\x82\x01"),
		"reference":          wrap("K\x01Q"),
		"deep":               wrap(deep),
		"cycle":              wrap("]q\x00h\x00a"),
		"bomb":               wrap(")" + strings.Repeat("q\x00h\x00\x86", 64)),
		"trailing":           append(wrap("N"), 'N'),
		"truncated":          wrap("N")[:20],
		"three parts":        []byte("\x80\x03K\x01\x89X\x04\x00\x00\x00ping\x87."),
		"name not text":      []byte("\x80\x03(K\x01\x89K\x02)t."),
		"flag not a flag":    []byte("\x80\x03(K\x01NX\x04\x00\x00\x00ping)t."),
		"prefix, no state":   wrap("cZopeUndo.Prefix\nPrefix\n)\x81"),
		"prefix, bad state":  wrap("cZopeUndo.Prefix\nPrefix\n)\x81}X\x05\x00\x00\x00valueK\x01sb"),
		"prefix, other path": wrap("cZopeUndo.Prefix\nPrefix\n)\x81}X\x04\x00\x00\x00path]K\x01asb"),
	} {
		if m, err := Pickle.Decode(frame); err == nil {
			t.Errorf("pickle, %s: %+v", name, m)
		}
	}
	ping := "\x94\x01\xc2\xa4ping"
	for name, frame := range map[string]string{
		"empty":        "",
		"three parts":  "\x93\x01\xc2\xa4ping",
		"map":          "\x84\x01\x02\x03\x04\x05\x06\x07\x08",
		"long array":   ping + "\xdd\xff\xff\xff\xff",
		"long bytes":   ping + "\x91\xc6\xff\xff\xff\xff",
		"long map":     ping + "\x91\xdf\xff\xff\xff\xff",
		"deep":         ping + strings.Repeat("\x91", 200) + "\x01",
		"extension":    ping + "\x91\xd4\x01\x00",
		"timestamp":    ping + "\x91\xd6\xff\x00\x00\x00\x00",
		"trailing":     ping + "\x90\x01",
		"truncated":    ping,
		"name is bin":  "\x94\x01\xc2\xc4\x04ping\x90",
		"flag is text": "\x94\x01\xa1x\xa4ping\x90",
	} {
		if m, err := Msgpack.Decode([]byte(frame)); err == nil {
			t.Errorf("msgpack, %s: %+v", name, m)
		}
	}
	if _, err := Codec('X').Decode(wrap("N")); err == nil {
		t.Error("codec X decodes")
	}
}

func TestParseOtherPicklers(t *testing.T) {
	for name, frame := range map[string]string{
		"memoized":   "\x80\x02(K\x01\x89X\x04\x00\x00\x00pingq\x00)tq\x01.",
		"protocol 4": "\x80\x04\x95\x11\x00\x00\x00\x00\x00\x00\x00(K\x01\x89\x8c\x04ping\x94)t\x94.",
		"protocol 0": "(I1\nI00\nVping\np0\n(tp1\ntp2\n.",
		"protocol 1": "(K\x01I00\nX\x04\x00\x00\x00pingq\x00)tq\x01.",
		"python 2":   "\x80\x02(K\x01\x89U\x04ping)t.",
		"long id":    "\x80\x03(\x8a\x01\x01\x89X\x04\x00\x00\x00ping)t.",
	} {
		m, err := Pickle.Decode([]byte(frame))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		n, isInt := m.Number()
		if m.Method != "ping" || m.Async || !isInt || n != 1 || !m.Tuple || m.Len() != 0 {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

// TestBytesOfEveryForm reads oids as Python 2 and 3 have written them.
func TestBytesOfEveryForm(t *testing.T) {
	for name, arg := range map[string]string{
		"bytes":     "C\x08\x00\x00\x00\x00\x00\x00\x00\x07",
		"long form": "B\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07",
		"str":       "U\x08\x00\x00\x00\x00\x00\x00\x00\x07",
		"binary":    "czodbpickle\nbinary\nC\x08\x00\x00\x00\x00\x00\x00\x00\x07\x85R",
		"latin1":    "c_codecs\nencode\n(X\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07X\x06\x00\x00\x00latin1tR",
	} {
		m, err := Pickle.Decode(wrap(arg))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := m.OID(0); got != 7 || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestArgumentsOfWrongTypes(t *testing.T) {
	for _, c := range []Codec{Pickle, Msgpack} {
		frame, err := c.AppendCall(nil, int64(1), "m", nil, []byte("short"), "text", int64(3), 2.5, true, list(int64(1)))
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Decode(frame[headerSize:])
		if err != nil {
			t.Fatal(err)
		}
		check := func(name string, i int, err error, ok bool) {
			t.Helper()
			if (err == nil) != ok {
				t.Errorf("%v: argument %d as %s: %v", c, i, name, err)
			}
			if e, is := err.(*PyError); err != nil && (!is || e.Class != TypeError) {
				t.Errorf("%v: argument %d as %s: not a TypeError: %v", c, i, name, err)
			}
		}
		for i := range 9 {
			_, err := m.OID(i)
			check("oid", i, err, false)
			_, err = m.TID(i)
			check("tid", i, err, false)
			_, err = m.OptTID(i)
			check("tid or None", i, err, i == 0 || i > 6)
			_, err = m.Bytes(i)
			check("bytes", i, err, i == 1)
			_, err = m.OptBytes(i)
			check("bytes or None", i, err, i <= 1 || i > 6)
			_, err = m.Text(i)
			check("text", i, err, i == 2)
			_, err = m.Int(i)
			check("int", i, err, i == 3 || i == 5)
			_, err = m.OptInt(i, 100)
			check("int or none given", i, err, i == 3 || i == 5 || i > 6)
			_, err = m.Float(i)
			check("float", i, err, i == 3 || i == 4)
			_, err = m.OIDs(i, nil)
			check("oids", i, err, false)
			_, err = m.Items(i)
			check("items", i, err, i == 6)
			_, err = m.Extension(i)
			check("extension", i, err, i == 0 || i > 6)
			if got, want := m.Bool(i), i > 0 && i <= 6; got != want {
				t.Errorf("%v: argument %d as a bool: %v", c, i, got)
			}
		}
	}
}

func TestExtension(t *testing.T) {
	for _, c := range []Codec{Pickle, Msgpack} {
		for name, want := range map[string]*pickle.Dict{
			"begin":      {},
			"begin-ext":  dict("request_type", "view", "n", int64(-3)),
			"begin-one":  dict("a", int64(1)),
			"begin-deep": dict("a", msgpackIf(c, list(int64(1), dict("b", 2.5)))),
		} {
			m, err := c.Decode(bytes.Clone(goldenFrame(t, c, name)))
			if err != nil {
				t.Fatal(err)
			}
			ext, err := m.Extension(3)
			if err != nil || (ext == nil) != (want.Len() == 0) {
				t.Fatalf("%v %s: %x, %v", c, name, ext, err)
			}
			got, err := pickle.DecodeDict(ext)
			if err != nil {
				t.Fatal(err)
			}
			again, _ := pickle.Encode(got)
			if expected, _ := pickle.Encode(want); !bytes.Equal(again, expected) {
				t.Errorf("%v %s: %x, want %x", c, name, again, expected)
			}
		}
	}
}

func msgpackIf(c Codec, v any) any {
	if c == Msgpack {
		return msgpackForm(v)
	}
	return v
}

func TestOIDs(t *testing.T) {
	for _, c := range []Codec{Pickle, Msgpack} {
		for name, n := range map[string]int{"invalidate": 1, "invalidate-2": 2} {
			m, err := c.Decode(goldenFrame(t, c, name))
			if err != nil {
				t.Fatal(err)
			}
			oids, err := m.OIDs(1, nil)
			if err != nil || len(oids) != n || oids[0] != theOID {
				t.Errorf("%v %s: %v, %v", c, name, oids, err)
			}
		}
		var many []zodb.OID
		for i := range 2500 {
			many = append(many, zodb.OID(i*i))
		}
		m, err := c.Decode(c.AppendInvalidation(nil, 5, many)[headerSize:])
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.OIDs(1, nil)
		if err != nil || len(got) != len(many) {
			t.Fatalf("%v: %d oids, %v", c, len(got), err)
		}
		for i := range got {
			if got[i] != many[i] {
				t.Fatalf("%v: oid %d is %v", c, i, got[i])
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, g := range goldens(f) {
		f.Add(byte(g.codec), g.frame)
	}
	f.Add(byte(Pickle), wrap("]q\x00h\x00a"))
	f.Fuzz(func(t *testing.T, letter byte, frame []byte) {
		c := Pickle
		if letter == byte(Msgpack) {
			c = Msgpack
		}
		var m Message
		if c.Parse(frame, &m) != nil {
			return
		}
		for i := range m.Args {
			_, _ = m.OID(i)
			_, _ = m.OIDs(i, nil)
			_, _ = m.Extension(i)
		}
		_ = m.Err()
		_, _, _ = m.ParseLoad()
		v, err := m.Result()
		if err != nil {
			t.Fatalf("parsed, but not read: %v", err)
		}
		out, err := c.AppendReply(nil, m.ID, v)
		if err != nil {
			return // it holds what is not sent
		}
		if n := binary.BigEndian.Uint32(out); int(n) != len(out)-headerSize {
			t.Fatalf("a frame of %d bytes says %d", len(out), n)
		}
		if err := c.Parse(out[headerSize:], &m); err != nil {
			t.Fatalf("what was written is not read: %v\n%x", err, out)
		}
	})
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 'x'}, 100)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, 0)
	f.Fuzz(func(t *testing.T, stream []byte, limit int) {
		limit = max(0, min(limit, 1<<20))
		r := NewReader(bytes.NewReader(stream), limit)
		for {
			if _, err := r.Next(); err != nil {
				break
			}
		}
		if len(r.buf) > bufferSize+2*len(stream) {
			t.Fatalf("a buffer of %d bytes for %d", len(r.buf), len(stream))
		}
	})
}
