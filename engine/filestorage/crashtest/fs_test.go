package crashtest

import (
	"errors"
	"io"
	"io/fs"
	"sync"

	"github.com/zaridb/zari/internal/vfs"
)

var errKilled = errors.New("the process was killed")

// process is a file system as one process sees it: once killed it can do nothing
// any more, while what it has written stays with the system.
type process struct {
	vfs.FS
	before func(op vfs.Op, name string) // called before each operation

	mu     sync.Mutex
	fatal  vfs.Op // the end comes with an operation among these
	count  int    // which one of them, from 1; 0 for never
	end    func() // how
	killed chan struct{}
}

func newProcess(base vfs.FS) *process {
	return &process{FS: base, killed: make(chan struct{})}
}

// kill is an end. It is called with mu held.
func (p *process) kill() { close(p.killed) }

// check lets the end come if it is time, and says if the process is dead.
func (p *process) check(op vfs.Op, name string) error {
	if p.before != nil {
		p.before(op, name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count > 0 && op&p.fatal != 0 {
		if p.count--; p.count == 0 {
			p.end()
		}
	}
	if closed(p.killed) {
		return &fs.PathError{Op: op.String(), Path: name, Err: errKilled}
	}
	return nil
}

func (p *process) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if err := p.check(vfs.OpOpen, name); err != nil {
		return nil, err
	}
	f, err := p.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &processFile{f, p}, nil
}

func (p *process) Stat(name string) (fs.FileInfo, error) {
	if err := p.check(vfs.OpStat, name); err != nil {
		return nil, err
	}
	return p.FS.Stat(name)
}

func (p *process) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := p.check(vfs.OpReadDir, name); err != nil {
		return nil, err
	}
	return p.FS.ReadDir(name)
}

func (p *process) MkdirAll(name string, perm fs.FileMode) error {
	if err := p.check(vfs.OpMkdir, name); err != nil {
		return err
	}
	return p.FS.MkdirAll(name, perm)
}

func (p *process) Rename(oldname, newname string) error {
	if err := p.check(vfs.OpRename, newname); err != nil {
		return err
	}
	return p.FS.Rename(oldname, newname)
}

func (p *process) Remove(name string) error {
	if err := p.check(vfs.OpRemove, name); err != nil {
		return err
	}
	return p.FS.Remove(name)
}

func (p *process) Link(oldname, newname string) error {
	if err := p.check(vfs.OpLink, newname); err != nil {
		return err
	}
	return p.FS.Link(oldname, newname)
}

func (p *process) Chmod(name string, perm fs.FileMode) error {
	if err := p.check(vfs.OpChmod, name); err != nil {
		return err
	}
	return p.FS.Chmod(name, perm)
}

func (p *process) SyncDir(name string) error {
	if err := p.check(vfs.OpSyncDir, name); err != nil {
		return err
	}
	return p.FS.SyncDir(name)
}

func (p *process) Lock(name string) (io.Closer, error) {
	if err := p.check(vfs.OpLock, name); err != nil {
		return nil, err
	}
	return p.FS.Lock(name)
}

// processFile is an open file of a process. Close always works: the system
// closes the files of the dead.
type processFile struct {
	vfs.File
	p *process
}

func (f *processFile) Read(b []byte) (int, error) {
	if err := f.p.check(vfs.OpRead, f.Name()); err != nil {
		return 0, err
	}
	return f.File.Read(b)
}

func (f *processFile) ReadAt(b []byte, off int64) (int, error) {
	if err := f.p.check(vfs.OpRead, f.Name()); err != nil {
		return 0, err
	}
	return f.File.ReadAt(b, off)
}

func (f *processFile) Write(b []byte) (int, error) {
	if err := f.p.check(vfs.OpWrite, f.Name()); err != nil {
		return 0, err
	}
	return f.File.Write(b)
}

func (f *processFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.p.check(vfs.OpWrite, f.Name()); err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, off)
}

func (f *processFile) Stat() (fs.FileInfo, error) {
	if err := f.p.check(vfs.OpStat, f.Name()); err != nil {
		return nil, err
	}
	return f.File.Stat()
}

func (f *processFile) Truncate(size int64) error {
	if err := f.p.check(vfs.OpTruncate, f.Name()); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *processFile) Sync() error {
	if err := f.p.check(vfs.OpSync, f.Name()); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *processFile) Datasync() error {
	if err := f.p.check(vfs.OpDatasync, f.Name()); err != nil {
		return err
	}
	return f.File.Datasync()
}

func (f *processFile) Reserve(off, n int64) error {
	if err := f.p.check(vfs.OpReserve, f.Name()); err != nil {
		return err
	}
	return f.File.Reserve(off, n)
}

// FailSync passes on that a sync was made to fail.
func (f *processFile) FailSync() { f.File.(interface{ FailSync() }).FailSync() }
