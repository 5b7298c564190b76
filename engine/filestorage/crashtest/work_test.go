package crashtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/zaridb/zari/engine/filestorage"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/store"
)

// work is one process at work.
type work struct {
	*round
	life   int
	sched  *sched
	proc   *process
	faulty *vfs.FaultFS
	fs     vfs.FS
	store  *store.Store

	packing int // how often the current pack has waited
}

func (r *round) options(fsys vfs.FS) filestorage.Options {
	return filestorage.Options{Path: dataFile, FS: fsys, BlobDir: blobDir, IndexEvery: 20000}
}

// open opens the storage and compares what it has with what it must have.
func (w *work) open(ctx context.Context) error {
	engine, err := filestorage.Open(w.options(w.fs))
	if err != nil {
		return err
	}
	rec := &recorder{Storage: engine, ledger: w.ledger, sched: w.sched, plant: w.plant, stats: &w.stats}
	found, err := w.compare(ctx, engine, w.fs)
	if err != nil {
		engine.Close()
		return err
	}
	var s *store.Store
	w.sched.idle("append", func() { s, err = store.Open(ctx, rec, store.Options{BatchBytes: w.batchBytes()}) })
	if err != nil {
		return err
	}
	uuid := s.Info().UUID
	if err := w.ledger.sameUUID(uuid); err != nil {
		s.Close()
		return err
	}
	w.store = s
	w.ledger.resolve(found)
	w.ledger.uuid = uuid
	return nil
}

// batchBytes are few in most lives, so that batches of one or a few transactions follow
// each other closely.
func (w *work) batchBytes() int64 {
	return []int64{0, 1, 4000}[(w.seed+uint64(w.life))%3]
}

// inject lets the disk fail in one way or another.
func (w *work) inject() {
	nth := w.rng.IntN(25)
	rules := [][]vfs.Rule{
		{{Ops: vfs.OpDatasync, From: nth, Times: 1 + w.rng.IntN(2)}},
		{{Ops: vfs.OpSync | vfs.OpDatasync | vfs.OpSyncDir, Prob: 0.1}},
		{{Ops: vfs.OpWrite, From: nth, Times: 1 + w.rng.IntN(3), Short: true}},
		{{Ops: vfs.OpWrite, Path: "Data.fs", Prob: 0.1, Short: true}, {Ops: vfs.OpTruncate, Prob: 0.3}},
		{{Ops: vfs.OpRename | vfs.OpSyncDir | vfs.OpChmod | vfs.OpMkdir, Prob: 0.1}},
		{{Ops: vfs.OpOpen | vfs.OpRead | vfs.OpStat, Prob: 0.01}},
		nil, // the disk runs full instead
	}[w.rng.IntN(7)]
	w.faulty.SetRules(rules...)
	w.say("faults: %+v", rules)
	if rules == nil {
		w.round.fs.SetCapacity(w.round.fs.Used() + int64(w.rng.IntN(40000)))
	}
}

// before lets a pack take turns with the commits, at two points: before it
// creates the new file, and before it syncs it for the first time. Later it holds
// a lock that everybody waits for.
func (w *work) before(op vfs.Op, name string) {
	if !strings.HasSuffix(name, "Data.fs.pack") { // nor the index of the new file
		return
	}
	switch {
	case op == vfs.OpOpen && w.packing == 0, op == vfs.OpSync && w.packing == 1:
		w.packing++
		w.sched.park("pack")
	case op == vfs.OpRename || op == vfs.OpRemove:
		w.packing = 0
	}
}

// dark reports whether the power is cut.
func (r *round) dark() bool { return closed(r.fs.PowerCut()) }

func (w *work) dead() bool { return w.dark() || closed(w.proc.killed) }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// run lets clients work until all are ready, or dead, and closes the store.
func (w *work) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 1 + w.rng.IntN(5) {
		name := fmt.Sprintf("client %d.%d", w.life, i)
		rng := rand.New(rand.NewPCG(w.rng.Uint64(), 13))
		c := &client{name: name, rng: rng, store: w.store, fs: w.fs, ledger: w.ledger, sched: w.sched}
		wg.Go(func() { c.run(ctx, 3+rng.IntN(12)) })
	}
	if w.rng.IntN(3) == 0 {
		p := &packer{name: "packer", rng: rand.New(rand.NewPCG(w.rng.Uint64(), 14)), store: w.store, ledger: w.ledger, sched: w.sched}
		wg.Go(func() { p.run(ctx, 2) })
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	w.drive(ended)
	cancel()
	w.sched.release()
	err := w.askOutcomes(ctx)
	// Closing comes before the wait: it ends what would wait for ever.
	err = errors.Join(err, w.close())
	<-ended
	return err
}

// drive lets one after the other go on.
func (w *work) drive(ended chan struct{}) {
	for !w.dead() {
		if w.sched.step() {
			if w.sched.rng.IntN(150) == 0 {
				w.relieve()
			}
			continue
		}
		select {
		case <-ended:
			return
		case <-time.After(time.Second): // somebody waits for a lock or for better times
			w.relieve()
		}
	}
}

// troubled reports whether the disk has failed, or may be full.
func (w *work) troubled() bool { return w.faulty.Hits() > 0 || w.round.fs.Capacity() >= 0 }

// relieve ends the trouble with the disk.
func (w *work) relieve() {
	synctest.Wait()
	w.round.fs.SetCapacity(-1)
	w.faulty.SetRules()
}

// askOutcomes compares what the store says of transactions that were in doubt
// with what the engine said.
func (w *work) askOutcomes(ctx context.Context) error {
	synctest.Wait()
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	for _, e := range w.ledger.entries {
		token, ok := w.ledger.doubted[e.label]
		if !ok {
			continue
		}
		tid, err := w.store.Outcome(ctx, token)
		if err == nil && (tid != 0) != (e.fate == kept) {
			return fmt.Errorf("%s: the outcome is said to be %v, but it is %v", e.label, tid, e.fate)
		}
	}
	return nil
}

// close ends the process. Its errors count only where nothing was to fail.
func (w *work) close() error {
	err := w.store.Close()
	if w.dead() || w.troubled() {
		return nil
	}
	return err
}
