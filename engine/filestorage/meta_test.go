package filestorage

import (
	"errors"
	"strings"
	"testing"

	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

func TestMeta(t *testing.T) {
	m := disk(t)
	s := openOn(t, m)
	want := store.Meta{UUID: [16]byte{1, 2, 255}, Epoch: 7, TIDFloor: 1<<63 - 5, NextOID: 1<<64 - 1}
	if _, err := s.Append(t.Context(), nil, &want); err != nil {
		t.Fatal(err)
	}
	check := func(want store.Meta) {
		t.Helper()
		if got, err := s.Meta(t.Context()); got != want || err != nil {
			t.Errorf("Meta: %+v, %v, want %+v", got, err, want)
		}
	}
	check(want)
	closed(t, s)
	s = openOn(t, m)
	check(want)

	// A meta that cannot be written leaves the old one, and nothing appended.
	closed(t, s)
	f := vfs.Fault(m, 1)
	s = openOn(t, f)
	f.SetRules(vfs.Rule{Ops: vfs.OpSync, Path: "*.new"})
	if n, err := s.Append(t.Context(), nil, &store.Meta{}); n != 0 || err == nil {
		t.Errorf("Append: %d, %v", n, err)
	}
	check(want)
	closed(t, s)

	for name, garbage := range map[string]string{
		"empty": "", "zeros": "\x00\x00\x00", "no checksum": `{"format":1}`,
		"changed": strings.Replace(string(readFile(t, m, dataFile+".zari")), `"epoch":7`, `"epoch":8`, 1),
	} {
		writeFile(t, m, dataFile+".zari", []byte(garbage))
		var log logged
		s = open(t, Options{Path: dataFile, FS: m, Logger: log.logger()})
		check(store.Meta{})
		log.want(t, "made anew")
		closed(t, s)
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

func FuzzDecodeMeta(f *testing.F) {
	good, err := encodeMeta(store.Meta{UUID: [16]byte{1}, NextOID: 5})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("{}\n00000000\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(b)
		if err != nil {
			return
		}
		again, err := encodeMeta(m)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodeMeta(again); got != m || err != nil {
			t.Fatalf("%+v is read again as %+v, %v", m, got, err)
		}
	})
}

func TestReserve(t *testing.T) {
	m := disk(t)
	s := open(t, Options{Path: dataFile, FS: m, Quota: 1 << 20})
	release, err := s.Reserve(700_000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reserve(700_000); !errors.Is(err, zodb.ErrNoSpace) {
		t.Errorf("beyond the quota: %v", err)
	}
	release()
	release()
	release, err = s.Reserve(700_000)
	if err != nil {
		t.Errorf("after release: %v", err)
	}
	release()
	closed(t, s)
	if n := int64(len(readFile(t, m, dataFile))); m.Used() > 10*n+1000 {
		t.Errorf("%d bytes stay set aside after Close", m.Used())
	}
}

// What was reserved can be appended, though others fill the disk.
func TestReserveKeepsItsPromise(t *testing.T) {
	m := disk(t)
	s := openOn(t, m)
	x := txn(1, put(1, string(make([]byte, 6<<20))))
	release, err := s.Reserve(s.Space(x))
	if err != nil {
		t.Fatal(err)
	}
	m.SetCapacity(m.Used())
	appendTo(t, s, x)
	release()
	if _, err := s.Reserve(100 << 20); !errors.Is(err, zodb.ErrNoSpace) {
		t.Errorf("on a full disk: %v", err)
	}
	m.SetCapacity(1 << 40)
	if release, err = s.Reserve(100 << 20); err != nil {
		t.Errorf("with room again: %v", err)
	}
	release()
}

func TestReserveUnsupported(t *testing.T) {
	var log logged
	s := open(t, Options{
		Path: dataFile, FS: vfs.Fault(disk(t), 1, vfs.Rule{Ops: vfs.OpReserve, Err: errors.ErrUnsupported}), Logger: log.logger(),
	})
	log.want(t, "cannot set space aside")
	release, err := s.Reserve(1 << 50)
	if err != nil {
		t.Fatal(err)
	}
	release()
	history(t, s)
}
