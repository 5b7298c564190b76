package s3storage

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/zaridb/zari/engine/s3storage/front"
	"github.com/zaridb/zari/engine/s3storage/front/disklog"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zodb"
)

// powered is a writer on a machine whose power fails.
type powered struct {
	w     *world
	disk  vfs.FS
	acked map[zodb.OID]zodb.TID
	last  zodb.TID // the last one that was tried
}

func (p *powered) open() (*Engine, error) {
	place, err := disklog.OpenFS(p.disk, "/log")
	if err != nil {
		return nil, err
	}
	return Open(context.Background(), Options{
		Objects: p.w.bucket.Open("writer"), Log: layout.OnDisk, Fronts: []front.Place{place},
		Writer: "writer", Manual: true, Doubt: time.Second, TailBytes: 1,
		Elapsed: func() time.Duration { return time.Duration(p.w.now.Load()) * time.Second },
		Sleep:   func(_ context.Context, d time.Duration) { p.w.pass(max(d, time.Second)) },
	})
}

// live commits, and moves some of it, until the power fails.
func (p *powered) live() {
	for life := range 3 {
		e, err := p.open()
		if err != nil {
			return
		}
		for i := range 5 {
			oid := zodb.OID(1 + i%3)
			tid, err := commit(e, oid)
			p.last = max(p.last, tid)
			if err != nil {
				return
			}
			p.acked[oid] = tid
			if i == 1+life && e.move(context.Background(), e.Slot()-1) != nil {
				return
			}
			if i == 3 && e.Checkpoint(context.Background()) != nil {
				return
			}
		}
		if e.Close() != nil {
			return
		}
	}
}

// TestPowerLossOfFront cuts the power of the writer's machine at every operation on its disk: what was
// acknowledged is there when it comes back, and the bucket never has what the disk has lost.
func TestPowerLossOfFront(t *testing.T) {
	for _, mode := range []vfs.CrashMode{vfs.Worst, vfs.Ordered} {
		whole := vfs.Crash(nil, mode, 0)
		p := &powered{w: newWorld(), disk: whole, acked: map[zodb.OID]zodb.TID{}}
		p.live()
		if len(p.acked) == 0 {
			t.Fatal("nothing was committed: the test tests nothing")
		}
		for cut := 1; cut <= whole.Ops(); cut++ {
			for seed := range uint64(4) {
				cutPower(t, mode, cut, seed)
			}
		}
	}
}

func cutPower(t *testing.T, mode vfs.CrashMode, cut int, seed uint64) {
	t.Helper()
	disk := vfs.Crash(nil, mode, seed)
	disk.CutPowerAt(cut)
	p := &powered{w: newWorld(), disk: disk, acked: map[zodb.OID]zodb.TID{}}
	p.live()
	p.disk = disk.CrashClone(seed)
	e, err := p.open()
	what := fmt.Sprintf("mode %v, cut %d, seed %d", mode, cut, seed)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer e.Close()
	if last, _ := e.Head(); last > p.last {
		t.Errorf("%s: transaction %v, and the last one that was tried is %v", what, last, p.last)
	}
	for oid, tid := range p.acked {
		rec, err := e.LoadBefore(t.Context(), oid, zodb.MaxTID)
		if err != nil || rec.Serial < tid {
			t.Errorf("%s: object %v is at %v, %v; %v was acknowledged", what, oid, rec.Serial, err, tid)
		}
	}
	last, err := commit(e, 9)
	if err == nil {
		err = e.move(t.Context(), math.MaxUint64)
	}
	if err != nil {
		t.Fatalf("%s: going on: %v", what, err)
	}
	p.w.readerAt(t, last)
}
