package datafs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/zaridb/zari/zodb"
)

func wantCorrupt(t *testing.T, err error, offset int64, reason error) {
	t.Helper()
	c, ok := errors.AsType[*zodb.CorruptError](err)
	if !ok || !errors.Is(err, zodb.ErrCorrupt) {
		t.Fatalf("%v, want a CorruptError", err)
	}
	if c.File != "small.fs" || c.Offset != offset || (reason != nil && !errors.Is(err, reason)) {
		t.Errorf("%v, want it at %d: %v", err, offset, reason)
	}
}

// Every field that holds the file together is checked, and the error names the
// place.
func TestScannerFindsDamage(t *testing.T) {
	// positions in small.fs, from small.json
	const txn, rec, undo, undoTxn = 267, 290, 3369, 3340
	for name, c := range map[string]struct {
		at     int64 // of an eight-byte number
		value  uint64
		offset int64
		reason error
	}{
		"transaction too short":   {txn + 8, 20, txn, errTxnLen},
		"transaction too long":    {txn + 8, 5000, txn, errCutOff},
		"length overflows":        {txn + 8, 1<<64 - 1, txn, errTxnLen},
		"tid goes back":           {txn, 1, txn, nil},
		"record's data too long":  {rec + 34, 3001, rec, errTooLong},
		"record's length is huge": {rec + 34, 1<<64 - 8, rec, errTooLong},
		"record's data too short": {rec + 34, 2999, rec + 42 + 2999, errTooLong},
		"other transaction":       {rec + 24, 188, rec, errOtherTxn},
		"other tid":               {rec + 8, 5, rec, errOtherTID},
		"previous is itself":      {rec + 16, rec, rec, errPrev},
		"previous in the magic":   {rec + 16, 3, rec, errPrev},
		"back pointer forwards":   {undo + 42, undo + 50, undo, errBack},
		"trailer":                 {undoTxn - 8, 1, undoTxn - 8, errTrailer},
	} {
		t.Run(name, func(t *testing.T) {
			data := bytes.Clone(read(t, "small.fs"))
			binary.BigEndian.PutUint64(data[c.at:], c.value)
			sc := scanner(data, 4096)
			for sc.Txn() {
				for sc.Record() {
				}
			}
			wantCorrupt(t, sc.Err(), c.offset, c.reason)
		})
	}
	data := bytes.Clone(read(t, "small.fs"))
	data[rec+33] = 1
	sc := scanner(data, 4096)
	for sc.Txn() {
		for sc.Record() {
		}
	}
	wantCorrupt(t, sc.Err(), rec, errVersion)
}

// A file that is shorter than was promised is corrupt; one that cannot be read
// is not.
func TestScannerReadErrors(t *testing.T) {
	data := read(t, "small.fs")
	sc := NewScanner(NewWindow(bytes.NewReader(data[:300]), 64), "small.fs", MagicSize, int64(len(data)), 0)
	for sc.Txn() {
		for sc.Record() {
		}
	}
	wantCorrupt(t, sc.Err(), 290, errCutOff)

	failing := errors.New("the cable is out")
	sc = NewScanner(NewWindow(failingReader{failing}, 64), "small.fs", MagicSize, int64(len(data)), 0)
	if sc.Txn() || !errors.Is(sc.Err(), failing) || errors.Is(sc.Err(), zodb.ErrCorrupt) {
		t.Errorf("%v, want %v", sc.Err(), failing)
	}
}

type failingReader struct{ err error }

func (f failingReader) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func TestWindow(t *testing.T) {
	data := make([]byte, 1000)
	for i := range data {
		data[i] = byte(i)
	}
	w := NewWindow(bytes.NewReader(data), 100)
	for _, c := range []struct {
		off int64
		n   int
	}{{0, 10}, {95, 10}, {990, 10}, {500, 300}, {0, 1000}} {
		for name, at := range map[string]func(int64, int) ([]byte, error){"At": w.At, "AtBack": w.AtBack, "Copy": w.Copy} {
			b, err := at(c.off, c.n)
			if err != nil || !bytes.Equal(b, data[c.off:c.off+int64(c.n)]) {
				t.Errorf("%s(%d, %d): %x, %v", name, c.off, c.n, b, err)
			}
		}
	}
	for name, at := range map[string]func(int64, int) ([]byte, error){"At": w.At, "AtBack": w.AtBack, "Copy": w.Copy} {
		if _, err := at(995, 10); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s over the end: %v", name, err)
		}
	}
}

func TestReadIndexRefuses(t *testing.T) {
	good := read(t, "small.fs.index")
	refuse := func(name string, data []byte) {
		t.Helper()
		if pos, err := ReadIndex(bytes.NewReader(data), func(*Bucket) {}); err == nil {
			t.Errorf("%s: read, up to %d", name, pos)
		}
	}
	for n := range good {
		refuse("cut off", good[:n])
	}
	prefix := "\x80\x03C\x06\x00\x00\x00\x00\x00\x00"
	entry := "C\x08\x00\x01\x00\x00\x00\x00\x00\x50\x86."
	end := "\x80\x03N."
	refuse("a position beyond what is covered", []byte("\x80\x03K\x50."+prefix+entry+end))
	refuse("a position in the first header", []byte("\x80\x03K\x60."+prefix+"C\x08\x00\x01\x00\x00\x00\x00\x00\x1a\x86."+end))
	refuse("a prefix twice", []byte("\x80\x03K\x60."+prefix+entry+prefix+entry+end))
	refuse("oids not ascending", []byte("\x80\x03K\x60."+prefix+"C\x10\x00\x01\x00\x01\x00\x00\x00\x00\x00\x50\x00\x00\x00\x00\x00\x50\x86."+end))
	refuse("a bucket that is too large", []byte("\x80\x03K\x60."+prefix+"B\x08\x00\x08\x00"))
	refuse("a global", []byte("\x80\x03cos\nsystem\n."))
	refuse("a negative position", []byte("\x80\x03J\xff\xff\xff\xff."+end))
	if _, err := ReadIndex(bytes.NewReader([]byte("\x80\x03K\x60."+prefix+entry+end)), func(*Bucket) {}); err != nil {
		t.Errorf("the good one: %v", err)
	}
}
