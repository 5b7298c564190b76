package filestorage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// packed is what the crash tests pack: objects in and out of reach, undo records,
// deletions and blobs, before the pack time and after it.
func packed(t *testing.T, fsys vfs.FS) *Storage {
	t.Helper()
	s := open(t, Options{Path: dataFile, FS: fsys, BlobDir: "/d/blobs", References: refs})
	long := strings.Repeat("x", 3000)
	appendTo(t, s, txn(10, put(0, "root 1 2"), put(1, "one"+long), put(2, "two 3"), put(4, "lost"+long)))
	appendTo(t, s, txn(20, withBlobOf(t, s, 3, "three")), txn(21, put(1, "one'")))
	appendTo(t, s, txn(29, withBlobOf(t, s, 5, "lost too")))
	appendTo(t, s, txn(30, withBlobOf(t, s, 3, "three'")))
	appendTo(t, s, txn(31, back(1, "one"+long, 10)))
	appendTo(t, s, txn(50, put(2, "two' 3")), txn(51, drop(4)))
	return s
}

// afterPack are the blobs that packed has after a pack to 40.
var afterPack = map[blobID]string{{OID: 3, TID: 30}: "three'"}

// allBlobs are those that it has before.
var allBlobs = map[blobID]string{{OID: 3, TID: 20}: "three", {OID: 3, TID: 30}: "three'", {OID: 5, TID: 29}: "lost too"}

func withBlobOf(t *testing.T, s *Storage, oid zodb.OID, content string) (r txnlog.Record) {
	t.Helper()
	r = withBlob(t, s, oid, content)
	r.Data = []byte("a-blob")
	return r
}

// The power fails at every step of a pack: afterwards there is the old database or
// the new one, with its blobs, and nothing that is in the way.
func TestPackPowerLoss(t *testing.T) {
	base := disk(t)
	s := packed(t, base)
	old := scan(t, s, 0, store.Forward)
	closed(t, s)
	whole := vfs.Crash(base, vfs.Worst, 0).CrashClone(0)
	s = open(t, Options{Path: dataFile, FS: base, BlobDir: "/d/blobs", References: refs})
	pack(t, s, 40, zodb.PackOptions{GC: true})
	after := scan(t, s, 0, store.Forward)
	closed(t, s)
	if want := []string{"10p 0<0:root 1 2 2<0:two 3", "30p 3<0:a-blob"}; !slices.Equal(after[:2], want) {
		t.Fatalf("the pack leaves %q", after)
	}
	for _, mode := range []vfs.CrashMode{vfs.Worst, vfs.Ordered} {
		for _, keepOld := range []bool{false, true} {
			t.Run(fmt.Sprintf("mode %d, keep %v", mode, keepOld), func(t *testing.T) {
				c := packCrash{whole: whole, old: old, after: after, mode: mode, opts: zodb.PackOptions{GC: true, KeepOld: keepOld}}
				steps := 1
				for ; c.cutAt(t, steps) && !t.Failed(); steps++ {
				}
				if steps < 15 || c.olds == 0 || c.news == 0 {
					t.Errorf("%d steps, %d times the old file, %d times the new one", steps, c.olds, c.news)
				}
			})
		}
	}
}

type packCrash struct {
	whole      *vfs.MemFS
	old, after []string
	mode       vfs.CrashMode
	opts       zodb.PackOptions
	olds, news int
}

// cutAt cuts the power at a step of a pack, and reports whether the pack has that
// many.
func (c *packCrash) cutAt(t *testing.T, step int) bool {
	t.Helper()
	f := vfs.Crash(c.whole, c.mode, uint64(step))
	s := open(t, Options{Path: dataFile, FS: f, BlobDir: "/d/blobs", References: refs})
	f.CutPowerAt(f.Ops() + step)
	err := s.Pack(t.Context(), 40, c.opts)
	lost := false
	select {
	case <-f.PowerCut():
		lost = true
	default:
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		f.CutPower()
	}
	s.Close() // it cannot write any more
	for seed := range uint64(4) {
		c.look(t, f.CrashClone(seed), step)
	}
	return lost
}

// look opens what a power failure left.
func (c *packCrash) look(t *testing.T, left *vfs.MemFS, step int) {
	t.Helper()
	s, err := Open(Options{Path: dataFile, FS: left, BlobDir: "/d/blobs", References: refs})
	if err != nil {
		t.Fatalf("step %d: %v", step, err)
	}
	defer s.Close()
	got, want, blobs := scan(t, s, 0, store.Forward), c.old, allBlobs
	if slices.Equal(got, c.after) {
		want, blobs = c.after, afterPack
		c.news++
	} else {
		c.olds++
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("step %d (-want +got):\n%s", step, diff)
	}
	for id := range allBlobs {
		if got, want := blobOf(t, s, id.OID, id.TID), blobs[id]; got != want && (want != "" || got != "none") {
			t.Errorf("step %d: the blob of %v is %q, want %q", step, id, got, want)
		}
	}
	for _, abandoned := range []string{".pack", ".index.pack", ".packblobs", ".packblobs.new"} {
		if exists(t, left, dataFile+abandoned) {
			t.Errorf("step %d: %s is left", step, abandoned)
		}
	}
	head, _ := s.Head()
	appendTo(t, s, txn(head+1, put(1, "more")))
	wantLoad(t, s, 1, zodb.MaxTID, fmt.Sprintf("more %d-0", head+1))
}

// What was committed during the pack and refers to what the pack drops ends it; so
// nothing is lost that was put to use again.
func TestPackMeetsWhatIsPutToUse(t *testing.T) {
	for _, refer := range []string{"root 1 2 5", "root 1 2"} {
		s := packed(t, disk(t))
		for i := range zodb.TID(20) { // enough for progress
			appendTo(t, s, txn(100+i, put(7, strings.Repeat("y", 3<<20))))
		}
		used := false
		err := s.Pack(t.Context(), 31, zodb.PackOptions{GC: true, Progress: func(done, total int64) {
			if !used && done > total*2/3 {
				used = true
				head, _ := s.Head()
				appendTo(t, s, txn(head+1, put(0, refer)))
			}
		}})
		if !used {
			t.Fatalf("the test does not do what it should: %v", err)
		}
		if lost := strings.HasSuffix(refer, "5"); (err != nil) != lost {
			t.Errorf("%q was committed during the pack: %v", refer, err)
		}
	}
}

func TestPackReport(t *testing.T) {
	m := disk(t)
	s := packed(t, m)
	size := int64(len(readFile(t, m, dataFile)))
	var dry, r zodb.PackReport
	pack(t, s, 40, zodb.PackOptions{GC: true, DryRun: true, Report: &dry})
	if int64(len(readFile(t, m, dataFile))) != size || exists(t, m, dataFile+".pack") || exists(t, m, s.packBlobsPath()) {
		t.Error("a dry run changed something")
	}
	pack(t, s, 40, zodb.PackOptions{GC: true, Report: &r})
	want := zodb.PackReport{ObjectsBefore: 6, ObjectsAfter: 5, BytesBefore: size, BytesAfter: int64(len(readFile(t, m, dataFile))), Revisions: 5, Blobs: 2}
	if r.Memory <= packBuffers || r.Memory > packBuffers+10_000 {
		t.Errorf("it took %d bytes", r.Memory)
	}
	r.Memory = 0
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want.Blobs, dry.Memory = 0, 0
	if diff := cmp.Diff(want, dry); diff != "" {
		t.Errorf("dry run (-want +got):\n%s", diff)
	}
	pack(t, s, 40, zodb.PackOptions{GC: true, Report: &r})
	if !r.Unchanged || r.BytesAfter != want.BytesAfter {
		t.Errorf("again: %+v", r)
	}
	closed(t, s)
	ro := open(t, Options{Path: dataFile, FS: m, ReadOnly: true, References: refs})
	pack(t, ro, 99, zodb.PackOptions{DryRun: true, Report: &dry})
	if err := ro.Pack(t.Context(), 99, zodb.PackOptions{}); !errors.Is(err, zodb.ErrReadOnly) {
		t.Errorf("packed what is read-only: %v", err)
	}
}

// What is configured can be turned off for one pack.
func TestPackOptionsAreHeeded(t *testing.T) {
	m := disk(t)
	closed(t, packed(t, m))
	s := open(t, Options{Path: dataFile, FS: m, BlobDir: "/d/blobs", References: refs, PackGC: true, PackKeepOld: true})
	pack(t, s, 40, zodb.PackOptions{NoGC: true, NoKeepOld: true})
	if exists(t, m, dataFile+".old") || blobOf(t, s, 5, 29) != "lost too" {
		t.Error("garbage was collected, or the old file kept")
	}
}

// A pack that is to be slow waits, and can be cancelled while it does.
func TestPackRate(t *testing.T) {
	s := packed(t, disk(t))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := s.Pack(ctx, 40, zodb.PackOptions{GC: true, Rate: 1})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a pack at a byte a second: %v", err)
	}
	pack(t, s, 40, zodb.PackOptions{GC: true, Rate: 100 << 20})
}

func TestReach(t *testing.T) {
	x := newIndex()
	oids := []zodb.OID{0, 5, 4095, 4096, 1 << 40}
	for _, oid := range oids {
		x.set(oid, 100)
	}
	for oid := zodb.OID(1 << 20); oid < 1<<20+leafLen; oid++ {
		x.set(oid, 200) // an array
	}
	r := newReach(x)
	for _, oid := range []zodb.OID{1, 4097, 1<<40 + 1, 1 << 50, 1<<20 - 1} {
		if r.add(oid) || r.has(oid) {
			t.Errorf("%v is not in the index", oid)
		}
	}
	for _, oid := range []zodb.OID{5, 4096, 1 << 20, 1<<20 + 700, 5} {
		if !r.add(oid) || !r.has(oid) {
			t.Errorf("%v is not in the set", oid)
		}
	}
	if q := r.take(); len(q) != 3 || r.take() != nil {
		t.Errorf("%d pages to look at", len(q))
	}
	if r.has(0) || r.has(1<<20+1) {
		t.Error("others are in the set")
	}
	x.keep(r)
	x.sort()
	var got []zodb.OID
	x.ascend(0, zodb.OID(zodb.MaxTID), func(oid zodb.OID, _ int64) bool {
		got = append(got, oid)
		return true
	})
	if want := []zodb.OID{5, 4096, 1 << 20, 1<<20 + 700}; !slices.Equal(got, want) || x.n != 4 || x.leaves[1<<8].dense != nil {
		t.Errorf("kept %v (%d), want %v", got, x.n, want)
	}
}
