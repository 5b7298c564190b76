package demo_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zaridb/zari/composite/demo"
	"github.com/zaridb/zari/engine/filestorage"
	"github.com/zaridb/zari/engine/memstorage"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

type put struct {
	oid    zodb.OID
	serial zodb.TID
	data   []byte
}

func begin(t testing.TB, s zodb.Storage, puts ...put) zodb.Txn {
	t.Helper()
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(txn.Abort)
	for _, p := range puts {
		if err := txn.Store(t.Context(), p.oid, p.serial, p.data); err != nil {
			t.Fatal(err)
		}
	}
	return txn
}

func ability[A any](t testing.TB, v any) A {
	t.Helper()
	a, ok := zodb.As[A](v)
	if !ok {
		t.Fatalf("no %T", (*A)(nil))
	}
	return a
}

func vote(t testing.TB, txn zodb.Txn) zodb.Votes {
	t.Helper()
	votes, err := txn.Vote(t.Context())
	if err != nil {
		t.Fatalf("Vote: %v", err)
	}
	return votes
}

func end(t testing.TB, txn zodb.Txn) zodb.TID {
	t.Helper()
	if votes := vote(t, txn); len(votes.Conflicts) > 0 {
		t.Fatalf("Vote: %+v", votes)
	}
	tid, err := txn.Finish(t.Context(), nil)
	if err != nil {
		t.Fatalf("Finish: %v", err)
	}
	return tid
}

func commit(t testing.TB, s zodb.Storage, puts ...put) zodb.TID {
	t.Helper()
	return end(t, begin(t, s, puts...))
}

func remove(t testing.TB, s zodb.Storage, oid zodb.OID, serial zodb.TID) zodb.TID {
	t.Helper()
	txn := begin(t, s)
	if err := ability[zodb.DeleteTxn](t, txn).Delete(t.Context(), oid, serial); err != nil {
		t.Fatal(err)
	}
	return end(t, txn)
}

func undo(t testing.TB, s zodb.Storage, tid zodb.TID) zodb.TID {
	t.Helper()
	txn := begin(t, s)
	if err := ability[zodb.UndoTxn](t, txn).Undo(t.Context(), tid); err != nil {
		t.Fatal(err)
	}
	return end(t, txn)
}

func putBlob(t testing.TB, s zodb.Storage, oid zodb.OID, serial zodb.TID, content string) zodb.TID {
	t.Helper()
	dir, err := ability[zodb.BlobStore](t, s).BlobTempDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "staged")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	txn := begin(t, s)
	if err := ability[zodb.BlobTxn](t, txn).StoreBlob(t.Context(), oid, serial, []byte(content), path); err != nil {
		t.Fatal(err)
	}
	return end(t, txn)
}

func blob(t testing.TB, s zodb.Storage, oid zodb.OID, serial zodb.TID) string {
	t.Helper()
	path, err := ability[zodb.BlobStore](t, s).LoadBlob(t.Context(), oid, serial)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func load(t testing.TB, s zodb.Storage, oid zodb.OID, before zodb.TID) zodb.Record {
	t.Helper()
	rec, err := s.LoadBefore(t.Context(), oid, before)
	if err != nil {
		t.Fatalf("LoadBefore(%v, %v): %v", oid, before, err)
	}
	return rec
}

func missing(t testing.TB, s zodb.Storage, oid zodb.OID, before zodb.TID) *zodb.NoObjectError {
	t.Helper()
	rec, err := s.LoadBefore(t.Context(), oid, before)
	e, ok := errors.AsType[*zodb.NoObjectError](err)
	if !ok {
		t.Fatalf("LoadBefore(%v, %v): %v, %v; want no object", oid, before, rec.Serial, err)
	}
	return e
}

func want[V any](t testing.TB, what string, got, want V) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// filled is a base with two revisions of object 1 and one each of 0, 2 and 3.
func filled(t testing.TB, base zodb.Storage) (tids []zodb.TID) {
	t.Helper()
	first := commit(t, base, put{0, 0, counter(0)}, put{1, 0, counter(1)}, put{2, 0, counter(2)}, put{3, 0, counter(3)})
	return []zodb.TID{first, commit(t, base, put{1, first, counter(11)})}
}

func eachMedium(t *testing.T, fn func(t *testing.T, base, changes zodb.Storage)) {
	for name, medium := range map[string]func(testing.TB) zodb.Storage{"memory": memory, "file": newFile} {
		t.Run(name, func(t *testing.T) { fn(t, medium(t), medium(t)) })
	}
}

func TestConflictWithTheBase(t *testing.T) {
	eachMedium(t, func(t *testing.T, base, changes zodb.Storage) {
		tids := filled(t, base)
		s := over(t, base, changes)
		defer s.Close()
		txn := begin(t, s, put{1, tids[0], []byte("mine")}, put{2, tids[0], []byte("two")})
		want(t, "conflicts", vote(t, txn).Conflicts,
			[]zodb.Conflict{{OID: 1, Committed: tids[1], Read: tids[0], Data: []byte("mine")}})

		// The objects stay locked while the client merges.
		other := begin(t, s, put{1, tids[1], []byte("other")})
		voted := make(chan zodb.Votes, 1)
		go func() {
			votes, _ := other.Vote(t.Context())
			voted <- votes
		}()
		select {
		case <-voted:
			t.Error("an object was voted on while its conflict with the base was merged")
		case <-time.After(15 * time.Millisecond):
		}
		if err := txn.Store(t.Context(), 1, tids[1], []byte("merged")); err != nil {
			t.Fatal(err)
		}
		tid := end(t, txn)
		want(t, "conflicts of the one who waited", (<-voted).Conflicts,
			[]zodb.Conflict{{OID: 1, Committed: tid, Read: tids[1], Data: []byte("other")}})
		other.Abort()
		want(t, "data", string(load(t, s, 1, zodb.MaxTID).Data), "merged")

		// An object of the base cannot be made anew.
		txn = begin(t, s, put{3, 0, []byte("new")})
		want(t, "conflicts", vote(t, txn).Conflicts, []zodb.Conflict{{OID: 3, Committed: tids[0], Data: []byte("new")}})
	})
}

func TestMergeWithTheBase(t *testing.T) {
	eachMedium(t, func(t *testing.T, base, changes zodb.Storage) {
		tids := filled(t, base)
		s := over(t, base, changes)
		defer s.Close()
		txn := begin(t, s, put{1, tids[0], counter(6)}) // 1 -> 6 over 1 -> 11
		want(t, "resolved", vote(t, txn).Resolved, []zodb.OID{1})
		if _, err := txn.Finish(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		want(t, "merged", string(load(t, s, 1, zodb.MaxTID).Data), "counter 16")

		txn = begin(t, s, put{1, tids[1], counter(12)}) // the revision that was read is the base's, the committed one is not
		want(t, "resolved", vote(t, txn).Resolved, []zodb.OID{1})
		if _, err := txn.Finish(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		want(t, "merged", string(load(t, s, 1, zodb.MaxTID).Data), "counter 17")

		txn = begin(t, s, put{2, 1, counter(3)})
		ability[zodb.NoMergeTxn](t, txn).NoMerge()
		want(t, "conflicts without merging", vote(t, txn).Conflicts, []zodb.Conflict{{OID: 2, Committed: tids[0], Read: 1, Data: counter(3)}})
	})
}

func TestCheckCurrentOfTheBase(t *testing.T) {
	eachMedium(t, func(t *testing.T, base, changes zodb.Storage) {
		tids := filled(t, base)
		s := over(t, base, changes)
		defer s.Close()
		check := func(serial zodb.TID) zodb.Txn {
			txn := begin(t, s, put{9, 0, counter(9)})
			if err := txn.CheckCurrent(t.Context(), 1, serial); err != nil {
				t.Fatal(err)
			}
			return txn
		}
		_, err := check(tids[0]).Vote(t.Context())
		conflict, ok := errors.AsType[*zodb.ConflictError](err)
		if !ok {
			t.Fatalf("Vote with an old revision of the base: %v", err)
		}
		want(t, "conflict", *conflict, zodb.ConflictError{OID: 1, Committed: tids[1], Read: tids[0], Check: true})
		end(t, check(tids[1]))
		commit(t, s, put{1, tids[1], counter(12)})
		if _, err := check(tids[1]).Vote(t.Context()); err == nil {
			t.Error("Vote with a revision of the base that was changed: no error")
		}
	})
}

func TestOldRevisions(t *testing.T) {
	eachMedium(t, func(t *testing.T, base, changes zodb.Storage) {
		tids := filled(t, base)
		s := over(t, base, changes)
		defer s.Close()
		rec := load(t, s, 1, zodb.MaxTID)
		want(t, "serial of what only the base has", rec.Serial, tids[1])
		want(t, "next", rec.Next, 0)
		want(t, "as of", rec.AsOf, tids[1])
		other := commit(t, s, put{2, tids[0], counter(5)})
		want(t, "as of, after a commit of another object", load(t, s, 1, zodb.MaxTID).AsOf, other)

		for i := range 40 {
			tids = append(tids, commit(t, s, put{1, tids[len(tids)-1], counter(100 + i)}))
		}
		for i, tid := range tids[:len(tids)-1] {
			for _, before := range []zodb.TID{tid + 1, tids[i+1]} {
				rec := load(t, s, 1, before)
				want(t, fmt.Sprintf("serial before %v", before), rec.Serial, tid)
				want(t, fmt.Sprintf("next before %v", before), rec.Next, tids[i+1])
			}
		}
		want(t, "known before the first", missing(t, s, 1, tids[0]).Known, true)
		deleted := remove(t, s, 3, tids[0])
		want(t, "deleted at", missing(t, s, 3, zodb.MaxTID).DeletedAt, deleted)
		want(t, "next of what was deleted", load(t, s, 3, deleted).Next, deleted)
		storagetest.Audit(t, s)
	})
}

func TestUndoOfChangesToTheBase(t *testing.T) {
	eachMedium(t, func(t *testing.T, base, changes zodb.Storage) {
		tids := filled(t, base)
		blobTID := putBlob(t, base, 4, 0, "below")
		s := over(t, base, changes)
		defer s.Close()

		changed := commit(t, s, put{1, tids[1], counter(50)}, put{8, 0, counter(8)})
		undone := undo(t, s, changed)
		want(t, "undone", string(load(t, s, 1, zodb.MaxTID).Data), "counter 11")
		want(t, "creation undone", missing(t, s, 8, zodb.MaxTID).DeletedAt, undone)
		redone := undo(t, s, undone)
		want(t, "redone", string(load(t, s, 1, zodb.MaxTID).Data), "counter 50")
		commit(t, s, put{1, redone, counter(53)})
		undo(t, s, redone) // the difference is merged with what came later: back from 50 to 11
		want(t, "merged", string(load(t, s, 1, zodb.MaxTID).Data), "counter 14")

		undo(t, s, remove(t, s, 2, tids[0]))
		want(t, "undeleted", string(load(t, s, 2, zodb.MaxTID).Data), "counter 2")

		undone = undo(t, s, putBlob(t, s, 4, blobTID, "above"))
		want(t, "blob", blob(t, s, 4, undone), "below")

		txn := begin(t, s)
		if err := ability[zodb.UndoTxn](t, txn).Undo(t.Context(), tids[1]); err != nil {
			t.Fatal(err)
		}
		_, err := txn.Vote(t.Context())
		if _, ok := errors.AsType[*zodb.UndoError](err); !ok {
			t.Errorf("undo of a transaction of the base: %v", err)
		}
		storagetest.Audit(t, s)
	})
}

func TestBlobsOfBothLayers(t *testing.T) {
	eachMedium(t, func(t *testing.T, base, changes zodb.Storage) {
		one := putBlob(t, base, 1, 0, "one")
		s := over(t, base, changes)
		defer s.Close()
		two := putBlob(t, s, 1, one, "two")
		want(t, "blob of the base", blob(t, s, 1, one), "one")
		want(t, "blob of the changes", blob(t, s, 1, two), "two")
		_, err := s.LoadBlob(t.Context(), 1, 77)
		if _, ok := errors.AsType[*zodb.NoObjectError](err); !ok {
			t.Errorf("LoadBlob of a revision that is not there: %v", err)
		}
	})
}

// Packing keeps what only the base refers to, and the deletions that hide its
// objects.
func TestPackOfChanges(t *testing.T) {
	references := func([]byte, []zodb.OID) ([]zodb.OID, error) { return nil, nil }
	engine, err := filestorage.Open(filestorage.Options{
		Path: filepath.Join(t.TempDir(), "Data.fs"), FS: vfs.NoSync(vfs.OS()), PackGC: true, References: references,
	})
	if err != nil {
		t.Fatal(err)
	}
	opened := func(e store.Engine) zodb.Storage {
		s, err := store.Open(t.Context(), e, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	collecting := map[string]zodb.Storage{
		"file":   opened(engine),
		"memory": opened(memstorage.New(memstorage.Options{PackGC: true, References: references})),
	}
	for name, changes := range collecting {
		t.Run(name, func(t *testing.T) {
			base := memory(t)
			tids := filled(t, base)
			s := over(t, base, changes)
			defer s.Close()
			two := commit(t, s, put{2, tids[0], counter(20)})
			two = commit(t, s, put{2, two, counter(21)})
			deleted := remove(t, s, 3, tids[0])
			time.Sleep(time.Millisecond)
			at := time.Now()
			if err := s.Pack(t.Context(), at, zodb.PackOptions{GC: true}); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("Pack with garbage collection: %v", err)
			}
			if err := s.Pack(t.Context(), at, zodb.PackOptions{}); err != nil {
				t.Fatal(err)
			}
			want(t, "serial of what is not reachable in the changes", load(t, s, 2, zodb.MaxTID).Serial, two)
			want(t, "deleted at", missing(t, s, 3, zodb.MaxTID).DeletedAt, deleted)
			want(t, "what nobody has changed", string(load(t, s, 1, zodb.MaxTID).Data), "counter 11")
			// What object 2 was before the revision that is left is not known any more;
			// it was not what the base has.
			want(t, "known", missing(t, s, 2, two).Known, true)
		})
	}
}

func TestOIDsAvoidBothLayers(t *testing.T) {
	s := over(t, memory(t), memory(t))
	defer s.Close()
	first, err := s.NewOIDs(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	var puts []put
	for i := range zodb.OID(5) {
		puts = append(puts, put{first[0] + 1 + i, 0, counter(1)})
	}
	made := commit(t, s, puts...)
	remove(t, s, puts[1].oid, made)
	upper, err := s.Push(t.Context(), memory(t), demo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range []zodb.Storage{s, upper} {
		for range 100 {
			oids, err := layer.NewOIDs(t.Context(), 3)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range puts {
				if slices.Contains(oids, p.oid) {
					t.Fatalf("%v is handed out, but it is stored", p.oid)
				}
			}
		}
	}
	if err := upper.Close(); err != nil {
		t.Fatal(err)
	}
	commit(t, s, put{0, 0, counter(1)}) // s is still open
}

func TestPushAndPop(t *testing.T) {
	base := memory(t)
	tids := filled(t, base)
	s := over(t, base, memory(t))
	upper, err := s.Push(t.Context(), memory(t), demo.Options{Name: "upper"})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "name", upper.Info().Name, "upper")
	commit(t, upper, put{1, tids[1], counter(99)})
	want(t, "above", string(load(t, upper, 1, zodb.MaxTID).Data), "counter 99")
	lower, err := upper.Pop()
	if err != nil {
		t.Fatal(err)
	}
	if lower != zodb.Storage(s) {
		t.Errorf("Pop returned %v", lower.Info())
	}
	if _, err := upper.LoadBefore(t.Context(), 1, zodb.MaxTID); !errors.Is(err, zodb.ErrClosed) {
		t.Errorf("load from a layer that was popped: %v", err)
	}
	want(t, "below", string(load(t, s, 1, zodb.MaxTID).Data), "counter 11")
	commit(t, s, put{1, tids[1], counter(12)})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A base that goes on is seen as it was when the demo storage was opened, and with
// durable changes as it was before the first of them.
func TestBaseThatIsAlive(t *testing.T) {
	base, changes := memory(t), memory(t)
	tids := filled(t, base)
	s := over(t, base, changes)
	later := commit(t, base, put{1, tids[1], counter(77)}, put{7, 0, counter(7)})
	want(t, "serial", load(t, s, 1, zodb.MaxTID).Serial, tids[1])
	want(t, "known", missing(t, s, 7, zodb.MaxTID).Known, false)
	want(t, "last", s.LastTID(), tids[1])
	mine := commit(t, s, put{2, tids[0], counter(22)})
	latest := commit(t, base, put{2, tids[0], counter(78)})

	again := over(t, base, changes)
	defer again.Close()
	want(t, "data", string(load(t, again, 2, zodb.MaxTID).Data), "counter 22")
	want(t, "next", load(t, again, 2, mine).Next, mine)
	want(t, "serial", load(t, again, 1, zodb.MaxTID).Serial, later)
	var seen []zodb.TID
	for txn, err := range again.Transactions(t.Context(), 0, 0) {
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, txn.TID)
	}
	want(t, "transactions", seen, []zodb.TID{tids[0], tids[1], later, mine})
	revs, err := again.History(t.Context(), 2, 10)
	if err != nil || len(revs) != 2 || revs[0].TID != mine || revs[1].TID != tids[0] {
		t.Errorf("History: %+v, %v (%v must not be in it)", revs, err, latest)
	}
}

func TestBaseWithAClockAhead(t *testing.T) {
	future := zodb.TIDAt(time.Now().Add(time.Hour))
	base := memory(t)
	txn, err := base.Begin(t.Context(), zodb.TxnMeta{TID: future})
	if err != nil {
		t.Fatal(err)
	}
	if err := ability[zodb.RestoreTxn](t, txn).Restore(t.Context(), 1, counter(1), 0); err != nil {
		t.Fatal(err)
	}
	end(t, txn)
	plain, err := store.Open(t.Context(), memstorage.New(memstorage.Options{}), store.Options{Without: store.Restore})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := demo.New(t.Context(), base, plain, demo.Options{}); err == nil {
		t.Error("changes that cannot come after the base: no error")
	}
	plain.Close()
	s := over(t, base, memory(t))
	defer s.Close()
	if tid := commit(t, s, put{1, future, counter(2)}); tid <= future {
		t.Errorf("a change got %v, the base's last transaction is %v", tid, future)
	}
	storagetest.Audit(t, s)
}

// noOver is a storage that cannot be laid over another one.
type noOver struct{ zodb.Storage }

type noOverTxn struct{ zodb.Txn }

func (noOverTxn) As(any) bool { return false }
func (noOver) As(any) bool    { return false }

func (n noOver) Begin(ctx context.Context, meta zodb.TxnMeta) (zodb.Txn, error) {
	txn, err := n.Storage.Begin(ctx, meta)
	return noOverTxn{txn}, err
}

func TestChangesThatCannotBeLaidOver(t *testing.T) {
	changes := noOver{memory(t)}
	defer changes.Close()
	if _, err := demo.New(t.Context(), memory(t), changes, demo.Options{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("New: %v", err)
	}
}

// Clients that count in objects of the base never lose a step, whether conflicts
// are merged by the storage or by themselves.
func TestCountersInTheBase(t *testing.T) {
	const clients, each = 8, 40
	base := memory(t)
	oids := []zodb.OID{1, 2, 3}
	tid := commit(t, base, put{1, 0, counter(0)}, put{2, 0, counter(0)}, put{3, 0, counter(0)})
	s := over(t, base, memory(t))
	defer s.Close()
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for n := range each {
				oid := oids[(c+n)%len(oids)]
				if err := count(t, s, oid, tid, n%2 == 0); err != nil {
					t.Errorf("client %d: %v", c, err)
					return
				}
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, oid := range oids {
		sum += value(t, load(t, s, oid, zodb.MaxTID).Data)
	}
	want(t, "sum", sum, clients*each)
	storagetest.Audit(t, s)
}

func value(t testing.TB, data []byte) (n int) {
	if _, err := fmt.Sscanf(string(data), "counter %d", &n); err != nil {
		t.Errorf("%q: %v", data, err)
	}
	return n
}

// count adds one to a counter: from the revision that the base has, so that the
// storage has to merge, or from the current one.
func count(t testing.TB, s zodb.Storage, oid zodb.OID, first zodb.TID, merge bool) error {
	for {
		before := zodb.MaxTID
		if merge {
			before = first + 1
		}
		rec, err := s.LoadBefore(t.Context(), oid, before)
		if err != nil {
			return err
		}
		txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
		if err != nil {
			return err
		}
		if !merge {
			ability[zodb.NoMergeTxn](t, txn).NoMerge()
		}
		err = txn.Store(t.Context(), oid, rec.Serial, counter(value(t, rec.Data)+1))
		if err != nil {
			return err
		}
		votes, err := txn.Vote(t.Context())
		if err == nil && len(votes.Conflicts) == 0 {
			_, err = txn.Finish(t.Context(), nil)
			return err
		}
		txn.Abort()
		if merge || err != nil {
			return fmt.Errorf("vote: %+v, %w", votes, err)
		}
	}
}
