package config

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/config/pylog"
	"github.com/zaridb/zari/config/zconfig"
)

const manual = "../docs/operations/configuration.md"

// documented is a table of the manual.
type documented struct {
	keys     []string
	defaults map[string]string // of those that have one
}

var (
	tableTitle = regexp.MustCompile("^### (?:`<(\\w+)>`(?: in `<(\\w+)>`)?|Options of `(\\w+)://`)$")
	tableRow   = regexp.MustCompile("^\\| (`.+`) \\| (.*?) ?\\| .*\\|$|^\\| (`.+`) \\| (.*?) ?\\| ?\\|$")
	// Of a file for a server, or with databases; a section alone is none.
	pageExample = regexp.MustCompile(`(?m)(?:^    <(?:zeo|zodb) ?\w*>\n(?:    .*\n)+)`)
	code        = regexp.MustCompile("`([^`]+)`")
)

// readManual returns its tables, by section type, "ssl in zeo", or "file://".
func readManual(t *testing.T) map[string]*documented {
	t.Helper()
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	tables := make(map[string]*documented)
	var table *documented
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if m := tableTitle.FindStringSubmatch(line); m != nil {
			table = &documented{defaults: make(map[string]string)}
			tables[tableName(m)] = table
			continue
		}
		if strings.HasPrefix(line, "##") {
			table = nil
		}
		m := tableRow.FindStringSubmatch(line)
		if table == nil || m == nil {
			continue
		}
		for _, key := range code.FindAllStringSubmatch(m[1]+m[3], -1) {
			table.keys = append(table.keys, key[1])
			if d := code.FindStringSubmatch(m[2] + m[4]); d != nil {
				table.defaults[key[1]] = d[1]
			}
		}
	}
	return tables
}

func tableName(m []string) string {
	switch {
	case m[3] != "":
		return m[3] + "://"
	case m[2] != "" && m[1] == "ssl":
		return m[1] + " in " + m[2]
	}
	return m[1]
}

// samples are files that have a section of each type, with what it needs. A line
// "@" stands where more keys go.
var samples = map[string]string{
	"zeo":                 "<zeo>\naddress 1\n@\n</zeo>\n<mappingstorage/>",
	"ssl in zeo":          "<zeo>\naddress 1\n<ssl>\ncertificate c\nauthenticate a\n@\n</ssl>\n</zeo>\n<mappingstorage/>",
	"filestorage":         "<filestorage>\npath x\n@\n</filestorage>",
	"mappingstorage":      "<mappingstorage>\n@\n</mappingstorage>",
	"temporarystorage":    "<temporarystorage>\n@\n</temporarystorage>",
	"zeoclient":           "<zeoclient>\nserver 1\n@\n</zeoclient>",
	"ssl in zeoclient":    "<zeoclient>\nserver 1\n<ssl>\n@\n</ssl>\n</zeoclient>",
	"relstorage":          "<relstorage>\n@\n<postgresql/>\n</relstorage>",
	"postgresql":          "<relstorage>\n<postgresql>\n@\n</postgresql>\n</relstorage>",
	"mysql":               "<relstorage>\n<mysql>\n@\n</mysql>\n</relstorage>",
	"sqlite3":             "<relstorage>\n<sqlite3>\ndata-dir x\n@\n</sqlite3>\n</relstorage>",
	"s3storage":           "<s3storage>\nurl s3://bucket/prefix\n@\n</s3storage>",
	"blobstorage":         "<blobstorage>\nblob-dir b\n@\n<mappingstorage/>\n</blobstorage>",
	"demostorage":         "<demostorage>\n@\n</demostorage>",
	"zlibstorage":         "<zlibstorage>\n@\n<mappingstorage/>\n</zlibstorage>",
	"before":              "<before>\n@\n<mappingstorage/>\n</before>",
	"readonly":            "<readonly>\n@\n<mappingstorage/>\n</readonly>",
	"cache":               "<cache>\n@\n<s3storage>\nurl s3://bucket/prefix\n</s3storage>\n</cache>",
	"storages":            "<storages>\n@\n</storages>\n<mappingstorage/>",
	"use":                 "<storages>\n<mappingstorage x/>\n</storages>\n<use x>\n@\n</use>",
	"loaddelayed_storage": "<loaddelayed_storage>\n@\n<mappingstorage/>\n</loaddelayed_storage>",
	"zodb":                "<zodb>\n@\n<mappingstorage/>\n</zodb>",
	"zodb_db":             "<zodb_db>\n@\n<mappingstorage/>\n</zodb_db>",
	"eventlog":            "<eventlog>\n@\n</eventlog>\n<mappingstorage/>",
	"logfile":             "<eventlog>\n<logfile>\npath p\n@\n</logfile>\n</eventlog>\n<mappingstorage/>",
	"syslog":              "<eventlog>\n<syslog>\n@\n</syslog>\n</eventlog>\n<mappingstorage/>",
	"runner":              "<runner>\n@\n</runner>\n<mappingstorage/>",
}

// loadSample returns the configuration that a sample with one more line gives,
// and the keys that the section may have.
func loadSample(t *testing.T, name, line string) (*Config, []string) {
	t.Helper()
	doc, err := zconfig.Parse(strings.NewReader(strings.Replace(samples[name], "@", line, 1)), name, zconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	typ, _, _ := strings.Cut(name, " ")
	var keys []string
	l := newLoader(environ)
	l.asked = func(section string, known []string) {
		if section == typ && keys == nil {
			keys = known
		}
	}
	c := l.root(doc)
	if len(l.errs) > 0 {
		t.Fatalf("<%s> with %q: %v", name, line, l.errs)
	}
	return c, keys
}

// What the pages show as a configuration file is one.
func TestExamplesOfPages(t *testing.T) {
	pages, err := filepath.Glob("../docs/operations/*.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, example := range pageExample.FindAllString(string(text), -1) {
			examples++
			path := filepath.Join(t.TempDir(), filepath.Base(page))
			if err := os.WriteFile(path, []byte(example), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := LoadStorages(path, environ); err != nil {
				t.Errorf("%v\n%s", err, example)
			}
		}
	}
	if examples < 2 {
		t.Errorf("%d examples were found", examples)
	}
}

// The tables of the manual have all keys, no others, and the right defaults.
func TestManual(t *testing.T) {
	tables := readManual(t)
	tables["zodb_db"].keys = append(tables["zodb_db"].keys, tables["zodb"].keys...)
	for name := range samples {
		table := tables[name]
		if table == nil {
			t.Errorf("there is no section about <%s>", name)
			continue
		}
		plain, keys := loadSample(t, name, "")
		slices.Sort(keys)
		slices.Sort(table.keys)
		if diff := cmp.Diff(slices.Compact(keys), table.keys); diff != "" {
			t.Errorf("<%s> (-the program +the manual):\n%s", name, diff)
		}
		for key, value := range table.defaults {
			if strings.Contains(samples[name], "\n"+key+" ") {
				t.Errorf("<%s>: %s is needed, and has a default", name, key)
				continue
			}
			set, _ := loadSample(t, name, key+" "+value)
			if diff := cmp.Diff(plain, set, samePos, sameFormat); diff != "" {
				t.Errorf("<%s>: %s is not %s unless it is given (-not given +given):\n%s", name, key, value, diff)
			}
		}
	}
	for name := range tables {
		if _, ok := samples[name]; !ok && !strings.HasSuffix(name, "://") {
			t.Errorf("<%s> is in the manual, and not in the test", name)
		}
	}
	for typ := range storageReaders {
		if samples[typ] == "" && typ != "clientstorage" && typ != "serverzlibstorage" {
			t.Errorf("<%s> is not in the manual", typ)
		}
	}
}

var (
	samePos    = cmp.Comparer(func(a, b zconfig.Pos) bool { return true })
	sameFormat = cmp.Comparer(func(a, b *pylog.Format) bool {
		textA, errA := sampleText(a)
		textB, errB := sampleText(b)
		return errA == nil && errB == nil && textA == textB
	})
)

func TestManualOptions(t *testing.T) {
	tables := readManual(t)
	for scheme, url := range map[string]string{
		"file://": "file://Data.fs", "zeo://": "zeo://h:1",
		"postgres://": "postgres://h/d", "mysql://": "mysql://h/d", "sqlite://": "sqlite://d",
	} {
		plain, _, err := FindStorage(url, environ)
		if err != nil {
			t.Fatal(err)
		}
		table := tables[scheme]
		if _, ok := plain.(*RelStorage); ok {
			table = withKeys(table, tables["relstorage"])
		}
		asked := askedOptions(t, scheme)
		for _, key := range table.keys {
			if !asked[key] {
				t.Errorf("%s: there is no option %s", scheme, key)
			}
			delete(asked, key)
		}
		for key := range asked {
			t.Errorf("%s: the option %s is not in the manual", scheme, key)
		}
		for key, value := range table.defaults {
			set, _, err := FindStorage(url+"?"+key+"="+value, environ)
			if err != nil {
				t.Errorf("%s%s: %v", scheme, key, err)
				continue
			}
			if diff := cmp.Diff(plain, set); diff != "" {
				t.Errorf("%s: %s is not %s unless it is given (-not given +given):\n%s", scheme, key, value, diff)
			}
		}
	}
}

// withKeys adds to the options of a URL those that are the keys of a section.
func withKeys(options, section *documented) *documented {
	all := &documented{keys: slices.Concat(options.keys, []string{"demostorage"}), defaults: maps.Clone(options.defaults)}
	for _, key := range section.keys {
		name := strings.ReplaceAll(key, "-", "_")
		all.keys = append(all.keys, name)
		if d, ok := section.defaults[key]; ok {
			all.defaults[name] = d
		}
	}
	return all
}

// askedOptions returns the options that a URL may have.
func askedOptions(t *testing.T, scheme string) map[string]bool {
	t.Helper()
	o := &urlOptions{values: make(map[string]string), asked: make(map[string]bool)}
	say := func(string) {}
	var err error
	switch scheme {
	case "file://":
		o.file("x")
	case "zeo://":
		o.client(zconfig.Address{})
	case "postgres://":
		o.relStorage(say)
		_, err = o.postgreSQL("h/d", say)
	case "mysql://":
		o.relStorage(say)
		_, err = o.mySQL("h/d")
	case "sqlite://":
		o.relStorage(say)
		_, err = o.sqlite("d")
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.demo(&MappingStorage{}); err != nil {
		t.Fatal(err)
	}
	return o.asked
}

func TestMetricsAddress(t *testing.T) {
	for _, test := range []struct {
		value, report string
		none, given   bool
	}{
		{"", "", false, false},
		{"metrics-address 9000", "metrics at 127.0.0.1:9000", false, true},
		{"metrics-address off", "no metrics", true, false},
		{"metrics-address OFF", "no metrics", true, false},
	} {
		path := filepath.Join(t.TempDir(), "zeo.conf")
		text := "<zeo>\naddress 1\n" + test.value + "\n</zeo>\n<mappingstorage/>\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(path, environ)
		if err != nil {
			t.Fatal(err)
		}
		if c.ZEO.NoMetrics != test.none || (c.ZEO.MetricsAddress != nil) != test.given {
			t.Errorf("%q: %v, %v", test.value, c.ZEO.NoMetrics, c.ZEO.MetricsAddress)
		}
		var said strings.Builder
		if _, err := Check(path, false, environ).WriteTo(&said); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(said.String(), test.report) {
			t.Errorf("%q is reported as\n%s", test.value, said.String())
		}
	}
}
