package filestorage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

func TestScanFromEachPlace(t *testing.T) {
	s := openOn(t, disk(t))
	history(t, s)
	for from := zodb.TID(0); from < 70; from += 5 {
		var want []string
		for i, line := range historyLines {
			if zodb.TID(i*10+10) >= from {
				want = append(want, line)
			}
		}
		if diff := cmp.Diff(want, scan(t, s, from, store.Forward)); diff != "" {
			t.Errorf("forward from %d:\n%s", from, diff)
		}
		want = nil
		for i, line := range slices.Backward(historyLines) {
			if zodb.TID(i*10+10) <= from {
				want = append(want, line)
			}
		}
		if diff := cmp.Diff(want, scan(t, s, from, store.Backward)); diff != "" {
			t.Errorf("backward from %d:\n%s", from, diff)
		}
	}
}

// Heads are what Scan yields, without records, and large transactions cost no more
// to tell of than small ones.
func TestScanHeads(t *testing.T) {
	m := &countingFS{FS: disk(t)}
	s := openOn(t, m)
	const large = 8 << 20
	for tid := zodb.TID(10); tid < 20; tid++ {
		x := txn(tid, put(1, string(bytes.Repeat([]byte{byte(tid)}, 1+int(tid%2)*large))))
		x.User, x.Description, x.Extension = []byte("u"), fmt.Appendf(nil, "number %d", tid), []byte("}.")
		appendTo(t, s, x)
	}
	for _, dir := range []store.Direction{store.Forward, store.Backward} {
		for from := zodb.TID(9); from < 22; from++ {
			var want []*txnlog.Txn
			for x, err := range s.Scan(t.Context(), from, dir) {
				if err != nil {
					t.Fatal(err)
				}
				x.Records = nil
				want = append(want, x)
			}
			m.n.Store(0)
			var got []*txnlog.Txn
			for x, err := range s.ScanHeads(t.Context(), from, dir) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, x)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("from %v:\n%s", from, diff)
			}
			if read := m.n.Load(); read > large {
				t.Errorf("from %v: %d bytes were read for the heads of %d transactions", from, read, len(got))
			}
		}
	}
}

// In a large file the start is found without reading all before it, whether the
// index was built or loaded.
func TestScanFindsItsStart(t *testing.T) {
	m := disk(t)
	s := openOn(t, m)
	const n, size = 3000, 20_000 // 60 MB
	fill(t, s, n, 1, size)
	for _, state := range []string{"appended", "index loaded", "index built"} {
		counting := &countingFS{FS: m}
		if state != "appended" {
			closed(t, s)
			if state == "index built" {
				if err := m.Remove(dataFile + ".index"); err != nil {
					t.Fatal(err)
				}
			}
			s = openOn(t, counting)
		}
		rng := rand.New(rand.NewPCG(1, 1))
		for range 20 {
			from := zodb.TID(1 + rng.IntN(n))
			counting.n.Store(0)
			for x, err := range s.Scan(t.Context(), from, store.Forward) {
				if err != nil || x.TID != from || x.Records[0].OID != zodb.OID(from) {
					t.Fatalf("%s: from %d: %v, %v", state, from, x, err)
				}
				break
			}
			for x, err := range s.Scan(t.Context(), from, store.Backward) {
				if err != nil || x.TID != from {
					t.Fatalf("%s: back from %d: %v, %v", state, from, x, err)
				}
				break
			}
			if read := counting.n.Load(); read > 8*markEvery {
				t.Errorf("%s: %d bytes read to find one transaction", state, read)
			}
		}
	}
}

// Scan, loads, commits and packs do not disturb each other.
func TestScanBesideWritersAndPacks(t *testing.T) {
	s := openOn(t, disk(t))
	fill(t, s, 200, 2, 500)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		defer close(stop)
		for i := range zodb.TID(300) {
			head, _ := s.Head()
			appendTo(t, s, txn(head+1, put(zodb.OID(i%50), fmt.Sprint(i)), put(1000+zodb.OID(i), "new")))
			if i%60 == 30 {
				if err := s.Pack(t.Context(), head-20, zodb.PackOptions{}); err != nil {
					t.Error(err)
				}
			}
		}
	})
	read := func(once func()) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					once()
				}
			}
		})
	}
	ordered := func(dir store.Direction) {
		head, _ := s.Head()
		last := zodb.TID(0)
		n := 0
		for x, err := range s.Scan(t.Context(), map[store.Direction]zodb.TID{store.Backward: head}[dir], dir) {
			if err != nil || (n > 0 && (x.TID > last) == (dir == store.Backward)) {
				t.Errorf("%v after %v: %v", x, last, err)
				return
			}
			last = x.TID
			n++
		}
		if n < 100 {
			t.Errorf("only %d transactions", n)
		}
	}
	read(func() { ordered(store.Forward) })
	read(func() { ordered(store.Backward) })
	read(func() {
		for oid := range zodb.OID(50) {
			if _, err := s.LoadBefore(t.Context(), oid+1, zodb.MaxTID); err != nil {
				t.Error(err)
			}
		}
	})
	read(func() {
		n := 0
		for _, err := range s.Current(t.Context(), zodb.MaxTID-1, 0, ^zodb.OID(0)) {
			if err != nil {
				t.Error(err)
			}
			n++
		}
		if n < 200 {
			t.Errorf("%d current records", n)
		}
	})
	wg.Wait()
}

// Damage in the middle ends a scan with its place.
func TestScanMeetsDamage(t *testing.T) {
	m := disk(t)
	s := openOn(t, m)
	history(t, s)
	data := readFile(t, m, dataFile)
	sc := datafs.NewScanner(datafs.NewWindow(bytes.NewReader(data), 100), dataFile, datafs.MagicSize, int64(len(data)), 0)
	sc.Txn()
	sc.Txn()
	bad := bytes.Clone(data)
	binary.BigEndian.PutUint64(bad[sc.TxnPos+8:], 1000)
	writeFile(t, m, dataFile, bad)
	for _, dir := range []store.Direction{store.Forward, store.Backward} {
		from := zodb.TID(0)
		if dir == store.Backward {
			from = zodb.MaxTID
		}
		n := 0
		var last error
		for _, err := range s.Scan(t.Context(), from, dir) {
			last = err
			n++
		}
		corrupt, ok := errors.AsType[*zodb.CorruptError](last)
		if !ok || corrupt.Offset != sc.TxnPos || n < 2 {
			t.Errorf("direction %v: %v after %d transactions, want a CorruptError at %d", dir, last, n, sc.TxnPos)
		}
	}
}
