package blobs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zodb"
)

// dirPerm is what Python's os.makedirs uses; the umask takes away from it.
const dirPerm = 0o777

// ID names a blob: the revision of OID that transaction TID wrote.
type ID struct {
	OID zodb.OID
	TID zodb.TID
}

// Dir is a blob directory. Its methods may be called concurrently.
//
// Several processes may share the directory (ZEO's shared blob directories), but
// only one of them places and removes.
type Dir struct {
	fs     vfs.FS
	root   string
	layout string

	// mu keeps the removal of a folder that has become empty away from the
	// moment between its making and the arrival of its first file.
	mu sync.Mutex
}

// Open opens the blob directory dir, and makes it if it is not there.
//
// layout is [Bushy], [Lawn] or "". The empty one means what the directory's
// marker says; a directory without a marker is a lawn if anything visible is in
// it, as it was made before there were markers, and bushy otherwise. A layout
// that contradicts the marker is an error.
func Open(fsys vfs.FS, dir, layout string) (*Dir, error) {
	d, marked, err := find(fsys, dir, layout)
	if err != nil {
		return nil, err
	}
	return d, d.create(marked)
}

// OpenReadOnly is Open of a directory to read from: it makes nothing.
func OpenReadOnly(fsys vfs.FS, dir, layout string) (*Dir, error) {
	if _, err := fsys.ReadDir(dir); err != nil {
		return nil, err
	}
	d, _, err := find(fsys, dir, layout)
	return d, err
}

// find finds out the layout, and whether the directory says it.
func find(fsys vfs.FS, dir, layout string) (d *Dir, marked bool, err error) {
	d = &Dir{fs: fsys, root: filepath.Clean(dir)}
	marker, err := d.readMarker()
	if err != nil {
		return nil, false, err
	}
	if layout == "" {
		layout, err = d.guess(marker)
	}
	switch {
	case err != nil:
		return nil, false, err
	case layout != Bushy && layout != Lawn:
		return nil, false, fmt.Errorf("blob directory %s: unknown layout %q: it is %q or %q", dir, layout, Bushy, Lawn)
	case marker != "" && marker != layout:
		return nil, false, fmt.Errorf("blob directory %s: layout %q was asked for, but its marker says %q", dir, layout, marker)
	}
	d.layout = layout
	return d, marker != "", nil
}

// Root returns the path of the directory, as it was given.
func (d *Dir) Root() string { return d.root }

// Layout returns [Bushy] or [Lawn].
func (d *Dir) Layout() string { return d.layout }

// Path returns where the blob is, or would be.
func (d *Dir) Path(oid zodb.OID, tid zodb.TID) string {
	return filepath.Join(d.oidDir(oid), fileName(tid))
}

// OIDDir returns the folder of the blobs of oid, and makes it if need be. An
// empty folder may be gone again after a [Dir.Remove].
func (d *Dir) OIDDir(oid zodb.OID) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	path := d.oidDir(oid)
	return path, d.fs.MkdirAll(path, dirPerm)
}

// TempDir returns the folder where blobs are staged, and makes it if need be. It
// is in the same file system as the blobs.
func (d *Dir) TempDir() (string, error) {
	path := filepath.Join(d.root, tempName)
	return path, d.fs.MkdirAll(path, dirPerm)
}

func (d *Dir) oidDir(oid zodb.OID) string { return filepath.Join(d.root, oidPath(d.layout, oid)) }

// readMarker returns what the marker says, "" if there is none. An empty marker
// is an error like any other word that is no layout.
func (d *Dir) readMarker() (string, error) {
	name := filepath.Join(d.root, markerName)
	f, err := d.fs.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	var buf [64]byte
	n, err := f.ReadAt(buf[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	word := strings.TrimSpace(string(buf[:n]))
	if word != Bushy && word != Lawn {
		return "", fmt.Errorf("%s: unknown layout %q: it is %q or %q", name, word, Bushy, Lawn)
	}
	return word, nil
}

func (d *Dir) guess(marker string) (string, error) {
	if marker != "" {
		return marker, nil
	}
	entries, err := d.fs.ReadDir(d.root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			return Lawn, nil
		}
	}
	return Bushy, nil
}

// create makes what is missing. The marker comes before the temporary folder: a
// crash between the two must not leave a directory that looks like a lawn.
func (d *Dir) create(marked bool) error {
	if !marked {
		if err := d.mkdirDurably(d.root); err != nil {
			return err
		}
		if err := d.writeMarker(); err != nil {
			return err
		}
	}
	// A directory that is there may be served from a read-only medium.
	if _, err := d.TempDir(); err != nil && !marked {
		return err
	}
	return nil
}

// writeMarker writes the marker under another name first, so that it is never
// seen without its word.
func (d *Dir) writeMarker() error {
	name := filepath.Join(d.root, markerName)
	if err := d.writeFile(name+".new", d.layout); err != nil {
		return err
	}
	if err := d.fs.Rename(name+".new", name); err != nil {
		return err
	}
	return d.fs.SyncDir(d.root)
}

func (d *Dir) writeFile(name, content string) error {
	f, err := d.fs.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(content))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (d *Dir) mkdirDurably(path string) error {
	_, err := d.fs.Stat(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := d.mkdirDurably(parent); err != nil {
			return err
		}
	}
	if err := d.fs.MkdirAll(path, dirPerm); err != nil {
		return err
	}
	return d.fs.SyncDir(parent)
}
