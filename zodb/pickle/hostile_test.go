package pickle

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReaderRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":            "",
		"no stop":            "K\x01",
		"empty stack":        ".",
		"unknown opcode":     "\xff.",
		"protocol 6":         "\x80\x06N.",
		"short int":          "J\x01\x02",
		"long bytes":         "B\xff\xff\xff\xff.",
		"longer bytes":       "\x8e\xff\xff\xff\xff\xff\xff\xff\xff.",
		"long text":          "X\xff\xff\xff\xffabc.",
		"long long":          "\x8b\xff\xff\xff\x7f.",
		"no mark":            "K\x01t.",
		"below the mark":     "K\x01(\x85t.",
		"pop of nothing":     "0.",
		"append to nothing":  "K\x01a.",
		"append to int":      "K\x01K\x02a.",
		"set in list":        "]K\x01K\x02s.",
		"key without value":  "}(K\x01u.",
		"memo entry":         "h\x00.",
		"memo entry, text":   "g-1\n.",
		"memo name":          "Kxp\n.",
		"put of nothing":     "q\x00.",
		"args no tuple":      "ca\nb\nK\x01R.",
		"kwargs no dict":     "ca\nb\n)K\x01\x92.",
		"state for int":      "K\x01K\x02b.",
		"state twice":        "ca\nb\n)RNbNb.",
		"items after state":  "ca\nb\n)RNbK\x01a.",
		"global, one line":   "ca\n",
		"global by ints":     "K\x01K\x02\x93.",
		"obj without class":  "(o.",
		"members of list":    "](K\x01\x90.",
		"buffer":             "\x97.",
		"bad int":            "Ix\n.",
		"bad float":          "Fx\n.",
		"bad quote":          "S'a\n.",
		"bad quotes":         "S'\n.",
		"bad escape":         "S'\\x1'\n.",
		"backslash":          "S'\\'\n.",
		"bad unicode":        "V\\u12\n.",
		"too far unicode":    "V\\UFFFFFFFF\n.",
		"many digits":        "L1" + strings.Repeat("0", maxDigits) + "L\n.",
		"effect":             "K\x05ca\nb\n)R0.",
		"effect, then other": "ca\nb\nq\x00ca\nc\n)R0h\x00.",
		"trailing":           "N.N",
	} {
		if v, err := Decode([]byte(in)); err == nil {
			t.Errorf("%s: %v", name, v)
		}
	}
	_, err := Decode([]byte("NNN\xff"))
	if e, ok := errors.AsType[*SyntaxError](err); !ok || e.Offset != 3 || e.Op != 0xff {
		t.Errorf("got %v", err)
	}
}

func TestTextForms(t *testing.T) {
	for in, want := range map[string]any{
		"I01\n.": true, "I00\n.": false, "I-5\n.": int64(-5), "L5L\n.": int64(5), "L5\n.": int64(5),
		"F1.5\n.": 1.5, "S'a\\'b\\n\\x41\\101\\q'\n.": ByteString("a'b\nAA\\q"), "S\"x\"\n.": ByteString("x"),
		"Va\\u20acb\\U0001f600\xfc\n.": "a€b😀ü", "V\\ud800\n.": "\xed\xa0\x80",
		"(lp0\nI1\na.":    &List{[]any{int64(1)}},
		"(dp0\nI1\nNs.":   &Dict{[]Entry{{int64(1), nil}}},
		"(I1\nI2\ntp1\n.": Tuple{int64(1), int64(2)},
		"P12\n.":          &Ref{"12"},
		"(I1\nia\nb\n.":   &Object{Making: Instance, Class: &Global{"a", "b"}, Args: Tuple{int64(1)}},
		"(ca\nb\nI1\no.":  &Object{Making: Instance, Class: &Global{"a", "b"}, Args: Tuple{int64(1)}},
		"(K\x01(K\x021t.": Tuple{int64(1)},
		"(0N.":            nil,
	} {
		got, err := Decode([]byte(in))
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%q: %v %s", in, err, d)
		}
	}
}

func TestLimits(t *testing.T) {
	d := NewDecoder([]byte(strings.Repeat("N0", 50) + "N."))
	d.MaxValues = 50
	if _, err := d.Decode(); err == nil {
		t.Error("51 values are made where 50 are allowed")
	}
	d = NewDecoder([]byte("(ca\nb\ncos\nsystem\nt."))
	d.Allow = func(module, name string) error {
		if module != "a" {
			return fmt.Errorf("%s.%s is not allowed", module, name)
		}
		return nil
	}
	if _, err := d.Decode(); err == nil || !strings.Contains(err.Error(), "os.system is not allowed") {
		t.Errorf("got %v", err)
	}
}

// TestMemoHoles puts entries far apart: the memo must not grow to the index.
func TestMemoHoles(t *testing.T) {
	v, err := Decode([]byte("(X\x01\x00\x00\x00ar\xff\xff\xff\xffj\xff\xff\xff\xffX\x01\x00\x00\x00bq\x00h\x00t."))
	if d := cmp.Diff(Tuple{"a", "a", "b", "b"}, v); d != "" || err != nil {
		t.Error(err, d)
	}
}

func FuzzDecode(f *testing.F) {
	for _, g := range goldens(f, "record", "pickle", "foreign") {
		if len(g.data) < 2000 {
			f.Add(g.data)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		d := NewDecoder(in)
		for {
			v, err := d.Decode()
			if err != nil {
				return
			}
			out, err := Encode(v)
			if err != nil {
				continue // too deep, or a name with a newline
			}
			again, err := Decode(out)
			if err != nil {
				t.Fatalf("what was written is not read: %v\n%q", err, out)
			}
			out2, err := Encode(again)
			if err != nil || string(out) != string(out2) {
				t.Fatalf("written twice: %v\n%q\n%q", err, out, out2)
			}
		}
	})
}
