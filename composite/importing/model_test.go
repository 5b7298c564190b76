package importing_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/composite/importing"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/storagetest/bases"
	"github.com/zaridb/zari/storagetest/faulty"
	"github.com/zaridb/zari/transfer"
	"github.com/zaridb/zari/zodb"
)

// world is a database under import with clients that write, and what they were
// told. Each client has objects of its own, those of the source among them, and
// all write to a few that they share.
type world struct {
	t    testing.TB
	rnd  *rand.Rand
	mu   sync.Mutex
	told map[zodb.TID][]zodb.OID // acknowledged commits
}

const (
	sharedObjects = 5
	ownObjects    = 20
	writers       = 4
)

// fill writes the source: every object, in several revisions, some with blobs.
func (w *world) fill(s zodb.Storage) {
	w.t.Helper()
	for range 150 {
		oid := zodb.OID(w.rnd.IntN(sharedObjects + writers*ownObjects))
		if _, err := w.write(s, w.rnd, oid); err != nil {
			w.t.Fatal(err)
		}
	}
}

func serialOf(ctx context.Context, s zodb.Storage, oid zodb.OID) (zodb.TID, bool, error) {
	rec, err := s.LoadBefore(ctx, oid, zodb.MaxTID)
	if missing, ok := errors.AsType[*zodb.NoObjectError](err); ok {
		return missing.DeletedAt, false, nil
	}
	return rec.Serial, err == nil, err
}

// write changes, deletes, or brings back one object. Conflicts are errors.
func (w *world) write(s zodb.Storage, rnd *rand.Rand, oid zodb.OID) (zodb.TID, error) {
	ctx := w.t.Context()
	serial, exists, err := serialOf(ctx, s, oid)
	if err != nil {
		return 0, err
	}
	txn, err := s.Begin(ctx, zodb.TxnMeta{User: []byte("writer"), Description: fmt.Append(nil, oid)})
	if err != nil {
		return 0, err
	}
	defer txn.Abort()
	switch k := rnd.IntN(8); {
	case k == 0 && exists:
		d, _ := zodb.As[zodb.DeleteTxn](txn)
		err = d.Delete(ctx, oid, serial)
	case k == 1:
		err = w.writeBlob(s, txn, oid, serial, rnd)
	default:
		err = txn.Store(ctx, oid, serial, storagetest.Object(rnd.IntN(1e6)))
	}
	if err != nil {
		return 0, err
	}
	votes, err := txn.Vote(ctx)
	if err != nil {
		return 0, err
	}
	if len(votes.Conflicts) > 0 {
		return 0, &zodb.ConflictError{OID: oid}
	}
	return txn.Finish(ctx, func(tid zodb.TID) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.told[tid] = []zodb.OID{oid}
	})
}

func (w *world) writeBlob(s zodb.Storage, txn zodb.Txn, oid zodb.OID, serial zodb.TID, rnd *rand.Rand) error {
	b, _ := zodb.As[zodb.BlobStore](s)
	dir, err := b.BlobTempDir()
	if err != nil {
		return err
	}
	content := fmt.Sprintf("blob %d of %v", rnd.IntN(1e6), oid)
	path := filepath.Join(dir, fmt.Sprintf("%d.staged", rnd.Uint64()))
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return err
	}
	bt, _ := zodb.As[zodb.BlobTxn](txn)
	return bt.StoreBlob(w.t.Context(), oid, serial, []byte(content), path)
}

// client writes until it is told to end, or the storage is closed.
func (w *world) client(s zodb.Storage, n int, seed uint64, end <-chan struct{}) error {
	rnd := rand.New(rand.NewPCG(seed, uint64(n)))
	for {
		select {
		case <-end:
			return nil
		default:
		}
		oid := zodb.OID(rnd.IntN(sharedObjects))
		if rnd.IntN(3) > 0 {
			oid = zodb.OID(sharedObjects + n*ownObjects + rnd.IntN(ownObjects))
		}
		tid, err := w.write(s, rnd, oid)
		if _, conflict := errors.AsType[*zodb.ConflictError](err); conflict {
			continue
		}
		if errors.Is(err, zodb.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("client %d: %w", n, err)
		}
		if now, exists, err := serialOf(w.t.Context(), s, oid); err == nil && now < tid {
			return fmt.Errorf("client %d: after its commit %v object %v is at %v (%v)", n, tid, oid, now, exists)
		}
		time.Sleep(time.Duration(rnd.IntN(300)) * time.Microsecond)
	}
}

// watcher checks that changes are told in order, and keeps them.
type watcher struct {
	mu   sync.Mutex
	tids []zodb.TID
	bad  error
}

func (o *watcher) observe(c zodb.Change) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(o.tids); n > 0 && c.TID <= o.tids[n-1] {
		o.bad = fmt.Errorf("change %v was told after %v", c.TID, o.tids[n-1])
	}
	o.tids = append(o.tids, c.TID)
}

// readers checks that what is read at one time, as of LastTID, does not change
// when it is read again, and that LastTID does not go back.
func (w *world) reader(s zodb.Storage, seed uint64, end <-chan struct{}) error {
	rnd := rand.New(rand.NewPCG(seed, 99))
	seen := make(map[[2]uint64]zodb.TID)
	last := zodb.TID(0)
	for {
		select {
		case <-end:
			return nil
		default:
		}
		now := s.LastTID()
		if now < last {
			return fmt.Errorf("LastTID went back from %v to %v", last, now)
		}
		last = now
		before := now + 1
		if rnd.IntN(2) == 0 && len(seen) > 0 {
			for k := range seen {
				before = zodb.TID(k[1])
				break
			}
		}
		oid := zodb.OID(rnd.IntN(sharedObjects))
		rec, err := s.LoadBefore(w.t.Context(), oid, before)
		if missing, ok := errors.AsType[*zodb.NoObjectError](err); ok {
			rec, err = zodb.Record{Serial: missing.DeletedAt}, nil
		}
		if errors.Is(err, zodb.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		key := [2]uint64{uint64(oid), uint64(before)}
		if was, ok := seen[key]; ok && was != rec.Serial {
			return fmt.Errorf("object %v before %v was the revision %v, and is %v", oid, before, was, rec.Serial)
		}
		if rec.Next != 0 && rec.Next < before {
			return fmt.Errorf("object %v before %v: revision %v, which %v replaced", oid, before, rec.Serial, rec.Next)
		}
		seen[key] = rec.Serial
	}
}

// session opens the import, has clients write and read for a while, and closes it
// again, wherever it is then.
func (w *world) session(o importing.Options, seed uint64, wait func(*importing.Storage)) {
	t := w.t
	t.Helper()
	s, err := importing.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var o1 watcher
	after, stop := s.Observe(o1.observe)
	end := make(chan struct{})
	errs := make(chan error, writers+2)
	var wg sync.WaitGroup
	for n := range writers {
		wg.Go(func() { errs <- w.client(s, n, seed, end) })
	}
	for n := range 2 {
		wg.Go(func() { errs <- w.reader(s, seed+uint64(n), end) })
	}
	wait(s)
	close(end)
	wg.Wait()
	close(errs)
	stop()
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if o1.bad != nil {
		t.Error(o1.bad)
	}
	w.mu.Lock()
	var want []zodb.TID
	for _, tid := range slices.Sorted(maps.Keys(w.told)) {
		if tid > after {
			want = append(want, tid)
		}
	}
	w.mu.Unlock()
	if diff := cmp.Diff(want, o1.tids); diff != "" {
		t.Errorf("commits that were told to their clients (-) and to the observer (+):\n%s", diff)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		t.Fatalf("seed %d, state %+v", seed, s.Status())
	}
}

// same compares the destination with source and acknowledged commits.
func (w *world) same(p *place) {
	t := w.t
	t.Helper()
	dst := p.destination(t, false)
	defer dst.Close()
	it, _ := zodb.As[zodb.Iterator](dst)
	got := make(map[zodb.TID][]zodb.OID)
	for txn, err := range it.Transactions(t.Context(), 0, 0) {
		if err != nil {
			t.Fatal(err)
		}
		var oids []zodb.OID
		for _, r := range txn.Records {
			oids = append(oids, r.OID)
		}
		got[txn.TID] = oids
	}
	if diff := cmp.Diff(w.told, got); diff != "" {
		t.Errorf("transactions that were acknowledged (-) and those of the destination (+):\n%s", diff)
	}
	storagetest.Audit(t, dst)

	// And record by record, blob by blob, with what source and journal hold.
	front, err := lay(t.Context(), p.source(t, true), p.journal(t, true))
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	v, err := transfer.Verify(t.Context(), dst, front, transfer.VerifyOptions{To: front.LastTID()})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range v.Differences {
		t.Errorf("destination, and source with journal: %v", d)
	}
}

func (w *world) runs(t *testing.T, medium bases.Medium, seed uint64) {
	p := newPlace(t, medium)
	w.t = t
	source := p.source(t, false)
	w.fill(source)
	if err := source.Close(); err != nil {
		t.Fatal(err)
	}
	round := uint64(0)
	for ; ; round++ {
		if s, err := p.state.Load(); err == nil && s.Done {
			break
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		faults := faulty.New()
		if w.rnd.IntN(3) > 0 && round < 6 { // at last it may come to its end
			faults.Set(faulty.Randomly(seed+round, 60, faulty.Fault{Err: errors.New("injected"), Lost: w.rnd.IntN(2) == 0}))
		}
		o := p.options(t, func(ctx context.Context, dst, src zodb.Storage) error { return copyAll(ctx, faults.Wrap(dst), src) })
		o.Attempts = 3
		w.session(o, seed*100+round, func(s *importing.Storage) {
			if round < 6 {
				time.Sleep(time.Duration(w.rnd.IntN(30)) * time.Millisecond)
				return
			}
			waitDone(t, s)
			time.Sleep(20 * time.Millisecond) // the clients go on in the destination
		})
	}
	t.Logf("seed %d: %d transactions, done in round %d", seed, len(w.told), round)
	w.same(p)
}

// TestClientsSeeOneDatabase imports databases while clients read and write, with
// faults of the destination and restarts at any moment: nothing that was
// acknowledged is lost, nothing is told twice or out of order, no revision turns
// into another one, and in the end the destination holds exactly the source and
// what was acknowledged.
func TestClientsSeeOneDatabase(t *testing.T) {
	for name, medium := range map[string]bases.Medium{"memory": bases.Memory(bases.Options{}), "file": bases.File(bases.Options{})} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(6) {
				w := &world{rnd: rand.New(rand.NewPCG(seed, 7)), told: make(map[zodb.TID][]zodb.OID)}
				w.runs(t, medium, seed)
			}
		})
	}
}
