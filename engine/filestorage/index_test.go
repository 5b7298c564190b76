package filestorage

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// The index does what a map does, for oids that are close together, far apart,
// and in any order.
func TestIndexLikeAMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	x, want := newIndex(), make(map[zodb.OID]int64)
	for range 60_000 {
		var oid zodb.OID
		switch rng.IntN(4) {
		case 0:
			oid = zodb.OID(rng.IntN(3 * leafLen)) // leaves become arrays
		case 1:
			oid = 1<<40 + zodb.OID(rng.IntN(1<<20))
		case 2:
			oid = zodb.OID(rng.Uint64())
		default:
			oid = zodb.OID(len(want))
		}
		if rng.IntN(10) == 0 {
			x.remove(oid)
			delete(want, oid)
			continue
		}
		pos := 1 + rng.Int64N(datafs.MaxPos)
		if old := x.set(oid, pos); old != want[oid] {
			t.Fatalf("set of %v: was %d, want %d", oid, old, want[oid])
		}
		want[oid] = pos
	}
	sameIndex(t, x, want)

	again := newIndex()
	x.sort()
	last := int64(-1)
	if err := x.buckets(func(b *datafs.Bucket) error {
		if int64(b.Prefix) == last {
			t.Errorf("two buckets for %x", b.Prefix)
		}
		last = int64(b.Prefix)
		again.addBucket(b)
		return nil
	}); err != nil {
		t.Error(err)
	}
	sameIndex(t, again, want)
}

func sameIndex(t *testing.T, x *index, want map[zodb.OID]int64) {
	t.Helper()
	if x.n != len(want) {
		t.Errorf("%d objects, want %d", x.n, len(want))
	}
	for oid, pos := range want {
		if got := x.get(oid); got != pos {
			t.Fatalf("%v is at %d, want %d", oid, got, pos)
		}
		if _, ok := want[oid+1]; !ok && x.get(oid+1) != 0 {
			t.Fatalf("%v is at %d and should not be there", oid+1, x.get(oid+1))
		}
	}
	x.sort()
	var got []zodb.OID
	x.ascend(0, ^zodb.OID(0), func(oid zodb.OID, pos int64) bool {
		if pos != want[oid] {
			t.Fatalf("ascend has %v at %d, want %d", oid, pos, want[oid])
		}
		got = append(got, oid)
		return true
	})
	all := slices.Sorted(maps.Keys(want))
	if !slices.Equal(got, all) {
		t.Fatalf("ascend: %d oids, want %d in order", len(got), len(all))
	}
	from, to := all[len(all)/3], all[len(all)/2]
	var part []zodb.OID
	x.ascend(from, to, func(oid zodb.OID, _ int64) bool { part = append(part, oid); return true })
	if !slices.Equal(part, all[len(all)/3:len(all)/2+1]) {
		t.Errorf("ascend from %v to %v: %d oids", from, to, len(part))
	}
}

// usesIndex reports whether the index file would be used.
func usesIndex(t *testing.T, fsys vfs.FS) bool {
	t.Helper()
	s := &Storage{opts: Options{ReadOnly: true}.withDefaults(), fs: fsys, path: dataFile}
	g, err := s.openGeneration(dataFile)
	if err != nil {
		t.Fatal(err)
	}
	defer g.release()
	return s.loadIndex(g, int64(len(readFile(t, fsys, dataFile))))
}

// Whatever the index file is, the storage shows the same; and has a good index
// file when it is closed.
func TestIndexFile(t *testing.T) {
	m := disk(t)
	s := openOn(t, m)
	appendTo(t, s, txn(5, put(7, "seven"), put(1<<40, "far")))
	closed(t, s)
	stale := readFile(t, m, dataFile+".index")
	other := disk(t)
	o := openOn(t, other)
	fill(t, o, 100, 10, 100)
	closed(t, o)

	s = openOn(t, m)
	history(t, s)
	closed(t, s)
	good := readFile(t, m, dataFile+".index")
	data := readFile(t, m, dataFile)

	for name, c := range map[string]struct {
		index []byte
		used  bool
	}{
		"good":              {good, true},
		"stale":             {stale, true},
		"missing":           {nil, false},
		"empty":             {[]byte{}, false},
		"cut off":           {good[:len(good)-5], false},
		"garbage":           {bytes.Repeat([]byte{0xff}, 300), false},
		"of another file":   {readFile(t, other, dataFile+".index"), false},
		"of one old record": {bytes.Replace(good, positionOf(t, data, 5000), positionOf(t, data, 7), 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			m := disk(t)
			writeFile(t, m, dataFile, data)
			if c.index != nil {
				writeFile(t, m, dataFile+".index", c.index)
			}
			if used := usesIndex(t, m); used != c.used {
				t.Errorf("it is used: %v", used)
			}
			s := openOn(t, m)
			wantLoad(t, s, 7, zodb.MaxTID, "seven 5-0")
			wantLoad(t, s, 1<<40, zodb.MaxTID, "far 5-0")
			wantLoad(t, s, 5000, zodb.MaxTID, "again 60-0")
			wantLoad(t, s, 1, 60, "one' 40-60")
			if diff := cmp.Diff(append([]string{"5  7<0:seven 1099511627776<0:far"}, historyLines...), scan(t, s, 0, store.Forward)); diff != "" {
				t.Error(diff)
			}
			closed(t, s)
			if got := readFile(t, m, dataFile+".index"); !bytes.Equal(got, good) {
				t.Error("the index file is not the good one after closing")
			}
		})
	}
}

// positionOf returns the six bytes that an index has for oid.
func positionOf(t *testing.T, data []byte, oid zodb.OID) []byte {
	t.Helper()
	sc := datafs.NewScanner(datafs.NewWindow(bytes.NewReader(data), 100), dataFile, datafs.MagicSize, int64(len(data)), 0)
	var b datafs.Bucket
	for sc.Txn() {
		for sc.Record() {
			if sc.Rec.OID == oid {
				b.Reset(0)
				b.Add(0, sc.Pos)
			}
		}
	}
	if b.Len() == 0 || sc.Err() != nil {
		t.Fatal(sc.Err())
	}
	return b.Positions
}

// The index is saved while the storage is in use, and may be saved without harm
// at any time.
func TestIndexIsSavedMeanwhile(t *testing.T) {
	m := disk(t)
	s := open(t, Options{Path: dataFile, FS: m, IndexEvery: 1000})
	history(t, s)
	fill(t, s, 100, 10, 100)
	s.wg.Wait()
	if !usesIndex(t, m) {
		t.Error("no usable index file after some time")
	}
	if covers := s.saved.Load(); covers < 1000 {
		t.Errorf("it covers %d bytes", covers)
	}
}

func TestIndexCannotBeSaved(t *testing.T) {
	m := disk(t)
	f := vfs.Fault(m, 1)
	var log logged
	s := open(t, Options{Path: dataFile, FS: f, Logger: log.logger()})
	history(t, s)
	f.SetRules(vfs.Rule{Ops: vfs.OpWrite, Path: "*.index_tmp"})
	closed(t, s)
	log.want(t, "index could not be saved")
	checkHistory(t, openOn(t, m))
}

// A long rebuild tells how far it is.
func TestRebuildProgress(t *testing.T) {
	m := disk(t)
	s := openOn(t, m)
	fill(t, s, 400, 1, 100_000)
	closed(t, s)
	if err := m.Remove(dataFile + ".index"); err != nil {
		t.Fatal(err)
	}
	var told []int64
	var log logged
	s = open(t, Options{Path: dataFile, FS: m, Logger: log.logger(), Progress: func(what string, done, total int64) {
		if what != "index" || done > total {
			t.Errorf("progress %q %d of %d", what, done, total)
		}
		told = append(told, done)
	}})
	if len(told) < 2 || !slices.IsSorted(told) {
		t.Errorf("progress %v", told)
	}
	log.want(t, "index rebuilt", "MB/s")
	if !usesIndex(t, m) {
		t.Error("a rebuilt index is not saved at once")
	}
	closed(t, s)
}

func TestOpenOptions(t *testing.T) {
	m := disk(t)
	for name, o := range map[string]Options{
		"no path": {}, "created read-only": {Path: dataFile, ReadOnly: true, Create: true}, "stop": {Path: dataFile, Stop: 5},
		"missing, read-only": {Path: dataFile, ReadOnly: true}, "no folder": {Path: "/e/Data.fs"},
	} {
		o.FS = m
		if _, err := Open(o); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	if entries, err := m.ReadDir("/d"); err != nil || len(entries) != 0 {
		t.Errorf("%d files were made, %v", len(entries), err)
	}
}

func TestLock(t *testing.T) {
	m := disk(t)
	s := openOn(t, m)
	history(t, s)
	if _, err := Open(Options{Path: dataFile, FS: m}); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	checkHistory(t, open(t, Options{Path: dataFile, FS: m, ReadOnly: true}))
	closed(t, s)
	closed(t, openOn(t, m))
}

func TestReadOnly(t *testing.T) {
	m := disk(t)
	s := openOn(t, m)
	history(t, s)
	closed(t, s)
	if err := m.Remove(dataFile + ".index"); err != nil {
		t.Fatal(err)
	}
	f := vfs.Fault(m, 1, vfs.Rule{Ops: ^(vfs.OpOpen | vfs.OpRead | vfs.OpStat | vfs.OpClose | vfs.OpReadDir)})
	s = open(t, Options{Path: dataFile, FS: f, ReadOnly: true})
	checkHistory(t, s)
	if !s.ReadOnly() || s.Name() != dataFile {
		t.Errorf("ReadOnly %v, Name %q", s.ReadOnly(), s.Name())
	}
	_, appendErr := s.Append(t.Context(), nil, nil)
	_, reserveErr := s.Reserve(1)
	for _, err := range []error{appendErr, reserveErr, s.Pack(t.Context(), 5, zodb.PackOptions{})} {
		if !errors.Is(err, zodb.ErrReadOnly) {
			t.Errorf("%v, want ErrReadOnly", err)
		}
	}
	closed(t, s)
}

func TestStop(t *testing.T) {
	m := disk(t)
	s := openOn(t, m)
	history(t, s)
	closed(t, s)
	s = open(t, Options{Path: dataFile, FS: m, ReadOnly: true, Stop: 40})
	wantLoad(t, s, 1, zodb.MaxTID, "one'' 30-0")
	wantLoad(t, s, 5000, zodb.MaxTID, "far 20-0")
	if diff := cmp.Diff(historyLines[:3], scan(t, s, 0, store.Forward)); diff != "" {
		t.Error(diff)
	}
}

func TestCreate(t *testing.T) {
	m := disk(t)
	s := openOn(t, m)
	history(t, s)
	if _, err := s.Append(t.Context(), nil, &store.Meta{NextOID: 5}); err != nil {
		t.Fatal(err)
	}
	closed(t, s)
	s = open(t, Options{Path: dataFile, FS: m, Create: true})
	if lines := scan(t, s, 0, store.Forward); len(lines) != 0 {
		t.Errorf("there are %v", lines)
	}
	if meta, err := s.Meta(t.Context()); err != nil || meta != (store.Meta{}) {
		t.Errorf("Meta %v, %v", meta, err)
	}
	if string(readFile(t, m, dataFile)) != datafs.Magic {
		t.Errorf("the file is %q", readFile(t, m, dataFile))
	}
}
