package storages

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// What was read is kept in the directory that the URL names.
func TestS3Cache(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	where := "s3dir://" + t.TempDir()
	s, err := OpenURL(t.Context(), where, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for serial, i := zodb.TID(0), 0; i < 30; i++ { // enough for a checkpoint at the end
		serial = writeRoot(t, s, serial)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = OpenURL(t.Context(), where+"?read-only=yes&cache-dir-size=10MB&cache-dir="+cache, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.LoadBefore(t.Context(), 0, zodb.MaxTID); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if blocks, err := filepath.Glob(cache + "/*/*"); err != nil || len(blocks) != 1 {
		t.Errorf("%d blocks in the cache, %v", len(blocks), err)
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
	for serial := zodb.TID(0); len(tids) < 3; tids = append(tids, serial) {
		serial = writeRoot(t, s, serial)
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

// A server that only reads hears of what another one commits, in order.
func TestS3Reader(t *testing.T) {
	where := "s3dir://" + t.TempDir()
	s, err := OpenURL(t.Context(), where, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	serial := writeRoot(t, s, 0)
	reader, err := OpenURL(t.Context(), where, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	heard := make(chan zodb.Change, 8)
	w, _ := zodb.As[zodb.Watcher](reader)
	after, stop := w.Observe(func(c zodb.Change) { heard <- c })
	defer stop()
	if after != serial {
		t.Errorf("opened at %v, want %v", after, serial)
	}
	for range 2 {
		serial = writeRoot(t, s, serial)
		select {
		case c := <-heard:
			if c.TID != serial || len(c.OIDs) != 1 || c.OIDs[0] != 0 {
				t.Errorf("heard of %v, want %v", c, serial)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the reader hears nothing")
		}
		if rec, err := reader.LoadBefore(t.Context(), 0, zodb.MaxTID); err != nil || rec.Serial != serial {
			t.Errorf("the root is %v, %v; want %v", rec.Serial, err, serial)
		}
	}
}

// writeRoot commits a new state of the root over that of serial.
func writeRoot(t *testing.T, s zodb.Storage, serial zodb.TID) zodb.TID {
	t.Helper()
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		t.Fatal(err)
	}
	if err := txn.Store(t.Context(), 0, serial, storagetest.Object(int(serial))); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Vote(t.Context()); err != nil {
		t.Fatal(err)
	}
	tid, err := txn.Finish(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return tid
}
