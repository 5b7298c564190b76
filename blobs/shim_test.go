package blobs

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/zaridb/zari/internal/vfs"
)

// recorder is the real file system, which notes the calls that matter for
// durability and can be told to fail.
type recorder struct {
	vfs.FS
	root string

	mu    sync.Mutex
	calls []string
	// deny returns the error for a call, nil to let it pass.
	deny func(call string) error
}

func newRecorder(t *testing.T) *recorder {
	return &recorder{FS: vfs.OS(), root: t.TempDir()}
}

func (r *recorder) note(parts ...string) error {
	for i, p := range parts {
		if rel, err := filepath.Rel(r.root, p); i > 0 && err == nil {
			parts[i] = rel
		}
	}
	call := strings.Join(parts, " ")
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, call)
	if r.deny == nil {
		return nil
	}
	return r.deny(call)
}

// take returns the calls since the last take.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}

func (r *recorder) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := r.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &recordedFile{File: f, r: r}, nil
}

func (r *recorder) Rename(oldname, newname string) error {
	if err := r.note("rename", oldname, newname); err != nil {
		return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: err}
	}
	return r.FS.Rename(oldname, newname)
}

func (r *recorder) Chmod(name string, perm fs.FileMode) error {
	if err := r.note("chmod", name); err != nil {
		return err
	}
	return r.FS.Chmod(name, perm)
}

func (r *recorder) SyncDir(name string) error {
	if err := r.note("syncdir", name); err != nil {
		return err
	}
	return r.FS.SyncDir(name)
}

type recordedFile struct {
	vfs.File
	r *recorder
}

func (f *recordedFile) Sync() error {
	if err := f.r.note("sync", f.Name()); err != nil {
		return err
	}
	return f.File.Sync()
}

// crossDevice denies renames of files named src, as if they lay on another disk.
func crossDevice(src string) func(string) error {
	return func(call string) error {
		if strings.HasPrefix(call, "rename "+src+" ") {
			return syscall.EXDEV
		}
		return nil
	}
}
