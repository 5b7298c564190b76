package zconfig

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// script parses each file of its input with ZConfig's own parser, and prints the
// tree as dump does, without positions, or null where the parser refuses.
const script = `
import io, json, os, posixpath, sys, urllib.parse
import ZConfig
from ZConfig.cfgparser import ZConfigParser

os.environ.update(HOME="/home/z", EMPTY="")

class Section:
    def __init__(self, header):
        self.header, self.keys, self.sections = header, [], []
    def addValue(self, key, value, position):
        self.keys.append((key, value))
    def dump(self, indent=""):
        for key, value in self.keys:
            yield indent + key + "=" + json.dumps(value)
        for s in self.sections:
            yield indent + s.header
            yield from s.dump(indent + "  ")

class Resource:
    def __init__(self, text, url):
        self.file, self.url = io.StringIO(text), url

class Context:
    def __init__(self, files):
        self.files, self.imports = files, []
    def startSection(self, parent, type_, name):
        s = Section("<%s %s>" % (type_, name) if name else "<%s>" % type_)
        s.name = name
        if name and any(o.name == name for o in parent.sections):
            raise ZConfig.ConfigurationError("re-used")
        parent.sections.append(s)
        return s
    def endSection(self, parent, type_, name, section):
        pass
    def importSchemaComponent(self, name):
        self.imports.append(name)
    def includeConfiguration(self, section, url, defines):
        path = urllib.parse.unquote(urllib.parse.urlparse(url).path)
        name = path[3:] if path.startswith("/d/") else path
        if not url.startswith("file:") or name not in self.files:
            raise ZConfig.ConfigurationError("no such file")
        self.parse(section, self.files[name], url, defines)
    def parse(self, section, text, url, defines):
        ZConfigParser(Resource(text, url), self, defines).parse(section)

sys.setrecursionlimit(500)
for text, files in json.load(sys.stdin):
    root, c = Section(""), Context(files or {})
    try:
        c.parse(root, text, "file:///d/main.conf", None)
    except (ZConfig.ConfigurationError, RecursionError):
        print("null")
        continue
    print(json.dumps("".join(l + "\n" for l in ["import " + i for i in c.imports] + list(root.dump()))))
`

var position = regexp.MustCompile(` @.*`)

// What we make of a file is what Python's ZConfig makes of it, and what we refuse
// it refuses, but for our bounds.
func TestPython(t *testing.T) {
	python := os.Getenv("ZARI_PYTHON")
	if python == "" {
		t.Skip("ZARI_PYTHON does not name a Python with ZConfig")
	}
	var input [][2]any
	var want []any
	for _, tt := range good {
		input = append(input, [2]any{tt.in, tt.files})
		want = append(want, any(position.ReplaceAllString(tt.want, "")))
		if tt.ours {
			want[len(want)-1] = nil
		}
	}
	for _, tt := range bad {
		if bounded := strings.Contains(tt.want, " than "); !bounded && !strings.Contains(tt.want, "UTF-8") {
			input = append(input, [2]any{tt.in, badFiles()})
			want = append(want, nil)
		}
	}
	stdin, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-c", script)
	cmd.Stdin = strings.NewReader(string(stdin))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(out)))
	for i := range input {
		var got any
		if err := d.Decode(&got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want[i], got); diff != "" {
			t.Errorf("%q (-ours +Python):\n%s", input[i][0], diff)
		}
	}
}
