package check_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/zaridb/zari/check"
	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/zodb/pickle"
)

// structure is a small file with everything in it: several transactions, an object that
// is written again, an undo with a back pointer, a deletion, blobs.
func structure(t *testing.T) *builder {
	b := build(t)
	b.put(
		object{oid: 0, class: folder, state: pickle.NewDict("a", ref(1, folder), "b", ref(2, folder), "c", ref(3, "ZODB.blob.Blob"))},
		object{oid: 1, class: folder, state: "one"},
	)
	b.put(object{oid: 2, class: folder, state: "two"}, object{oid: 1, class: folder, state: "more"}, object{oid: 3, class: "ZODB.blob.Blob", blob: true})
	last := b.put(object{oid: 1, class: folder, state: "other"})
	b.undo(last)
	b.put(object{oid: 4, class: folder, state: "in vain"})
	b.remove(4)
	b.close()
	return b
}

// place is a part of a file that Walk must find damaged.
type place struct {
	from, to int64
	what     string
}

// places lists the bytes of a healthy file that are structure: all but texts and data.
func places(t *testing.T, data []byte) []place {
	t.Helper()
	r := bytes.NewReader(data)
	s := datafs.NewScanner(datafs.NewWindow(r, 1<<16), "Data.fs", datafs.MagicSize, int64(len(data)), 0)
	list := []place{{0, datafs.MagicSize, "magic"}}
	for s.Txn() {
		list = append(list, place{s.TxnPos, s.TxnPos + datafs.TxnHeaderSize, "transaction header"})
		for s.Record() {
			end := s.Pos + datafs.DataHeaderSize
			if s.Rec.DataLen == 0 {
				end += datafs.BackSize
			}
			list = append(list, place{s.Pos, end, "data record"})
		}
		end := s.TxnPos + s.Head.Len
		list = append(list, place{end, end + datafs.TrailerSize, "transaction trailer"})
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return list
}

// TestEveryByte damages each byte of a file that is structure, and every time
// something is found: by the walk, but for some oids, which the index tells.
func TestEveryByte(t *testing.T) {
	b := structure(t)
	healthy := problems(t, map[string]string{"": b.path}, b.blobDir())
	if len(healthy) > 0 {
		t.Fatalf("false alarms: %v", healthy)
	}
	data, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(t.TempDir(), "Data.fs")
	copyTo(t, b.path+".index", damaged+".index")
	n := 0
	for _, p := range places(t, data) {
		for at := p.from; at < p.to; at++ {
			flip := byte(0x01)
			if at%2 == 0 {
				flip = 0xff
			}
			bad := slices.Clone(data)
			bad[at] ^= flip
			if err := os.WriteFile(damaged, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			n++
			if found := problems(t, map[string]string{"": damaged}, b.blobDir()); len(found) == 0 {
				t.Errorf("byte %d (%s, +%d) xor %#x: nothing is found", at, p.what, at-p.from, flip)
			}
		}
	}
	if n < 500 {
		t.Errorf("only %d damages", n)
	}
}

func copyTo(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDamage damages a file at known places, and expects to be told which.
func TestDamage(t *testing.T) {
	b := structure(t)
	data, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	all := places(t, data)
	nth := func(what string, n int) int64 {
		for _, p := range all {
			if p.what == what {
				if n == 0 {
					return p.from
				}
				n--
			}
		}
		t.Fatalf("there is no such %s", what)
		return 0
	}
	put := func(at int64, v uint64) func([]byte) []byte {
		return func(b []byte) []byte { binary.BigEndian.PutUint64(b[at:], v); return b }
	}
	second, record := nth("transaction header", 1), nth("data record", 3)
	trailer := nth("transaction trailer", 1)
	for _, c := range []struct {
		name   string
		damage func([]byte) []byte
		want   string // record at offset
		says   string
	}{
		{"tid", put(second, 1), at("transaction header", second), "tid"},
		{"length", put(second+8, 77), at("transaction header", second), "length"},
		{"length beyond the end", put(second+8, 1<<40), at("transaction header", second), "length"},
		{"status", func(b []byte) []byte { b[second+16] = '?'; return b }, at("transaction header", second), "status"},
		{"redundant length", put(trailer, 3), at("transaction trailer", trailer), "length"},
		{"record's tid", put(record+8, 3), at("data record", record), "tid"},
		{"record's previous", put(record+16, 60), at("data record", record), "previous"},
		{"record's transaction", put(record+24, 5), at("data record", record), "transaction"},
		{"record's length", put(record+34, 7), at("data record", record), "length"},
		{"record's length beyond the end", put(record+34, 1<<40), at("data record", record), "longer"},
		{"back pointer", put(nth("data record", 6)+42, 30), at("data record", nth("data record", 6)), "back pointer"},
		{"end cut off", func(b []byte) []byte { return b[:len(b)-5] }, at("transaction header", nth("transaction header", 5)), ""},
		{"rubbish between", func(b []byte) []byte {
			return slices.Concat(b[:second], bytes.Repeat([]byte("rubbish!"), 20), b[second:])
		}, at("transaction header", second), ""},
	} {
		path := filepath.Join(t.TempDir(), "Data.fs")
		if err := os.WriteFile(path, c.damage(slices.Clone(data)), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := check.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var found []*check.Problem
		if err := f.Walk(t.Context(), &check.Report{Found: func(p *check.Problem) { found = append(found, p) }}); err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 {
			t.Errorf("%s: nothing is found", c.name)
		} else if p := found[0]; at(p.Record, p.Offset) != c.want || !strings.Contains(p.Message, c.says) {
			t.Errorf("%s: %v, want %s: %s", c.name, p, c.want, c.says)
		}
		// All but what was hit is still there.
		if n := f.Objects(); n < 4 {
			t.Errorf("%s: only %d objects are found", c.name, n)
		}
		f.Close()
	}
}

func at(record string, offset int64) string { return fmt.Sprintf("%s at %d", record, offset) }

// TestPending: what a crash may leave at the end is a warning.
func TestPending(t *testing.T) {
	b := structure(t)
	f, err := os.OpenFile(b.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	h := datafs.TxnHeader{TID: 1 << 62, Len: 1000, Status: datafs.Pending}
	if _, err := io.Copy(f, bytes.NewReader(h.Append(nil))); err != nil {
		t.Fatal(err)
	}
	f.Close()
	found := problems(t, map[string]string{"": b.path}, "")
	if len(found) != 1 || !found[0].Warning || found[0].Kind != check.KindStructure {
		t.Errorf("found %v", found)
	}
}

// TestBeingWritten: a transaction that was in the middle of being written when the file
// was opened is no alarm.
func TestBeingWritten(t *testing.T) {
	for _, seen := range []int{10, datafs.TxnHeaderSize} {
		b := structure(t)
		f, err := os.OpenFile(b.path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		pending := datafs.TxnHeader{TID: 1 << 62, Len: 1000, Status: datafs.Pending}.Append(nil)
		if _, err := f.Write(pending[:seen]); err != nil {
			t.Fatal(err)
		}
		opened := file(t, b.path)
		if _, err := f.Write(append(pending[seen:], make([]byte, 1000)...)); err != nil {
			t.Fatal(err)
		}
		r := &check.Report{Found: func(p *check.Problem) { t.Errorf("%d bytes: a false alarm: %v", seen, p) }}
		if err := opened.Walk(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzWalk(f *testing.F) {
	f.Add([]byte("FS30"))
	f.Add(slices.Concat([]byte("FS30"), datafs.TxnHeader{TID: 5, Len: 31, Status: ' '}.Append(nil), make([]byte, 16)))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(dir, "Data.fs")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		problems(t, map[string]string{"": path}, "")
	})
}
