package vfs

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

var (
	_ FS = (*MemFS)(nil)
	_ FS = (*tree)(nil)
)

// MemFS is a file system in memory. It does what Linux does for a single user
// with all rights: open files outlive Remove and Rename, permissions are kept but
// not enforced. Relative names begin at its root, which is there from the start;
// all other directories must be made. It is safe for concurrent use.
type MemFS struct{ *tree }

// Mem returns an empty file system in memory.
func Mem() *MemFS { return &MemFS{newTree()} }

// tree is the file system proper: of MemFS, and of CrashFS, which keeps a log of
// changes beside it.
type tree struct {
	mu       sync.RWMutex
	root     *node
	log      *changeLog // nil for a MemFS
	capacity int64      // bytes, -1 for no limit
	used     int64
}

// node is a file or directory. What it is called is known to its directory only,
// so a file may have several names, or none while it is open.
type node struct {
	mode     fs.FileMode
	modTime  time.Time
	children map[string]*node // of a directory
	data     []byte           // of a file
	reserved int64            // space is set aside up to this offset
	links    int              // names
	open     int              // handles
	locked   bool
	disk     durable // what a power cut leaves, kept only with a log
}

func newTree() *tree {
	return &tree{root: newNode(fs.ModeDir | 0o755), capacity: -1}
}

func newNode(mode fs.FileMode) *node {
	n := &node{mode: mode, modTime: time.Now()}
	if mode.IsDir() {
		n.children = make(map[string]*node)
	}
	return n
}

// slot is a place for a file in a directory.
type slot struct {
	dir  *node
	name string
}

func (s slot) node() *node { return s.dir.children[s.name] }

// split returns the names on the way from the root.
func split(name string) []string {
	return strings.FieldsFunc(filepath.ToSlash(filepath.Clean("/"+name)), func(r rune) bool { return r == '/' })
}

// find returns the place that name stands for. The root has none: its name is "".
func (t *tree) find(name string) (slot, error) {
	parts := split(name)
	if len(parts) == 0 {
		return slot{t.root, ""}, nil
	}
	dir := t.root
	for _, part := range parts[:len(parts)-1] {
		next := dir.children[part]
		if next == nil {
			return slot{}, syscall.ENOENT
		}
		if !next.mode.IsDir() {
			return slot{}, syscall.ENOTDIR
		}
		dir = next
	}
	return slot{dir, parts[len(parts)-1]}, nil
}

// lookup returns what is called name.
func (t *tree) lookup(name string) (*node, error) {
	s, err := t.find(name)
	if err != nil {
		return nil, err
	}
	if s.name == "" {
		return t.root, nil
	}
	if n := s.node(); n != nil {
		return n, nil
	}
	return nil, syscall.ENOENT
}

// relink changes what places hold, as one step: to[i] is what places[i] holds
// from now on, nil for nothing.
func (t *tree) relink(places []slot, to []*node) {
	for i, s := range places {
		if old := s.node(); old != nil {
			old.links--
			t.free(old)
		}
		if to[i] == nil {
			delete(s.dir.children, s.name)
		} else {
			to[i].links++
			s.dir.children[s.name] = to[i]
		}
		s.dir.modTime = time.Now()
	}
	if t.log != nil {
		t.log.relinked(places, to)
	}
}

// begin says whether a changing operation may go on: not when the power is cut.
func (t *tree) begin() error {
	if t.log == nil {
		return nil
	}
	return t.log.begin()
}

// look is begin for operations that change nothing.
func (t *tree) look() error {
	if t.log == nil {
		return nil
	}
	return t.log.look()
}

func (t *tree) Stat(name string) (fs.FileInfo, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if err := t.look(); err != nil {
		return nil, pathError("stat", name, err)
	}
	n, err := t.lookup(name)
	if err != nil {
		return nil, pathError("stat", name, err)
	}
	return n.info(filepath.Base(name)), nil
}

func (t *tree) ReadDir(name string) ([]fs.DirEntry, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	n, err := t.lookupDir(name)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	entries := make([]fs.DirEntry, 0, len(n.children))
	for name, child := range n.children {
		entries = append(entries, fs.FileInfoToDirEntry(child.info(name)))
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

func (t *tree) lookupDir(name string) (*node, error) {
	if err := t.look(); err != nil {
		return nil, err
	}
	n, err := t.lookup(name)
	if err == nil && !n.mode.IsDir() {
		err = syscall.ENOTDIR
	}
	return n, err
}

func (t *tree) MkdirAll(name string, perm fs.FileMode) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	dir := t.root
	for _, part := range split(name) {
		next := dir.children[part]
		if next == nil {
			if err := t.begin(); err != nil {
				return pathError("mkdir", name, err)
			}
			next = newNode(fs.ModeDir | perm.Perm())
			t.relink([]slot{{dir, part}}, []*node{next})
		}
		if !next.mode.IsDir() {
			return pathError("mkdir", name, syscall.ENOTDIR)
		}
		dir = next
	}
	return nil
}

func (t *tree) Chmod(name string, perm fs.FileMode) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, err := t.lookup(name)
	if err == nil {
		err = t.begin()
	}
	if err != nil {
		return pathError("chmod", name, err)
	}
	n.mode = n.mode.Type() | perm.Perm()
	return nil
}

func (t *tree) SyncDir(name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, err := t.lookup(name)
	if err == nil {
		err = t.begin()
	}
	if err == nil && t.log != nil {
		t.log.sync(n, true)
	}
	return pathError("sync", name, err)
}

func (t *tree) Lock(name string) (io.Closer, error) {
	f, err := t.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	h := f.(*memFile)
	if !h.lock() {
		h.Close()
		return nil, pathError("lock", name, ErrLocked)
	}
	content := lockContent(os.Getpid())
	_, err = h.WriteAt(content, 0)
	if err == nil {
		err = h.Truncate(int64(len(content)))
	}
	if err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

func pathError(op, name string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}
