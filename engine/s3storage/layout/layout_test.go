package layout

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

var database = ID{1, 2, 3}

func sampleTxns(t testing.TB) (Table, []byte) {
	t.Helper()
	txns := []*txnlog.Txn{
		{TID: 5, Status: ' ', User: []byte("u"), Records: []txnlog.Record{
			{OID: 0, Data: []byte("root")}, {OID: 300, Prev: 2, Data: make([]byte, 1000), Blob: "x"},
		}},
		{TID: 9, Status: ' ', Description: make([]byte, 200), Records: []txnlog.Record{
			{OID: 300, Prev: 5, Kind: txnlog.Delete}, {OID: 7, Prev: 4, Data: []byte("back"), From: 3},
		}},
		{TID: 10, Status: ' '},
	}
	var table Table
	var body []byte
	for _, txn := range txns {
		entry, err := TableOf(txn, func(*txnlog.Record) (Blob, error) { return Blob{ID{8}, 77, 5}, nil })
		if err != nil {
			t.Fatal(err)
		}
		table.Txns = append(table.Txns, entry)
		if body, err = txn.Append(body); err != nil {
			t.Fatal(err)
		}
	}
	return table, body
}

func sampleLogs(t testing.TB) []*Log {
	head := Log{Database: database, Slot: 12, Epoch: 3, Nonce: ID{4}, Prev: Hash{5}, LastTID: 10, MaxOID: 300}
	with := func(kind Kind, fill func(*Log)) *Log {
		l := head
		l.Kind = kind
		fill(&l)
		return &l
	}
	table, body := sampleTxns(t)
	return []*Log{
		with(Commit, func(l *Log) {
			l.Meta = &store.Meta{UUID: [16]byte{1}, Epoch: 2, TIDFloor: 3, NextOID: 4}
			l.Table, l.Txns = table, body
		}),
		with(Commit, func(l *Log) { l.Table, l.Txns = table, body }),
		with(Fence, func(l *Log) { l.Fence = &FenceRecord{Writer: "host", Time: 99} }),
		with(Fence, func(l *Log) { l.Fence = &FenceRecord{"host", 99, sampleFront} }),
		with(Replace, func(l *Log) {
			l.Replace = &ReplaceRecord{
				UpTo: 9, PackedTo: 8, Drops: true, Gone: []ID{{1}, {2}}, New: []Segment{sampleSegment},
				Blobs: []BlobName{{7, ID{3}}},
			}
		}),
		with(Collect, func(l *Log) { l.Collect = &CollectRecord{4, []string{"seg/aa/b", "ckpt/c"}} }),
		with(Collected, func(l *Log) { l.Collected = 11 }),
	}
}

var sampleFront = Front{InPostgres, ID{5}, "a server"}

var sampleSegment = Segment{ID: ID{6}, First: 1, Last: 2, Size: 1000, TableLen: 50, Txns: 2}

func TestLog(t *testing.T) {
	for _, want := range sampleLogs(t) {
		b := want.Encode()
		got, err := DecodeLog(b)
		if err != nil {
			t.Fatalf("%v: %v", want.Kind, err)
		}
		if len(got.Txns) == 0 {
			got.Txns = want.Txns
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v: -want +got:\n%s", want.Kind, diff)
		}
		if nonce, ok := Nonce(b); !ok || nonce != want.Nonce {
			t.Errorf("Nonce = %v, %v", nonce, ok)
		}
		damaged(t, want.Kind.String(), b, func(b []byte) error { _, err := DecodeLog(b); return err })
	}
}

// damaged flips every byte and cuts everywhere: all of that is found.
func damaged(t *testing.T, what string, b []byte, decode func([]byte) error) {
	t.Helper()
	for i := range b {
		b[i] ^= 0x40
		if err := decode(b); !errors.Is(err, zodb.ErrCorrupt) {
			t.Fatalf("%s: byte %d of %d is wrong: %v", what, i, len(b), err)
		}
		b[i] ^= 0x40
		if err := decode(b[:i]); !errors.Is(err, zodb.ErrCorrupt) {
			t.Fatalf("%s: cut off after %d of %d: %v", what, i, len(b), err)
		}
	}
}

// The table tells where every record lies.
func TestTableFindsRecords(t *testing.T) {
	table, body := sampleTxns(t)
	type found struct {
		TID  zodb.TID
		OID  zodb.OID
		Len  int
		Blob bool
	}
	var got, want []found
	table.Each(0, func(tid zodb.TID, off int64, r *TableRecord) {
		rec, err := txnlog.DecodeRecord(body[off : off+int64(r.Len)])
		if err != nil {
			t.Fatal(err)
		}
		if rec.OID != r.OID || (rec.Kind == txnlog.Delete) != r.Delete {
			t.Errorf("at %d: %+v, the table says %+v", off, rec, r)
		}
		got = append(got, found{tid, rec.OID, rec.EncodedLen(), r.Blob != nil})
	})
	for rest := body; len(rest) > 0; {
		txn, more, err := txnlog.Decode(rest)
		if err != nil {
			t.Fatal(err)
		}
		for i := range txn.Records {
			r := &txn.Records[i]
			want = append(want, found{txn.TID, r.OID, r.EncodedLen(), r.Blob != ""})
		}
		rest = more
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSegment(t *testing.T) {
	table, body := sampleTxns(t)
	w := NewSegmentWriter(database, 100)
	rest := body
	for _, entry := range table.Txns {
		w.Add(entry, rest[:entry.Len()])
		rest = rest[entry.Len():]
	}
	b, info := w.Close()
	got, gotBody, err := DecodeSegment(b, database, info.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&table, got); diff != "" || string(gotBody) != string(body) {
		t.Errorf("the segment differs: %s", diff)
	}
	if info.First != 5 || info.Last != 10 || info.Txns != 3 || info.Size != int64(len(b)) {
		t.Errorf("described as %+v", info)
	}
	alone, err := DecodeTable(b[info.TableAt() : info.TableAt()+int64(info.TableLen)])
	if diff := cmp.Diff(&table, alone); err != nil || diff != "" {
		t.Errorf("the table alone: %v %s", err, diff)
	}
	if _, _, err := DecodeSegment(b, ID{9}, info.ID); !errors.Is(err, zodb.ErrCorrupt) {
		t.Errorf("a segment of another database: %v", err)
	}
	damaged(t, "segment", b, func(b []byte) error { _, _, err := DecodeSegment(b, database, info.ID); return err })
}

func sampleCheckpoint() *Checkpoint {
	return &Checkpoint{
		Database: database, ID: ID{2}, Slot: 12, Epoch: 3, Hash: Hash{4}, LastTID: 10, MaxOID: 300,
		Meta: store.Meta{UUID: [16]byte{1}, Epoch: 2, TIDFloor: 3, NextOID: 4}, PackedTo: 6,
		Runs:     []RunInfo{{ID{3}, 0, 5, 100, 1000}, {ID{4}, 5, 10, 10, 100}},
		Segments: []Segment{sampleSegment}, Logs: []LogInfo{{11, 5, 10, 900, 114, 30, 3}},
		Replaced: []Replaced{{9, 10}}, Garbage: []Garbage{{"seg/aa/b", 10}},
		Collecting: CollectRecord{4, []string{"x"}}, CollectingSlot: 11,
	}
}

func TestCheckpoint(t *testing.T) {
	for _, front := range []Front{{}, sampleFront} {
		want := sampleCheckpoint()
		want.Front = front
		b := want.Encode()
		got, err := DecodeCheckpoint(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		damaged(t, "checkpoint", b, func(b []byte) error { _, err := DecodeCheckpoint(b); return err })
	}
}

func sampleEntries(n int) []Entry {
	rnd := rand.New(rand.NewPCG(1, 2))
	entries := make([]Entry, 0, n)
	e := Entry{}
	for range n {
		if rnd.IntN(4) > 0 {
			e.OID += zodb.OID(1 + rnd.IntN(3))
			e.TID = zodb.TID(rnd.Uint64() >> 1)
		}
		e.TID += zodb.TID(1 + rnd.IntN(1000))
		e.Place, e.Off, e.Size = uint32(rnd.IntN(3)), rnd.Uint32(), uint8(rnd.IntN(256))
		entries = append(entries, e)
	}
	return entries
}

func encodeRun(entries []Entry) ([]byte, RunInfo) {
	w := NewRunWriter(database)
	for _, p := range []Place{{Slot: 7}, {Segment: ID{9}}, {Slot: 8}, {Slot: 7}} {
		w.Place(p)
	}
	w.Blob(RunBlob{1, 2, Blob{ID{3}, 4, 5}})
	for _, e := range entries {
		w.Add(e)
	}
	return w.Close()
}

func decodeRun(b []byte, id ID) (x *Run, entries []Entry, err error) {
	x, err = OpenRun(b, database, id)
	var block []Entry
	for err == nil {
		if block, err = x.Next(block); len(block) == 0 {
			break
		}
		entries = append(entries, block...)
	}
	return x, entries, err
}

func TestRun(t *testing.T) {
	for _, n := range []int{0, 1, blockLen, 3*blockLen + 5} {
		want := sampleEntries(n)
		b, info := encodeRun(want)
		x, got, err := decodeRun(b, info.ID)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) || n > 0 && !cmp.Equal(got, want) {
			t.Errorf("%d entries come back as %d", len(want), len(got))
		}
		if diff := cmp.Diff([]Place{{Slot: 7}, {Segment: ID{9}}, {Slot: 8}}, x.Places); diff != "" {
			t.Errorf("places: %s", diff)
		}
		if len(x.Blobs) != 1 || x.Blobs[0] != (RunBlob{1, 2, Blob{ID{3}, 4, 5}}) || info.Entries != int64(n) {
			t.Errorf("blobs %v, info %+v", x.Blobs, info)
		}
	}
	b, info := encodeRun(sampleEntries(20))
	damaged(t, "run", b, func(b []byte) error { _, _, err := decodeRun(b, info.ID); return err })
}

func TestSingles(t *testing.T) {
	for _, f := range []Format{{database, 99, nil}, {database, 99, []ID{{1}, {2}}}} {
		got, err := DecodeFormat(f.Encode())
		if diff := cmp.Diff(f, got); err != nil || diff != "" {
			t.Errorf("format: %v, %s", err, diff)
		}
	}
	p := Pointer{database, 9, CheckpointKey(7, ID{1})}
	if got, err := DecodeHint(p.EncodeHint()); err != nil || got != p {
		t.Errorf("hint: %v, %v", got, err)
	}
	if got, err := DecodeFloor(p.EncodeFloor()); err != nil || got != p {
		t.Errorf("floor: %v, %v", got, err)
	}
	if _, err := DecodeFloor(p.EncodeHint()); err == nil {
		t.Error("a hint is taken for a floor")
	}
	if slot, ok := CheckpointSlot(p.Checkpoint); !ok || slot != 7 {
		t.Errorf("CheckpointSlot = %d, %v", slot, ok)
	}
	l := Lease{ID{1}, ID{2}, 3, "me"}
	if got, err := DecodeLease(l.Encode()); err != nil || got != l {
		t.Errorf("lease: %v, %v", got, err)
	}
}

func sampleShare() Share {
	return Share{
		Owner: ID{1}, Branch: ID{2}, Created: 3, OwnerURL: "s3://a", BranchURL: "s3://b",
		Segments: []ID{{4}, {5}}, Blobs: []ID{{6}},
	}
}

func TestShare(t *testing.T) {
	want := sampleShare()
	b := want.Encode()
	got, err := DecodeShare(b)
	if diff := cmp.Diff(&want, got); err != nil || diff != "" {
		t.Fatalf("%v, -want +got:\n%s", err, diff)
	}
	for key, want := range map[string]bool{
		SegmentKey(ID{4}): true, SegmentKey(ID{5}): true, SegmentKey(ID{6}): false, BlobKey(9, ID{6}): true,
		BlobKey(9, ID{4}): false, RunKey(ID{4}): false, LogKey(4): false, "seg/": false, "": false, "blob/00/x": false,
	} {
		if got.Has(key) != want {
			t.Errorf("Has(%q) = %v", key, !want)
		}
	}
	damaged(t, "share", b, func(b []byte) error { _, err := DecodeShare(b); return err })
	p := Pins{Database: database, Nonce: ID{1}, Closed: true, Branches: []ID{{2}, {3}}}
	pins, err := DecodePins(p.Encode())
	if diff := cmp.Diff(p, pins); err != nil || diff != "" {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	damaged(t, "pins", p.Encode(), func(b []byte) error { _, err := DecodePins(b); return err })
}

// FuzzDecode gives every decoder bytes whose checksums are right.
func FuzzDecode(f *testing.F) {
	for _, l := range sampleLogs(f) {
		f.Add(l.Encode())
	}
	table, body := sampleTxns(f)
	w := NewSegmentWriter(database, 100)
	w.Add(table.Txns[0], body[:table.Txns[0].Len()])
	segment, info := w.Close()
	f.Add(segment)
	f.Add(sampleCheckpoint().Encode())
	run, runInfo := encodeRun(sampleEntries(30))
	f.Add(run)
	f.Add(table.Append(nil))
	p := Pointer{database, 9, CheckpointKey(7, ID{1})}
	f.Add(p.EncodeFloor())
	f.Add(p.EncodeHint())
	f.Add(Format{database, 1, []ID{{1}}}.Encode())
	f.Add(sampleShare().Encode())
	f.Add(Pins{Database: database, Branches: []ID{{2}}}.Encode())
	f.Add(Lease{ID{1}, ID{2}, 3, "me"}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > checksumLen {
			b = seal(b[: len(b)-checksumLen : len(b)-checksumLen])
		}
		if l, err := DecodeLog(b); err == nil {
			again, err := DecodeLog(l.Encode())
			if err != nil || again.LastTID != l.LastTID || len(again.Txns) != len(l.Txns) {
				t.Errorf("a log object that was read cannot be written and read: %v", err)
			}
		}
		if c, err := DecodeCheckpoint(b); err == nil {
			if _, err := DecodeCheckpoint(c.Encode()); err != nil {
				t.Errorf("a checkpoint that was read cannot be written and read: %v", err)
			}
		}
		DecodeSegment(b, database, info.ID)
		DecodeTable(b)
		decodeRun(b, runInfo.ID)
		DecodeFormat(b)
		DecodeHint(b)
		DecodeFloor(b)
		DecodeLease(b)
		DecodeShare(b)
		DecodePins(b)
	})
}
