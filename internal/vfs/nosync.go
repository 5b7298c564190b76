package vfs

import "io/fs"

// NoSync returns fsys with syncing that costs nothing and does nothing: for what does
// not have to survive a crash, and for tests.
func NoSync(fsys FS) FS { return noSync{fsys} }

type noSync struct{ FS }

type noSyncFile struct{ File }

func (noSync) SyncDir(string) error { return nil }
func (noSyncFile) Sync() error      { return nil }
func (noSyncFile) Datasync() error  { return nil }

func (f noSync) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	file, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return noSyncFile{file}, nil
}
