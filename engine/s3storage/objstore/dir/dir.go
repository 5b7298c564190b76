package dir

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/internal/vfs"
)

// Store keeps objects in a directory.
type Store struct {
	fs    vfs.FS
	root  string
	meter objstore.Meter

	closed atomic.Bool
	failed atomic.Pointer[error] // a directory could not be synced
	swap   sync.Mutex            // held with the file .lock

	foldersMu sync.Mutex
	folders   map[string]bool // those known to be durable
}

var (
	_ objstore.Store    = (*Store)(nil)
	_ objstore.Counting = (*Store)(nil)
)

const (
	tmpDir   = ".tmp"
	lockFile = ".lock"
	tmpAge   = 24 * time.Hour
	hashed   = 64 << 10 // files up to this size have the hash of their bytes as etag
)

// Open opens the directory root, and makes it if it is missing.
func Open(root string) (*Store, error) { return OpenFS(vfs.OS(), root) }

// OpenFS opens a directory of a file system.
func OpenFS(fsys vfs.FS, root string) (*Store, error) {
	s := &Store{fs: fsys, root: filepath.Clean(root), folders: make(map[string]bool)}
	err := makeRoot(fsys, s.root)
	if err == nil {
		err = s.makeFolder(tmpDir)
	}
	if err == nil {
		err = s.sweep()
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", s, err)
	}
	return s, nil
}

// sweep removes what processes that were killed left unfinished.
func (s *Store) sweep() error {
	entries, err := s.fs.ReadDir(s.path(tmpDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && time.Since(info.ModTime()) > tmpAge {
			_ = s.fs.Remove(s.path(tmpDir + "/" + e.Name()))
		}
	}
	return nil
}

func (s *Store) path(key string) string { return filepath.Join(s.root, filepath.FromSlash(key)) }

// String is the directory's URL.
func (s *Store) String() string { return "file://" + filepath.ToSlash(s.root) }

// Counts implements objstore.Counting: as a bucket would count.
func (s *Store) Counts() objstore.Counts { return s.meter.Counts() }

// Close implements objstore.Store. Bodies that are open stay so.
func (s *Store) Close() error {
	s.closed.Store(true)
	return nil
}

// begin counts an operation and says whether it may begin.
func (s *Store) begin(ctx context.Context, count *atomic.Int64, check error) error {
	if s.closed.Load() {
		return objstore.ErrClosed
	}
	if failed := s.failed.Load(); failed != nil {
		return *failed
	}
	count.Add(1)
	return errors.Join(check, ctx.Err())
}

// fail counts an error and says where it happened.
func (s *Store) fail(op, key string, err error) error {
	s.meter.Errors.Add(1)
	return &objstore.Error{Op: op, Store: s.String(), Key: key, Err: err, Hint: hint(err)}
}

func hint(err error) string {
	switch {
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR):
		return "one key is the folder of another; nothing that Zari writes is"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "free some space"
	case errors.Is(err, fs.ErrPermission):
		return "the directory must be writable for the user that the server runs as"
	}
	return ""
}

// Get implements objstore.Store.
func (s *Store) Get(ctx context.Context, key string, r objstore.Range) (objstore.Object, error) {
	err := s.begin(ctx, &s.meter.Get, objstore.CheckKey(key))
	if err == nil {
		var o objstore.Object
		if o, err = s.get(key, r); err == nil {
			s.meter.BytesOut.Add(o.Len)
			return o, nil
		}
	}
	return objstore.Object{}, s.fail("Get", key, err)
}

func (s *Store) get(key string, r objstore.Range) (objstore.Object, error) {
	f, info, err := s.open(key)
	if err != nil {
		return objstore.Object{}, err
	}
	off, length, err := r.In(info.Size)
	if err != nil {
		f.Close()
		return objstore.Object{}, err
	}
	return objstore.Object{Info: info, Off: off, Len: length, Body: &body{io.NewSectionReader(f, off, length), f}}, nil
}

type body struct {
	*io.SectionReader
	io.Closer
}

// open opens an object's file.
func (s *Store) open(key string) (vfs.File, objstore.Info, error) {
	f, err := s.fs.OpenFile(s.path(key), os.O_RDONLY, 0)
	if err != nil {
		return nil, objstore.Info{}, notExist(err)
	}
	info, err := infoOf(key, f)
	if err != nil {
		f.Close()
		return nil, objstore.Info{}, err
	}
	return f, info, nil
}

// notExist makes objstore.ErrNotExist of what says that there is no such file.
func notExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return objstore.ErrNotExist
	}
	return err
}

func infoOf(key string, f vfs.File) (objstore.Info, error) {
	st, err := f.Stat()
	if err != nil {
		return objstore.Info{}, err
	}
	if st.IsDir() {
		return objstore.Info{}, objstore.ErrNotExist
	}
	info := objstore.Info{Key: key, Size: st.Size(), Modified: st.ModTime()}
	if info.Size > hashed {
		info.ETag = fmt.Sprintf(`"%x-%x"`, info.Size, st.ModTime().UnixNano())
		return info, nil
	}
	data := make([]byte, info.Size)
	if _, err := f.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return objstore.Info{}, err
	}
	info.ETag = etagOf(data)
	return info, nil
}

func etagOf(data []byte) string {
	sum := sha256.Sum256(data)
	return fmt.Sprintf(`"%x"`, sum[:16])
}

// Head implements objstore.Store.
func (s *Store) Head(ctx context.Context, key string) (objstore.Info, error) {
	err := s.begin(ctx, &s.meter.Head, objstore.CheckKey(key))
	var info objstore.Info
	if err == nil {
		info, err = s.head(key)
	}
	if err != nil {
		return objstore.Info{}, s.fail("Head", key, err)
	}
	return info, nil
}

func (s *Store) head(key string) (objstore.Info, error) {
	f, info, err := s.open(key)
	if err != nil {
		return info, err
	}
	return info, f.Close()
}

// Delete implements objstore.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	err := s.begin(ctx, &s.meter.Delete, objstore.CheckKey(key))
	if err == nil {
		err = s.remove(ctx, key)
	}
	if err != nil {
		return s.fail("Delete", key, err)
	}
	return nil
}

func (s *Store) remove(ctx context.Context, key string) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	st, err := s.fs.Stat(s.path(key))
	if err == nil && st.IsDir() {
		return nil
	}
	if err == nil {
		err = s.fs.Remove(s.path(key))
	}
	if err != nil {
		if notExist(err) == objstore.ErrNotExist {
			return nil
		}
		return err
	}
	return s.syncDir(path.Dir(key))
}

// lock takes the lock under which files are replaced and removed, among goroutines and
// among processes.
func (s *Store) lock(ctx context.Context) (unlock func(), err error) {
	s.swap.Lock()
	for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
		file, err := s.fs.Lock(s.path(lockFile))
		if err == nil {
			return func() {
				file.Close()
				s.swap.Unlock()
			}, nil
		}
		if errors.Is(err, vfs.ErrLocked) {
			err = pause(ctx, wait)
		}
		if err != nil {
			s.swap.Unlock()
			return nil, err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// syncDir makes the entries of a folder durable.
func (s *Store) syncDir(key string) error {
	err := s.fs.SyncDir(s.path(key))
	if err != nil {
		err = fmt.Errorf("the folder %s could not be synced, so what it holds may not survive a loss of power: %w", s.path(key), err)
		s.failed.CompareAndSwap(nil, &err)
	}
	return err
}

// makeRoot makes the directory and what it lies in, durable.
func makeRoot(fsys vfs.FS, dir string) error {
	if st, err := fsys.Stat(dir); err == nil && st.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeRoot(fsys, parent); err != nil {
			return err
		}
	}
	if err := fsys.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return fsys.SyncDir(parent)
}

// makeFolder makes a folder below the root, "." for the root itself. One that is there is
// not durable for that: whoever made it may not have come to the sync. So the folder
// that it lies in is synced once by every Store.
func (s *Store) makeFolder(folder string) error {
	if folder == "." || s.isKnown(folder) {
		return nil
	}
	parent := path.Dir(folder)
	if err := s.makeFolder(parent); err != nil {
		return err
	}
	if err := s.fs.MkdirAll(s.path(folder), 0o777); err != nil {
		return err
	}
	if err := s.syncDir(parent); err != nil {
		return err
	}
	s.foldersMu.Lock()
	defer s.foldersMu.Unlock()
	s.folders[folder] = true
	return nil
}

func (s *Store) isKnown(folder string) bool {
	s.foldersMu.Lock()
	defer s.foldersMu.Unlock()
	return s.folders[folder]
}

// forget makes Put look again for folders that somebody has removed.
func (s *Store) forget() {
	s.foldersMu.Lock()
	defer s.foldersMu.Unlock()
	clear(s.folders)
}
