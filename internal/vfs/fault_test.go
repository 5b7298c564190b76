package vfs

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestFaultRules(t *testing.T) {
	const all = ".........." // ten writes that succeed
	for _, test := range []struct {
		name string
		rule Rule
		want string // of ten writes of 4 bytes to /d/f: . or x, and what the file's size became
		size int64
	}{
		{"everything", Rule{Ops: OpWrite}, "xxxxxxxxxx", 0},
		{"another operation", Rule{Ops: OpRead | OpSync}, all, 40},
		{"another file", Rule{Ops: OpWrite, Path: "g*"}, all, 40},
		{"by its last element", Rule{Ops: OpWrite, Path: "[f]"}, "xxxxxxxxxx", 0},
		{"by its whole name", Rule{Ops: OpWrite, Path: "/d/*"}, "xxxxxxxxxx", 0},
		{"by another whole name", Rule{Ops: OpWrite, Path: "/e/*"}, all, 40},
		{"from the fourth", Rule{Ops: OpWrite, From: 3}, "...xxxxxxx", 12},
		{"the fourth and fifth", Rule{Ops: OpWrite, From: 3, Times: 2}, "...xx.....", 40},
		{"after 10 bytes", Rule{Ops: OpWrite, Bytes: 10, Err: syscall.ENOSPC}, "..xxxxxxxx", 10},
		{"after 10 bytes, twice", Rule{Ops: OpWrite, Bytes: 10, Times: 2}, "..xx......", 40},
		{"watched only", Rule{Ops: OpWrite, Silent: true}, all, 40},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := Mem()
			must(t, m.MkdirAll("/d", 0o700))
			f := put(t, Fault(m, 1, test.rule), "/d/f", "")
			want := test.rule.Err
			if want == nil {
				want = syscall.EIO
			}
			var got strings.Builder
			for i := range 10 {
				_, err := f.WriteAt([]byte("data"), int64(i)*4)
				pe, ok := errors.AsType[*fs.PathError](err)
				switch {
				case err == nil:
					got.WriteByte('.')
				case ok && pe.Path == "/d/f" && errors.Is(err, want):
					got.WriteByte('x')
				default:
					t.Errorf("write %d: %v", i, err)
				}
			}
			if fi, _ := f.Stat(); got.String() != test.want || fi.Size() != test.size {
				t.Errorf("%s and %d bytes, want %s and %d", got.String(), fi.Size(), test.want, test.size)
			}
		})
	}
}

// TestFaultEveryOperation lets each operation fail alone.
func TestFaultEveryOperation(t *testing.T) {
	for i := range opNames {
		op := Op(1) << i
		t.Run(op.String(), func(t *testing.T) {
			fsys := Fault(Mem(), 1)
			f := put(t, fsys, "/f", "x")
			lock, err := fsys.Lock("/free")
			must(t, err, lock.Close(), fsys.MkdirAll("/empty", 0o700))
			fsys.SetRules(Rule{Ops: op})
			calls := []struct {
				op  Op
				err error
			}{
				{OpOpen, second(fsys.OpenFile("/f", os.O_RDONLY, 0))},
				{OpStat, second(fsys.Stat("/f"))},
				{OpStat, second(f.Stat())},
				{OpReadDir, second(fsys.ReadDir("/"))},
				{OpMkdir, fsys.MkdirAll("/d", 0o700)},
				{OpLink, fsys.Link("/f", "/l")},
				{OpRename, fsys.Rename("/empty", "/h")},
				{OpRemove, fsys.Remove("/free")},
				{OpChmod, fsys.Chmod("/f", 0o600)},
				{OpSyncDir, fsys.SyncDir("/")},
				{OpLock, second(fsys.Lock("/lock"))},
				{OpRead, second(f.Read(make([]byte, 1)))},
				{OpRead, second(f.ReadAt(make([]byte, 1), 0))},
				{OpWrite, second(f.Write([]byte("y")))},
				{OpWrite, second(f.WriteAt([]byte("y"), 0))},
				{OpTruncate, f.Truncate(1)},
				{OpSync, f.Sync()},
				{OpDatasync, f.Datasync()},
				{OpReserve, f.Reserve(0, 10)},
				{OpClose, f.Close()},
			}
			hits := 0
			for _, call := range calls {
				if (call.err != nil) != (call.op == op) || call.err != nil && !errors.Is(call.err, syscall.EIO) {
					t.Errorf("%v: %v", call.op, call.err)
				}
				if call.op == op {
					hits++
				}
			}
			if hits == 0 || fsys.Hits() != hits {
				t.Errorf("%d faults counted, want %d", fsys.Hits(), hits)
			}
			if err := f.Close(); !errors.Is(err, fs.ErrClosed) && op != OpClose {
				t.Errorf("closed twice: %v", err)
			}
		})
	}
}

func TestFaultChanceFollowsTheSeed(t *testing.T) {
	run := func(seed uint64) string {
		fsys := Fault(Mem(), seed, Rule{Ops: OpWrite, Prob: 0.5, Short: true})
		f := put(t, fsys.base, "/f", "")
		f = &faultFile{f, fsys}
		var s strings.Builder
		for range 100 {
			n, err := f.Write([]byte("0123456789"))
			if (err == nil) != (n == 10) {
				t.Fatalf("%d bytes, %v", n, err)
			}
			s.WriteString(string(rune('a' + n)))
		}
		return s.String()
	}
	one := run(1)
	if whole := strings.Count(one, "k"); whole < 20 || whole > 80 || strings.Trim(one, "ak") == "" {
		t.Errorf("no chance in %s", one)
	}
	if run(1) != one || run(2) == one {
		t.Error("the seed does not decide")
	}
}

func TestFaultBeforeMayWait(t *testing.T) {
	entered, leave, done := make(chan string), make(chan bool), make(chan error)
	fsys := Fault(Mem(), 1, Rule{Ops: OpDatasync, Silent: true, Before: func(op Op, name string) {
		entered <- op.String() + " " + name
		<-leave
	}})
	f := put(t, fsys, "/f", "x")
	go func() { done <- f.Datasync() }()
	if got := <-entered; got != "fdatasync /f" {
		t.Errorf("told of %q", got)
	}
	put(t, fsys, "/g", "others go on meanwhile")
	leave <- true
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFaultOfSyncReachesTheCrashFS(t *testing.T) {
	lost := 0
	for seed := range uint64(50) {
		c := Crash(nil, Worst, seed)
		fsys := Fault(c, seed, Rule{Ops: OpDatasync, Times: 1})
		f := put(t, Fault(fsys, seed), "/f", "data")
		if err := f.Datasync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("Datasync: %v", err)
		}
		must(t, f.Datasync(), c.SyncDir("/"))
		if get(t, c.CrashClone(seed), "/f") != "data" {
			lost++
		}
	}
	if lost == 0 {
		t.Error("a Datasync after one that failed makes the data durable after all")
	}
}

func TestFaultRefusesBadPatterns(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a rule whose pattern is none is accepted")
		}
	}()
	Fault(Mem(), 1, Rule{Path: "[x"})
}
