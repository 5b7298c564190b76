package pickle

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/zodb"
)

// TestReferences compares with ZODB.serialize.referencesf, and the scanner with
// the full reader.
func TestReferences(t *testing.T) {
	scanned := 0
	for _, g := range goldens(t, "record", "foreign") {
		got, err := References(g.data, nil)
		if err != nil {
			t.Errorf("%s: %v", g.name, err)
			continue
		}
		full, err := referencesInFull(g.data, nil)
		if d := cmp.Diff(full, got); d != "" || err != nil {
			t.Errorf("%s: the full reader finds others: %v %s", g.name, err, d)
		}
		if _, sure := new(scanner).record(g.data, nil); sure {
			scanned++
		} else if g.kind == "record" {
			t.Errorf("%s (%s): the scanner is not sure", g.name, g.class)
		}
		want := []zodb.OID{0x0102030405060708, 0x0102030405060708} // what Python cannot read
		if g.refs != "?" {
			want = g.wantRefs(t)
		}
		if g.name == "protocol4" || g.name == "protocol5" {
			want = want[:2]
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", g.name, d)
		}
	}
	if scanned < 100 {
		t.Errorf("the scanner was sure of %d records only", scanned)
	}
}

// TestAllReferences compares the scanner with the full reader.
func TestAllReferences(t *testing.T) {
	scanned, classes := 0, 0
	for _, g := range goldens(t, "record", "foreign") {
		got, err := AllReferences(g.data, nil)
		want, err2 := allInFull(g.data, nil)
		if d := cmp.Diff(want, got); d != "" || err != nil || err2 != nil {
			t.Errorf("%s: %v %v %s", g.name, err, err2, d)
		}
		s := &scanner{all: true}
		if _, sure := s.record(g.data, nil); sure {
			scanned++
		}
		for _, r := range s.refs {
			if r.Class != (Class{}) {
				classes++
			}
		}
	}
	if scanned < 100 || classes < 10 {
		t.Errorf("the scanner was sure of %d records only, with %d classes", scanned, classes)
	}
}

func TestReferencesAppends(t *testing.T) {
	record := goldens(t, "foreign")[0].data
	got, err := References(record, []zodb.OID{1})
	if d := cmp.Diff([]zodb.OID{1, 0x0102030405060708}, got); d != "" || err != nil {
		t.Error(err, d)
	}
	got, err = References(record[:len(record)-1], []zodb.OID{1})
	if d := cmp.Diff([]zodb.OID{1}, got); d != "" || err == nil {
		t.Error(err, d)
	}
}

func TestClassOf(t *testing.T) {
	for _, g := range goldens(t, "record", "foreign") {
		c, err := ClassOf(g.data)
		want := g.class
		if g.name == "protocol4" || g.name == "protocol5" {
			want = "app.Thing" // zodbpickle does not know these protocols
		}
		if err != nil || c.String() != want {
			t.Errorf("%s: %v, %v, want %s", g.name, c, err, want)
		}
	}
	for _, bad := range []string{"", "K\x01.", ").", "K\x01K\x02\x86.", "ca\n", "X\x01\x00\x00\x00aN\x86."} {
		if c, err := ClassOf([]byte(bad)); err == nil {
			t.Errorf("%q is of class %v", bad, c)
		}
	}
}

// TestEveryFormOfReference has each form once.
func TestEveryFormOfReference(t *testing.T) {
	oid := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	thing := &Global{"app", "Thing"}
	class := Class{"app", "Thing"}
	for _, c := range []struct {
		id   any
		want Reference
	}{
		{oid, Reference{}},
		{ByteString(oid), Reference{}},
		{string(oid), Reference{}},
		{Tuple{oid, thing}, Reference{Class: class}},
		{Tuple{oid, Tuple{thing, Tuple{}}}, Reference{Class: class}},
		{Tuple{oid, nil}, Reference{}},
		{NewList("w", Tuple{oid}), Reference{Strength: Weak}},
		{NewList("w", Tuple{oid, "other"}), Reference{Strength: Weak, Database: "other"}},
		{NewList("n", Tuple{"other", oid}), Reference{Database: "other"}},
		{NewList("m", Tuple{"other", oid, thing}), Reference{Database: "other", Class: class}},
		{NewList(ByteString("m"), Tuple{ByteString("other"), oid, thing}), Reference{Database: "other", Class: class}},
		{NewList(oid), Reference{Strength: Weak}},
	} {
		c.want.OID = 0x0102030405060708
		got, err := (&Ref{c.id}).Target()
		if d := cmp.Diff(c.want, got); d != "" || err != nil {
			t.Errorf("%v: %v %s", c.id, err, d)
		}
	}
	for _, bad := range []any{
		nil, int64(1), []byte("short"), Tuple{}, Tuple{int64(1), thing}, NewList(), NewList("w"), NewList("x", Tuple{oid}),
		NewList("w", Tuple{}), NewList("n", Tuple{oid}), NewList("m", Tuple{"other", oid}), NewList("n", Tuple{int64(1), oid}),
		NewList("n", Tuple{"", oid}), &Object{},
	} {
		if got, err := (&Ref{bad}).Target(); err == nil {
			t.Errorf("%v refers to %v", bad, got)
		}
	}
}

func TestScannerDoesNotAllocate(t *testing.T) {
	records := goldens(t, "record")
	dst := make([]zodb.OID, 0, 1000)
	var s scanner
	if n := testing.AllocsPerRun(20, func() {
		for _, g := range records {
			if _, sure := s.record(g.data, dst); !sure {
				t.Fatal("not sure")
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations for %d records", n, len(records))
	}
}

// FuzzReferences holds the scanner to the full reader: where both can read a
// record they find the same.
func FuzzReferences(f *testing.F) {
	for _, g := range goldens(f, "record", "foreign") {
		if len(g.data) < 2000 {
			f.Add(g.data)
		}
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		_, _ = ClassOf(record)
		got, sure := new(scanner).record(record, nil)
		if !sure {
			return
		}
		want, err := referencesInFull(record, nil)
		if err != nil {
			return // the scanner checks less
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
		all := &scanner{all: true}
		if _, sure := all.record(record, nil); !sure {
			return
		}
		wantAll, err := allInFull(record, nil)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(wantAll, all.refs); d != "" {
			t.Fatal(d)
		}
	})
}

func benchRecords(b *testing.B) (records [][]byte) {
	var total int
	for _, g := range goldens(b, "record") {
		if !bytes.Contains(g.data, []byte("ListKind")) {
			records = append(records, g.data)
			total += len(g.data)
		}
	}
	b.SetBytes(int64(total))
	b.ReportAllocs()
	return records
}

func BenchmarkReferences(b *testing.B) {
	records := benchRecords(b)
	var dst []zodb.OID
	for b.Loop() {
		for _, r := range records {
			dst, _ = References(r, dst[:0])
		}
	}
}

func BenchmarkDecodeRecord(b *testing.B) {
	records := benchRecords(b)
	for b.Loop() {
		for _, r := range records {
			if _, _, err := DecodeRecord(r); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkDecodeEncodeRecord(b *testing.B) {
	records := benchRecords(b)
	for b.Loop() {
		for _, r := range records {
			class, state, err := DecodeRecord(r)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := EncodeRecord(class, state); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// TestOwnReferences: a reference to another database is an error, a weak one is not.
func TestOwnReferences(t *testing.T) {
	oid := []byte{0, 0, 0, 0, 0, 0, 0, 7}
	own := &Ref{Tuple{oid, &Global{"app", "Thing"}}}
	for _, c := range []struct {
		name    string
		ref     *Ref
		foreign string
	}{
		{"own", own, ""},
		{"weak", &Ref{NewList("w", Tuple{oid})}, ""},
		{"weak elsewhere", &Ref{NewList("w", Tuple{oid, "other"})}, ""},
		{"elsewhere", &Ref{NewList("n", Tuple{"other", oid})}, "other"},
		{"elsewhere, with class", &Ref{NewList("m", Tuple{"other", oid, &Global{"app", "Thing"}})}, "other"},
	} {
		record, err := EncodeRecord(&Global{"app", "Thing"}, NewDict("a", own, "b", c.ref))
		if err != nil {
			t.Fatal(err)
		}
		got, err := OwnReferences(record, []zodb.OID{1})
		if c.foreign != "" {
			if e, ok := errors.AsType[*ForeignError](err); !ok || e.Database != c.foreign || len(got) != 1 {
				t.Errorf("%s: %v, %v", c.name, got, err)
			}
			continue
		}
		want, _ := References(record, []zodb.OID{1})
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%s: %v %s", c.name, err, d)
		}
	}
}
