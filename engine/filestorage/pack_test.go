package filestorage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

func pack(t testing.TB, s *Storage, at zodb.TID, opts zodb.PackOptions) {
	t.Helper()
	if err := s.Pack(t.Context(), at, opts); err != nil {
		t.Fatal(err)
	}
}

// What a pack leaves of history, for each time; also after opening again.
func TestPackHistory(t *testing.T) {
	for at, want := range map[zodb.TID][]string{
		9:  historyLines,
		15: historyLines, // nothing to be gained
		35: {
			"10p 0<0:root",
			"20p 5000<0:far",
			"30p 1<0:one''",
			"40  1<30:one'=20", // replaced below: the record of 20 is gone
			"50  5000<20:-",
			"60  1<40:one'=40 5000<50:again",
		},
		55: {"10p 0<0:root", "40p 1<0:one'", "60  1<40:one'=40 5000<0:again"},
		60: {"10p 0<0:root", "60p 1<0:one' 5000<0:again"},
		99: {"10p 0<0:root", "60p 1<0:one' 5000<0:again"},
	} {
		if at == 35 {
			want[3] = "40  1<30:one'"
		}
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			m := disk(t)
			s := openOn(t, m)
			history(t, s)
			pack(t, s, at, zodb.PackOptions{})
			if diff := cmp.Diff(want, scan(t, s, 0, store.Forward)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for oid, state := range map[zodb.OID]string{0: "root 10-0", 1: "one' 60-0", 5000: "again 60-0"} {
				wantLoad(t, s, oid, zodb.MaxTID, state)
			}
			if tid, oid := s.Head(); tid != 60 || oid != 5000 {
				t.Errorf("Head: %d, %d", tid, oid)
			}
			if exists(t, m, dataFile+".old") || exists(t, m, dataFile+".pack") {
				t.Error("the old or a temporary file is left")
			}
			appendTo(t, s, txn(100, put(1, "more")))
			closed(t, s)
			s = openOn(t, m)
			wantLoad(t, s, 1, zodb.MaxTID, "more 100-0")
			wantLoad(t, s, 1, 100, "one' 60-100")
			if diff := cmp.Diff(append(want[:len(want):len(want)], "100  1<60:more"), scan(t, s, 0, store.Forward)); diff != "" {
				t.Errorf("opened again (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPackKeepsTheOldFile(t *testing.T) {
	for _, links := range []bool{true, false} {
		m := disk(t)
		f := vfs.Fault(m, 1)
		if !links {
			f.SetRules(vfs.Rule{Ops: vfs.OpLink, Err: errors.ErrUnsupported})
		}
		s := openOn(t, f)
		history(t, s)
		before := readFile(t, m, dataFile)
		pack(t, s, 60, zodb.PackOptions{KeepOld: true})
		if got := readFile(t, m, dataFile+".old"); !bytes.Equal(got, before) {
			t.Errorf("links %v: the .old file is not the one from before", links)
		}
		appendTo(t, s, txn(70, put(1, "more")))
		pack(t, s, 70, zodb.PackOptions{})
		if exists(t, m, dataFile+".old") {
			t.Errorf("links %v: the .old file of an earlier pack is left", links)
		}
		wantLoad(t, s, 1, zodb.MaxTID, "more 70-0")
	}
}

// A pack to an earlier time than the last one changes nothing.
func TestRedundantPack(t *testing.T) {
	m := disk(t)
	s := openOn(t, m)
	history(t, s)
	pack(t, s, 55, zodb.PackOptions{})
	before := readFile(t, m, dataFile)
	for _, at := range []zodb.TID{20, 55} {
		pack(t, s, at, zodb.PackOptions{KeepOld: true})
		if !bytes.Equal(readFile(t, m, dataFile), before) || exists(t, m, dataFile+".old") {
			t.Errorf("packing to %d changed something", at)
		}
	}
}

func TestPackRefuses(t *testing.T) {
	s := openOn(t, disk(t))
	history(t, s)
	if err := s.Pack(t.Context(), 55, zodb.PackOptions{GC: true}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("garbage collection without References: %v", err)
	}
	if err := s.Pack(t.Context(), 0, zodb.PackOptions{}); err == nil {
		t.Error("packed to no time")
	}
	s.packMu.Lock()
	if err := s.Pack(t.Context(), 55, zodb.PackOptions{}); err == nil {
		t.Error("two packs at a time")
	}
	s.packMu.Unlock()
	checkHistory(t, s)
}

// Whatever fails during a pack, the old file stays and the storage goes on; or
// the new one is in place.
func TestPackFails(t *testing.T) {
	for from := range 60 {
		m := disk(t)
		f := vfs.Fault(m, 1)
		s := openOn(t, f)
		history(t, s)
		f.SetRules(vfs.Rule{Ops: ^(vfs.OpClose | vfs.OpLink), From: from, Times: 1})
		err := s.Pack(t.Context(), 55, zodb.PackOptions{KeepOld: true})
		f.SetRules()
		wantLoad(t, s, 1, zodb.MaxTID, "one' 60-0")
		wantLoad(t, s, 5000, zodb.MaxTID, "again 60-0")
		if s.broken == nil {
			appendTo(t, s, txn(70, put(7, "seven")))
		} else if _, appendErr := s.Append(t.Context(), []*txnlog.Txn{txn(70, put(7, "seven"))}, nil); appendErr == nil {
			t.Error("appended to a file that may not stay")
		}
		if err != nil && s.broken == nil && len(scan(t, s, 0, store.Forward)) != len(historyLines)+1 {
			t.Errorf("operation %d: failed with %v, and packed", from, err)
		}
		if exists(t, m, dataFile+".pack") {
			t.Errorf("operation %d: .pack is left", from)
		}
		broken := s.broken
		closed(t, s)
		s = openOn(t, m)
		if broken == nil {
			wantLoad(t, s, 7, zodb.MaxTID, "seven 70-0")
		}
		wantLoad(t, s, 1, 70, load(t, s, 1, zodb.MaxTID))
		closed(t, s)
		if t.Failed() {
			t.Fatalf("at operation %d: %v", from, err)
		}
		if from == 59 && err != nil {
			t.Error("the pack has more operations than the test goes through")
		}
	}
}

func TestPackDiskFull(t *testing.T) {
	m := disk(t)
	s := openOn(t, m)
	fill(t, s, 100, 1, 10_000)
	head, _ := s.Head()
	appendTo(t, s, txn(head+1, put(1, "x")))
	m.SetCapacity(m.Used() + 100_000)
	if err := s.Pack(t.Context(), head+1, zodb.PackOptions{}); !errors.Is(err, zodb.ErrNoSpace) {
		t.Errorf("%v, want ErrNoSpace", err)
	}
	if exists(t, m, dataFile+".pack") {
		t.Error(".pack is left")
	}
	appendTo(t, s, txn(head+2, put(2, "y")))
}

// refs reads data of the form "word 1 5": the numbers are references.
func refs(data []byte, dst []zodb.OID) ([]zodb.OID, error) {
	for _, word := range strings.Fields(string(data))[1:] {
		var oid zodb.OID
		if _, err := fmt.Sscan(word, (*uint64)(&oid)); err != nil {
			return nil, err
		}
		dst = append(dst, oid)
	}
	return dst, nil
}

func TestPackCollectsGarbage(t *testing.T) {
	m := disk(t)
	s := open(t, Options{Path: dataFile, FS: m, References: refs})
	appendTo(t, s, txn(10, put(0, "root 1 2 6"), put(1, "one 3"), put(2, "two"), put(3, "three 1"), put(4, "lost 5"), put(5, "lost-too 4")))
	appendTo(t, s, txn(11, put(6, "six 7"), put(7, "seven"), put(8, "eight 9"), put(9, "nine")))
	appendTo(t, s, txn(12, put(6, "six")))
	appendTo(t, s, txn(20, put(0, "root 1 6")))
	appendTo(t, s, txn(30, put(10, "ten 8")))     // 8 was out of reach at 25
	appendTo(t, s, txn(31, back(6, "six 7", 11))) // back to what refers to 7
	appendTo(t, s, txn(32, put(11, "eleven")))    // later than the pack time
	if err := s.Pack(t.Context(), 25, zodb.PackOptions{GC: true}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"10p 1<0:one 3 3<0:three 1",
		"11p 6<0:six 7 7<0:seven 8<0:eight 9 9<0:nine",
		"12p 6<11:six",
		"20p 0<0:root 1 6",
		"30  10<0:ten 8",
		"31  6<12:six 7=11",
		"32  11<0:eleven",
	}
	if diff := cmp.Diff(want, scan(t, s, 0, store.Forward)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, oid := range []zodb.OID{2, 4, 5} {
		wantLoad(t, s, oid, zodb.MaxTID, "unknown")
	}
	closed(t, s)
	s = openOn(t, m)
	if diff := cmp.Diff(want, scan(t, s, 0, store.Forward)); diff != "" {
		t.Errorf("opened again (-want +got):\n%s", diff)
	}
}

// Where a reference leads to nothing, or cannot be read, nothing is thrown away.
func TestGarbageCollectionStopsAtDamage(t *testing.T) {
	for name, record := range map[string]txnlog.Record{
		"dangling": put(0, "root 77"), "unreadable": put(0, "root x"), "no root": put(1, "one"),
	} {
		s := open(t, Options{Path: dataFile, FS: disk(t), References: refs})
		appendTo(t, s, txn(1, record, put(2, "two")), txn(2, put(2, "two'")))
		if err := s.Pack(t.Context(), 5, zodb.PackOptions{GC: true}); err == nil {
			t.Errorf("%s: packed", name)
		}
		wantLoad(t, s, 2, zodb.MaxTID, "two' 2-0")
		wantLoad(t, s, 2, 2, "two 1-2")
	}
}

// What is committed while a pack runs is in the new file.
func TestPackBesideCommits(t *testing.T) {
	m := disk(t)
	s := openOn(t, m)
	head := fill(t, s, 3000, 10, 500)
	appendTo(t, s, txn(head+1, put(1, "x"))) // something to be packed away
	committed := 0
	steps := zodb.PackOptions{}
	steps.Progress = func(done, total int64) {
		tid, _ := s.Head()
		appendTo(t, s, txn(tid+1, put(1, fmt.Sprint("during ", committed)), put(100_000+zodb.OID(committed), strings.Repeat("y", 3<<20))))
		committed++
	}
	fill(t, s, 500, 1, 100_000) // enough for progress
	tid, _ := s.Head()
	appendTo(t, s, txn(tid+1, put(2, "two")))
	pack(t, s, head+1, steps)
	if committed == 0 {
		t.Fatal("nothing was committed during the pack")
	}
	check := func() {
		t.Helper()
		if got := load(t, s, 1, zodb.MaxTID); !strings.HasPrefix(got, fmt.Sprint("during ", committed-1)) {
			t.Errorf("after %d commits during the pack: %s", committed, got)
		}
		for i := range committed {
			if rec, err := s.LoadBefore(t.Context(), 100_000+zodb.OID(i), zodb.MaxTID); err != nil || len(rec.Data) != 3<<20 {
				t.Errorf("commit %d: %v", i, err)
			}
		}
	}
	check()
	closed(t, s)
	s = openOn(t, m)
	check()
}

func TestPackIsCancelled(t *testing.T) {
	m := disk(t)
	s := openOn(t, m)
	fill(t, s, 400, 1, 100_000)
	head, _ := s.Head()
	appendTo(t, s, txn(head+1, put(1, "x")))
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Pack(ctx, head, zodb.PackOptions{Progress: func(int64, int64) { cancel() }})
	if !errors.Is(err, context.Canceled) || exists(t, m, dataFile+".pack") {
		t.Errorf("%v, .pack is left: %v", err, exists(t, m, dataFile+".pack"))
	}
	appendTo(t, s, txn(head+2, put(1, "y")))
}

// Close does not leave a pack behind.
func TestCloseEndsAPack(t *testing.T) {
	m := disk(t)
	s := openOn(t, m)
	fill(t, s, 400, 1, 100_000)
	head, _ := s.Head()
	appendTo(t, s, txn(head+1, put(1, "x")))
	done := make(chan error, 1)
	err := s.Pack(t.Context(), head, zodb.PackOptions{Progress: func(int64, int64) {
		if s.closing.Err() == nil {
			go func() { done <- s.Close() }()
			<-s.closing.Done()
		}
	}})
	if !errors.Is(err, zodb.ErrClosed) || exists(t, m, dataFile+".pack") {
		t.Errorf("%v, .pack is left: %v", err, exists(t, m, dataFile+".pack"))
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	openOn(t, m)
}

// blobbed opens a storage with blobs in which object 1 has three revisions with a
// blob, and object 2 one that is deleted later.
func blobbed(t *testing.T, fsys vfs.FS) *Storage {
	t.Helper()
	s := open(t, Options{Path: dataFile, FS: fsys, BlobDir: "/d/blobs"})
	for i := range 3 {
		appendTo(t, s, txn(10+zodb.TID(i), withBlob(t, s, 1, fmt.Sprint("blob ", i)), put(5, fmt.Sprint(i))))
	}
	appendTo(t, s, txn(20, withBlob(t, s, 2, "two")))
	appendTo(t, s, txn(21, drop(2)))
	return s
}

func withBlob(t *testing.T, s *Storage, oid zodb.OID, content string) txnlog.Record {
	t.Helper()
	dir, err := s.BlobTempDir()
	if err != nil {
		t.Fatal(err)
	}
	r := put(oid, "a blob")
	r.Blob = dir + "/staged"
	writeFile(t, s.fs, r.Blob, []byte(content))
	return r
}

func blobOf(t *testing.T, s *Storage, oid zodb.OID, tid zodb.TID) string {
	t.Helper()
	path, err := s.LoadBlob(t.Context(), oid, tid)
	if _, ok := errors.AsType[*zodb.NoObjectError](err); ok {
		return "none"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(readFile(t, s.fs, path))
}

func TestBlobs(t *testing.T) {
	m := disk(t)
	s := blobbed(t, m)
	if got := blobOf(t, s, 1, 11); got != "blob 1" || !s.HasBlobs() {
		t.Errorf("blob of 11: %q", got)
	}
	for x, err := range s.Scan(t.Context(), 12, store.Forward) {
		if err != nil || x.Records[0].Blob == "" || x.Records[1].Blob != "" {
			t.Errorf("%+v, %v: the first record has a blob", x, err)
		}
		break
	}
	// A transaction that fails leaves no blob.
	f := vfs.Fault(m, 1)
	closed(t, s)
	s = open(t, Options{Path: dataFile, FS: f, BlobDir: "/d/blobs"})
	r := withBlob(t, s, 1, "never")
	f.SetRules(vfs.Rule{Ops: vfs.OpWrite, Path: "Data.fs"})
	if _, err := s.Append(t.Context(), []*txnlog.Txn{txn(30, r)}, nil); err == nil {
		t.Fatal("appended")
	}
	f.SetRules()
	if got := blobOf(t, s, 1, 30); got != "none" {
		t.Errorf("the blob of a failed transaction is %q", got)
	}
	plain := openOn(t, disk(t))
	if _, err := plain.Append(t.Context(), []*txnlog.Txn{txn(1, r)}, nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a blob without a place for blobs: %v", err)
	}
}

func TestPackRemovesBlobs(t *testing.T) {
	for _, keep := range []bool{false, true} {
		m := disk(t)
		s := blobbed(t, m)
		pack(t, s, 50, zodb.PackOptions{KeepOld: keep})
		for tid, want := range map[zodb.TID]string{10: "none", 11: "none", 12: "blob 2"} {
			if got := blobOf(t, s, 1, tid); got != want {
				t.Errorf("blob of %d: %q, want %q", tid, got, want)
			}
		}
		if got := blobOf(t, s, 2, 20); got != "none" {
			t.Errorf("blob of the deleted object: %q", got)
		}
		if exists(t, m, s.packBlobsPath()) {
			t.Error("the list is left")
		}
		if exists(t, m, "/d/blobs.old") != keep {
			t.Errorf("KeepOld %v: the old directory is there: %v", keep, !keep)
		}
		if !keep {
			continue
		}
		old := open(t, Options{Path: dataFile + ".old", FS: m, ReadOnly: true, BlobDir: "/d/blobs.old"})
		for tid, want := range map[zodb.TID]string{10: "blob 0", 11: "blob 1", 12: "blob 2"} {
			if got := blobOf(t, old, 1, tid); got != want {
				t.Errorf("old blob of %d: %q, want %q", tid, got, want)
			}
		}
	}
}

// A crash after the new file is in place leaves the list; one before it, a list
// that must do no harm.
func TestPackBlobsAfterACrash(t *testing.T) {
	m := disk(t)
	f := vfs.Fault(m, 1)
	s := blobbed(t, f)
	f.SetRules(vfs.Rule{Ops: vfs.OpRemove, Path: "*.blob", Err: fs.ErrPermission})
	if err := s.Pack(t.Context(), 50, zodb.PackOptions{}); err == nil {
		t.Error("the blobs cannot be removed, and nothing is said")
	}
	f.SetRules()
	if got := blobOf(t, s, 1, 10); got != "blob 0" {
		t.Errorf("%q: the test does not do what it should", got)
	}
	closed(t, s)
	s = open(t, Options{Path: dataFile, FS: m, BlobDir: "/d/blobs"})
	if got := blobOf(t, s, 1, 10); got != "none" {
		t.Errorf("after opening again the blob is still there: %q", got)
	}
	closed(t, s)
	writeFile(t, m, dataFile+".packblobs", []byte("remove\n0000000000000001 000000000000000c\n"))
	s = open(t, Options{Path: dataFile, FS: m, BlobDir: "/d/blobs"})
	if got := blobOf(t, s, 1, 12); got != "blob 2" {
		t.Errorf("a blob that is in use was removed: %q", got)
	}
}

// readerFunc is a function as a reader.
type readerFunc func(b []byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// Blobs are removed while commits go on, of the same objects too.
func TestBlobsAreRemovedBesideCommits(t *testing.T) {
	s := blobbed(t, disk(t))
	pack(t, s, 50, zodb.PackOptions{})
	appendTo(t, s, txn(60, withBlob(t, s, 1, "three")))
	appendTo(t, s, txn(61, withBlob(t, s, 1, "four")))
	list := strings.NewReader("remove\n0000000000000001 000000000000000c\n")
	tid := zodb.TID(70)
	_, err := s.removeListed(readerFunc(func(b []byte) (int, error) {
		appendTo(t, s, txn(tid, withBlob(t, s, 1, "later")))
		tid++
		return list.Read(b)
	}))
	if err != nil {
		t.Errorf("removing beside commits: %v", err)
	}
	if got := blobOf(t, s, 1, 12); got != "blob 2" {
		t.Errorf("a blob that is in use was removed: %q", got)
	}
}

// A pack that cannot remove its blobs leaves that to the next one.
func TestPackRemovesBlobsOfTheLastOne(t *testing.T) {
	m := disk(t)
	f := vfs.Fault(m, 1)
	s := blobbed(t, f)
	f.SetRules(vfs.Rule{Ops: vfs.OpRemove, Path: "*.blob", Err: fs.ErrPermission})
	if err := s.Pack(t.Context(), 50, zodb.PackOptions{}); err == nil {
		t.Error("the blobs cannot be removed, and nothing is said")
	}
	f.SetRules()
	appendTo(t, s, txn(60, put(5, "x")))
	appendTo(t, s, txn(61, put(5, "y")))
	pack(t, s, 70, zodb.PackOptions{})
	for tid, want := range map[zodb.TID]string{10: "none", 11: "none", 12: "blob 2"} {
		if got := blobOf(t, s, 1, tid); got != want {
			t.Errorf("blob of %d: %q, want %q", tid, got, want)
		}
	}
}

func TestCreateRemovesBlobs(t *testing.T) {
	m := disk(t)
	closed(t, blobbed(t, m))
	s := open(t, Options{Path: dataFile, FS: m, BlobDir: "/d/blobs", Create: true})
	if got := blobOf(t, s, 1, 12); got != "none" {
		t.Errorf("%q", got)
	}
}
