package storages

import (
	"strings"
	"testing"

	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/zodb"
)

func TestS3Options(t *testing.T) {
	for where, want := range map[string]string{
		"s3dir:///x?nonsense=1":              "this option is not known",
		"s3dir:///x?lease=long":              "lease=long",
		"s3://bucket/prefix?commit-window=x": "commit-window=x",
		"s3://bucket/prefix?regoin=x":        "regoin=x: this option is not known: there are addressing",
	} {
		c, _, err := config.FindStorage(where, nil)
		if err == nil {
			_, err = Open(t.Context(), c, Options{})
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", where, err, want)
		}
	}
}

// ?at= is the database as it was.
func TestS3At(t *testing.T) {
	where := "s3dir://" + t.TempDir()
	s, err := OpenURL(t.Context(), where, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var tids []zodb.TID
	for i := range 3 {
		txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
		if err != nil {
			t.Fatal(err)
		}
		serial := zodb.TID(0)
		if i > 0 {
			serial = tids[i-1]
		}
		if err := txn.Store(t.Context(), 0, serial, storagetest.Object(i)); err != nil {
			t.Fatal(err)
		}
		if _, err := txn.Vote(t.Context()); err != nil {
			t.Fatal(err)
		}
		tid, err := txn.Finish(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		tids = append(tids, tid)
	}
	at, err := OpenURL(t.Context(), where+"?at="+tids[1].String(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	rec, err := at.LoadBefore(t.Context(), 0, zodb.MaxTID)
	if err != nil || rec.Serial != tids[1] || rec.Next != 0 {
		t.Errorf("the root at %v is %v, next %v, %v", tids[1], rec.Serial, rec.Next, err)
	}
	if _, err := at.Begin(t.Context(), zodb.TxnMeta{}); err == nil {
		t.Error("the past can be written")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
