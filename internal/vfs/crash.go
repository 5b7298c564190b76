package vfs

import (
	"errors"
	"io/fs"
	"math/rand/v2"
)

// ErrPowerLost is what every operation returns once the power is cut.
var ErrPowerLost = errors.New("the power is off")

// CrashMode says what a file system promises beside POSIX.
type CrashMode int

const (
	// Worst promises nothing: each change of a directory or a size may be lost
	// or kept alone, and a file's Sync does not keep its name.
	Worst CrashMode = iota

	// Ordered is ext4's data=ordered: directories change in order, any Sync or
	// SyncDir makes durable all such changes before it, and what a file grew by
	// is written before its size. Every outcome is possible under Worst too.
	Ordered
)

var _ FS = (*CrashFS)(nil)

// CrashFS is a MemFS that knows what would be left if the power failed now.
//
//   - Files are written in sectors of 512 bytes. Until a Sync or Datasync has
//     succeeded each sector may hold, alone and in any order, any of the contents
//     it had since the last one.
//   - The size of a file is one of those it had since then; what it grew by
//     without being written reads as zeros.
//   - Creating, linking, renaming, removing are atomic, and durable after a
//     SyncDir of (one of) their directories. A change that was not synced may be
//     lost, and then later ones of the same name are lost with it.
//   - Permissions are durable after a Sync.
//   - After a failed Sync or Datasync (see FaultFS) the system takes the data for
//     written: a later success does not make them durable. Only writing them again
//     does. Meanwhile reads find the new content or the old one.
//
// Operations that change something are counted, so that a test can cut the power
// at each of them.
type CrashFS struct{ *tree }

// Crash returns a file system with the content of base, all of it durable. base
// is copied; nil stands for an empty one. The seed is for what a failed Sync does.
func Crash(base *MemFS, mode CrashMode, seed uint64) *CrashFS {
	t := newTree()
	if base != nil {
		base.mu.RLock()
		defer base.mu.RUnlock()
		c := cloner{file: func(n *node) ([]byte, fs.FileMode) { return n.data, n.mode }}
		c.children = func(n *node) map[string]*node { return n.children }
		t = c.tree(base.root)
	}
	t.log = &changeLog{
		ordered: mode == Ordered,
		rng:     rand.New(rand.NewPCG(seed, 0)),
		cut:     make(chan struct{}),
	}
	markDurable(t.root)
	return &CrashFS{t}
}

// CutPower makes every later operation fail with ErrPowerLost.
func (c *CrashFS) CutPower() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log.powerOff()
}

// CutPowerAt cuts the power when operation number op is tried, counted from 1 as
// Ops does. That operation has no effect.
func (c *CrashFS) CutPowerAt(op int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log.cutAt = op
}

// PowerCut returns a channel that is closed when the power is cut.
func (c *CrashFS) PowerCut() <-chan struct{} { return c.log.cut }

// Ops returns the number of operations so far that change files or directories,
// or sync them.
func (c *CrashFS) Ops() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.log.ops
}

// CrashClone returns the file system as it could be found if the power failed
// now. All that is left to chance follows from the seed. What is done with c and
// its open files afterwards does not reach the clone.
func (c *CrashFS) CrashClone(seed uint64) *MemFS {
	c.mu.RLock()
	defer c.mu.RUnlock()
	o := newOutcome(seed, c.log.ordered)
	kept := o.keepDirs(c.log.dirOps)
	cl := cloner{
		file: o.file,
		children: func(n *node) map[string]*node {
			return applied(n, kept)
		},
	}
	return &MemFS{cl.tree(c.root)}
}

// changeLog is what a tree keeps to know what a power cut would leave. It is
// guarded by the tree's mutex.
type changeLog struct {
	ordered bool
	seq     uint64  // counts changes
	dirOps  []dirOp // changes of directories that are not durable yet
	ops     int     // operations so far
	cutAt   int     // cut the power at this one
	off     bool
	cut     chan struct{}
	rng     *rand.Rand
}

func (l *changeLog) begin() error {
	if l.off {
		return ErrPowerLost
	}
	l.ops++
	if l.ops == l.cutAt {
		l.powerOff()
		return ErrPowerLost
	}
	return nil
}

func (l *changeLog) look() error {
	if l.off {
		return ErrPowerLost
	}
	return nil
}

func (l *changeLog) powerOff() {
	if !l.off {
		l.off = true
		close(l.cut)
	}
}

// sync makes a file or directory durable.
func (l *changeLog) sync(n *node, all bool) {
	if n.mode.IsDir() {
		l.syncDir(n)
		return
	}
	if l.ordered {
		l.commitDirs(l.dirOps)
		l.dirOps = nil
	}
	n.disk.settleAll(int64(len(n.data)))
	if all {
		n.disk.mode = n.mode
	}
}

// markDurable makes the content of a tree that was just made the durable one.
func markDurable(n *node) {
	n.disk = durable{mode: n.mode}
	if !n.mode.IsDir() {
		n.disk.size = int64(len(n.data))
		n.disk.write(0, n.data)
		return
	}
	n.disk.children = make(map[string]*node, len(n.children))
	for name, child := range n.children {
		n.disk.children[name] = child
		markDurable(child)
	}
}
