package vfs

import (
	"io"
	"io/fs"
)

func (f *FaultFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	if v := f.check(OpOpen, 0, name); v.err != nil {
		return nil, v.err
	}
	file, err := f.base.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultFile{file, f}, nil
}

func (f *FaultFS) Stat(name string) (fs.FileInfo, error) {
	if v := f.check(OpStat, 0, name); v.err != nil {
		return nil, v.err
	}
	return f.base.Stat(name)
}

func (f *FaultFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if v := f.check(OpReadDir, 0, name); v.err != nil {
		return nil, v.err
	}
	return f.base.ReadDir(name)
}

func (f *FaultFS) MkdirAll(name string, perm fs.FileMode) error {
	if v := f.check(OpMkdir, 0, name); v.err != nil {
		return v.err
	}
	return f.base.MkdirAll(name, perm)
}

func (f *FaultFS) Rename(oldname, newname string) error {
	if v := f.check(OpRename, 0, oldname, newname); v.err != nil {
		return v.err
	}
	return f.base.Rename(oldname, newname)
}

func (f *FaultFS) Remove(name string) error {
	if v := f.check(OpRemove, 0, name); v.err != nil {
		return v.err
	}
	return f.base.Remove(name)
}

func (f *FaultFS) Link(oldname, newname string) error {
	if v := f.check(OpLink, 0, oldname, newname); v.err != nil {
		return v.err
	}
	return f.base.Link(oldname, newname)
}

func (f *FaultFS) Chmod(name string, perm fs.FileMode) error {
	if v := f.check(OpChmod, 0, name); v.err != nil {
		return v.err
	}
	return f.base.Chmod(name, perm)
}

// Free never fails because of a rule: what it tells may be wrong in any case by the
// time it is used.
func (f *FaultFS) Free(name string) (int64, error) { return f.base.Free(name) }

func (f *FaultFS) SyncDir(name string) error {
	if v := f.check(OpSyncDir, 0, name); v.err != nil {
		return v.err
	}
	return f.base.SyncDir(name)
}

func (f *FaultFS) Lock(name string) (io.Closer, error) {
	if v := f.check(OpLock, 0, name); v.err != nil {
		return nil, v.err
	}
	return f.base.Lock(name)
}

// faultFile is an open file of a FaultFS.
type faultFile struct {
	File
	fs *FaultFS
}

// syncFailer is a file that knows what a failed sync does to its data.
type syncFailer interface{ FailSync() }

func (f *faultFile) Read(p []byte) (int, error) {
	v := f.fs.check(OpRead, len(p), f.Name())
	if v.err == nil {
		return f.File.Read(p)
	}
	return partly(f.File.Read, p, v)
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	v := f.fs.check(OpRead, len(p), f.Name())
	if v.err == nil {
		return f.File.ReadAt(p, off)
	}
	return partly(func(p []byte) (int, error) { return f.File.ReadAt(p, off) }, p, v)
}

func (f *faultFile) Write(p []byte) (int, error) {
	v := f.fs.check(OpWrite, len(p), f.Name())
	if v.err == nil {
		return f.File.Write(p)
	}
	return partly(f.File.Write, p, v)
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	v := f.fs.check(OpWrite, len(p), f.Name())
	if v.err == nil {
		return f.File.WriteAt(p, off)
	}
	return partly(func(p []byte) (int, error) { return f.File.WriteAt(p, off) }, p, v)
}

// partly transfers the part that the verdict grants, and fails.
func partly(transfer func([]byte) (int, error), p []byte, v verdict) (int, error) {
	if v.part == 0 {
		return 0, v.err
	}
	n, err := transfer(p[:v.part])
	if err != nil {
		return n, err
	}
	return n, v.err
}

func (f *faultFile) Stat() (fs.FileInfo, error) {
	if v := f.fs.check(OpStat, 0, f.Name()); v.err != nil {
		return nil, v.err
	}
	return f.File.Stat()
}

func (f *faultFile) Truncate(size int64) error {
	if v := f.fs.check(OpTruncate, 0, f.Name()); v.err != nil {
		return v.err
	}
	return f.File.Truncate(size)
}

func (f *faultFile) Sync() error { return f.sync(OpSync, f.File.Sync) }

func (f *faultFile) Datasync() error { return f.sync(OpDatasync, f.File.Datasync) }

func (f *faultFile) sync(op Op, sync func() error) error {
	v := f.fs.check(op, 0, f.Name())
	if v.err == nil {
		return sync()
	}
	if s, ok := f.File.(syncFailer); ok {
		s.FailSync()
	}
	return v.err
}

// FailSync passes the failure on, so that FaultFS can be stacked.
func (f *faultFile) FailSync() {
	if s, ok := f.File.(syncFailer); ok {
		s.FailSync()
	}
}

func (f *faultFile) Reserve(off, n int64) error {
	if v := f.fs.check(OpReserve, 0, f.Name()); v.err != nil {
		return v.err
	}
	return f.File.Reserve(off, n)
}

func (f *faultFile) Close() error {
	v := f.fs.check(OpClose, 0, f.Name())
	if err := f.File.Close(); err != nil {
		return err
	}
	return v.err
}
