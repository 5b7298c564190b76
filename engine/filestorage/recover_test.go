package filestorage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zodb"
)

// made returns the bytes of a Data.fs with history, and where the last of its
// transactions begins.
func made(t testing.TB) (data []byte, last int64) {
	t.Helper()
	m := disk(t)
	s := openOn(t, m)
	history(t, s)
	_, last = s.Stat()
	appendTo(t, s, txn(70, put(1, strings.Repeat("seventy", 20)), put(2, "two")))
	closed(t, s)
	return readFile(t, m, dataFile), last
}

// wantCut opens a file whose end is torn: it is cut back to history, what is cut
// is kept, and the storage works.
func wantCut(t *testing.T, data []byte, at int64) {
	t.Helper()
	m := disk(t)
	writeFile(t, m, dataFile, data)
	readOnly := open(t, Options{Path: dataFile, FS: m, ReadOnly: true})
	checkHistory(t, readOnly)
	if exists(t, m, dataFile+".tr0") || !bytes.Equal(readFile(t, m, dataFile), data) {
		t.Error("opened read-only, it changed something")
	}
	s := openOn(t, m)
	checkHistory(t, s)
	if got := readFile(t, m, dataFile); !bytes.Equal(got, data[:at]) {
		t.Errorf("the file has %d bytes, want %d", len(got), at)
	}
	if got := readFile(t, m, dataFile+".tr0"); !bytes.Equal(got, data[at:]) {
		t.Errorf("%d bytes were kept aside, want %d", len(got), len(data)-int(at))
	}
	appendTo(t, s, txn(71, put(3, "three")))
	closed(t, s)
	s = openOn(t, m)
	wantLoad(t, s, 3, zodb.MaxTID, "three 71-0")
	if exists(t, m, dataFile+".tr1") {
		t.Error("something was cut again")
	}
}

// The last transaction is torn at every byte, as it is before it is finished, and
// as it would be if the mark had been removed first.
func TestTornTail(t *testing.T) {
	data, last := made(t)
	for _, status := range []byte{datafs.Pending, datafs.Done} {
		for n := last + 1; n < int64(len(data)); n++ {
			torn := bytes.Clone(data[:n])
			if n > last+datafs.StatusOffset {
				torn[last+datafs.StatusOffset] = status
			}
			wantCut(t, torn, last)
			if t.Failed() {
				t.Fatalf("torn at byte %d of %d, status %q", n-last, int64(len(data))-last, status)
			}
		}
	}
}

// All of the batch is there but for the removal of its mark, or for the sector of
// the mark.
func TestUnfinishedBatch(t *testing.T) {
	data, last := made(t)
	pending := bytes.Clone(data)
	pending[last+datafs.StatusOffset] = datafs.Pending
	more := append(bytes.Clone(pending), data[last:]...) // a second transaction, whole
	binary.BigEndian.PutUint64(more[len(data):], 80)
	lost := bytes.Clone(more)
	clear(lost[last:min(int64(len(lost)), (last/sector+1)*sector)])
	for name, torn := range map[string][]byte{"marked": pending, "two": more, "first sector lost": lost} {
		t.Run(name, func(t *testing.T) { wantCut(t, torn, last) })
	}
}

// A header that lies across two sectors, either of which may be lost.
func TestHeaderAcrossSectors(t *testing.T) {
	for pad := range 60 {
		m := disk(t)
		s := openOn(t, m)
		appendTo(t, s, txn(1, put(1, strings.Repeat("x", 330+pad))))
		_, at := s.Stat()
		appendTo(t, s, txn(2, put(2, strings.Repeat("y", 2000))), txn(3, put(3, "three")))
		closed(t, s)
		data := readFile(t, m, dataFile)
		data[at+datafs.StatusOffset] = datafs.Pending
		boundary := (at/sector + 1) * sector
		for part, lost := range [][2]int64{{at, boundary}, {boundary, boundary + sector}} {
			torn := bytes.Clone(data)
			clear(torn[lost[0]:lost[1]])
			m := disk(t)
			writeFile(t, m, dataFile, torn)
			s, err := Open(Options{Path: dataFile, FS: m})
			if err != nil {
				t.Fatalf("header at %d, part %d lost: %v", at, part, err)
			}
			wantLoad(t, s, 1, zodb.MaxTID, strings.Repeat("x", 330+pad)+" 1-0")
			wantLoad(t, s, 3, zodb.MaxTID, "unknown")
			closed(t, s)
		}
	}
}

// Damage in the middle is reported and left alone.
func TestDamageIsNotCutOff(t *testing.T) {
	data, _ := made(t)
	m := disk(t)
	writeFile(t, m, dataFile, data)
	v, pos, err := openOn(t, m).lookup(0)
	if err != nil {
		t.Fatal(err)
	}
	defer v.release()
	const first = datafs.MagicSize
	for name, c := range map[string]struct {
		at     int64
		value  uint64
		offset int64
	}{
		"length beyond the end":  {first + 8, 1 << 30, first},
		"length of nothing":      {first + 8, 1, first},
		"length somewhat larger": {first + 8, 200, -1},
		"status":                 {first + 9, 0x5a5a5a5a5a5a5a5a, first},
		"record's length":        {pos + 34, 70000, pos},
		"record's transaction":   {pos + 24, 9, pos},
	} {
		t.Run(name, func(t *testing.T) {
			bad := bytes.Clone(data)
			binary.BigEndian.PutUint64(bad[c.at:], c.value)
			m := disk(t)
			writeFile(t, m, dataFile, bad)
			_, err := Open(Options{Path: dataFile, FS: m})
			corrupt, ok := errors.AsType[*zodb.CorruptError](err)
			if !ok || corrupt.File != dataFile || corrupt.Record == "" || (c.offset >= 0 && corrupt.Offset != c.offset) {
				t.Errorf("%v, want a CorruptError at %d", err, c.offset)
			}
			if exists(t, m, dataFile+".tr0") || !bytes.Equal(readFile(t, m, dataFile), bad) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestNotADataFile(t *testing.T) {
	m := disk(t)
	writeFile(t, m, dataFile, []byte("SQLite format 3"))
	if _, err := Open(Options{Path: dataFile, FS: m}); !errors.Is(err, zodb.ErrCorrupt) {
		t.Errorf("%v, want ErrCorrupt", err)
	}
	if got := string(readFile(t, m, dataFile)); got != "SQLite format 3" {
		t.Errorf("the file was changed to %q", got)
	}
}

// A file that was being made when the power failed, or the disk, is made anew.
func TestUnfinishedMagic(t *testing.T) {
	for _, rest := range []string{"", "F", "FS3", "\x00", "\x00\x00\x00\x00", "FS\x00\x00", "FS30"} {
		m := disk(t)
		writeFile(t, m, dataFile, []byte(rest))
		s := openOn(t, m)
		history(t, s)
		closed(t, s)
		checkHistory(t, openOn(t, m))
	}
	m := disk(t)
	writeFile(t, m, dataFile, []byte("no"))
	if _, err := Open(Options{Path: dataFile, FS: m}); !errors.Is(err, zodb.ErrCorrupt) {
		t.Errorf("%v, want ErrCorrupt", err)
	}
}

// Names for what is cut off are not used twice.
func TestTailsAreNumbered(t *testing.T) {
	data, last := made(t)
	m := disk(t)
	for i := range 3 {
		writeFile(t, m, dataFile, data[:len(data)-1-i])
		closed(t, openOn(t, m))
		if got := readFile(t, m, fmt.Sprintf("%s.tr%d", dataFile, i)); int64(len(got)) != int64(len(data)-1-i)-last {
			t.Errorf("tail %d has %d bytes", i, len(got))
		}
	}
}

// If the tail cannot be kept, nothing is cut.
func TestTailThatCannotBeKept(t *testing.T) {
	data, _ := made(t)
	m := disk(t)
	torn := data[:len(data)-3]
	writeFile(t, m, dataFile, torn)
	full := vfs.Fault(m, 1, vfs.Rule{Ops: vfs.OpWrite, Path: "*.tr0"})
	if _, err := Open(Options{Path: dataFile, FS: full}); err == nil {
		t.Error("opened")
	}
	if !bytes.Equal(readFile(t, m, dataFile), torn) {
		t.Error("the file was cut")
	}
}

// Python moves the old file away before it puts the packed one in its place.
func TestPackOfPythonInterrupted(t *testing.T) {
	data, _ := made(t)
	m := disk(t)
	writeFile(t, m, dataFile+".old", []byte("FS30 and so on"))
	writeFile(t, m, dataFile+".pack", data)
	s := openOn(t, m)
	wantLoad(t, s, 2, zodb.MaxTID, "two 70-0")
	closed(t, s)
	writeFile(t, m, dataFile+".pack", []byte("half of it"))
	s = openOn(t, m)
	wantLoad(t, s, 2, zodb.MaxTID, "two 70-0")
	if exists(t, m, dataFile+".pack") {
		t.Error("the rest of a pack was left")
	}
}
