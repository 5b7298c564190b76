package importing_test

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/zaridb/zari/composite/importing"
	"github.com/zaridb/zari/engine/filestorage"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/storagetest"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// acknowledged is a commit that a client was told of.
type acknowledged struct {
	oid   zodb.OID
	value int
}

// cycles is an import on a disk whose power fails again and again.
type cycles struct {
	t    *testing.T
	rnd  *rand.Rand
	disk vfs.FS
	kept map[zodb.TID]acknowledged
}

func (c *cycles) open(path string, readOnly bool) (zodb.Storage, error) {
	engine, err := filestorage.Open(filestorage.Options{Path: path, FS: c.disk, ReadOnly: readOnly})
	if err != nil {
		return nil, err
	}
	return store.Open(c.t.Context(), engine, store.Options{})
}

func (c *cycles) state() importing.File {
	return importing.File{FS: c.disk, Path: "/data/import/state"}
}

// database opens the import, or the destination if that is the database.
func (c *cycles) database() (s zodb.Storage, done bool, err error) {
	if state, err := c.state().Load(); err == nil && state.Done {
		s, err := c.open("/data/Data.fs", false)
		return s, true, err
	}
	o := importing.Options{State: c.state(), Lay: lay, Copy: copyAll, Grace: time.Millisecond, Retry: time.Millisecond}
	if o.Source, err = c.open("/data/source.fs", true); err != nil {
		return nil, false, err
	}
	if o.Journal, err = c.open("/data/import/journal.fs", false); err == nil {
		if o.Destination, err = c.open("/data/Data.fs", false); err == nil {
			im, err := importing.Open(c.t.Context(), o)
			if err == nil {
				return im, false, nil
			}
			err = errors.Join(err, o.Destination.Close(), o.Journal.Close(), o.Source.Close())
			return nil, false, err
		}
		o.Journal.Close()
	}
	o.Source.Close()
	return nil, false, err
}

// write commits until it fails, or for so long.
func (c *cycles) write(s zodb.Storage, oid zodb.OID, d time.Duration, mu *sync.Mutex) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	for n := 0; ctx.Err() == nil; n++ {
		serial, _, err := serialOf(ctx, s, oid)
		if err != nil {
			return
		}
		txn, err := s.Begin(ctx, zodb.TxnMeta{})
		if err != nil {
			return
		}
		tid, err := zodb.TID(0), txn.Store(ctx, oid, serial, storagetest.Object(n))
		if err == nil {
			_, err = txn.Vote(ctx)
		}
		if err == nil {
			tid, err = txn.Finish(ctx, nil)
		}
		txn.Abort()
		if _, conflict := errors.AsType[*zodb.ConflictError](err); conflict {
			continue
		}
		if err != nil {
			return
		}
		mu.Lock()
		c.kept[tid] = acknowledged{oid, n}
		mu.Unlock()
	}
}

// check looks for every commit that was acknowledged. The power may fail meanwhile.
func (c *cycles) check(s zodb.Storage) error {
	c.t.Helper()
	h, ok := zodb.As[zodb.Historian](s)
	if !ok {
		c.t.Fatal("no histories")
	}
	for tid, a := range c.kept {
		data, err := h.LoadSerial(c.t.Context(), a.oid, tid)
		if errors.Is(err, vfs.ErrPowerLost) {
			return err
		}
		if err != nil || string(data) != string(storagetest.Object(a.value)) {
			c.t.Fatalf("acknowledged, but not kept: object %v as of %v: %q, %v", a.oid, tid, data, err)
		}
	}
	return nil
}

// trap is a disk whose power fails around the moment when the state is saved: so
// many operations after the last one before it.
type trap struct {
	*vfs.CrashFS
	after int
}

func (d trap) Rename(from, to string) error {
	if to == "/data/import/state" {
		d.CutPowerAt(d.Ops() + 1 + d.after)
	}
	return d.CrashFS.Rename(from, to)
}

// cycle runs until the power fails at some operation of the disk, and leaves
// what may be left then. It reports whether the import is done.
func (c *cycles) cycle(left *vfs.MemFS, cutAt int) (next *vfs.MemFS, done bool) {
	disk := vfs.Crash(left, vfs.Worst, c.rnd.Uint64())
	c.disk = disk
	if c.rnd.IntN(2) == 0 {
		c.disk = trap{disk, c.rnd.IntN(14)}
	} else {
		disk.CutPowerAt(disk.Ops() + cutAt)
	}
	s, done, err := c.database()
	if err != nil {
		select {
		case <-disk.PowerCut():
		default:
			c.t.Fatalf("opening what a power failure left: %v", err)
		}
		return disk.CrashClone(c.rnd.Uint64()), false
	}
	if c.check(s) != nil { // the power failed before
		s.Close()
		return disk.CrashClone(c.rnd.Uint64()), false
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	for oid := range zodb.OID(3) {
		wg.Go(func() { c.write(s, oid+1, 20*time.Millisecond, &mu) })
	}
	finished := make(chan struct{})
	go func() {
		wg.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-disk.PowerCut(): // commits may wait for the disk, until the storage is closed
	}
	s.Close() // it may fail: the power may be off
	<-finished
	return disk.CrashClone(c.rnd.Uint64()), done
}

// TestPowerLoss cuts the power at random operations of the disk, until the import
// is done and the destination has been served for a while: what was acknowledged
// is there, each time.
func TestPowerLoss(t *testing.T) {
	rounds := 15
	if s := os.Getenv("ZARI_IMPORT_POWER_LOSSES"); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	for seed := range uint64(rounds) {
		c := &cycles{t: t, rnd: rand.New(rand.NewPCG(seed, 3)), kept: make(map[zodb.TID]acknowledged)}
		disk := vfs.Crash(nil, vfs.Worst, seed)
		if err := errors.Join(disk.MkdirAll("/data/import", 0o777), disk.SyncDir("/data"), disk.SyncDir("/")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		c.disk = disk
		source, err := c.open("/data/source.fs", false)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		c.write(source, 1, 5*time.Millisecond, &mu)
		c.write(source, 5, 5*time.Millisecond, &mu)
		if err := source.Close(); err != nil {
			t.Fatal(err)
		}
		left := disk.CrashClone(seed)
		failures, ends := 0, 0
		for ends < 3 {
			var done bool
			if left, done = c.cycle(left, 20+c.rnd.IntN(60*(1+failures))); done {
				ends++
			}
			failures++
		}
		t.Logf("seed %d: %d power failures, %d commits kept", seed, failures, len(c.kept))
	}
}
