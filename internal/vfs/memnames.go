package vfs

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// OpenFile never fails for lack of rights.
func (t *tree) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, err := t.openNode(name, flag, perm)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	n.open++
	return &memFile{t: t, n: n, name: name, flag: flag}, nil
}

func (t *tree) openNode(name string, flag int, perm fs.FileMode) (*node, error) {
	if err := t.look(); err != nil {
		return nil, err
	}
	s, err := t.find(name)
	if err != nil {
		return nil, err
	}
	n := t.root
	if s.name != "" {
		n = s.node()
	}
	if n == nil {
		return t.create(s, flag, perm)
	}
	writes := flag&(os.O_WRONLY|os.O_RDWR) != 0
	switch {
	case flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
		return nil, syscall.EEXIST
	case n.mode.IsDir() && (writes || flag&(os.O_CREATE|os.O_TRUNC) != 0):
		return nil, syscall.EISDIR
	case flag&os.O_TRUNC != 0 && writes:
		if err := t.begin(); err != nil {
			return nil, err
		}
		t.resize(n, 0)
	}
	return n, nil
}

func (t *tree) create(s slot, flag int, perm fs.FileMode) (*node, error) {
	if flag&os.O_CREATE == 0 {
		return nil, syscall.ENOENT
	}
	if err := t.begin(); err != nil {
		return nil, err
	}
	n := newNode(perm.Perm())
	t.relink([]slot{s}, []*node{n})
	return n, nil
}

func (t *tree) Remove(name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return pathError("remove", name, t.remove(name))
}

func (t *tree) remove(name string) error {
	s, err := t.find(name)
	if err != nil {
		return err
	}
	switch n := s.node(); {
	case s.name == "":
		return syscall.EBUSY
	case n == nil:
		return syscall.ENOENT
	case len(n.children) > 0:
		return syscall.ENOTEMPTY
	}
	if err := t.begin(); err != nil {
		return err
	}
	t.relink([]slot{s}, []*node{nil})
	return nil
}

func (t *tree) Rename(oldname, newname string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.rename(oldname, newname); err != nil {
		return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: err}
	}
	return nil
}

func (t *tree) rename(oldname, newname string) error {
	from, to, err := t.findBoth(oldname, newname)
	if err != nil {
		return err
	}
	n, over := from.node(), to.node()
	switch {
	case over != nil && over.mode.IsDir():
		return syscall.EEXIST // package os refuses even empty ones
	case n == over:
		return nil // two names of one file: POSIX leaves both
	case n.mode.IsDir() && n.contains(to.dir):
		return syscall.EINVAL
	case over != nil && n.mode.IsDir():
		return syscall.ENOTDIR
	}
	if err := t.begin(); err != nil {
		return err
	}
	n.links++ // it must not count as unused between its two names
	t.relink([]slot{from, to}, []*node{nil, n})
	n.links--
	return nil
}

// contains tells whether dir is n or lies somewhere in it.
func (n *node) contains(dir *node) bool {
	if n == dir {
		return true
	}
	for _, child := range n.children {
		if child.mode.IsDir() && child.contains(dir) {
			return true
		}
	}
	return false
}

func (t *tree) Link(oldname, newname string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.link(oldname, newname); err != nil {
		return &os.LinkError{Op: "link", Old: oldname, New: newname, Err: err}
	}
	return nil
}

func (t *tree) link(oldname, newname string) error {
	n, err := t.lookup(oldname)
	if err != nil {
		return err
	}
	to, err := t.find(newname)
	switch {
	case err != nil:
		return err
	case to.name == "" || to.node() != nil:
		return syscall.EEXIST
	case n.mode.IsDir():
		return syscall.EPERM
	}
	if err := t.begin(); err != nil {
		return err
	}
	t.relink([]slot{to}, []*node{n})
	return nil
}

// findBoth returns the places of something that exists and of its new name.
func (t *tree) findBoth(oldname, newname string) (from, to slot, err error) {
	if from, err = t.find(oldname); err != nil {
		return from, to, err
	}
	if to, err = t.find(newname); err != nil {
		return from, to, err
	}
	switch {
	case from.name == "" || to.name == "":
		err = syscall.EBUSY
	case from.node() == nil:
		err = syscall.ENOENT
	}
	return from, to, err
}

// memInfo is a node as it was when it was asked about.
type memInfo struct {
	name    string
	size    int64
	mode    fs.FileMode
	modTime time.Time
}

func (n *node) info(name string) fs.FileInfo {
	return memInfo{filepath.Base(name), int64(len(n.data)), n.mode, n.modTime}
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) Mode() fs.FileMode  { return i.mode }
func (i memInfo) ModTime() time.Time { return i.modTime }
func (i memInfo) IsDir() bool        { return i.mode.IsDir() }
func (i memInfo) Sys() any           { return nil }
