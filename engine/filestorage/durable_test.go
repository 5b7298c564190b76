package filestorage

import (
	"bytes"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// wantAppendFails appends a batch that must not get in, and of which nothing may
// be left.
func wantAppendFails(t *testing.T, s *Storage, fsys vfs.FS, want error) {
	t.Helper()
	head, _ := s.Head()
	before := readFile(t, fsys, dataFile)
	batch := []*txnlog.Txn{txn(head+1, put(1, strings.Repeat("x", 5000)), put(7, "seven")), txn(head+2, put(8, "eight"))}
	n, err := s.Append(t.Context(), batch, nil)
	if n != 0 || !errors.Is(err, want) || errors.Is(err, zodb.ErrCommitUnknown) {
		t.Errorf("Append: %d, %v; want %v", n, err, want)
	}
	if got := readFile(t, fsys, dataFile); !bytes.Equal(got, before) {
		t.Errorf("the file has %d bytes, and had %d", len(got), len(before))
	}
	wantLoad(t, s, 7, zodb.MaxTID, "unknown")
}

// The disk is full at every byte of a batch: nothing of it is left, and when
// there is room again the storage goes on.
func TestDiskFull(t *testing.T) {
	m := disk(t)
	// Without space set aside at open it is the append that finds the disk full.
	s := openOn(t, vfs.Fault(m, 1, vfs.Rule{Ops: vfs.OpReserve, Err: errors.ErrUnsupported}))
	history(t, s)
	free := m.Capacity()
	for room := int64(0); room < 5200; room += 37 {
		m.SetCapacity(m.Used() + room)
		wantAppendFails(t, s, m, zodb.ErrNoSpace)
	}
	m.SetCapacity(free)
	checkHistory(t, s)
	appendTo(t, s, txn(70, put(7, "seven")))
	closed(t, s)
	wantLoad(t, openOn(t, m), 7, zodb.MaxTID, "seven 70-0")
}

func TestWriteFails(t *testing.T) {
	for name, rule := range map[string]vfs.Rule{
		"batch":      {Ops: vfs.OpWrite, Short: true},
		"mark":       {Ops: vfs.OpWrite, From: 1},
		"mark twice": {Ops: vfs.OpWrite, From: 1, Times: 2},
	} {
		t.Run(name, func(t *testing.T) {
			m := disk(t)
			f := vfs.Fault(m, 1)
			s := openOn(t, f)
			history(t, s)
			rule.Path = "Data.fs"
			f.SetRules(rule)
			wantAppendFails(t, s, m, syscall.EIO)
			f.SetRules()
			checkHistory(t, s)
			appendTo(t, s, txn(70, put(7, "seven")))
			closed(t, s)
			wantLoad(t, openOn(t, m), 7, zodb.MaxTID, "seven 70-0")
		})
	}
}

// A batch that cannot be cut off again is not in the file all the same, and is
// cut off before the next one.
func TestTruncateFails(t *testing.T) {
	m := disk(t)
	f := vfs.Fault(m, 1)
	s := openOn(t, f)
	history(t, s)
	f.SetRules(vfs.Rule{Ops: vfs.OpWrite, From: 1, Path: "Data.fs"}, vfs.Rule{Ops: vfs.OpTruncate, Path: "Data.fs", Times: 2})
	for tid := zodb.TID(70); tid < 72; tid++ {
		if n, err := s.Append(t.Context(), []*txnlog.Txn{txn(tid, put(7, "lost"))}, nil); n != 0 || err == nil {
			t.Fatalf("Append: %d, %v", n, err)
		}
	}
	other := disk(t) // what a restart would find
	writeFile(t, other, dataFile, readFile(t, m, dataFile))
	checkHistory(t, openOn(t, other))
	f.SetRules()
	appendTo(t, s, txn(72, put(8, "eight")))
	closed(t, s)
	s = openOn(t, m)
	wantLoad(t, s, 7, zodb.MaxTID, "unknown")
	wantLoad(t, s, 8, zodb.MaxTID, "eight 72-0")
}

// After a failed sync nothing is appended until it is settled what is there.
func TestSyncFails(t *testing.T) {
	for name, c := range map[string]struct {
		from int // the sync that fails
		want string
	}{"of the batch": {0, "unknown"}, "of the mark": {1, "seven 70-0"}} {
		t.Run(name, func(t *testing.T) {
			m := disk(t)
			f := vfs.Fault(m, 1)
			s := openOn(t, f)
			history(t, s)
			f.SetRules(vfs.Rule{Ops: vfs.OpDatasync, From: c.from, Times: 1})
			if n, err := s.Append(t.Context(), []*txnlog.Txn{txn(70, put(7, "seven"))}, nil); n != 0 || !errors.Is(err, zodb.ErrCommitUnknown) {
				t.Fatalf("Append: %d, %v", n, err)
			}
			checkHistory(t, s)
			if n, err := s.Append(t.Context(), []*txnlog.Txn{txn(71, put(8, "eight"))}, nil); n != 0 || err == nil || errors.Is(err, zodb.ErrCommitUnknown) {
				t.Fatalf("Append in doubt: %d, %v", n, err)
			}
			f.SetRules(vfs.Rule{Ops: vfs.OpSync, Times: 1})
			if _, err := s.Settle(t.Context()); err == nil {
				t.Fatal("settled while the disk fails")
			}
			f.SetRules()
			wantHead := zodb.TID(60)
			if c.want != "unknown" {
				wantHead = 70
			}
			if head, err := s.Settle(t.Context()); err != nil || head != wantHead {
				t.Fatalf("Settle: %d, %v", head, err)
			}
			wantLoad(t, s, 7, zodb.MaxTID, c.want)
			appendTo(t, s, txn(72, put(8, "eight")))
			closed(t, s)
			s = openOn(t, m)
			wantLoad(t, s, 7, zodb.MaxTID, c.want)
			wantLoad(t, s, 8, zodb.MaxTID, "eight 72-0")
		})
	}
}

// A batch costs two syncs, however many transactions it has.
func TestSyncsOfABatch(t *testing.T) {
	f := vfs.Fault(disk(t), 1)
	s := openOn(t, f)
	syncs := 0
	f.SetRules(vfs.Rule{
		Ops: vfs.OpDatasync | vfs.OpSync | vfs.OpSyncDir, Silent: true,
		Before: func(vfs.Op, string) { syncs++ },
	})
	var batch []*txnlog.Txn
	for i := range zodb.TID(50) {
		batch = append(batch, txn(i+1, put(zodb.OID(i), "x")))
	}
	appendTo(t, s, batch...)
	if syncs != 2 {
		t.Errorf("%d syncs", syncs)
	}
}

// The tests of what a Data.fs cannot hold: such a transaction is refused with
// those after it, and those before it get in.
func TestUnfit(t *testing.T) {
	long := strings.Repeat("x", 65536)
	for name, bad := range map[string]*txnlog.Txn{
		"user":        {TID: 80, Status: ' ', User: []byte(long)},
		"description": {TID: 80, Status: ' ', Description: []byte(long)},
		"extension":   {TID: 80, Status: ' ', Extension: []byte(long)},
		"without":     {TID: 80, Status: ' ', Records: []txnlog.Record{{OID: 1, Data: []byte{}}}},
		"status":      {TID: 80, Status: 'x'},
		"follow":      {TID: 70, Status: ' '},
	} {
		m := disk(t)
		s := openOn(t, m)
		history(t, s)
		n, err := s.Append(t.Context(), []*txnlog.Txn{txn(70, put(7, "seven")), bad, txn(90, put(9, "nine"))}, nil)
		if n != 1 || err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
		wantLoad(t, s, 7, zodb.MaxTID, "seven 70-0")
		wantLoad(t, s, 9, zodb.MaxTID, "unknown")
		closed(t, s)
		wantLoad(t, openOn(t, m), 7, zodb.MaxTID, "seven 70-0")
	}
	s := openOn(t, disk(t))
	x := txn(1, put(1, "x"))
	x.User, x.Description, x.Extension = []byte(long[1:]), []byte(long[1:]), []byte(long[1:])
	appendTo(t, s, x)
	for got := range s.Scan(t.Context(), 0, store.Forward) {
		if !bytes.Equal(got.User, x.User) || !bytes.Equal(got.Description, x.Description) || !bytes.Equal(got.Extension, x.Extension) {
			t.Error("texts of 65535 bytes are not read back")
		}
	}
}

// spooled is data that are made when they are read.
type spooled struct{ n, announced int }

func (s spooled) Len() int              { return s.announced }
func (s spooled) Read() ([]byte, error) { return bytes.Repeat([]byte{byte(s.n)}, s.n), nil }

func TestSpooled(t *testing.T) {
	m := disk(t)
	s := openOn(t, m)
	sizes := []int{1, 100, writePiece/4 - 1, writePiece / 4, writePiece, 3*writePiece + 7, 50}
	x := txn(1)
	for i, n := range sizes {
		x.Records = append(x.Records, txnlog.Record{OID: zodb.OID(i), Spooled: spooled{n, n}})
	}
	if want := txnSize(x); s.Space(x) != want {
		t.Errorf("Space: %d, want %d", s.Space(x), want)
	}
	appendTo(t, s, x)
	// A record of less than eight bytes might have to be a back pointer.
	if _, size := s.Stat(); size > 4+txnSize(x) || size < 4+txnSize(x)-8 {
		t.Errorf("it takes %d bytes, and Space said %d", size-4, txnSize(x))
	}
	closed(t, s)
	s = openOn(t, m)
	for i, n := range sizes {
		rec, err := s.LoadBefore(t.Context(), zodb.OID(i), zodb.MaxTID)
		if want, _ := (spooled{n, n}).Read(); err != nil || !bytes.Equal(rec.Data, want) {
			t.Errorf("%d bytes: %d, %v", n, len(rec.Data), err)
		}
	}
	x = txn(2, txnlog.Record{OID: 1, Spooled: spooled{10, 20}})
	if n, err := s.Append(t.Context(), []*txnlog.Txn{x}, nil); n != 0 || err == nil {
		t.Errorf("data of another length than announced: %d, %v", n, err)
	}
}
