package importing_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zaridb/zari/composite/importing"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/storagetest/bases"
	"github.com/zaridb/zari/zodb"
)

// put commits one object and returns the tid.
func put(t testing.TB, s zodb.Storage, oid zodb.OID, serial zodb.TID, value int) zodb.TID {
	t.Helper()
	txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Abort()
	if err := txn.Store(t.Context(), oid, serial, storagetest.Object(value)); err != nil {
		t.Fatal(err)
	}
	return finish(t, txn)
}

func finish(t testing.TB, txn zodb.Txn) zodb.TID {
	t.Helper()
	votes, err := txn.Vote(t.Context())
	if err != nil || len(votes.Conflicts) > 0 {
		t.Fatalf("Vote: %+v, %v", votes, err)
	}
	tid, err := txn.Finish(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return tid
}

// filled is a place whose source has objects 1 to n, and the tid of the last.
func filled(t testing.TB, n int) (*place, zodb.TID) {
	t.Helper()
	p := newPlace(t, bases.Memory(bases.Options{}))
	s := p.source(t, false)
	defer s.Close()
	var last zodb.TID
	for i := range n {
		last = put(t, s, zodb.OID(i+1), 0, i)
	}
	return p, last
}

// gated copies only when it is let.
type gated struct{ open atomic.Bool }

func (g *gated) copy(ctx context.Context, dst, src zodb.Storage) error {
	for !g.open.Load() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return copyAll(ctx, dst, src)
}

func TestWhatHasToWait(t *testing.T) {
	p, last := filled(t, 3)
	var g gated
	s := p.open(t, g.copy)
	defer s.Close()
	if err := s.Pack(t.Context(), time.Now(), zodb.PackOptions{}); !errors.Is(err, importing.ErrImporting) {
		t.Errorf("Pack during the import: %v", err)
	}
	undo := func(tid zodb.TID) error {
		txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
		if err != nil {
			t.Fatal(err)
		}
		defer txn.Abort()
		u, _ := zodb.As[zodb.UndoTxn](txn)
		if err := u.Undo(t.Context(), tid); err != nil {
			return err
		}
		finish(t, txn)
		return nil
	}
	err := undo(last)
	if _, ok := errors.AsType[*zodb.UndoError](err); !ok {
		t.Errorf("undo of a transaction of the source: %v", err)
	}
	mine := put(t, s, 1, serial(t, s, 1), 77)
	if err := undo(mine); err != nil {
		t.Errorf("undo of a transaction since the import began: %v", err)
	}
	g.open.Store(true)
	waitDone(t, s)
	if err := undo(last); err != nil {
		t.Errorf("undo of a transaction of the source, after the import: %v", err)
	}
	if err := s.Pack(t.Context(), time.Now(), zodb.PackOptions{}); err != nil {
		t.Errorf("Pack after the import: %v", err)
	}
}

func serial(t testing.TB, s zodb.Storage, oid zodb.OID) zodb.TID {
	t.Helper()
	tid, _, err := serialOf(t.Context(), s, oid)
	if err != nil {
		t.Fatal(err)
	}
	return tid
}

// oids that were handed out and not stored are not handed out again, by nobody.
func TestOIDsAcrossTheEnd(t *testing.T) {
	p, _ := filled(t, 3)
	seen := map[zodb.OID]bool{0: true, 1: true, 2: true, 3: true}
	take := func(s zodb.Storage) {
		t.Helper()
		oids, err := s.NewOIDs(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(oids, func(oid zodb.OID) bool { return seen[oid] }) {
			t.Errorf("%v: some were handed out before", oids)
		}
		for _, oid := range oids {
			seen[oid] = true
		}
	}
	s := p.open(t, never)
	take(s)
	put(t, s, 22, 0, 1) // chosen by a client
	seen[22] = true
	take(s)
	if len(seen) > 30 {
		t.Errorf("the first oids are not close to the source's: %v", seen)
	}
	s.Close()

	var g gated
	s = p.open(t, g.copy)
	take(s)
	g.open.Store(true)
	waitDone(t, s)
	take(s)
	s.Close()
	dst := p.destination(t, false)
	defer dst.Close()
	take(dst)
}

// At last who does not vote is not waited for: he gets a conflict, and nothing of
// his is kept.
func TestTransactionsThatDawdle(t *testing.T) {
	p, _ := filled(t, 3)
	var g gated
	o := p.options(t, g.copy)
	o.Attempts = 2
	s, err := importing.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	begin := func() zodb.Txn {
		txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
		if err != nil {
			t.Fatal(err)
		}
		if err := txn.Store(t.Context(), 9, 0, storagetest.Object(1)); err != nil {
			t.Fatal(err)
		}
		return txn
	}
	voted, open := begin(), begin()
	if _, err := voted.Vote(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.open.Store(true)
	time.Sleep(30 * time.Millisecond)
	if s.Status().Done {
		t.Fatal("the import is done, though somebody has voted")
	}
	if _, err := voted.Finish(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	waitDone(t, s)
	_, err = open.Vote(t.Context())
	if _, ok := errors.AsType[*zodb.ConflictError](err); !ok {
		t.Errorf("Vote of a transaction that began before the end of the import: %v", err)
	}
	open.Abort()
	put(t, s, 9, serial(t, s, 9), 2)
}

func TestRefusals(t *testing.T) {
	refused := func(p *place, why string) {
		t.Helper()
		o := p.options(t, never)
		s, err := importing.Open(t.Context(), o)
		if err == nil {
			s.Close()
			t.Fatalf("an import is opened; want an error that says %q", why)
		}
		if !strings.Contains(err.Error(), why) {
			t.Errorf("%v; want %q", err, why)
		}
		for _, s := range []zodb.Storage{o.Source, o.Journal, o.Destination} {
			s.Close()
		}
	}
	with := func(open bases.Open, oid zodb.OID) {
		t.Helper()
		s := open(t, false)
		put(t, s, oid, serial(t, s, oid), 5)
		s.Close()
	}

	p, _ := filled(t, 2)
	with(p.destination, 1)
	refused(p, "not empty")

	p, _ = filled(t, 2)
	p.open(t, never).Close()
	with(p.source, 1)
	refused(p, "something else has written to it")

	p, _ = filled(t, 2)
	p.open(t, never).Close()
	with(p.destination, 1)
	refused(p, "something else has written to it")

	p, _ = filled(t, 2)
	s := p.open(t, copyAll)
	waitDone(t, s)
	s.Close()
	refused(p, "done already")

	p, _ = filled(t, 2)
	if err := os.WriteFile(p.state.Path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(p, "state")
}

// A source that was written meanwhile stops the end of the import.
func TestSourceThatMoves(t *testing.T) {
	p, _ := filled(t, 2)
	o := p.options(t, copyAll)
	moved := errors.New("it has moved")
	o.Verify = func(context.Context) error { return moved }
	s, err := importing.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for end := time.Now().Add(10 * time.Second); s.Status().Failure == nil && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if st := s.Status(); st.Done || !errors.Is(st.Failure, moved) {
		t.Errorf("%+v", st)
	}
	put(t, s, 1, serial(t, s, 1), 5) // clients are served all the same
}

// failingFS cannot rename while it is told so.
type failingFS struct {
	vfs.FS
	fails *atomic.Bool
}

func (f failingFS) Rename(from, to string) error {
	if f.fails.Load() {
		return fs.ErrPermission
	}
	return f.FS.Rename(from, to)
}

// While it cannot be saved that the import is done nothing is committed, and reads
// go on.
func TestStateThatCannotBeSaved(t *testing.T) {
	p, last := filled(t, 3)
	var fails atomic.Bool
	p.state = importing.File{FS: failingFS{vfs.OS(), &fails}, Path: filepath.Join(t.TempDir(), "state")}
	var g gated
	s := p.open(t, g.copy)
	defer s.Close()
	fails.Store(true)
	if _, err := s.NewOIDs(t.Context(), 20000); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("NewOIDs that cannot be reserved: %v", err)
	}
	g.open.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for ctx.Err() == nil {
		txn, err := s.Begin(ctx, zodb.TxnMeta{})
		if err != nil {
			break
		}
		txn.Abort()
	}
	if s.Status().Done {
		t.Error("the import is done, and nobody knows")
	}
	if got := serial(t, s, 3); got != last {
		t.Errorf("object 3 is at %v, want %v", got, last)
	}
	fails.Store(false)
	waitDone(t, s)
	put(t, s, 3, last, 8)
}

// Who waits to begin while it cannot be saved that the import is done, and is let go
// by Close, begins nothing: the state on disk may be the new one, and what would be
// committed in the journal then is lost.
func TestCloseWhileTheStateCannotBeSaved(t *testing.T) {
	p, _ := filled(t, 3)
	var fails atomic.Bool
	p.state = importing.File{FS: failingFS{vfs.OS(), &fails}, Path: filepath.Join(t.TempDir(), "state")}
	var g gated
	s := p.open(t, g.copy)
	fails.Store(true)
	g.open.Store(true)
	for begun := true; begun; {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		txn, err := s.Begin(ctx, zodb.TxnMeta{})
		if begun = err == nil; begun {
			txn.Abort()
		}
		cancel()
	}
	begun := make(chan error)
	for range 8 {
		go func() {
			txn, err := s.Begin(t.Context(), zodb.TxnMeta{})
			if err == nil {
				txn.Abort()
			}
			begun <- err
		}()
	}
	time.Sleep(50 * time.Millisecond) // most likely they wait by then
	s.Close()
	for range 8 {
		if err := <-begun; !errors.Is(err, zodb.ErrClosed) {
			t.Errorf("Begin: %v, want %v", err, zodb.ErrClosed)
		}
	}
}

func TestState(t *testing.T) {
	f := importing.File{FS: vfs.OS(), Path: filepath.Join(t.TempDir(), "state")}
	if unfinished, err := f.Unfinished(); unfinished || err != nil {
		t.Errorf("no import: %v, %v", unfinished, err)
	}
	for _, s := range []importing.State{
		{Source: "a \"file\"", Last: 1<<63 - 1, Next: 1<<64 - 1}, {Last: 5, Next: 1, Done: true},
	} {
		if err := f.Save(s); err != nil {
			t.Fatal(err)
		}
		got, err := f.Load()
		if err != nil || got != s {
			t.Errorf("%+v came back as %+v, %v", s, got, err)
		}
		if unfinished, err := f.Unfinished(); unfinished == s.Done || err != nil {
			t.Errorf("%+v: unfinished: %v, %v", s, unfinished, err)
		}
	}
}

// FuzzState reads states that somebody else wrote.
func FuzzState(f *testing.F) {
	f.Add([]byte(`{"format": 1, "state": "done", "source": "x", "source_last_tid": "0000000000000005", "next_oid": "01"}`))
	f.Add([]byte(`{"format": 2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		file := importing.File{FS: vfs.OS(), Path: filepath.Join(t.TempDir(), "state")}
		if err := os.WriteFile(file.Path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := file.Load()
		if err != nil {
			return
		}
		if err := file.Save(s); err != nil {
			t.Fatal(err)
		}
		if again, err := file.Load(); err != nil || again != s {
			t.Errorf("%+v came back as %+v, %v", s, again, err)
		}
	})
}
