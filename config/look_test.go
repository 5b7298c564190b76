package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLook(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"there.fs", "c.pem"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "zeo.conf")
	text := strings.ReplaceAll(`<zeo>
  address no/zeo.sock
  <ssl>
    certificate c.pem
    key k.pem
    authenticate a
  </ssl>
</zeo>
<storages>
  <filestorage main>
    path no/Data.fs
  </filestorage>
</storages>
<use 1>
  storage main
</use>
<use 2>
  storage main
</use>
<filestorage 3>
  path there.fs
</filestorage>
<filestorage 4>
  path there.fs.not
  read-only on
</filestorage>
<filestorage 5>
  path .
</filestorage>
<before 6>
  before-from-file no/time
  <mappingstorage/>
</before>
<clientstorage 7>
  server 1
  <ssl>
    authenticate s.pem
  </ssl>
</clientstorage>
<eventlog>
  <logfile>
    path no/zeo.log
  </logfile>
  <logfile>
    path STDERR
  </logfile>
</eventlog>
`, " .\n", " "+dir+"\n")
	for _, name := range []string{"no/", "c.pem", "k.pem", "s.pem", "there.fs"} {
		text = strings.ReplaceAll(text, " "+name, " "+dir+"/"+name)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	if _, err := Check(path, true, environ).WriteTo(&got); err != nil {
		t.Fatal(err)
	}
	compareGolden(t, "testdata/look.expected", strings.ReplaceAll(got.String(), dir, "DIR"))
	if faults := Check(path, false, environ).Faults; len(faults) > 0 {
		t.Errorf("without a look: %v", faults)
	}
}

func TestLookIsContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zodb.conf")
	text := "<filestorage>\npath " + filepath.Dir(path) + "/Data.fs\n</filestorage>\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := Check(path, true, environ)
	if len(r.Faults) > 0 || len(r.Notes) != 1 || !strings.HasSuffix(r.Notes[0].Text, "Data.fs is not there: it is made new") {
		t.Errorf("%+v", r)
	}
}
