package importing_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/zaridb/zari/composite/demo"
	"github.com/zaridb/zari/composite/importing"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/storagetest/bases"
	"github.com/zaridb/zari/transfer"
	"github.com/zaridb/zari/zodb"
)

func lay(ctx context.Context, base, changes zodb.Storage) (zodb.Storage, error) {
	return demo.New(ctx, base, changes, demo.Options{})
}

func copyAll(ctx context.Context, dst, src zodb.Storage) error {
	_, err := transfer.Copy(ctx, dst, src, transfer.Options{})
	return err
}

// never is a copy that does not get anywhere.
func never(ctx context.Context, _, _ zodb.Storage) error {
	<-ctx.Done()
	return ctx.Err()
}

// endless copies, but is never content: the import stays between its two states.
func endless(ctx context.Context, dst, src zodb.Storage) error {
	return errors.Join(copyAll(ctx, dst, src), errors.New("once more"))
}

// late copies after a while, which differs from one to the next.
func late() func(ctx context.Context, dst, src zodb.Storage) error {
	wait := time.Duration(rand.IntN(30)) * time.Millisecond
	return func(ctx context.Context, dst, src zodb.Storage) error {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		wait = 0
		return copyAll(ctx, dst, src)
	}
}

// place is where an import happens: it is opened there as its state says.
type place struct {
	source, journal, destination bases.Open
	state                        importing.File
}

func newPlace(t testing.TB, medium bases.Medium) *place {
	t.Helper()
	return &place{
		source: medium(t), journal: medium(t), destination: medium(t),
		state: importing.File{FS: vfs.NoSync(vfs.OS()), Path: filepath.Join(t.TempDir(), "state")},
	}
}

func (p *place) done(t testing.TB) bool {
	t.Helper()
	state, err := p.state.Load()
	if err != nil {
		t.Fatal(err)
	}
	return state.Done
}

// options are for tests: an import that finds somebody at work tries again at once,
// and never makes anybody begin again.
func (p *place) options(t testing.TB, copyFn func(ctx context.Context, dst, src zodb.Storage) error) importing.Options {
	t.Helper()
	return importing.Options{
		Source: p.source(t, true), Journal: p.journal(t, false), Destination: p.destination(t, false),
		State: p.state, Lay: lay, Copy: copyFn, Grace: time.Millisecond, Retry: time.Millisecond, Attempts: 1 << 30,
	}
}

func (p *place) open(t testing.TB, copyFn func(ctx context.Context, dst, src zodb.Storage) error) *importing.Storage {
	t.Helper()
	s, err := importing.Open(t.Context(), p.options(t, copyFn))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// empty makes an empty source.
func (p *place) empty(t testing.TB) *place {
	t.Helper()
	if err := p.source(t, false).Close(); err != nil {
		t.Fatal(err)
	}
	return p
}

func waitDone(t testing.TB, s *importing.Storage) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !s.Status().Done; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the import does not come to an end: %+v", s.Status())
		}
	}
}

var caps = storagetest.Without(storagetest.AllCaps(), storagetest.CapSyncer, storagetest.CapPrefetcher, storagetest.CapAppender)

// harness is that of imports whose copies go as copyFn says. Reopening one that is
// done opens the destination.
func harness(medium bases.Medium, copyFn func() func(ctx context.Context, dst, src zodb.Storage) error, caps []storagetest.Cap) storagetest.Harness {
	var mu sync.Mutex
	places := make(map[zodb.Storage]*place)
	keep := func(s zodb.Storage, p *place) zodb.Storage {
		mu.Lock()
		defer mu.Unlock()
		places[s] = p
		return s
	}
	return storagetest.Harness{
		New: func(t testing.TB) zodb.Storage {
			p := newPlace(t, medium).empty(t)
			return keep(p.open(t, copyFn()), p)
		},
		Reopen: func(t testing.TB, s zodb.Storage) zodb.Storage {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			p := places[s]
			mu.Unlock()
			if p.done(t) {
				return keep(plain{p.destination(t, false)}, p)
			}
			return keep(p.open(t, copyFn()), p)
		},
		Caps: caps,
	}
}

// plain is a destination that is opened as such, with the abilities of an import.
type plain struct{ zodb.Storage }

func (p plain) As(target any) bool {
	if _, ok := target.(*zodb.Appender); ok {
		return false
	}
	return zodb.PassOn(p.Storage, target)
}

// unpacked hides that the destination could be packed, if it were the database.
func unpacked(s zodb.Storage) zodb.Storage { return withoutPack{s} }

type withoutPack struct{ zodb.Storage }

func (w withoutPack) As(target any) bool {
	if _, ok := target.(*zodb.Packer); ok {
		return false
	}
	return zodb.PassOn(w.Storage, target)
}

func hidden(medium bases.Medium) bases.Medium {
	return func(t testing.TB) bases.Open {
		open := medium(t)
		return func(t testing.TB, readOnly bool) zodb.Storage { return unpacked(open(t, readOnly)) }
	}
}

// TestContract runs the contract's tests in each state, and while it changes.
func TestContract(t *testing.T) {
	memory := hidden(bases.Memory(bases.Options{}))
	file := hidden(bases.File(bases.Options{}))
	withoutPack := storagetest.Without(caps, storagetest.CapPacker)
	always := func(fn func(ctx context.Context, dst, src zodb.Storage) error) func() func(context.Context, zodb.Storage, zodb.Storage) error {
		return func() func(context.Context, zodb.Storage, zodb.Storage) error { return fn }
	}
	t.Run("importing", func(t *testing.T) {
		h := harness(memory, always(never), withoutPack)
		h.Over = func(t testing.TB, wrap func(zodb.Storage) zodb.Storage) zodb.Storage {
			p := newPlace(t, memory).empty(t)
			o := p.options(t, never)
			o.Source, o.Journal = wrap(o.Source), wrap(o.Journal)
			s, err := importing.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		storagetest.Run(t, h)
	})
	t.Run("draining", func(t *testing.T) { storagetest.Run(t, harness(memory, always(endless), withoutPack)) })
	t.Run("switching", func(t *testing.T) { storagetest.Run(t, harness(memory, late, withoutPack)) })
	t.Run("switching files", func(t *testing.T) { storagetest.Run(t, harness(file, late, withoutPack)) })
	t.Run("done", func(t *testing.T) {
		h := harness(bases.Memory(bases.Options{}), always(copyAll), caps)
		begin := h.New
		h.New = func(t testing.TB) zodb.Storage {
			s := begin(t)
			waitDone(t, s.(*importing.Storage))
			return s
		}
		storagetest.Run(t, h)
	})
}

// TestLikeMemory runs generated sequences of operations on imports that end
// meanwhile, and on a plain storage in memory: the histories must be equal.
func TestLikeMemory(t *testing.T) {
	h := harness(hidden(bases.Memory(bases.Options{})), late, storagetest.Without(caps, storagetest.CapPacker))
	memory := bases.Harness(bases.Memory(bases.Options{}), nil)
	for seed := range uint64(8) {
		storagetest.Metamorphic(t, seed+1, map[string]storagetest.Harness{"memory": memory, "importing": h})
	}
}
