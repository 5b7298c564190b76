package disklog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zaridb/zari/engine/s3storage/front"
	"github.com/zaridb/zari/engine/s3storage/front/fronttest"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zodb"
)

func open(t testing.TB, fsys vfs.FS, dir string) *Place {
	t.Helper()
	p, err := OpenFS(fsys, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestContract(t *testing.T) {
	fronttest.Run(t, fronttest.Harness{
		New: func(t testing.TB) front.Place { return open(t, vfs.OS(), filepath.Join(t.TempDir(), "log")) },
		Reopen: func(t testing.TB, p front.Place) front.Place {
			p.Close()
			return open(t, p.(*Place).fs, p.(*Place).dir)
		},
	})
}

func TestOneServer(t *testing.T) {
	dir := t.TempDir()
	open(t, vfs.OS(), dir)
	if _, err := Open(dir); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("Open: %v", err)
	}
}

func object(slot uint64) []byte { return fmt.Appendf(nil, "slot %d %0*d", slot, 900, slot) }

// A directory with commits of another log is not written to.
func TestOtherLog(t *testing.T) {
	p := open(t, vfs.OS(), t.TempDir())
	old, err := p.Create(t.Context(), layout.ID{1}, 5, 1)
	if err != nil {
		t.Fatal(err)
	}
	old.Close()
	next, err := p.Create(t.Context(), layout.ID{2}, 5, 1)
	if err != nil {
		t.Fatalf("beside one without slots: %v", err)
	}
	if err := next.Put(t.Context(), 6, 1, object(6)); err != nil {
		t.Fatal(err)
	}
	next.Close()
	if _, err := p.Create(t.Context(), layout.ID{3}, 5, 1); !errors.Is(err, ErrOther) || !strings.Contains(err.Error(), "slots up to 6") {
		t.Errorf("Create: %v", err)
	}
}

// Files are trimmed, also over many of them, and after a restart.
func TestManyFiles(t *testing.T) {
	m := vfs.Mem()
	p := open(t, m, "/log")
	id := layout.ID{1}
	l, err := p.Create(t.Context(), id, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte("x"), fileBytes/2)
	for slot := uint64(1); slot <= 9; slot++ {
		if err := l.Put(t.Context(), slot, 1, big); err != nil {
			t.Fatal(err)
		}
	}
	files := func() int {
		list, err := m.ReadDir("/log/" + id.String())
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	before := files()
	if err := l.Trim(t.Context(), 6); err != nil {
		t.Fatal(err)
	}
	if after := files(); before < 4 || after >= before {
		t.Errorf("%d files, then %d", before, after)
	}
	l.Close()
	if l, err = p.Open(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for slot := uint64(7); slot <= 9; slot++ {
		if got, err := l.Get(t.Context(), slot); err != nil || !bytes.Equal(got, big) {
			t.Errorf("slot %d: %d bytes, %v", slot, len(got), err)
		}
	}
	if err := l.Trim(t.Context(), 9); err != nil || files() != 1 {
		t.Errorf("%d files, %v", files(), err)
	}
}

// What is damaged in the middle is an error, and never a log that is shorter.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	id := layout.ID{1}
	p := open(t, vfs.OS(), dir)
	l, err := p.Create(t.Context(), id, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	for slot := uint64(1); slot <= 3; slot++ {
		if err := l.Put(t.Context(), slot, 1, object(slot)); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	path := filepath.Join(dir, id.String(), "0000000001")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := bytes.LastIndex(whole, []byte(frameMagic))
	for at := range whole {
		if at%7 != 0 && at > headLen+frameHead {
			continue
		}
		damaged := bytes.Clone(whole)
		damaged[at] ^= 0x40
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		l := &Log{place: p, id: id, dir: filepath.Dir(path)}
		err := l.load()
		switch {
		case at < last && !errors.Is(err, zodb.ErrCorrupt):
			t.Errorf("byte %d: %v, last slot %d", at, err, l.last)
		case at >= last && (err != nil || l.last != 2): // as if it had been torn
			t.Errorf("byte %d of the last slot: %v, last slot %d", at, err, l.last)
		}
		l.Close()
	}
}

// life writes slots, trims, and opens again, until the power fails. It returns the last slot that was
// answered, and the last one that was tried; those after trimmed must be found again.
func life(fsys vfs.FS, id layout.ID) (answered, tried, trimmed uint64, created bool) {
	ctx := context.Background()
	var p *Place
	var l front.Log
	for slot := uint64(1); slot <= 14; slot++ {
		if p == nil {
			var err error
			if p, err = OpenFS(fsys, "/log"); err != nil {
				return answered, tried, trimmed, created
			}
			if created {
				l, err = p.Open(ctx, id)
			} else {
				l, err = p.Create(ctx, id, 0, 1)
			}
			if err != nil {
				return answered, tried, trimmed, created
			}
			created = true
		}
		tried = slot
		if l.Put(ctx, slot, 1, object(slot)) != nil {
			return answered, tried, trimmed, created
		}
		answered = slot
		if slot%6 == 0 {
			trimmed = slot - 1
			if l.Trim(ctx, trimmed) != nil {
				return answered, tried, trimmed, created
			}
		}
		if slot%2 == 0 {
			l.Close()
			p.Close()
			p = nil
		}
	}
	return answered, tried, trimmed, created
}

// TestPowerLoss cuts the power at every operation on the file system, and once more
// after the restart.
func TestPowerLoss(t *testing.T) {
	id := layout.ID{7}
	for _, mode := range []vfs.CrashMode{vfs.Worst, vfs.Ordered} {
		whole := vfs.Crash(nil, mode, 0)
		life(whole, id)
		for cut := 1; cut <= whole.Ops()+1; cut++ {
			fsys := vfs.Crash(nil, mode, uint64(cut))
			fsys.CutPowerAt(cut)
			answered, tried, trimmed, created := life(fsys, id)
			for seed := range uint64(24) {
				after := vfs.Crash(fsys.CrashClone(seed), mode, seed)
				last := survives(t, fmt.Sprintf("mode %v, cut %d, seed %d", mode, cut, seed), after, id, answered, tried, trimmed, created)
				if last > 0 { // what has been seen now stays
					survives(t, fmt.Sprintf("mode %v, cut %d, seed %d, again", mode, cut, seed),
						vfs.Crash(after.CrashClone(seed), mode, seed), id, last, last, trimmed, true)
				}
			}
		}
	}
}

func survives(t *testing.T, what string, fsys vfs.FS, id layout.ID, answered, tried, trimmed uint64, created bool) (last uint64) {
	t.Helper()
	p, err := OpenFS(fsys, "/log")
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer p.Close()
	l, err := p.Open(t.Context(), id)
	if errors.Is(err, front.ErrNoLog) && !created {
		return 0
	}
	if err != nil {
		t.Errorf("%s: Open: %v", what, err)
		return 0
	}
	defer l.Close()
	if last, err = l.Last(t.Context()); err != nil || last < answered || last > tried {
		t.Errorf("%s: the last slot is %d, %v; %d was answered, %d tried", what, last, err, answered, tried)
	}
	for slot := trimmed + 1; slot <= last; slot++ {
		if got, err := l.Get(t.Context(), slot); err != nil || !bytes.Equal(got, object(slot)) {
			t.Errorf("%s: slot %d: %.20q, %v", what, slot, got, err)
		}
	}
	if last > 0 {
		if err := l.Put(t.Context(), last, 1, []byte("again")); !errors.Is(err, front.ErrTaken) {
			t.Errorf("%s: a second Put of slot %d: %v", what, last, err)
		}
	}
	return last
}

// A sync that fails: the same slot is written again, and only then is it there.
func TestFailedSync(t *testing.T) {
	id := layout.ID{7}
	for _, mode := range []vfs.CrashMode{vfs.Worst, vfs.Ordered} {
		for from := range 6 {
			for _, op := range []vfs.Op{vfs.OpDatasync, vfs.OpSync, vfs.OpWrite, vfs.OpSyncDir} {
				failedSync(t, mode, from, op, id)
			}
		}
	}
}

func failedSync(t *testing.T, mode vfs.CrashMode, from int, op vfs.Op, id layout.ID) {
	t.Helper()
	crash := vfs.Crash(nil, mode, uint64(from))
	p := open(t, crash, "/log")
	l, err := p.Create(t.Context(), id, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	p.Close()
	faulty := vfs.Fault(crash, uint64(from))
	p = open(t, faulty, "/log")
	if l, err = p.Open(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	faulty.SetRules(vfs.Rule{Ops: op, From: from, Times: 2, Short: op == vfs.OpWrite})
	failed := 0
	for slot := uint64(1); slot <= 8; slot++ {
		for l.Put(t.Context(), slot, 1, object(slot)) != nil {
			if _, err := l.Get(t.Context(), slot); !errors.Is(err, front.ErrNone) {
				t.Fatalf("slot %d is there after a failure: %v", slot, err)
			}
			if failed++; failed > 10 {
				t.Fatal("it fails for ever")
			}
		}
		for seed := range uint64(3) {
			survives(t, fmt.Sprintf("mode %v, op %d from %d, slot %d, seed %d", mode, op, from, slot, seed),
				crash.CrashClone(seed), id, slot, slot, 0, true)
		}
	}
	if failed == 0 && op == vfs.OpDatasync {
		t.Errorf("op %d from %d: nothing failed: the test tests nothing", op, from)
	}
}

func FuzzFrame(f *testing.F) {
	id := layout.ID{1}
	b := appendFrame(nil, id, &frame{slot: 7, epoch: 2, object: []byte("object")})
	f.Add(b)
	f.Add(appendHead(nil, id, 9))
	f.Add(b[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		readHead(b, id)
		hasFrame(b, id, 3)
		x, n, err := readFrame(b, id)
		if err == nil && !bytes.Equal(appendFrame(nil, id, &x), b[:n]) {
			t.Error("a frame that was read is written otherwise")
		}
	})
}
