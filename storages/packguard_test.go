package storages

import (
	"bytes"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// TestPackOfAMember: a file whose records refer to another database may be referred to
// from there. A pack that collects garbage in it alone is refused if it is known to be
// one of several; else it warns.
func TestPackOfAMember(t *testing.T) {
	thing := &pickle.Global{Module: "app", Name: "Thing"}
	elsewhere := &pickle.Ref{ID: pickle.NewList("n", pickle.Tuple{"other", []byte{0, 0, 0, 0, 0, 0, 0, 5}})}
	for _, c := range []struct{ gc, several, refused bool }{{true, true, true}, {true, false, false}, {false, true, false}} {
		var said bytes.Buffer
		s, err := Open(t.Context(), &config.FileStorage{Path: filepath.Join(t.TempDir(), "Data.fs"), PackGC: c.gc},
			Options{Several: c.several, Logger: slog.New(slog.NewTextHandler(&said, nil))})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		var serial zodb.TID
		for _, ref := range []any{nil, elsewhere} {
			record, err := pickle.EncodeRecord(thing, ref)
			if err != nil {
				t.Fatal(err)
			}
			serial = commitRoot(t, s, serial, record)
		}
		packer, ok := zodb.As[zodb.Packer](s)
		if !ok {
			t.Fatal("a file cannot be packed")
		}
		err = packer.Pack(t.Context(), time.Now().Add(time.Hour), zodb.PackOptions{})
		foreign, refused := errors.AsType[*pickle.ForeignError](err)
		if refused != c.refused || (refused && foreign.Database != "other") || (!refused && err != nil) {
			t.Errorf("pack, %+v: %v", c, err)
		}
		if _, err := s.LoadBefore(t.Context(), 0, serial); (err == nil) != c.refused {
			t.Errorf("pack, %+v: the old revision: %v", c, err)
		}
		if warned := strings.Contains(said.String(), "pack-gc false"); warned != (c.gc && !c.several) {
			t.Errorf("pack, %+v: the log says %q", c, said.String())
		}
	}
}

func commitRoot(t *testing.T, s zodb.Storage, serial zodb.TID, record []byte) zodb.TID {
	t.Helper()
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	if err := txn.Store(t.Context(), 0, serial, record); err != nil {
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
