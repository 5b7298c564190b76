// Package disklog is a front on a disk of the writer: a slot is durable when its file is
// synced.
//
// # The model
//
// Below one directory, which one server has at a time, each log has a directory of its id, with files
// numbered in the order in which they were made. A file begins behind some slot and has
// slots one after the other. Each start begins a file behind the last slot but one, and
// writes the last one again: nobody knows whether it was synced. So what a later file has
// counts, and an end of a file that cannot be read is a Put that was never answered.
//
// Nothing here is there twice. If the disk is lost, so is what has not been moved to the
// bucket.
//
// docs/formats/s3.md has every byte.
package disklog

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/zaridb/zari/engine/s3storage/front"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/internal/vfs"
)

// Place is a directory with logs.
type Place struct {
	fs   vfs.FS
	dir  string
	host string
	lock io.Closer
}

var _ front.Place = (*Place)(nil)

// ErrOther says that there is a log that the database does not go on in.
var ErrOther = errors.New("the directory has another log, with commits that may be nowhere else: " +
	"it was given up elsewhere, or belongs to another database. Move it away to keep it, or remove it")

// Open opens a directory, which is made if it is not there.
func Open(dir string) (*Place, error) { return OpenFS(vfs.OS(), dir) }

// OpenFS is Open in a file system.
func OpenFS(fsys vfs.FS, dir string) (*Place, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := fsys.SyncDir(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	lock, err := fsys.Lock(filepath.Join(dir, ".lock"))
	if err != nil {
		return nil, fmt.Errorf("the log's directory: %w", err)
	}
	p := &Place{fs: fsys, dir: dir, host: host, lock: lock}
	if err := p.clean(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return p, nil
}

// leftSuffix marks a log that is being removed.
const leftSuffix = ".left"

// clean goes on removing what was being removed.
func (p *Place) clean() error {
	entries, err := p.fs.ReadDir(p.dir)
	if err != nil {
		return err
	}
	for _, x := range entries {
		if strings.HasSuffix(x.Name(), leftSuffix) {
			if err := p.removeAll(filepath.Join(p.dir, x.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeAll removes a log's directory.
func (p *Place) removeAll(dir string) error {
	entries, err := p.fs.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, x := range entries {
		if err := p.fs.Remove(filepath.Join(dir, x.Name())); err != nil {
			return err
		}
	}
	return p.fs.Remove(dir)
}

// Kind implements front.Place.
func (p *Place) Kind() layout.FrontKind { return layout.OnDisk }

func (p *Place) String() string { return fmt.Sprintf("%s:%s", p.host, p.dir) }

// MaxObject implements front.Place.
func (p *Place) MaxObject() int64 { return maxFrame }

// Close implements front.Place.
func (p *Place) Close() error { return p.lock.Close() }

func (p *Place) path(id layout.ID) string { return filepath.Join(p.dir, id.String()) }

// Create implements front.Place.
func (p *Place) Create(_ context.Context, id layout.ID, last, epoch uint64) (front.Log, error) {
	if err := p.others(id); err != nil {
		return nil, err
	}
	dir := p.path(id)
	err := p.removeAll(dir) // of an earlier Create
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := p.fs.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	l := &Log{place: p, id: id, dir: dir, first: last, last: last, epoch: epoch}
	if err := l.newFile(nil); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, p.fs.SyncDir(p.dir)
}

// others reports whether there are other logs that have slots.
func (p *Place) others(id layout.ID) error {
	entries, err := p.fs.ReadDir(p.dir)
	if err != nil {
		return err
	}
	for _, x := range entries {
		other, ok := idOf(x.Name())
		if !ok || other == id {
			continue
		}
		l := &Log{place: p, id: other, dir: p.path(other)}
		err := l.load()
		if err == nil && l.last > l.first {
			err = fmt.Errorf("%w: %s, slots up to %d", ErrOther, l.dir, l.last)
		}
		l.Close()
		if err != nil && !errors.Is(err, front.ErrNoLog) {
			return err
		}
	}
	return nil
}

func idOf(name string) (id layout.ID, ok bool) {
	n, err := hex.Decode(id[:], []byte(name)[:min(len(name), 2*len(id))])
	return id, err == nil && n == len(id) && len(name) == 2*len(id)
}

// Open implements front.Place.
func (p *Place) Open(_ context.Context, id layout.ID) (front.Log, error) {
	l := &Log{place: p, id: id, dir: p.path(id)}
	if err := l.load(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if err := l.settle(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
