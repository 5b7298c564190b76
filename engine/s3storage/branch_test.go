package s3storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/engine/s3storage/objstore/fake"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// family is some buckets of one world, by name.
type family struct {
	*world
	buckets map[string]*fake.Bucket
}

func newFamily(names ...string) *family {
	f := &family{newWorld(), make(map[string]*fake.Bucket)}
	for _, name := range names {
		f.buckets[name] = fake.NewBucket(fake.Options{Now: func() time.Time { return time.Unix(f.now.Load(), 0) }})
	}
	return f
}

func (f *family) openURL(_ context.Context, url string) (objstore.Store, error) {
	b := f.buckets[url]
	if b == nil {
		return nil, fmt.Errorf("there is no bucket %q", url)
	}
	return b.Open(url), nil
}

func (f *family) options(name string) Options {
	return Options{
		Objects: f.buckets[name].Open(name), Name: name, Manual: true, OpenURL: f.openURL,
		Elapsed: func() time.Duration { return time.Duration(f.now.Load()) * time.Second },
		Sleep:   func(_ context.Context, d time.Duration) { f.pass(max(d, time.Second)) },
	}
}

func (f *family) open(t *testing.T, name string, change func(*Options)) *Engine {
	t.Helper()
	opts := f.options(name)
	return f.world.open(t, opts.Objects.(*fake.Store), func(o *Options) {
		*o = opts
		if change != nil {
			change(o)
		}
	})
}

func (f *family) branch(t *testing.T, from, to string, at zodb.TID) BranchReport {
	t.Helper()
	r, err := f.tryBranch(t.Context(), from, to, at)
	if err != nil {
		t.Fatalf("Branch: %v", err)
	}
	return r
}

func (f *family) tryBranch(ctx context.Context, from, to string, at zodb.TID) (BranchReport, error) {
	return Branch(ctx, BranchOptions{From: f.options(from), To: f.options(to), FromURL: from, ToURL: to, At: at})
}

// collectAll lets everything go that nobody needs, twice: what is orphaned by the first goes
// with the second.
func (f *family) collectAll(t *testing.T, e *Engine) {
	t.Helper()
	for range 3 {
		f.pass(8 * 24 * time.Hour)
		if err := e.Collect(t.Context()); err != nil {
			t.Fatalf("Collect: %v", err)
		}
	}
}

// history is all revisions of some objects.
func history(t *testing.T, e *Engine, oids ...zodb.OID) (list []string) {
	t.Helper()
	for _, oid := range oids {
		for tid := zodb.MaxTID; ; {
			rec, err := e.LoadBefore(t.Context(), oid, tid)
			if _, none := errors.AsType[*zodb.NoObjectError](err); none {
				break
			}
			if err != nil {
				t.Fatalf("object %v before %v: %v", oid, tid, err)
			}
			list = append(list, fmt.Sprintf("%v %v %s", oid, rec.Serial, rec.Data))
			tid = rec.Serial
		}
	}
	return list
}

func count(b *fake.Bucket, prefix string) (n int) {
	for _, key := range b.Keys() {
		if strings.HasPrefix(key, prefix) {
			n++
		}
	}
	return n
}

// A branch has what the database had, whatever becomes of that; and the other way round.
func TestBranch(t *testing.T) {
	f := newFamily("a", "b")
	a := f.open(t, "a", nil)
	for range 5 {
		mustCommit(t, a, 1, 2)
	}
	if err := a.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	at := mustCommit(t, a, 1, 3)
	mustCommit(t, a, 2)
	before := len(f.buckets["a"].Keys())
	report := f.branch(t, "a", "b", at)
	if report.Segments != 1 || report.Transactions != 1 || report.TID != at {
		t.Errorf("the branch is %+v", report)
	}
	if n := len(f.buckets["a"].Keys()); n != before+2 {
		t.Errorf("the database has %d objects more than before, want 2", n-before)
	}
	if n := count(f.buckets["b"], layout.SegmentPrefix); n != 1 {
		t.Errorf("the branch has %d segments of its own, want the copied transaction's", n)
	}
	b := f.open(t, "b", nil)
	if last, _ := b.Head(); last != at || b.st.database == a.st.database || b.st.meta.UUID != b.st.database {
		t.Errorf("the branch ends at %v, want %v; it is %v", last, at, b.st.database)
	}
	want := history(t, b, 1, 2, 3)
	if len(want) != 12 {
		t.Fatalf("the branch has %v", want)
	}
	mustCommit(t, a, 9)
	own := mustCommit(t, b, 1, 4)

	// The database is packed, the branch is not.
	if err := a.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	last, _ := a.Head()
	if err := a.Pack(t.Context(), last, zodb.PackOptions{NoGC: true}); err != nil {
		t.Fatal(err)
	}
	f.collectAll(t, a)
	f.collectAll(t, b)
	if n := count(f.buckets["a"], layout.SegmentPrefix); n != 2 {
		t.Errorf("the database has %d segments, want its own and the one that is pinned", n)
	}
	for range 2 {
		if got := history(t, b, 1, 2, 3); !slices.Equal(got[1:], want) || !strings.Contains(got[0], own.String()) {
			t.Errorf("the branch has\n%v\nwant\n%v", got, want)
		}
		b = f.open(t, "b", nil)
	}
	if got := history(t, a, 9); len(got) != 1 {
		t.Errorf("the database has %v", got)
	}

	// The branch is packed too, and goes on without the shared segment.
	last, _ = b.Head()
	if err := b.Pack(t.Context(), last, zodb.PackOptions{NoGC: true}); err != nil {
		t.Fatal(err)
	}
	f.collectAll(t, b)
	if got := history(t, b, 1, 2, 3, 4); len(got) != 4 {
		t.Errorf("the packed branch has %v", got)
	}

	// Once it is dropped the pinned segment goes.
	if err := DropBranch(t.Context(), f.options("b"), false); err != nil {
		t.Fatal(err)
	}
	if left := f.buckets["b"].Keys(); len(left) > 0 {
		t.Errorf("the dropped branch leaves %v", left)
	}
	f.collectAll(t, a)
	if n := count(f.buckets["a"], layout.SegmentPrefix); n != 1 || count(f.buckets["a"], layout.PinPrefix) > 0 {
		t.Errorf("the database has %d segments, want its own: %v", n, f.buckets["a"].Keys())
	}
}

// A branch of a branch needs objects of both, and the one in the middle cannot be dropped.
func TestBranchOfABranch(t *testing.T) {
	f := newFamily("a", "b", "c")
	compacted := func(e *Engine, oid zodb.OID) {
		t.Helper()
		for range 3 {
			mustCommit(t, e, oid)
		}
		if err := e.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	small := func(o *Options) { o.SegmentBytes = 1 } // each transaction a segment
	a := f.open(t, "a", small)
	compacted(a, 1)
	f.branch(t, "a", "b", 0)
	b := f.open(t, "b", small)
	compacted(b, 2)
	if r := f.branch(t, "b", "c", 0); r.Segments != 6 || r.Transactions != 0 {
		t.Errorf("the second branch is %+v", r)
	}
	c := f.open(t, "c", small)
	want := history(t, c, 1, 2)
	if len(want) != 6 {
		t.Fatalf("the second branch has %v", want)
	}
	for _, e := range []*Engine{a, b} {
		mustCommit(t, e, 1, 2)
		last, _ := e.Head()
		if err := e.Pack(t.Context(), last, zodb.PackOptions{NoGC: true}); err != nil {
			t.Fatal(err)
		}
		f.collectAll(t, e)
	}
	if got := history(t, f.open(t, "c", nil), 1, 2); !slices.Equal(got, want) {
		t.Errorf("the second branch has\n%v\nwant\n%v", got, want)
	}
	if err := DropBranch(t.Context(), f.options("b"), false); err == nil || !strings.Contains(err.Error(), "branches itself") {
		t.Errorf("dropping the one in the middle: %v", err)
	}
	for _, name := range []string{"c", "b"} {
		if err := DropBranch(t.Context(), f.options(name), false); err != nil {
			t.Errorf("dropping %s: %v", name, err)
		}
	}
	f.collectAll(t, a)
	if n := count(f.buckets["a"], layout.SegmentPrefix); n != len(a.st.order) {
		t.Errorf("the database has %d segments, and needs %d", n, len(a.st.order))
	}
}

// What cannot be branched off, or not there, is refused and leaves nothing.
func TestBranchRefused(t *testing.T) {
	f := newFamily("a", "b", "empty")
	a := f.open(t, "a", nil)
	first := mustCommit(t, a, 1)
	for range 3 {
		mustCommit(t, a, 1)
	}
	packed, _ := a.Head()
	if err := a.Pack(t.Context(), packed, zodb.PackOptions{NoGC: true}); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, a, 1)
	f.open(t, "empty", nil)
	for _, c := range []struct {
		from, to string
		at       zodb.TID
		want     string
	}{
		{"a", "empty", 0, "there is a database already"},
		{"empty", "b", 0, "the database is empty"},
		{"a", "b", first, "has been packed"},
	} {
		if _, err := f.tryBranch(t.Context(), c.from, c.to, c.at); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if left := f.buckets["b"].Keys(); len(left) > 0 {
		t.Errorf("a branch that was refused leaves %v", left)
	}
	if err := DropBranch(t.Context(), f.options("a"), false); err == nil || !strings.Contains(err.Error(), "no branch") {
		t.Errorf("dropping what is no branch: %v", err)
	}
}

// A branch whose database cannot be found is not opened, and says where it should be.
func TestBranchWithoutItsDatabase(t *testing.T) {
	f := newFamily("a", "b", "c")
	mustCommit(t, f.open(t, "a", nil), 1)
	f.branch(t, "a", "b", 0)
	opts := f.options("b")
	opts.OpenURL = nil
	if _, err := Open(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "a cannot be opened here") {
		t.Errorf("without a way to open the other: %v", err)
	}
	f.open(t, "c", nil)
	f.buckets["a"] = f.buckets["c"]
	if _, err := Open(t.Context(), f.options("b")); !errors.Is(err, zodb.ErrCorrupt) || !strings.Contains(err.Error(), "the database there is") {
		t.Errorf("with another database in its place: %v", err)
	}
}

// Whoever dies while a branch is made leaves no database, nothing that is in the way for ever,
// and in the original nothing at all once the rest is dropped.
func TestBranchCrash(t *testing.T) {
	for n := 1; ; n++ {
		f := newFamily("a", "b")
		a := f.open(t, "a", nil)
		for range 3 {
			mustCommit(t, a, 1)
		}
		if err := a.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustCommit(t, a, 1)
		before := f.buckets["a"].Keys()
		dying := &dying{left: n}
		opts := BranchOptions{From: f.options("a"), To: f.options("b"), FromURL: "a", ToURL: "b"}
		opts.From.Objects.(*fake.Store).SetRule(dying.rule)
		opts.To.Objects.(*fake.Store).SetRule(dying.rule)
		if _, err := Branch(t.Context(), opts); err == nil {
			if n < 10 {
				t.Fatalf("only %d changes", n)
			}
			return // it got through
		}
		if _, err := Open(t.Context(), f.options("b")); err == nil && len(f.buckets["b"].Keys()) > 0 && n > 1 {
			t.Fatalf("after %d changes: half a branch is opened", n-1)
		}
		if n == 1 {
			continue // nothing was written
		}
		if err := DropBranch(t.Context(), f.options("b"), false); err != nil {
			t.Fatalf("after %d changes: DropBranch: %v", n-1, err)
		}
		if left := f.buckets["b"].Keys(); len(left) > 0 {
			t.Errorf("after %d changes: dropping leaves %v", n-1, left)
		}
		after := slices.DeleteFunc(f.buckets["a"].Keys(), func(key string) bool { return key == layout.PinsKey })
		if !slices.Equal(after, before) {
			t.Errorf("after %d changes: the database has %v, and had %v", n-1, after, before)
		}
		f.branch(t, "a", "b", 0)
	}
}

// dying lets some changes through, and then nothing any more.
type dying struct{ left int }

func (d *dying) rule(op fake.Op) fake.Fault {
	if op.Kind == fake.Put || op.Kind == fake.Delete {
		d.left--
	}
	if d.left <= 0 {
		return fake.Fault{Err: fake.ErrSlow}
	}
	return fake.Fault{}
}

// A branch is pinned at every moment of a collection that would delete what it needs: either
// that is spared, or the branch is told.
func TestPinAtEveryMoment(t *testing.T) {
	spared, told, err := pinAtEveryMoment()
	if err != nil {
		t.Fatal(err)
	}
	if spared == 0 || told == 0 {
		t.Errorf("it was spared %d times, and told %d times: this is no test", spared, told)
	}
}

func pinAtEveryMoment() (spared, told int, err error) {
	ctx := context.Background()
	for moment := 1; ; moment++ {
		f := newFamily("a", "b")
		a, err := Open(ctx, f.options("a"))
		if err != nil {
			return 0, 0, err
		}
		x, err := f.planned(ctx, a)
		if err != nil {
			return 0, 0, err
		}
		requests, result := 0, errors.New("not yet")
		a.objects.(*fake.Store).SetRule(func(fake.Op) fake.Fault {
			if requests++; requests == moment {
				if result = x.pin(ctx); result == nil {
					result = x.stillThere(ctx)
				}
			}
			return fake.Fault{}
		})
		if err := a.Collect(ctx); err != nil {
			return 0, 0, err
		}
		if requests < moment {
			return spared, told, nil
		}
		if errors.Is(result, errGone) {
			told++
			continue
		}
		if result == nil {
			result = x.copy(ctx)
		}
		for _, p := range x.b.st.order {
			if _, ok := f.buckets["a"].Objects()[p.Key()]; !ok && result == nil && x.shares[0].Has(p.Key()) {
				result = fmt.Errorf("%s is gone", p.Key())
			}
		}
		if result != nil {
			return 0, 0, fmt.Errorf("pinned at request %d of the collection: %w", moment, result)
		}
		spared++
	}
}

// planned returns a branch that is planned, of a database from which all that it shares has
// been packed away since, so long ago that it may be deleted.
func (f *family) planned(ctx context.Context, a *Engine) (*brancher, error) {
	for range 3 {
		if _, err := commit(a, 1); err != nil {
			return nil, err
		}
	}
	if err := a.Compact(ctx); err != nil {
		return nil, err
	}
	looking, err := look(ctx, f.options("a"))
	if err != nil {
		return nil, err
	}
	x := &brancher{a: looking, b: newFiller(f.options("b")), id: layout.NewID(), opts: BranchOptions{FromURL: "a", ToURL: "b"}}
	if err := x.plan(ctx); err != nil {
		return nil, err
	}
	last, _ := a.Head()
	if err := a.Pack(ctx, last, zodb.PackOptions{NoGC: true}); err != nil {
		return nil, err
	}
	f.pass(25 * time.Hour)
	return x, nil
}

// The blobs of a branch are those of its database.
func TestBranchBlobs(t *testing.T) {
	f := newFamily("a", "b")
	withBlobs := func(dir string) func(*Options) { return func(o *Options) { o.BlobDir = dir } }
	a := f.open(t, "a", withBlobs(t.TempDir()))
	tid := commitBlob(t, a, 7, "what is in the blob")
	commitBlob(t, a, 7, "another one")
	if err := a.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := f.branch(t, "a", "b", tid+1)
	if r.Blobs != 2 {
		t.Errorf("the branch is %+v", r)
	}
	last, _ := a.Head()
	if err := a.Pack(t.Context(), last, zodb.PackOptions{NoGC: true}); err != nil {
		t.Fatal(err)
	}
	f.collectAll(t, a)
	b := f.open(t, "b", withBlobs(t.TempDir()))
	path, err := b.LoadBlob(t.Context(), 7, tid)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); string(got) != "what is in the blob" {
		t.Errorf("the blob has %q, %v", got, err)
	}
	if err := DropBranch(t.Context(), f.options("b"), false); err != nil {
		t.Fatal(err)
	}
	f.collectAll(t, a)
	if n := count(f.buckets["a"], layout.BlobPrefix); n != 1 {
		t.Errorf("%d blobs are left, want 1", n)
	}
}

func commitBlob(t *testing.T, e *Engine, oid zodb.OID, content string) zodb.TID {
	t.Helper()
	last, _ := e.Head()
	path := filepath.Join(t.TempDir(), "new")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	prev, err := e.Serials(t.Context(), []zodb.OID{oid})
	if err != nil {
		t.Fatal(err)
	}
	txn := &txnlog.Txn{TID: last + 1, Status: ' ', Records: []txnlog.Record{{OID: oid, Prev: prev[0], Data: []byte("blob"), Blob: path}}}
	if err := e.Check(txn); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Append(t.Context(), []*txnlog.Txn{txn}, nil); err != nil {
		t.Fatal(err)
	}
	return txn.TID
}
