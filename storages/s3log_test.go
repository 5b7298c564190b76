package storages

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/engine/s3storage"
	"github.com/zaridb/zari/internal/testpg"
	"github.com/zaridb/zari/zodb"
)

func TestS3LogOptions(t *testing.T) {
	for where, want := range map[string]string{
		"s3dir:///x?log=mysql":                                             "a log is s3, postgres or local",
		"s3dir:///x?log=postgres":                                          "log postgres needs log-dsn",
		"s3dir:///x?log=local":                                             "log local needs log-dir",
		"s3dir:///x?cache-dir-size=0":                                      "at least one byte",
		"s3dir:///x?lease=-1s":                                             "is not a time such as",
		"s3dir:///x?log-abandon=1234":                                      "is not the id of a log",
		"s3dir:///x?log=postgres&log-dsn=password%3Dsecret+port":           "there is no = after keyword 2",
		"s3dir:///x?log=postgres&log-dsn=postgres://u:secret@127.0.0.1:1/": "127.0.0.1",
	} {
		where = strings.Replace(where, "/x", t.TempDir(), 1)
		c, _, err := config.FindStorage(where, nil)
		if err == nil {
			_, err = Open(t.Context(), c, Options{})
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v; want %q", where, err, want)
		}
	}
}

// A database goes from one log to the next, and everything is there; who was not told where it is does
// not write, and reads what the bucket has.
func TestS3Logs(t *testing.T) {
	where := "s3dir://" + t.TempDir()
	local := "log-dir=" + url.QueryEscape(t.TempDir())
	postgres := "log-dsn=" + url.QueryEscape(testpg.Database(t))
	serial := zodb.TID(0)
	for _, step := range []struct{ options, refused string }{
		{"log=s3", ""},
		{"log=local&" + local, "log=s3"},
		{"log=local&" + local, "log=postgres&" + postgres},
		{"log=postgres&" + postgres + "&" + local, "log=local&" + local},
		{"log=s3&" + postgres, ""},
		{"log=postgres&" + postgres, "log=s3"},
		{"log=s3&" + postgres, ""},
	} {
		s, err := OpenURL(t.Context(), where+"?"+step.options, Options{})
		if err != nil {
			t.Fatalf("%s: %v", step.options, err)
		}
		if got := s.LastTID(); got != serial {
			t.Errorf("%s: the last transaction is %v, want %v", step.options, got, serial)
		}
		serial = writeRoot(t, s, serial)
		serial = writeRoot(t, s, serial)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		reader, err := OpenURL(t.Context(), where, Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := reader.LastTID(); got != serial {
			t.Errorf("%s: a reader finds %v, want %v", step.options, got, serial)
		}
		reader.Close()
		if step.refused == "" {
			continue
		}
		_, err = OpenURL(t.Context(), where+"?"+step.refused, Options{})
		if _, ok := errors.AsType[*s3storage.FrontError](err); !ok {
			t.Errorf("after %s, %s: %v", step.options, step.refused, err)
		}
	}
}
