package zconfig

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// options serves includes from files, and has two environment variables.
func options(files map[string]string) Options {
	return Options{
		Env: func(name string) (string, bool) {
			v, ok := map[string]string{"HOME": "/home/z", "EMPTY": ""}[name]
			return v, ok
		},
		Open: func(name string) (io.ReadCloser, error) {
			content, ok := files[name]
			if !ok {
				return nil, fs.ErrNotExist
			}
			return io.NopCloser(strings.NewReader(content)), nil
		},
	}
}

// dump writes a tree in a form that is easy to compare.
func dump(d *Document) string {
	var b strings.Builder
	for _, i := range d.Imports {
		fmt.Fprintf(&b, "import %s @%v\n", i.Package, i.Pos)
	}
	dumpSection(&b, &d.Section, "")
	return b.String()
}

func dumpSection(b *strings.Builder, s *Section, indent string) {
	for _, k := range s.Keys {
		fmt.Fprintf(b, "%s%s=%q @%v\n", indent, k.Name, k.Value, k.Pos)
	}
	for _, sub := range s.Sections {
		fmt.Fprintf(b, "%s%v @%v\n", indent, sub, sub.Pos)
		if sub.End.Line < sub.Pos.Line || sub.End.File != sub.Pos.File {
			fmt.Fprintf(b, "%send @%v\n", indent, sub.End)
		}
		dumpSection(b, sub, indent+"  ")
	}
}

// good files, and the trees that they give.
var good = []struct {
	name, in string
	files    map[string]string
	want     string
	ours     bool // Python's ZConfig refuses it
}{
	{name: "nothing", in: "", want: ""},
	{name: "blank lines and comments", in: "\n  \n # c\n#d\n\t#e <x>", want: ""},
	{name: "keys", in: "a 1\nB\t two words \nempty\nempty-too  \n", want: `a="1" @main.conf:1
B="two words" @main.conf:2
empty="" @main.conf:3
empty-too="" @main.conf:4
`},
	{name: "a value keeps what a comment would be", in: "a b # c", want: "a=\"b # c\" @main.conf:1\n"},
	{name: "a key ends at a parenthesis", in: "a(b) c", want: "a=\"(b) c\" @main.conf:1\n"},
	{name: "sections", in: "<A>\nk v\n<b NAME >\n</B>\n</a >\n<c/>\n<d x/>", want: `<a> @main.conf:1
  k="v" @main.conf:2
  <b name> @main.conf:3
<c> @main.conf:6
<d x> @main.conf:7
`},
	{name: "Windows line ends and a byte order mark", in: "\ufeff<a>\r\nk v\r\n</a>\r\n", want: "<a> @main.conf:1\n  k=\"v\" @main.conf:2\n", ours: true},
	{name: "unnamed sections of one type", in: "<a/>\n<a/>", want: "<a> @main.conf:1\n<a> @main.conf:2\n"},
	{name: "define", in: "%define Dir /db\n%define both ${dir}x$DIR\nk $both/$$dir$(HOME)$(EMPTY)-${Dir}", want: "k=\"/dbx/db/$dir/home/z-/db\" @main.conf:3\n"},
	{name: "environment in braces", in: "%define home /x\nk ${HOME}\n%define x ${EMPTY}\nk [${x}]", want: "k=\"/x\" @main.conf:2\nk=\"[]\" @main.conf:4\n", ours: true},
	{name: "defined empty", in: "%define x\nk [$x]", want: "k=\"[]\" @main.conf:2\n"},
	{name: "defined twice alike", in: "%define x 1\n%define X 1\nk $x", want: "k=\"1\" @main.conf:3\n"},
	{name: "replaced text is not looked at again", in: "%define x $$y\nk $x", want: "k=\"$y\" @main.conf:2\n"},
	{name: "no replacement in headers and keys", in: "<a $x>\n$k 1\n</a>", want: "<a $x> @main.conf:1\n  $k=\"1\" @main.conf:2\n"},
	{name: "import", in: "%define p ZEO\n%import $p\n<a>\n%import zc.zlibstorage\n</a>", want: "import ZEO @main.conf:2\nimport zc.zlibstorage @main.conf:4\n<a> @main.conf:3\n"},
	{name: "include", in: "<a>\n%define x 1\n%include sub/one.conf\nk $y\n</a>", files: map[string]string{
		"sub/one.conf": "%define y 2\none $x\n%include two.conf", "sub/two.conf": "<two/>\ntwo $y",
	}, want: `<a> @main.conf:1
  one="1" @sub/one.conf:2
  two="2" @sub/two.conf:2
  k="2" @main.conf:4
  <two> @sub/two.conf:1
`},
	{name: "a file twice", in: "<a>\n%include x\n</a>\n<b>\n%include x\n</b>", files: map[string]string{"x": "k v"},
		want: "<a> @main.conf:1\n  k=\"v\" @x:1\n<b> @main.conf:4\n  k=\"v\" @x:1\n"},
	{name: "include by URL", in: "%include file:///a%20b/c", files: map[string]string{"/a b/c": "k v"}, want: "k=\"v\" @/a b/c:1\n"},
}

func TestParse(t *testing.T) {
	for _, tt := range good {
		t.Run(tt.name, func(t *testing.T) {
			d, err := Parse(strings.NewReader(tt.in), "main.conf", options(tt.files))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, dump(d)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// bad files, and the messages that they give.
var bad = []struct{ in, want string }{
	{"<a>\nk v\n", "main.conf:1: section <a> is not closed"},
	{"<a x>\n<b>\n</a>", "main.conf:3: </a> does not end the section <b> of line 2 (</b> has to come first)"},
	{"</a>", "main.conf:1: </a> ends a section that was not begun"},
	{"</a", `main.conf:1: malformed section end "</a" (it ends with >)`},
	{"<a", `main.conf:1: malformed section start "<a" (it ends with >)`},
	{"<", `main.conf:1: malformed section start "<" (it ends with >)`},
	{"<>", `main.conf:1: malformed section header "<>" (write <TYPE> or <TYPE NAME>)`},
	{"</>", `main.conf:1: </> ends a section that was not begun`},
	{"< a>", `main.conf:1: malformed section header "< a>" (write <TYPE> or <TYPE NAME>)`},
	{"<a b c>", `main.conf:1: malformed section header "<a b c>" (write <TYPE> or <TYPE NAME>)`},
	{"<a(b)>", `main.conf:1: malformed section header "<a(b)>" (write <TYPE> or <TYPE NAME>)`},
	{"<a x/>\n<b X/>", `main.conf:2: the section name "x" is taken already: <a x> at main.conf:1`},
	{"(k) v", `main.conf:1: malformed line "(k) v": a key holds no parentheses`},
	{"%", "main.conf:1: a directive is missing after %"},
	{"%defin x 1", `main.conf:1: unknown directive %defin (did you mean "define"?)`},
	{"%include", "main.conf:1: %include needs an argument"},
	{"%define 1x 2", `main.conf:1: "1x" cannot be defined (a name has letters, digits and underscores)`},
	{"%define x 1\n%define x 2", `main.conf:2: "x" is defined already, as "1"`},
	{"%define instance /x\nk $instanec/y", `main.conf:2: "instanec" is not defined (did you mean "instance"?)`},
	{"k $HOME", `main.conf:1: "HOME" is not defined (for the environment variable, write $(HOME))`},
	{"k ${home}", `main.conf:1: "home" is not defined`},
	{"k $(NO)", `main.conf:1: there is no environment variable "NO"`},
	{"k $", "main.conf:1: a lone $ ends the line (write $$ for a dollar)"},
	{"k $-", "main.conf:1: $ is not followed by a name (write $$ for a dollar)"},
	{"k ${}", "main.conf:1: ${ is not followed by a name (write $$ for a dollar)"},
	{"k ${a-b}", "main.conf:1: ${a is not followed by } (${NAME} is from %define, $(NAME) from the environment, and there are no defaults)"},
	{"k $(HOME", "main.conf:1: $(HOME is not followed by ) (${NAME} is from %define, $(NAME) from the environment, and there are no defaults)"},
	{"k \xff", "main.conf:1: the line is not UTF-8"},
	{"%include no.conf", "main.conf:1: cannot include no.conf: file does not exist"},
	{"%include http://example.org/x", `main.conf:1: cannot include "http://example.org/x": only files can be included (write a path)`},
	{"%include package:ZEO:x.conf", `main.conf:1: cannot include "package:ZEO:x.conf": only files can be included (write a path)`},
	{"\n%include self.conf", "self.conf:1: self.conf includes itself"},
	{"%include open.conf\n</a>", "open.conf:1: section <a> is not closed"},
	{"<a>\n%include close.conf", "close.conf:1: </a> ends a section that was not begun"},
	{"%include double1.conf", "double16.conf:1: files are included more than 16 deep"},
	{strings.Repeat("<a>\n", 40), "main.conf:33: sections are nested more than 32 deep"},
	{strings.Repeat("%include empty.conf\n", 300), "empty.conf: more than 200 files are included"},
	{strings.Repeat("k\n", 30_000), "main.conf:20001: there are more than 20000 lines in all"},
	{"#" + strings.Repeat("x", 2<<20), "main.conf: the file is larger than 1048576 bytes"},
	{"k " + strings.Repeat("x", 100_000), "main.conf:1: the value is longer than 65536 bytes"},
	{bomb(), "main.conf:18: the value is longer than 65536 bytes after replacement"},
}

// badFiles are those that the bad ones include.
func badFiles() map[string]string {
	files := map[string]string{
		"self.conf": "%include ./self.conf", "open.conf": "<a>", "close.conf": "</a>", "empty.conf": "",
	}
	for i := 1; i < 20; i++ {
		files[fmt.Sprintf("double%d.conf", i)] = fmt.Sprintf("%%include double%d.conf\n", i+1)
	}
	return files
}

func TestParseErrors(t *testing.T) {
	files := badFiles()
	for _, tt := range bad {
		_, err := Parse(strings.NewReader(tt.in), "main.conf", options(files))
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Error() != tt.want {
			t.Errorf("%.40q: %v\nwant %s", tt.in, err, tt.want)
		}
	}
}

// bomb defines names that double in length with each line.
func bomb() string {
	var b strings.Builder
	b.WriteString("%define x0 x\n")
	for i := range 40 {
		fmt.Fprintf(&b, "%%define x%d $x%d$x%d\n", i+1, i, i)
	}
	return b.String()
}

func TestReadError(t *testing.T) {
	boom := errors.New("boom")
	_, err := Parse(io.MultiReader(strings.NewReader("a b\n"), errReader{boom}), "main.conf", Options{})
	if !errors.Is(err, boom) || !strings.HasPrefix(err.Error(), "main.conf: ") {
		t.Errorf("%v", err)
	}
	if _, err := Load(t.TempDir()+"/none", Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"<zeo>\n  address 8100\n</zeo>\n<filestorage 1>\n  path $(HOME)/Data.fs\n</filestorage>\n",
		"%define a b\n%import ZEO\n%include x\nk ${a}$$", "<a/>\n<b x/>", "<", "</>", "%", "(", "k $(", bomb(),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		d, err := Parse(strings.NewReader(in), "main.conf", options(map[string]string{"x": "k v\n%include y", "y": "<a>\n</a>"}))
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		checkTree(t, &d.Section, 0)
	})
}

func checkTree(t *testing.T, s *Section, depth int) {
	if depth > maxNesting {
		t.Fatalf("nested %d deep", depth)
	}
	for _, k := range s.Keys {
		if k.Name == "" || strings.ContainsFunc(k.Name, notInWord) || len(k.Value) > maxValue || k.Pos.Line == 0 {
			t.Fatalf("bad key %+v", k)
		}
	}
	for _, sub := range s.Sections {
		if sub.Type == "" || strings.ContainsFunc(sub.Type+sub.Name, notInWord) {
			t.Fatalf("bad section %v", sub)
		}
		checkTree(t, sub, depth+1)
	}
}

func TestEnviron(t *testing.T) {
	d, err := Parse(strings.NewReader("a ${HOME}\nb $(HOME)${HOME}\n%define home /x\nc ${HOME}\n"), "main.conf", options(nil))
	if err != nil {
		t.Fatal(err)
	}
	want := []Reference{{Name: "HOME", Pos: Pos{File: "main.conf", Line: 1}}}
	if diff := cmp.Diff(want, d.Environ); diff != "" || d.Keys[0].Value != "/home/z" || d.Keys[2].Value != "/x" {
		t.Errorf("%v (-want +got):\n%s", d.Keys, diff)
	}
}
