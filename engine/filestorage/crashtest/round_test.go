package crashtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
)

const (
	dir      = "/power-loss-test"
	dataFile = dir + "/Data.fs"
	blobDir  = dir + "/blobs"
)

// plant is a bug to be found.
type plant struct {
	fs  func(vfs.FS) vfs.FS
	lie func(*recorder, []*txnlog.Txn, *store.Meta) (int, error)

	early bool // a batch is acknowledged with the one before
}

// round is one course of events.
type round struct {
	seed   uint64
	rng    *rand.Rand
	mode   vfs.CrashMode
	faults bool
	plant  plant
	fs     *vfs.CrashFS
	ledger *ledger
	log    strings.Builder // what happened, for the report of a failure
	last   *vfs.MemFS      // what the last power cut left, opened and closed again
	stats  stats
}

// stats say what rounds were made of, so that a test cannot pass because nothing
// happened.
type stats struct {
	lives, cuts, kills, acked, doubted, refused, revived, undone, blobs, packs, faults, streamed int
}

func (s *stats) add(o stats) {
	s.lives += o.lives
	s.cuts += o.cuts
	s.kills += o.kills
	s.acked += o.acked
	s.doubted += o.doubted
	s.refused += o.refused
	s.revived += o.revived
	s.undone += o.undone
	s.blobs += o.blobs
	s.packs += o.packs
	s.faults += o.faults
	s.streamed += o.streamed
}

// play runs a round in a bubble of its own, where time stands still while
// anybody has something to do. The error says which rule was broken.
func play(t *testing.T, seed uint64, p plant) (s stats, log string, err error) {
	r, err := playRound(t, seed, p)
	r.count()
	return r.stats, r.log.String(), err
}

func playRound(t *testing.T, seed uint64, p plant) (r *round, err error) {
	r = &round{
		seed: seed, rng: rand.New(rand.NewPCG(seed, 12)), mode: vfs.CrashMode(seed / 3 % 2),
		faults: seed%3 == 2, plant: p, ledger: newLedger(),
	}
	defer watch(seed)()
	defer func() {
		if x := recover(); x != nil { // or the seed would not be told
			err = fmt.Errorf("panic: %v\n%s", x, debug.Stack())
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		base := vfs.Mem()
		if err := base.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		r.fs = vfs.Crash(base, r.mode, seed)
		err = r.play(t.Context())
	})
	return r, err
}

func (r *round) say(format string, args ...any) { fmt.Fprintf(&r.log, format+"\n", args...) }

func (r *round) play(ctx context.Context) error {
	lives := 1 + r.rng.IntN(3)
	for life := range lives {
		r.stats.lives++
		if err := r.live(ctx, life); err != nil {
			return fmt.Errorf("life %d of %d: %w", life+1, lives, err)
		}
		if !r.dark() && life < lives-1 && r.rng.IntN(2) == 0 {
			continue // the power stays on: the next process finds all that was written
		}
		if err := r.cutPower(ctx); err != nil {
			return fmt.Errorf("after life %d of %d: %w", life+1, lives, err)
		}
	}
	return nil
}

// cutPower leaves to the next life what the power cut left, and checks it.
func (r *round) cutPower(ctx context.Context) error {
	r.fs.CutPower()
	r.stats.cuts++
	left := r.fs.CrashClone(r.rng.Uint64())
	r.say("the power is cut") // not after how many operations: an index that is saved beside a commit may add one
	r.fs = vfs.Crash(left, r.mode, r.rng.Uint64())
	return r.inspect(ctx, left)
}

// live runs one process until it ends, is killed, or the power is cut.
func (r *round) live(ctx context.Context, life int) error {
	proc := newProcess(r.fs)
	r.plan(proc)
	faulty := vfs.Fault(proc, r.rng.Uint64())
	var fsys vfs.FS = faulty
	if r.plant.fs != nil {
		fsys = r.plant.fs(fsys)
	}
	w := &work{round: r, sched: newSched(r.rng.Uint64()), proc: proc, faulty: faulty, fs: fsys, life: life}
	proc.before = w.before
	if r.faults && r.rng.IntN(4) == 0 {
		w.inject()
	}
	err := w.open(ctx)
	if err != nil && !w.dead() && w.troubled() {
		r.say("not opened: %v", err)
		w.relieve()
		err = w.open(ctx)
	}
	switch {
	case w.dead() && w.store != nil:
		r.say("dead after opening")
		return w.close()
	case w.dead():
		r.say("dead while opening: %v", err)
		return nil
	case err != nil:
		return fmt.Errorf("opening what is left: %w", err)
	}
	if r.rng.IntN(8) == 0 {
		r.say("and that is soon after opening")
		proc.fatal, proc.count = ^vfs.Op(0), 1
	}
	if r.faults {
		w.inject()
	}
	err = w.run(ctx)
	r.stats.faults += faulty.Hits()
	if closed(proc.killed) {
		r.stats.kills++
	}
	return err
}

// changes are the operations after which a power cut may leave something else
// than before.
const changes = vfs.OpWrite | vfs.OpTruncate | vfs.OpSync | vfs.OpDatasync | vfs.OpSyncDir | vfs.OpMkdir |
	vfs.OpRename | vfs.OpRemove | vfs.OpLink | vfs.OpChmod | vfs.OpLock

// plan chooses how the life will end: at an operation, early or late; at a sync of
// data; as soon as the storage is open; or not before its work is done.
func (r *round) plan(proc *process) {
	proc.end = r.fs.CutPower
	how := "the power is cut"
	if r.rng.IntN(3) == 0 {
		proc.end = proc.kill
		how = "the process is killed"
	}
	switch r.rng.IntN(8) {
	case 0:
		r.say("%s when the work is done", how)
	case 1, 2, 3:
		proc.fatal, proc.count = vfs.OpDatasync, 1+r.rng.IntN(20)
		r.say("%s at sync %d", how, proc.count)
	default:
		proc.fatal, proc.count = changes, 1+r.rng.IntN([]int{20, 60, 300}[r.rng.IntN(3)])
		r.say("%s at operation %d", how, proc.count)
	}
}
