package filestorage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zodb"
)

// Pack writes a new file beside the old one and puts it in its place.
//
// Of the transactions up to at it takes over, marked as packed, what is current
// just after at (with opts.GC: and reachable then), and of later ones everything.
// Commits go on meanwhile and are only held up for the last step. A crash at any
// point leaves the old file or the new one. A pack that would free nothing
// changes nothing.
func (s *Storage) Pack(ctx context.Context, at zodb.TID, opts zodb.PackOptions) error {
	opts.GC = (opts.GC || s.opts.PackGC) && !opts.Overlay
	opts.KeepOld = opts.KeepOld || s.opts.PackKeepOld
	switch {
	case s.opts.ReadOnly:
		return zodb.ErrReadOnly
	case at == 0:
		return errors.New("pack: no time was given")
	case opts.GC && s.opts.References == nil:
		return fmt.Errorf("pack: this storage cannot tell which objects are reachable; pack without garbage collection: %w", errors.ErrUnsupported)
	case !s.packMu.TryLock():
		return errors.New("pack: the storage is being packed already, or closed")
	}
	defer s.packMu.Unlock()
	v, err := s.view()
	if err != nil {
		return err
	}
	defer v.release()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	p := &packer{Storage: s, ctx: ctx, opts: opts, at: at, src: &v, index: newIndex()}
	if err := p.run(); err != nil {
		if errors.Is(err, context.Canceled) && s.closing.Err() != nil {
			err = zodb.ErrClosed
		}
		return fmt.Errorf("pack: %w", err)
	}
	return nil
}

// packer is one pack.
type packer struct {
	*Storage
	ctx  context.Context
	opts zodb.PackOptions
	at   zodb.TID
	src  *view // the old file; its end moves on while commits are caught up with

	packPos int64  // the first transaction after at
	keep    *index // the record of each object that is kept of those before packPos
	extra   map[int64]bool
	blobIDs map[blobID]bool // the blobs that there are
	dropped []blobID

	out   *packFile
	index *index // of out
}

func (p *packer) run() error {
	redundant, err := p.findCurrent()
	if err != nil || redundant {
		return err
	}
	if p.opts.GC {
		if err := p.findReachable(); err != nil {
			return err
		}
	}
	if err := p.listBlobs(); err != nil {
		return err
	}
	done, err := p.write()
	if !done || err != nil {
		return err
	}
	if err := p.saveIndex(); err != nil {
		p.Storage.opts.Logger.Warn("the index could not be saved after the pack", "file", p.path, "error", err)
	}
	return p.removePackedBlobs()
}

// write writes the new file and puts it in place. It reports false if there was
// nothing to be gained.
func (p *packer) write() (done bool, err error) {
	name := p.path + ".pack"
	f, err := p.fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return false, err
	}
	p.out = &packFile{file: f, name: name}
	defer func() {
		f.Close()
		if !done {
			p.fs.Remove(name)
		}
	}()
	freed, err := p.copyAll()
	if err != nil || !freed {
		return false, noSpace(err)
	}
	if err := f.Sync(); err != nil {
		return false, noSpace(err)
	}
	p.writeMu.Lock()
	defer p.writeMu.Unlock()
	if err := p.writable(); err != nil {
		return false, err
	}
	if err := p.copyLast(); err != nil {
		return false, noSpace(err)
	}
	return p.replace(name)
}

// copyAll copies the magic, what is kept, and what has been committed so far. It
// reports false if the part up to the pack time would take as much as before.
func (p *packer) copyAll() (freed bool, err error) {
	magic, err := datafs.NewWindow(p.src.file, datafs.MagicSize).Copy(0, datafs.MagicSize)
	if err != nil {
		return false, err
	}
	p.out.buf = append(p.out.buf, magic...)
	if err := p.copyKept(); err != nil {
		return false, err
	}
	if p.out.pos() == p.packPos {
		return false, nil
	}
	from := p.packPos
	for range 10 { // then the rest is caught up with under the lock, however long
		if err := p.copyLater(from); err != nil {
			return false, err
		}
		from = p.src.end
		now, err := p.view()
		if err != nil {
			return false, err
		}
		now.release()
		p.src.end, p.src.head = now.end, now.head
		if now.end-from < 1<<20 {
			break
		}
	}
	p.src.end = from
	return true, p.out.flush()
}

// copyLast copies what was committed since. writeMu is held.
func (p *packer) copyLast() error {
	from := p.src.end
	now, err := p.view()
	if err != nil {
		return err
	}
	now.release()
	p.src.end, p.src.head = now.end, now.head
	if err := p.copyLater(from); err != nil {
		return err
	}
	if err := p.out.flush(); err != nil {
		return err
	}
	return p.out.file.Sync()
}

// replace puts the new file in the place of the old one. writeMu is held. It
// reports whether it did, which it may have despite an error.
func (p *packer) replace(name string) (done bool, err error) {
	g, w, err := p.openPacked(name)
	if err != nil {
		return false, err
	}
	abandon := func(err error) (bool, error) {
		g.file.Close()
		w.Close()
		return false, err
	}
	if err := p.reserveIn(w, g.end); err != nil {
		return abandon(err)
	}
	if err := p.listDropped(); err != nil {
		return abandon(err)
	}
	if err := p.removeIndex(); err != nil {
		return abandon(err)
	}
	if err := p.rename(name); err != nil {
		return abandon(err)
	}
	p.switchTo(g, w)
	// Until the directory is synced, a crash may bring the old file back, without
	// what is committed from now on.
	if err := p.fs.SyncDir(filepath.Dir(p.path)); err != nil {
		p.broken = fmt.Errorf("the file that a pack wrote may not be in its place for good; restart: %w", err)
		return true, p.broken
	}
	return true, nil
}

// openPacked opens the new file for reading and writing.
func (p *packer) openPacked(name string) (*generation, vfs.File, error) {
	g, err := p.openGeneration(name)
	if err != nil {
		return nil, nil, err
	}
	w, err := p.fs.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		g.file.Close()
		return nil, nil, err
	}
	p.index.max = max(p.index.max, p.src.index.max)
	g.index, g.end, g.head = p.index, p.out.pos(), p.src.head
	return g, w, nil
}

// rename gives the old file its other name, or removes the one that an earlier
// pack kept, and puts the new file in its place in one step.
func (p *packer) rename(name string) error {
	old := p.path + ".old"
	if err := ifExists(p.fs.Remove(old)); err != nil {
		return err
	}
	if !p.opts.KeepOld || p.fs.Link(p.path, old) == nil {
		return p.fs.Rename(name, p.path)
	}
	// A file system without links: Python's two steps. Open knows what to do if
	// they are interrupted.
	if err := p.fs.Rename(p.path, old); err != nil {
		return err
	}
	if err := p.fs.Rename(name, p.path); err != nil {
		return errors.Join(err, p.fs.Rename(old, p.path))
	}
	return nil
}

// switchTo makes the new file the one that is read and written.
func (p *packer) switchTo(g *generation, w vfs.File) {
	p.mu.Lock()
	old := p.gen
	p.gen = g
	p.mu.Unlock()
	old.release()
	oldWriter := p.w
	p.setWriter(w)
	p.saved.Store(0)
	if err := oldWriter.Close(); err != nil {
		p.Storage.opts.Logger.Warn("closing the file that was packed", "file", p.path, "error", err)
	}
}

// reserveIn sets the space that votes were promised aside in the new file.
func (p *packer) reserveIn(w vfs.File, end int64) error {
	p.space.mu.Lock()
	defer p.space.mu.Unlock()
	if p.space.unsupported || p.space.promised == 0 {
		return nil
	}
	return noSpace(w.Reserve(end, p.space.promised))
}

// packFile is a file that is written from its beginning to its end.
type packFile struct {
	file    vfs.File
	name    string
	written int64
	buf     []byte
}

// pos returns where the next byte will be.
func (f *packFile) pos() int64 { return f.written + int64(len(f.buf)) }

func (f *packFile) flush() error {
	_, err := f.file.WriteAt(f.buf, f.written)
	f.written += int64(len(f.buf))
	f.buf = f.buf[:0]
	return err
}

// flushFull writes the buffer if there is much in it.
func (f *packFile) flushFull() error {
	if len(f.buf) < writePiece {
		return nil
	}
	return f.flush()
}
