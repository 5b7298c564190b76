package config

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// script reads the configurations in Python's packages ZODB and ZEO, in their
// programs, documents and tests, and those of its input, with ZConfig and the
// schemas of those packages. It prints each text, and why it is refused, null for
// one that is not. Files that are named need not be there.
const script = `
import io, json, os, re, sys
import ZConfig, ZConfig.datatypes
for name in ("existing-dirpath", "existing-path", "existing-file", "existing-directory"):
    ZConfig.datatypes.stock_datatypes[name] = str
import zdaemon.zdoptions
zdaemon.zdoptions.existing_parent_dirpath = zdaemon.zdoptions.existing_parent_directory = str
import ZEO, ZEO.zconfig, ZODB
ZEO.zconfig.ssl_config = lambda section, server: (None, None)
os.environ.update(HOME="/home/z", DATA="/data")

schemas = [ZConfig.loadSchema(os.path.join(os.path.dirname(ZEO.__file__), "schema.xml")),
    ZConfig.loadSchemaFile(io.StringIO("""<schema><import package="ZODB"/>
<multisection type="ZODB.storage" name="*" attribute="storages"/>
<multisection type="ZODB.database" name="*" attribute="databases"/></schema>"""))]

try:
    import Zope2.Startup.datatypes
    schemas.append(ZConfig.loadSchema(os.path.join(os.path.dirname(Zope2.__file__), "Startup", "wsgischema.xml")))
except ImportError:
    pass # then nobody says what Zope takes

start = re.compile(r"^<(\w+)(\s+[\w.-]+)?\s*>$")

def prompt(line):
    line = line.strip()
    return re.sub(r"^(\.\.\.|>>>)\s?", "", line)

def snippets(text):
    lines = [prompt(l) for l in text.split("\n")]
    i = 0
    while i < len(lines):
        depth, j = 0, i
        if start.match(lines[i]):
            while j < len(lines):
                depth += bool(start.match(lines[j])) - lines[j].startswith("</")
                j += 1
                if depth == 0:
                    yield "\n".join(lines[i:j]) + "\n"
                    break
            else:
                j = i + 1
        i = max(j, i + 1)

def texts():
    for p in (ZODB, ZEO):
        for folder, _, files in sorted(os.walk(os.path.dirname(p.__file__))):
            for f in sorted(files):
                if f.endswith((".py", ".rst", ".txt", ".test")):
                    with open(os.path.join(folder, f), encoding="utf-8") as r:
                        for s in snippets(r.read()):
                            s = "%import ZEO.tests\n%import ZODB.tests\n" + s
                            yield "", "", "%import ZEO\n" + s # not beside <zeo>: both have an <ssl>
                            if "<zeo>" not in s and "<zodb" not in s:
                                yield "", "", s + "<zeo>\naddress 1\n</zeo>\n"
    yield from json.load(sys.stdin)

def refusal(folder, text):
    why = []
    for schema in schemas:
        try:
            ZConfig.loadConfigFile(schema, io.StringIO(text, newline=None), url="file://%s/x.conf" % folder)
            return None
        except Exception as e:
            why.append(str(e))
    return " / ".join(why)

seen = set()
for name, folder, text in texts():
    if text not in seen:
        seen.add(text)
        print(json.dumps([name, text, refusal(folder, text)]))
`

var (
	// notHad are refusals of what Python has and Zari has not, or of what cannot
	// work.
	notHad = regexp.MustCompile(`is not supported yet|runs no Python|from the ZEO protocol|is opened already|has a base already|` +
		`no Python function|blobs already|driver for Oracle|unknown field|only one storage may be without a name|there is no <zeo>|` +
		`DYNAMIC|is named 1, and so|no storage to serve`)
	// notPythons are what Zari takes and this Python does not: because it is Zari's
	// own, or because a package is not installed.
	notPythons = regexp.MustCompile(`(?i)<(use|readonly|storages|zlibstorage|serverzlibstorage|before|zodb_db|temporarystorage)\b|` +
		`\$\{DATA\}|metrics-address|max-|slow-commit|wait-timeout|<\w+ (source|destination)|(?m:^\s*(shared|pool-size|ssl_mode) )`)
	relStorage = regexp.MustCompile(`(?i)<relstorage\b`)
)

// What Python's own schemas take we take, and what they refuse we refuse, but for
// what one of the two has and the other has not.
func TestPython(t *testing.T) {
	pythonPath := os.Getenv("ZARI_PYTHON")
	if pythonPath == "" {
		t.Skip("ZARI_PYTHON does not name a Python with ZODB and ZEO")
	}
	withRelStorage := hasRelStorage(pythonPath)
	files, err := filepath.Glob("testdata/*/*.conf")
	if err != nil {
		t.Fatal(err)
	}
	var input [][3]string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		folder, err := filepath.Abs(filepath.Dir(file))
		if err != nil {
			t.Fatal(err)
		}
		input = append(input, [3]string{file, folder, strings.TrimPrefix(string(text), "\ufeff")})
	}
	stdin, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(pythonPath, "-c", script)
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(stdin)), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	taken, refused := 0, 0
	d := json.NewDecoder(strings.NewReader(string(out)))
	for d.More() {
		var result [3]*string
		if err := d.Decode(&result); err != nil {
			t.Fatal(err)
		}
		name, text, python := *result[0], *result[1], result[2]
		ours := refusal(t, name, text)
		switch {
		case python == nil && ours != nil && !allFaults(ours, notHad):
			t.Errorf("%s: Python takes it, we do not: %v\n%s", name, ours, text)
		case python != nil && ours == nil && relStorage.MatchString(text) && !withRelStorage:
		case python != nil && ours == nil && !notPythons.MatchString(text):
			t.Errorf("%s: we take it, Python does not: %s\n%s", name, *python, text)
		case python == nil:
			taken++
		default:
			refused++
		}
	}
	t.Logf("Python takes %d, and refuses %d", taken, refused)
	if taken < 80 || refused < 20 {
		t.Errorf("that is too few: the texts have not been found")
	}
}

// refusal returns why we refuse a text, or a file, if it is one.
func refusal(t *testing.T, file, text string) error {
	t.Helper()
	if file == "" {
		file = filepath.Join(t.TempDir(), "zeo.conf")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := LoadStorages(file, environ)
	return err
}

func allFaults(err error, known *regexp.Regexp) bool {
	for line := range strings.Lines(err.Error()) {
		if !known.MatchString(line) {
			return false
		}
	}
	return true
}
