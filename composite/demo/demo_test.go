package demo_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/zaridb/zari/composite/demo"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/storagetest/bases"
	"github.com/zaridb/zari/wrapper/compress"
	"github.com/zaridb/zari/zodb"
)

func counter(n int) []byte { return fmt.Appendf(nil, "counter %d", n) }

var options = bases.Options{Resolver: storagetest.Counters{}}

func memory(t testing.TB) zodb.Storage { return bases.Memory(options)(t)(t, false) }

func newFile(t testing.TB) zodb.Storage { return bases.File(options)(t)(t, false) }

func over(t testing.TB, base, changes zodb.Storage) *demo.Storage {
	t.Helper()
	s, err := demo.New(t.Context(), base, changes, demo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var caps = storagetest.Without(storagetest.AllCaps(), storagetest.CapSyncer, storagetest.CapPrefetcher)

var merge = &storagetest.Merge{Base: counter(1), A: counter(3), B: counter(6), Merged: counter(8)}

// layered is a harness for changes over a base, both new.
func layered(base, changes func(testing.TB) zodb.Storage) storagetest.Harness {
	return storagetest.Harness{
		New: func(t testing.TB) zodb.Storage { return over(t, base(t), changes(t)) },
		Over: func(t testing.TB, wrap func(zodb.Storage) zodb.Storage) zodb.Storage {
			return over(t, wrap(base(t)), wrap(changes(t)))
		},
		Caps: caps, Merge: merge,
	}
}

// files makes demo storages of two data files, and knows where each is.
type files struct {
	mu    sync.Mutex
	media map[zodb.Storage][2]bases.Open // of base and changes
}

func (f *files) open(t testing.TB, media [2]bases.Open, readOnly bool) zodb.Storage {
	t.Helper()
	s := over(t, media[0](t, true), media[1](t, readOnly))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.media[s] = media
	return s
}

func (f *files) reopen(t testing.TB, s zodb.Storage, readOnly bool) zodb.Storage {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	media := f.media[s]
	f.mu.Unlock()
	return f.open(t, media, readOnly)
}

func twoFiles() storagetest.Harness {
	f := &files{media: make(map[zodb.Storage][2]bases.Open)}
	h := layered(newFile, newFile)
	h.New = func(t testing.TB) zodb.Storage {
		media := [2]bases.Open{bases.File(options)(t), bases.File(options)(t)}
		if err := media[0](t, false).Close(); err != nil { // make the base
			t.Fatal(err)
		}
		return f.open(t, media, false)
	}
	h.Reopen = func(t testing.TB, s zodb.Storage) zodb.Storage { return f.reopen(t, s, false) }
	h.ReadOnly = func(t testing.TB, s zodb.Storage) zodb.Storage { return f.reopen(t, s, true) }
	return h
}

// stacked pushes new changes where others reopen: so what was written before comes
// from a base, or from the base of a base. Undo and pack are about the topmost
// changes only, so they are not offered.
func stacked(changes func(testing.TB) zodb.Storage) storagetest.Harness {
	only := func(t testing.TB) zodb.Storage { return without{changes(t)} }
	h := layered(memory, only)
	h.Over = nil
	h.Reopen = func(t testing.TB, s zodb.Storage) zodb.Storage {
		pushed, err := s.(*demo.Storage).Push(t.Context(), only(t), demo.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return pushed
	}
	h.Caps = storagetest.Without(caps, storagetest.CapUndoer, storagetest.CapPacker, storagetest.CapAppender)
	h.Bugs = map[string]string{
		"persist/UUID": "no bug: a layer that is pushed is a database with a name of its own",
		"close/Busy":   "no bug: nothing can be pushed on a layer that is closed",
	}
	return h
}

// without hides undo, pack, and append, since it wraps transactions.
type without struct{ zodb.Storage }

type withoutTxn struct{ zodb.Txn }

func (w without) Begin(ctx context.Context, meta zodb.TxnMeta) (zodb.Txn, error) {
	txn, err := w.Storage.Begin(ctx, meta)
	if err != nil {
		return nil, err
	}
	return withoutTxn{txn}, nil
}

func (w without) As(target any) bool {
	switch target.(type) {
	case *zodb.Undoer, *zodb.Packer, *zodb.Appender:
		return false
	}
	return zodb.PassOn(w.Storage, target)
}

func (w withoutTxn) As(target any) bool {
	if _, ok := target.(*zodb.UndoTxn); ok {
		return false
	}
	return zodb.PassOn(w.Txn, target)
}

func harnesses() map[string]storagetest.Harness {
	return map[string]storagetest.Harness{
		"memory":     layered(memory, memory),
		"file":       layered(newFile, memory),
		"files":      twoFiles(),
		"demo":       layered(func(t testing.TB) zodb.Storage { return over(t, memory(t), memory(t)) }, memory),
		"stacked":    stacked(memory),
		"compressed": layered(memory, func(t testing.TB) zodb.Storage { return compress.New(memory(t), compress.Options{}) }),
	}
}

func TestContract(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(harnesses())) {
		t.Run(name, func(t *testing.T) { storagetest.Run(t, harnesses()[name]) })
	}
}

// TestLikeMemory runs generated sequences of operations on demo storages and on a
// plain storage in memory: the histories must be equal, however many layers they
// are kept in.
func TestLikeMemory(t *testing.T) {
	plain := storagetest.Harness{New: memory, Reopen: func(_ testing.TB, s zodb.Storage) zodb.Storage { return s }}
	for _, name := range []string{"files", "memory", "stacked"} {
		h := harnesses()[name]
		if h.Reopen == nil {
			h.Reopen = plain.Reopen
		}
		plain.Caps = h.Caps
		for seed := range uint64(8) {
			storagetest.Metamorphic(t, seed+1, map[string]storagetest.Harness{"plain": plain, name: h})
		}
	}
}
