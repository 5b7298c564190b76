package storagetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/zaridb/zari/zodb"
)

// The crash group is about power failures: what was acknowledged is there, of the
// rest a prefix, and nothing is torn.
var crashGroup = group{name: "crash", tests: []test{
	{name: "Idle", run: testCrashIdle},
	{name: "Voted", run: testCrashVoted},
	{name: "Busy", run: testCrashBusy},
	{name: "Repeated", run: testCrashRepeated},
	{name: "OIDs", run: testCrashOIDs},
	{name: "Blobs", needs: []Cap{CapBlobStore}, run: testCrashBlobs},
}}

// crash makes the storage lose what is not durable, and goes on with the rest.
func (t *T) crash(seed uint64) {
	t.Helper()
	if t.H.Crash == nil {
		t.Skip("the harness has no Crash")
	}
	t.lost[t.S] = true
	t.own(t.H.Crash(t, t.S, t.H.Seed<<16+seed))
}

func testCrashIdle(t *T) {
	tids := t.revisions(1, 5)
	two := t.commit(write{2, 0, Object(1)}, write{3, 0, Object(2)})
	t.crash(1)
	t.current(1, tids[4], Object(5))
	t.current(2, two, Object(1))
	t.current(3, two, Object(2))
	equal(t, "LastTID", t.S.LastTID(), two)
	t.put(1, tids[4], Object(6))
}

func testCrashVoted(t *T) {
	first := t.put(1, 0, Object(1))
	txn := t.writing(write{1, first, Object(2)}, write{2, 0, Object(3)})
	t.vote(txn)
	t.crash(1)
	t.current(1, first, Object(1))
	t.absent(2, zodb.MaxTID)
	tid := t.commit(write{1, first, Object(4)}, write{2, 0, Object(5)})
	t.current(1, tid, Object(4))
}

// crashWriter commits pairs of objects, number after number, until its storage is
// gone.
type crashWriter struct {
	pair  zodb.OID // and the next one
	last  zodb.TID
	acked atomic.Int64
	moved chan struct{} // gets a token when acked moves
}

func newCrashWriters() []*crashWriter {
	writers := make([]*crashWriter, 3)
	for i := range writers {
		writers[i] = &crashWriter{pair: zodb.OID(10*i + 1), moved: make(chan struct{}, 1)}
	}
	return writers
}

func (w *crashWriter) run(ctx context.Context, s zodb.Storage) {
	for n := w.acked.Load() + 1; ; n++ {
		data := ObjectOf(int(n), int(n*37%3000))
		tid, err := commit(ctx, s, nil, write{w.pair, w.last, data}, write{w.pair + 1, w.last, data})
		if err != nil {
			return
		}
		w.last = tid
		w.acked.Store(n)
		select {
		case w.moved <- struct{}{}:
		default:
		}
	}
}

// check looks at what is left: at least what was acknowledged before the crash,
// the pair never torn. It goes on from there.
func (w *crashWriter) check(t *T, acked int64) error {
	var values [2]int64
	var serials [2]zodb.TID
	for i := range values {
		rec, err := t.S.LoadBefore(t.ctx, w.pair+zodb.OID(i), zodb.MaxTID)
		if _, ok := errors.AsType[*zodb.NoObjectError](err); ok {
			continue
		}
		if err != nil {
			return err
		}
		values[i], serials[i] = int64(valueOf(rec.Data)), rec.Serial
	}
	if values[0] != values[1] || serials[0] != serials[1] {
		return fmt.Errorf("a transaction is torn: objects %v and %v are at number %d of %v and %d of %v",
			w.pair, w.pair+1, values[0], serials[0], values[1], serials[1])
	}
	if values[0] < acked {
		return fmt.Errorf("objects %v and %v are at number %d, but %d was acknowledged", w.pair, w.pair+1, values[0], acked)
	}
	w.acked.Store(values[0])
	w.last = serials[0]
	return nil
}

// during calls end while the writers are at work, waits for them, and checks what
// is left; end makes t.S the storage that is left.
func during(t *T, writers []*crashWriter, end func()) {
	t.Helper()
	s := t.S
	busy := start(t, "writers", func() (struct{}, error) {
		var all sync.WaitGroup
		for _, w := range writers {
			all.Go(func() { w.run(t.ctx, s) })
		}
		all.Wait()
		return struct{}{}, nil
	})
	target := writers[0].acked.Load() + 1 + int64(t.rnd.IntN(10))
	for writers[0].acked.Load() < target {
		select {
		case <-writers[0].moved:
		case <-busy.done:
			t.Fatal("the writers ended too early")
		}
	}
	acked := make([]int64, len(writers))
	for i, w := range writers {
		acked[i] = w.acked.Load()
	}
	end()
	busy.ok()
	for i, w := range writers {
		if err := w.check(t, acked[i]); err != nil {
			t.Fatalf("seed %d: %v", t.H.Seed, err)
		}
	}
	Audit(t, t.S)
}

// crashRounds crashes a busy storage again and again.
func crashRounds(t *T, rounds int) {
	t.Helper()
	if t.H.Crash == nil {
		t.Skip("the harness has no Crash")
	}
	writers := newCrashWriters()
	for seed := range rounds {
		during(t, writers, func() { t.crash(uint64(seed) + 2) })
	}
}

func testCrashBusy(t *T) {
	crashRounds(t, 1)
}

func testCrashRepeated(t *T) {
	crashRounds(t, 8)
}

// An oid that was handed out is not handed out again, although nothing tells of
// it but the reservation.
func testCrashOIDs(t *T) {
	var set oidSet
	for seed := range uint64(3) {
		set.must(t, 100)
		t.crash(seed)
	}
	set.must(t, 100)
}

func testCrashBlobs(t *T) {
	tid := t.putBlob(1, 0, 1, "one")
	txn, _ := t.blobbing(1, tid, 2, "two")
	t.vote(txn)
	t.crash(1)
	t.current(1, tid, Object(1))
	t.blob(1, tid, "one")
	tid = t.putBlob(1, tid, 2, "two")
	t.blob(1, tid, "two")
}
