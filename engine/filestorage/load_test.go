package filestorage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// history appends a history with all kinds of records.
func history(t testing.TB, s *Storage) {
	t.Helper()
	appendTo(t, s, txn(10, put(0, "root"), put(1, "one")))
	appendTo(t, s,
		txn(20, put(1, "one'"), put(5000, "far")),
		txn(30, put(1, "one''")))
	appendTo(t, s, txn(40, back(1, "one'", 20)))
	appendTo(t, s, txn(50, drop(5000)))
	appendTo(t, s, txn(60, back(1, "one'", 40), put(5000, "again")))
}

// historyLines is what Scan says of it.
var historyLines = []string{
	"10  0<0:root 1<0:one",
	"20  1<10:one' 5000<0:far",
	"30  1<20:one''",
	"40  1<30:one'=20",
	"50  5000<20:-",
	"60  1<40:one'=40 5000<50:again",
}

func checkHistory(t testing.TB, s *Storage) {
	t.Helper()
	for _, c := range []struct {
		oid    zodb.OID
		before zodb.TID
		want   string
	}{
		{0, zodb.MaxTID, "root 10-0"},
		{1, zodb.MaxTID, "one' 60-0"}, {1, 60, "one' 40-60"}, {1, 40, "one'' 30-40"},
		{1, 30, "one' 20-30"}, {1, 20, "one 10-20"}, {1, 10, "not yet"},
		{5000, zodb.MaxTID, "again 60-0"}, {5000, 60, "deleted at 50"}, {5000, 50, "far 20-50"}, {5000, 20, "not yet"},
		{2, zodb.MaxTID, "unknown"}, {1 << 60, zodb.MaxTID, "unknown"},
	} {
		wantLoad(t, s, c.oid, c.before, c.want)
	}
	if diff := cmp.Diff(historyLines, scan(t, s, 0, store.Forward)); diff != "" {
		t.Errorf("Scan (-want +got):\n%s", diff)
	}
	serials, err := s.Serials(t.Context(), []zodb.OID{5000, 2, 0, 1})
	if diff := cmp.Diff([]zodb.TID{60, 0, 10, 60}, serials); diff != "" || err != nil {
		t.Errorf("Serials: %v\n%s", err, diff)
	}
	if tid, oid := s.Head(); tid != 60 || oid != 5000 {
		t.Errorf("Head: %d, %d", tid, oid)
	}
}

func TestHistory(t *testing.T) {
	m := disk(t)
	s := openOn(t, m)
	history(t, s)
	checkHistory(t, s)
	closed(t, s)
	s = openOn(t, m)
	checkHistory(t, s)
	if objects, size := s.Stat(); objects != 3 || size != int64(len(readFile(t, m, dataFile))) {
		t.Errorf("Stat: %d objects, %d bytes", objects, size)
	}
}

// An undo is kept as a pointer, and only where that says the same.
func TestBackPointers(t *testing.T) {
	s := openOn(t, disk(t))
	long := strings.Repeat("long", 1000)
	size := func() int64 { _, n := s.Stat(); return n }
	appendTo(t, s, txn(1, put(1, long)))
	appendTo(t, s, txn(2, put(1, "short")))
	before := size()
	appendTo(t, s, txn(3, back(1, long, 1)))
	if grown := size() - before; grown > 200 {
		t.Errorf("a record that repeats another takes %d bytes", grown)
	}
	for tid, r := range []struct {
		from zodb.TID
		data string
	}{{2, "other"}, {1, "short"}, {99, long}} {
		before := size()
		appendTo(t, s, txn(zodb.TID(10+tid), back(1, r.data, r.from)))
		if grown := size() - before; grown < int64(len(r.data)) {
			t.Errorf("from %d: %d bytes for data of %d that are not those", r.from, grown, len(r.data))
		}
		if got := load(t, s, 1, zodb.MaxTID); !strings.HasPrefix(got, r.data+" ") {
			t.Errorf("from %d: loads %.20s", r.from, got)
		}
	}
}

// Records longer than one read, and of every length around it, are whole.
func TestLoadLengths(t *testing.T) {
	s := openOn(t, disk(t))
	for i := range 300 {
		n := 1 + i
		switch {
		case i >= 200:
			n = 3*readAhead - 50 + i
		case i >= 100:
			n = readAhead - datafs.DataHeaderSize - 150 + i
		}
		want := bytes.Repeat([]byte{byte(i), 7}, n)[:n]
		appendTo(t, s, txn(zodb.TID(i+1), put(zodb.OID(i), string(want)), put(1000, "x")))
		rec, err := s.LoadBefore(t.Context(), zodb.OID(i), zodb.MaxTID)
		if err != nil || !bytes.Equal(rec.Data, want) {
			t.Fatalf("%d bytes: %v, %d bytes loaded", n, err, len(rec.Data))
		}
	}
}

func TestCurrent(t *testing.T) {
	s := openOn(t, disk(t))
	history(t, s)
	list := func(asOf zodb.TID, from, to zodb.OID) (all []zodb.OID) {
		t.Helper()
		for c, err := range s.Current(t.Context(), asOf, from, to) {
			if err != nil {
				t.Fatal(err)
			}
			rec, err := s.LoadBefore(t.Context(), c.OID, asOf+1)
			if err != nil || rec.Serial != c.Serial || !bytes.Equal(rec.Data, c.Data) {
				t.Errorf("Current of %d: %v; LoadBefore: %v, %v", c.OID, c, rec, err)
			}
			all = append(all, c.OID)
		}
		return all
	}
	for _, c := range []struct {
		asOf     zodb.TID
		from, to zodb.OID
		want     []zodb.OID
	}{
		{60, 0, ^zodb.OID(0), []zodb.OID{0, 1, 5000}}, {55, 0, ^zodb.OID(0), []zodb.OID{0, 1}},
		{20, 1, 5000, []zodb.OID{1, 5000}}, {20, 2, 4999, nil}, {20, 1, 4999, []zodb.OID{1}}, {9, 0, 9999, nil},
	} {
		if diff := cmp.Diff(c.want, list(c.asOf, c.from, c.to)); diff != "" {
			t.Errorf("as of %d, %d to %d:\n%s", c.asOf, c.from, c.to, diff)
		}
	}
	fill(t, s, 1000, 100, 10) // several batches
	if got := list(zodb.MaxTID-1, 0, ^zodb.OID(0)); len(got) != 1003 || !slices.IsSorted(got) {
		t.Errorf("%d objects, want 1003 in order", len(got))
	}
}

// What does not fit is reported with its place, whichever way it is met.
func TestLoadMeetsDamage(t *testing.T) {
	m := disk(t)
	s := openOn(t, m)
	history(t, s)
	v, pos, err := s.lookup(1)
	if err != nil {
		t.Fatal(err)
	}
	v.release()
	for name, c := range map[string]struct {
		at    int64
		value uint64
	}{
		"other object":          {pos, 77},
		"tid too late":          {pos + 8, 41},
		"previous forwards":     {pos + 16, uint64(pos)},
		"previous in the magic": {pos + 16, 2},
		"length":                {pos + 34, 1 << 40},
		"back pointer forwards": {pos + 42, uint64(pos) + 1},
		"back pointer astray":   {pos + 42, uint64(pos) - 60},
	} {
		good := readFile(t, m, dataFile)
		bad := bytes.Clone(good)
		binary.BigEndian.PutUint64(bad[c.at:], c.value)
		writeFile(t, m, dataFile, bad)
		before := zodb.MaxTID
		if name == "tid too late" {
			before = 35 // met on the way to an older revision
			binary.BigEndian.PutUint64(bad[c.at:], 36)
			writeFile(t, m, dataFile, bad)
		}
		_, err := s.LoadBefore(t.Context(), 1, before)
		if corrupt, ok := errors.AsType[*zodb.CorruptError](err); !ok || corrupt.File != dataFile || corrupt.Offset == 0 {
			t.Errorf("%s: %v, want a CorruptError with a place", name, err)
		}
		writeFile(t, m, dataFile, good)
	}
	checkHistory(t, s)
}

func TestClosed(t *testing.T) {
	s := openOn(t, disk(t))
	history(t, s)
	closed(t, s)
	closed(t, s)
	ctx := t.Context()
	_, loadErr := s.LoadBefore(ctx, 1, zodb.MaxTID)
	_, serialsErr := s.Serials(ctx, []zodb.OID{1})
	_, appendErr := s.Append(ctx, nil, nil)
	_, reserveErr := s.Reserve(1)
	_, settleErr := s.Settle(ctx)
	errs := []error{loadErr, serialsErr, appendErr, reserveErr, settleErr, s.Pack(ctx, 5, zodb.PackOptions{})}
	for _, err := range s.Scan(ctx, 0, store.Forward) {
		errs = append(errs, err)
	}
	for _, err := range s.Current(ctx, 5, 0, 9) {
		errs = append(errs, err)
	}
	if len(errs) != 8 {
		t.Errorf("%d errors, want 8", len(errs))
	}
	for i, err := range errs {
		if !errors.Is(err, zodb.ErrClosed) {
			t.Errorf("call %d: %v, want ErrClosed", i, err)
		}
	}
}

func TestCancelled(t *testing.T) {
	s := openOn(t, disk(t))
	history(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, loadErr := s.LoadBefore(ctx, 1, zodb.MaxTID)
	_, serialsErr := s.Serials(ctx, nil)
	errs := []error{loadErr, serialsErr, s.Pack(ctx, 5, zodb.PackOptions{})}
	for _, err := range s.Scan(ctx, 0, store.Backward) {
		errs = append(errs, err)
	}
	for _, err := range s.Scan(ctx, 30, store.Forward) {
		errs = append(errs, err)
	}
	for _, err := range s.Current(ctx, 5, 0, 9) {
		errs = append(errs, err)
	}
	for i, err := range errs {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("call %d: %v, want context.Canceled", i, err)
		}
	}
}
