package s3storage

import (
	"bytes"
	"errors"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/s3storage/front"
	"github.com/zaridb/zari/engine/s3storage/front/disklog"
	"github.com/zaridb/zari/engine/s3storage/front/memory"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore/fake"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// machine is one that has a front of its own.
type machine struct {
	memory *memory.Memory
	bucket *fake.Bucket
}

func newMachine() *machine {
	return &machine{memory.New(layout.OnDisk), fake.NewBucket(fake.Options{})}
}

// place opens the front, also once more.
func (m *machine) place() (front.Place, *fake.Store) {
	client := m.bucket.Open("front")
	return m.memory.Open(client), client
}

// use makes an engine go on in the front of a machine.
func (m *machine) use(o *Options) {
	p, _ := m.place()
	o.Log, o.Fronts = layout.OnDisk, []front.Place{p}
}

// back makes an engine go on in the bucket, and bring back what is in the front.
func (m *machine) back(o *Options) {
	m.use(o)
	o.Log = layout.InBucket
}

func (w *world) reader(t *testing.T) *Engine {
	t.Helper()
	return w.open(t, w.bucket.Open("reader"), func(o *Options) { o.ReadOnly = true })
}

func (w *world) readerAt(t *testing.T, want zodb.TID) {
	t.Helper()
	if last, _ := w.reader(t).Head(); last != want {
		t.Errorf("a reader of the bucket is at %v, want %v", last, want)
	}
}

func moveAll(t *testing.T, e *Engine) {
	t.Helper()
	if err := e.move(t.Context(), math.MaxUint64); err != nil {
		t.Fatalf("move: %v", err)
	}
}

// A commit in a front needs nothing of the bucket; a reader of that sees a beginning.
func TestFront(t *testing.T) {
	w, m := newWorld(), newMachine()
	client := w.bucket.Open("writer")
	a := w.open(t, client, m.use)
	before := client.Counts()
	one := mustCommit(t, a, 1)
	if used := client.Counts().Sub(before); used.Requests() != 0 {
		t.Errorf("a commit costs %+v of the bucket", used)
	}
	w.readerAt(t, 0)
	mustCommit(t, a, 2)
	if err := a.move(t.Context(), a.Slot()-1); err != nil {
		t.Fatal(err)
	}
	w.readerAt(t, one)
	two := mustCommit(t, a, 2)
	moveAll(t, a)
	w.readerAt(t, two)
}

// A writer that has not been told of the front does not write.
func TestFrontIsNotForked(t *testing.T) {
	w, m := newWorld(), newMachine()
	a := w.open(t, w.bucket.Open("writer"), m.use)
	mustCommit(t, a, 1)
	before := w.bucket.Objects()
	for what, change := range map[string]func(*Options){
		"no front": func(*Options) {}, "another machine": newMachine().use, "another machine, in the bucket": newMachine().back,
	} {
		opts := Options{Objects: w.bucket.Open("other"), Manual: true}
		change(&opts)
		_, err := Open(t.Context(), opts)
		lost, ok := errors.AsType[*FrontError](err)
		if !ok || lost.Front.ID != a.st.front.ID || !strings.Contains(err.Error(), "log-abandon "+a.st.front.ID.String()) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if !maps.EqualFunc(before, w.bucket.Objects(), bytes.Equal) {
		t.Error("something was written")
	}
	mustCommit(t, a, 1)
}

// A front is left when everything has been moved; then the bucket is enough.
func TestFrontIsLeft(t *testing.T) {
	w, m := newWorld(), newMachine()
	a := w.open(t, w.bucket.Open("a"), m.use)
	one := mustCommit(t, a, 1)
	b := w.open(t, w.bucket.Open("b"), m.back)
	w.readerAt(t, one)
	if _, err := commit(a, 1); !errors.Is(err, zodb.ErrNotPrimary) {
		t.Errorf("a commit of who was in the front: %v", err)
	}
	two := mustCommit(t, b, 2)
	w.readerAt(t, two)
	c := w.open(t, w.bucket.Open("c"), nil)
	three := mustCommit(t, c, 3)
	d := w.open(t, w.bucket.Open("d"), newMachine().use)
	mustCommit(t, d, 4)
	moveAll(t, d)
	if last, _ := d.Head(); last != three+1 {
		t.Errorf("at the end %v, want %v", last, three+1)
	}
	w.readerAt(t, three+1)
}

// A writer dies between the front and the bucket, at any slot: the next one goes on, and
// moves the rest.
func TestCrashBetween(t *testing.T) {
	for moved := range 6 {
		w, m := newWorld(), newMachine()
		a := w.open(t, w.bucket.Open("a"), m.use)
		first := a.Slot()
		var last zodb.TID
		for range 5 {
			last = mustCommit(t, a, 1, 2)
		}
		if err := a.move(t.Context(), first+uint64(moved)); err != nil {
			t.Fatal(err)
		}
		b := w.open(t, w.bucket.Open("b"), m.use)
		if head, _ := b.Head(); head != last {
			t.Errorf("%d moved: the next writer is at %v, want %v", moved, head, last)
		}
		rec, err := b.LoadBefore(t.Context(), 1, zodb.MaxTID)
		if err != nil || rec.Serial != last {
			t.Errorf("%d moved: %v, %v", moved, rec.Serial, err)
		}
		last = mustCommit(t, b, 1)
		moveAll(t, b)
		w.readerAt(t, last)
	}
}

// Two writers on one front: who was first is over, whatever it tries.
func TestZombieInFront(t *testing.T) {
	w, m := newWorld(), newMachine()
	a := w.open(t, w.bucket.Open("a"), m.use)
	mustCommit(t, a, 1)
	b := w.open(t, w.bucket.Open("b"), m.use)
	two := mustCommit(t, b, 2)
	moveAll(t, a) // the same bytes: it does no harm
	if _, err := commit(a, 1); !errors.Is(err, zodb.ErrNotPrimary) || !strings.Contains(err.Error(), "taken over") {
		t.Errorf("a commit of the first: %v", err)
	}
	if err := a.Checkpoint(t.Context()); err != nil {
		t.Errorf("a checkpoint of what it knows: %v", err)
	}
	moveAll(t, b)
	w.readerAt(t, two)
}

// A machine is given up, and comes back: what it has committed since is not mixed with what the
// bucket has, and it says so and stops.
func TestAbandoned(t *testing.T) {
	w, m, n := newWorld(), newMachine(), newMachine()
	var said bytes.Buffer
	a := w.open(t, w.bucket.Open("a"), func(o *Options) {
		m.use(o)
		o.Logger = slog.New(slog.NewTextHandler(&said, nil))
	})
	if !strings.Contains(said.String(), "if that disk is lost") {
		t.Errorf("at the start it says: %s", said.String())
	}
	one := mustCommit(t, a, 1)
	moveAll(t, a)
	mustCommit(t, a, 1) // is lost
	b := w.open(t, w.bucket.Open("b"), func(o *Options) {
		n.use(o)
		o.Abandon = a.st.front.ID
	})
	if head, _ := b.Head(); head != one {
		t.Errorf("the second writer begins at %v, want %v", head, one)
	}
	two := mustCommit(t, b, 2)
	mustCommit(t, a, 1) // nobody has told it yet
	if err := a.move(t.Context(), math.MaxUint64); !errors.Is(err, errForked) {
		t.Errorf("move: %v", err)
	}
	if err := a.Check(&txnlog.Txn{}); !errors.Is(err, zodb.ErrNotPrimary) {
		t.Errorf("a vote: %v", err)
	}
	if _, err := commit(a, 1); !errors.Is(err, zodb.ErrNotPrimary) || !errors.Is(err, errForked) {
		t.Errorf("a commit: %v", err)
	}
	if err := a.Checkpoint(t.Context()); !errors.Is(err, errForked) {
		t.Errorf("a checkpoint: %v", err)
	}
	if !strings.Contains(said.String(), "not the writer any more") {
		t.Errorf("it says: %s", said.String())
	}
	moveAll(t, b)
	r := w.reader(t)
	if last, _ := r.Head(); last != two {
		t.Errorf("a reader is at %v, want %v", last, two)
	}
	// The option stays in a configuration: it means the one log.
	c := w.open(t, w.bucket.Open("c"), func(o *Options) {
		n.use(o)
		o.Abandon = a.st.front.ID
	})
	if head, _ := c.Head(); head != two {
		t.Errorf("the third writer begins at %v, want %v", head, two)
	}
}

// TestStalledMoverAfterCollection: a machine is given up while its PUT of slot n into the bucket is
// under way. Another one goes on in slot n, and after the grace period deletes it. Then the PUT
// arrives, and succeeds. The machine must not take its slot for moved.
func TestStalledMoverAfterCollection(t *testing.T) {
	w, m := newWorld(), newMachine()
	stalled := w.bucket.Open("stalled")
	a := w.open(t, stalled, m.use)
	mustCommit(t, a, 1)
	sent, arrive := make(chan struct{}), make(chan struct{})
	key := layout.LogKey(a.Slot())
	stalled.SetRule(func(op fake.Op) fake.Fault {
		if op.Kind == fake.Put && op.Key == key {
			close(sent)
			return fake.Fault{Hold: arrive}
		}
		return fake.Fault{}
	})
	answer := make(chan error)
	go func() { answer <- a.move(t.Context(), math.MaxUint64) }()
	<-sent
	b := w.open(t, w.bucket.Open("b"), func(o *Options) { o.Abandon = a.st.front.ID })
	two := mustCommit(t, b, 2)
	if err := b.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.pass(25 * time.Hour)
	if err := b.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.bucket.Objects()[key]; ok {
		t.Fatalf("%s is still there: the test tests nothing", key)
	}
	close(arrive)
	if err := <-answer; !errors.Is(err, errForked) {
		t.Errorf("the stalled move: %v", err)
	}
	if _, ok := w.bucket.Objects()[key]; !ok {
		t.Fatal("the PUT did not succeed: the test tests nothing")
	}
	if _, err := commit(a, 1); !errors.Is(err, zodb.ErrNotPrimary) {
		t.Errorf("a commit: %v", err)
	}
	w.readerAt(t, two)
}

// How far the bucket is behind is known, also to the next writer, and from when it has found it.
func TestBacklog(t *testing.T) {
	w, m := newWorld(), newMachine()
	a := w.open(t, w.bucket.Open("a"), m.use)
	if got := a.Backlog(); got != (Backlog{}) {
		t.Errorf("at the start %+v", got)
	}
	mustCommit(t, a, 1)
	w.pass(10 * time.Second)
	mustCommit(t, a, 1, 2)
	if err := a.Compact(t.Context()); err != nil { // a slot without transactions, and two that are read from elsewhere
		t.Fatal(err)
	}
	mustCommit(t, a, 3)
	w.pass(5 * time.Second)
	slots, size := a.backlog.size()
	if got, want := a.Backlog(), (Backlog{Transactions: 3, Bytes: size, Age: 15 * time.Second}); slots != 4 || got != want {
		t.Errorf("%d slots are %+v, want %+v", slots, got, want)
	}
	if err := a.move(t.Context(), a.Slot()-3); err != nil {
		t.Fatal(err)
	}
	if got := a.Backlog(); got.Transactions != 2 || got.Bytes >= size || got.Age != 5*time.Second {
		t.Errorf("when the first has been moved %+v", got)
	}
	b := w.open(t, w.bucket.Open("b"), m.use)
	w.pass(time.Second)
	if got := b.Backlog(); got.Transactions != 2 || got.Age != time.Second {
		t.Errorf("the next writer finds %+v", got)
	}
	moveAll(t, b)
	if got := b.Backlog(); got != (Backlog{}) {
		t.Errorf("when all has been moved %+v", got)
	}
}

// While the bucket does not answer commits go on, until too much waits; then votes are refused, and
// what has been committed is moved when the bucket answers.
func TestBacklogIsBounded(t *testing.T) {
	w, m := newWorld(), newMachine()
	client := w.bucket.Open("writer")
	a := w.open(t, client, func(o *Options) {
		m.use(o)
		o.Backlog = 2000
	})
	client.SetRule(fake.Always(fake.Fault{Err: fake.ErrSlow}))
	var last zodb.TID
	n := 0
	for ; a.Check(&txnlog.Txn{}) == nil; n++ {
		last = mustCommit(t, a, 1)
		if n > 100 {
			t.Fatal("there is no bound")
		}
	}
	if err := a.Check(&txnlog.Txn{}); !errors.Is(err, errBacklog) || n < 3 {
		t.Errorf("after %d commits a vote says %v", n, err)
	}
	if err := a.Checkpoint(t.Context()); err == nil {
		t.Error("a checkpoint of what is not in the bucket")
	}
	rec, err := a.LoadBefore(t.Context(), 1, zodb.MaxTID)
	if err != nil || rec.Serial != last {
		t.Errorf("what waits is read as %v, %v", rec.Serial, err)
	}
	client.SetRule(nil)
	w.readerAt(t, 0)
	moveAll(t, a)
	if err := a.Check(&txnlog.Txn{}); err != nil {
		t.Errorf("afterwards a vote says %v", err)
	}
	w.readerAt(t, last)
}

// Of what is only in the front nothing is let go of in memory, and what has been moved is read from the
// bucket.
func TestBacklogIsReadFromMemory(t *testing.T) {
	w, m := newWorld(), newMachine()
	a := w.open(t, w.bucket.Open("writer"), func(o *Options) {
		m.use(o)
		o.TailBytes = 1
	})
	for oid := range zodb.OID(20) {
		mustCommit(t, a, oid+1)
	}
	if err := a.move(t.Context(), a.Slot()-7); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, a, 21)
	for oid := range zodb.OID(21) {
		if _, err := a.LoadBefore(t.Context(), oid+1, zodb.MaxTID); err != nil {
			t.Errorf("object %v: %v", oid+1, err)
		}
	}
}

// A front that does not answer leaves a commit in doubt, which is settled.
func TestDoubtInFront(t *testing.T) {
	for _, landed := range []bool{false, true} {
		w, m := newWorld(), newMachine()
		place, client := m.place()
		a := w.open(t, w.bucket.Open("writer"), func(o *Options) { o.Log, o.Fronts = layout.OnDisk, []front.Place{place} })
		mustCommit(t, a, 1)
		client.SetRule(func(op fake.Op) fake.Fault {
			if op.Kind == fake.Put && landed {
				return fake.Fault{Lost: true}
			}
			return fake.Fault{Err: fake.ErrSlow}
		})
		tid, err := commit(a, 1)
		if !errors.Is(err, zodb.ErrCommitUnknown) {
			t.Fatalf("Append: %v", err)
		}
		moveAll(t, a) // what is in doubt does not go to the bucket
		if _, err := commit(a, 2); err == nil || errors.Is(err, zodb.ErrCommitUnknown) {
			t.Errorf("a commit behind one in doubt: %v; want that it surely failed", err)
		}
		client.SetRule(nil)
		if head, err := a.Settle(t.Context()); err != nil || head != tid {
			t.Errorf("Settle = %v, %v; want %v", head, err, tid)
		}
		last := mustCommit(t, a, 2)
		moveAll(t, a)
		w.readerAt(t, last)
	}
}

// A front that has lost slots, as an old copy has, is not gone on with: at the start, nor while
// a writer runs.
func TestFrontThatWasRestored(t *testing.T) {
	w, m := newWorld(), newMachine()
	a := w.open(t, w.bucket.Open("a"), m.use)
	mustCommit(t, a, 1)
	lost := memory.Key(a.st.front.ID, a.Slot()+1)
	two := mustCommit(t, a, 1)
	moveAll(t, a)
	if err := m.bucket.Open("restore").Delete(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	m.memory.Untrim(a.st.front.ID)
	opts := Options{Objects: w.bucket.Open("b"), Manual: true}
	m.use(&opts)
	if _, err := Open(t.Context(), opts); !errors.Is(err, front.ErrBehind) {
		t.Errorf("Open: %v", err)
	}
	if _, err := commit(a, 1); !errors.Is(err, zodb.ErrCommitUnknown) || !errors.Is(err, zodb.ErrNotPrimary) || !errors.Is(err, front.ErrBehind) {
		t.Errorf("a commit: %v", err)
	}
	w.readerAt(t, two)
}

// The writer of a machine that was given up is started again there: it does not go on in a
// directory that has commits of another history.
func TestAbandonedDirectory(t *testing.T) {
	w := newWorld()
	disk := vfs.Mem()
	use := func(o *Options) {
		p, err := disklog.OpenFS(disk, "/log")
		if err != nil {
			t.Fatal(err)
		}
		o.Log, o.Fronts = layout.OnDisk, []front.Place{p}
	}
	a := w.open(t, w.bucket.Open("a"), use)
	mustCommit(t, a, 1)
	if err := a.Close(); err != nil { // which moves nothing by itself here
		t.Fatal(err)
	}
	b := w.open(t, w.bucket.Open("b"), func(o *Options) { o.Abandon = a.st.front.ID })
	mustCommit(t, b, 2)
	opts := Options{Objects: w.bucket.Open("a again"), Manual: true}
	use(&opts)
	if _, err := Open(t.Context(), opts); !errors.Is(err, disklog.ErrOther) {
		t.Errorf("Open: %v", err)
	}
}

// The more slots wait, the longer commits gather, up to what moving one takes.
func TestGatherWithBacklog(t *testing.T) {
	b := backlog{took: 40 * time.Millisecond, arrived: make(chan struct{}, 1)}
	var seen []time.Duration
	for slot := range uint64(freely + gathers + 100) {
		b.add(waiting{slot: slot})
		if d := b.gather(); len(seen) == 0 || d != seen[len(seen)-1] {
			seen = append(seen, d)
		}
	}
	if seen[0] != 0 || seen[len(seen)-1] != 40*time.Millisecond || !slices.IsSorted(seen) {
		t.Errorf("from %v to %v", seen[0], seen[len(seen)-1])
	}
}
