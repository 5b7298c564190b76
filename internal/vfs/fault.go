package vfs

import (
	"io/fs"
	"math/rand/v2"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// Op is a set of operations of file systems and files.
type Op uint

const (
	OpOpen Op = 1 << iota // OpenFile of a file that exists or not
	OpStat                // of both
	OpReadDir
	OpMkdir
	OpRename // matched by either name
	OpRemove
	OpLink // matched by either name
	OpChmod
	OpSyncDir
	OpLock
	OpRead  // Read and ReadAt
	OpWrite // Write and WriteAt
	OpTruncate
	OpSync
	OpDatasync
	OpReserve
	OpClose // the file is closed all the same
)

// Rule says which operations fail, and how. All that is set must hold for it to
// apply; the zero Rule makes everything fail with EIO.
type Rule struct {
	Ops  Op     // 0: all
	Path string // pattern of path.Match; without a slash it is for the last element

	From  int     // leave the first From matching operations alone
	Times int     // then apply so many times; 0: for ever
	Prob  float64 // of each remaining one; 0: always

	// Bytes lets that many bytes be written by operations that match, and then
	// applies: the write that passes the mark ends short. What is removed gives
	// nothing back; SetCapacity of MemFS and CrashFS keeps such accounts.
	Bytes int64

	Err    error // nil: syscall.EIO
	Silent bool  // do not fail: only call Before

	// Short makes reads and writes do a random part of what they should before
	// they fail.
	Short bool

	// Before, if not nil, is called before an operation to which the rule applies
	// (without locks held, so it may wait).
	Before func(op Op, name string)
}

// matches reports whether the rule is for the operation at all.
func (r *Rule) matches(op Op, names []string) bool {
	if r.Ops != 0 && r.Ops&op == 0 {
		return false
	}
	if r.Path == "" {
		return true
	}
	for _, name := range names {
		name = filepath.ToSlash(name)
		if !strings.Contains(r.Path, "/") {
			name = path.Base(name)
		}
		if ok, _ := path.Match(r.Path, name); ok {
			return true
		}
	}
	return false
}

var (
	_ FS   = (*FaultFS)(nil)
	_ File = (*faultFile)(nil)
)

// FaultFS passes everything on to another file system, save what its rules make
// fail. A Sync or Datasync that it fails on a CrashFS fails there as on Linux: see
// CrashFS.
type FaultFS struct {
	base FS

	mu    sync.Mutex
	rng   *rand.Rand
	rules []*ruleState
	hits  int
}

type ruleState struct {
	Rule
	seen    int
	applied int
	written int64
}

// Fault returns base with faults. What is left to chance follows from the seed
// and the order of the operations.
func Fault(base FS, seed uint64, rules ...Rule) *FaultFS {
	f := &FaultFS{base: base, rng: rand.New(rand.NewPCG(seed, 2))}
	f.SetRules(rules...)
	return f
}

// SetRules replaces all rules. Counting starts anew. It panics on a Path that is
// no pattern.
func (f *FaultFS) SetRules(rules ...Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
	for _, r := range rules {
		if _, err := path.Match(r.Path, ""); err != nil {
			panic("vfs: " + err.Error() + ": " + r.Path)
		}
		f.rules = append(f.rules, &ruleState{Rule: r})
	}
}

// Hits returns how often an operation failed because of a rule.
func (f *FaultFS) Hits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits
}

// verdict is what becomes of one operation.
type verdict struct {
	err  error // nil: go on
	part int   // how many bytes to read or write nevertheless
}

// check finds the first rule that applies. n is the number of bytes to be
// transferred.
func (f *FaultFS) check(op Op, n int, names ...string) verdict {
	v, before := f.judge(op, n, names)
	for _, fn := range before {
		fn(op, names[0])
	}
	return v
}

func (f *FaultFS) judge(op Op, n int, names []string) (v verdict, before []func(Op, string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		if !r.matches(op, names) {
			continue
		}
		applies, part := f.count(r, op, n)
		if !applies {
			continue
		}
		if r.Before != nil {
			before = append(before, r.Before)
		}
		if r.Silent {
			continue
		}
		f.hits++
		return verdict{faultError(op, names, r.Err), part}, before
	}
	return v, before
}

// count tells whether a matching rule applies now, and how much is done even so.
func (f *FaultFS) count(r *ruleState, op Op, n int) (applies bool, part int) {
	if r.Bytes > 0 {
		room := r.Bytes - r.written
		if op == OpWrite {
			r.written += min(int64(n), room)
			part = int(min(int64(n), room))
		}
		if op == OpWrite && int64(n) <= room || op != OpWrite && room > 0 {
			return false, 0
		}
	}
	r.seen++
	switch {
	case r.seen <= r.From:
		return false, 0
	case r.Times > 0 && r.applied >= r.Times:
		return false, 0
	case r.Prob > 0 && f.rng.Float64() >= r.Prob:
		return false, 0
	}
	r.applied++
	if r.Short && n > 0 {
		part = f.rng.IntN(n)
	}
	return true, part
}

func faultError(op Op, names []string, err error) error {
	if err == nil {
		err = syscall.EIO
	}
	return &fs.PathError{Op: op.String(), Path: names[0], Err: err}
}

var opNames = [...]string{
	"open", "stat", "readdir", "mkdir", "rename", "remove", "link", "chmod", "syncdir", "lock",
	"read", "write", "truncate", "sync", "fdatasync", "reserve", "close",
}

// String lists the operations of the set.
func (op Op) String() string {
	var names []string
	for i, name := range opNames {
		if op&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}
