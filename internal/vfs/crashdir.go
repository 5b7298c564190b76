package vfs

import (
	"io/fs"
	"maps"
	"slices"
)

// dirOp is one atomic change of directories.
type dirOp struct {
	places []slot
	to     []*node // what the places hold after it, nil for nothing
}

func (op dirOp) touches(dir *node) bool {
	return slices.ContainsFunc(op.places, func(s slot) bool { return s.dir == dir })
}

func (op dirOp) meets(places map[slot]bool) bool {
	return slices.ContainsFunc(op.places, func(s slot) bool { return places[s] })
}

func (op dirOp) addTo(places map[slot]bool) {
	for _, s := range op.places {
		places[s] = true
	}
}

// relinked notes a change of directories.
func (l *changeLog) relinked(places []slot, to []*node) {
	for _, n := range to {
		if n != nil && n.disk.mode == 0 { // just created
			n.disk.mode = n.mode
			if n.mode.IsDir() {
				n.disk.children = make(map[string]*node)
			}
		}
	}
	l.dirOps = append(l.dirOps, dirOp{places, to})
}

// syncDir makes the changes of one directory durable, and those earlier ones
// elsewhere that they build upon.
func (l *changeLog) syncDir(dir *node) {
	if l.ordered {
		l.commitDirs(l.dirOps)
		l.dirOps = nil
		return
	}
	var commit, rest []dirOp
	needed := make(map[slot]bool)
	for _, op := range slices.Backward(l.dirOps) {
		if op.touches(dir) || op.meets(needed) {
			op.addTo(needed)
			commit = append(commit, op)
		} else {
			rest = append(rest, op)
		}
	}
	slices.Reverse(commit)
	slices.Reverse(rest)
	l.commitDirs(commit)
	l.dirOps = rest
}

func (l *changeLog) commitDirs(ops []dirOp) {
	for _, op := range ops {
		for i, s := range op.places {
			if op.to[i] == nil {
				delete(s.dir.disk.children, s.name)
			} else {
				s.dir.disk.children[s.name] = op.to[i]
			}
		}
	}
}

// keepDirs chooses which changes of directories are not lost.
func (o *outcome) keepDirs(ops []dirOp) []dirOp {
	if o.ordered {
		return ops[:o.pick(len(ops)+1)]
	}
	var kept []dirOp
	lost := make(map[slot]bool)
	for _, op := range ops {
		if op.meets(lost) || o.pick(2) == 0 {
			op.addTo(lost)
		} else {
			kept = append(kept, op)
		}
	}
	return kept
}

// applied returns what a directory holds on the medium after some more changes.
func applied(dir *node, ops []dirOp) map[string]*node {
	children := maps.Clone(dir.disk.children)
	for _, op := range ops {
		for i, s := range op.places {
			switch {
			case s.dir != dir:
			case op.to[i] == nil:
				delete(children, s.name)
			default:
				children[s.name] = op.to[i]
			}
		}
	}
	return children
}

// cloner copies a tree, as its functions see it.
type cloner struct {
	file     func(*node) (data []byte, mode fs.FileMode) // data are copied
	children func(*node) map[string]*node
	copies   map[*node]*node
	used     int64
}

func (c *cloner) tree(root *node) *tree {
	c.copies = make(map[*node]*node)
	t := newTree()
	t.root = c.node(root)
	t.used = c.used
	return t
}

// node copies a node once, however many names it has.
func (c *cloner) node(n *node) *node {
	if done := c.copies[n]; done != nil {
		return done
	}
	data, mode := c.file(n)
	cp := newNode(mode)
	cp.modTime = n.modTime
	c.copies[n] = cp
	if !mode.IsDir() {
		cp.data = slices.Clone(data)
		c.used += int64(len(data))
		return cp
	}
	children := c.children(n)
	for _, name := range slices.Sorted(maps.Keys(children)) { // chance must meet them in one order
		child := c.node(children[name])
		child.links++
		cp.children[name] = child
	}
	return cp
}
