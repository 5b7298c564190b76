package filestorage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zodb"
)

// Pack writes a new file beside the old one and puts it in its place.
//
// Of the transactions up to at it takes over, marked as packed, what is current
// just after at (with GC: and reachable then), and of later ones everything.
// Commits go on meanwhile and are only held up for the last step. A crash at any
// point leaves the old file or the new one. A pack that would free nothing
// changes nothing.
//
// It needs the space of the new file beside the old one, and 6 bytes of memory for
// each object that is current at the pack time, besides a bit or two: the index of
// the new file is made in the place of the list of what is kept.
func (s *Storage) Pack(ctx context.Context, at zodb.TID, opts zodb.PackOptions) error {
	opts.GC = (opts.GC || s.opts.PackGC && !opts.NoGC) && !opts.Overlay
	opts.KeepOld = opts.KeepOld || s.opts.PackKeepOld && !opts.NoKeepOld
	if opts.Report == nil {
		opts.Report = new(zodb.PackReport)
	}
	switch {
	case s.opts.ReadOnly && !opts.DryRun:
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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	p := newPacker(s, ctx, &v, at, opts)
	defer p.letGo()
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
	ctx    context.Context
	opts   zodb.PackOptions
	report *zodb.PackReport
	at     zodb.TID
	src    *view // the old file; its end moves on while commits are caught up with
	pace   *pace

	packPos int64 // the first transaction after at

	// index holds, of each object that is kept of what was current at the pack time,
	// the position of its record in the old file, and from when that is copied the
	// one in the new file.
	index *index
	reach *reach  // what garbage collection kept; nil without
	extra []int64 // ascending: other records before packPos that are kept, for later ones point back to them
	// lastExtra is the last of them that was copied of each object, in the new file.
	lastExtra map[zodb.OID]int64
	marked    int64     // the end of what garbage collection has looked at
	refs      refReader // for what is copied from there on

	need    int64  // about how many bytes the new file will have
	blobOID *index // the objects that have blobs
	dropped *packFile

	out    *packFile
	window *datafs.Window // on the old file
	aside  *datafs.Window // likewise, for what back pointers lead to
	covers int64          // the end of what the new file's index file covers, 0 if there is none
}

func newPacker(s *Storage, ctx context.Context, v *view, at zodb.TID, opts zodb.PackOptions) *packer {
	stages := 2 // to look, to copy
	if opts.GC {
		stages++
	}
	s.mu.RLock()
	objects := int64(v.index.n)
	s.mu.RUnlock()
	*opts.Report = zodb.PackReport{ObjectsBefore: objects, ObjectsAfter: objects, BytesBefore: v.end, BytesAfter: v.end}
	p := &packer{
		Storage: s, ctx: ctx, opts: opts, report: opts.Report, at: at, src: v,
		pace:  newPace(ctx, &opts, v.end, stages),
		index: newIndex(), lastExtra: make(map[zodb.OID]int64),
		window: datafs.NewWindow(v.file, packPiece), aside: datafs.NewWindow(v.file, asidePiece),
	}
	p.index.expect = p.serves
	return p
}

// serves returns how many objects a leaf of the index has that serves.
func (p *packer) serves(key uint64) int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	l := p.src.index.leaves[key]
	if l == nil {
		return 0
	}
	return l.len()
}

// letGo gives the old file up, and all that was for copying from it.
func (p *packer) letGo() {
	if p.src != nil {
		p.src.release()
		p.src, p.window, p.aside, p.out = nil, nil, nil, nil
	}
}

func (p *packer) run() error {
	redundant, err := p.findCurrent()
	if err != nil {
		return err
	}
	if redundant {
		p.report.Unchanged = true
		return nil
	}
	if p.opts.GC {
		if err := p.findReachable(); err != nil {
			return err
		}
	}
	if err := p.checkSpace(); err != nil {
		return err
	}
	if err := p.listBlobs(); err != nil {
		return err
	}
	p.noteMemory()
	runtime.GC() // listing left much behind, which would grow with the tables
	done, err := p.write()
	p.dropList(done)
	if err != nil {
		return err
	}
	p.report.Unchanged = !done && !p.opts.DryRun
	if !done {
		return nil
	}
	p.letGo()
	runtime.GC() // the old index goes, which is as large as what serves
	n, err := p.removePackedBlobs()
	p.report.Blobs = n
	return err
}

// checkSpace refuses to begin what the disk will not hold.
func (p *packer) checkSpace() error {
	free, err := p.fs.Free(filepath.Dir(p.path))
	if err != nil || p.opts.DryRun || free >= p.need+p.need/100 {
		return nil // where it cannot be told, the disk is full only when it is
	}
	return fmt.Errorf("the packed file will take about %.1f MB, and there are %.1f MB free beside it: %w",
		float64(p.need)/1e6, float64(free)/1e6, zodb.ErrNoSpace)
}

// write writes the new file and puts it in place. It reports false if there was
// nothing to be gained, or nothing was to be done.
func (p *packer) write() (done bool, err error) {
	if p.opts.DryRun {
		p.out = &packFile{}
		freed, err := p.copyAll()
		if freed {
			p.report.ObjectsAfter, p.report.BytesAfter = int64(p.index.n), p.out.pos()
		}
		return false, err
	}
	name := p.path + ".pack"
	f, err := p.fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return false, err
	}
	p.out = &packFile{file: f, name: name, early: true, full: p.full, buf: make([]byte, 0, 2*packWrite)}
	defer func() {
		p.out.wait()
		f.Close()
		if !done {
			p.fs.Remove(name)
			p.fs.Remove(p.packIndexPath())
		}
	}()
	freed, err := p.copyAll()
	if err != nil || !freed {
		return false, noSpace(err)
	}
	if err := p.out.sync(); err != nil {
		return false, noSpace(err)
	}
	p.writeIndex()
	p.saveMu.Lock() // or the old file's index might be put beside the new one
	defer p.saveMu.Unlock()
	if done, err = p.switchFiles(name); done {
		p.placeIndex()
	}
	return done, err
}

// switchFiles copies what is left while nobody can commit, and puts the new file
// in place.
func (p *packer) switchFiles(name string) (done bool, err error) {
	p.waiting.Add(1)
	p.writeMu.Lock()
	p.waiting.Add(-1)
	old := p.w
	defer func() {
		p.writeMu.Unlock()
		if !done || old == nil {
			return
		}
		// The last one to close a large file that has no name any more waits for the
		// file system to take it apart.
		if err := old.Close(); err != nil {
			p.Storage.opts.Logger.Warn("closing the file that was packed", "file", p.path, "error", err)
		}
	}()
	if err := p.writable(); err != nil {
		return false, err
	}
	p.pace.stop()
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
	p.pace.stage()
	p.out.buf = append(p.out.buf, magic...)
	if err := p.copyKept(); err != nil {
		return false, err
	}
	if p.out.pos() == p.packPos {
		return false, nil
	}
	p.forgetUnreachable()
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
	p.noteMemory()
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
	return p.out.sync()
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
	if err := p.saveList(); err != nil {
		return abandon(err)
	}
	if err := p.removeIndex(); err != nil {
		return abandon(err)
	}
	if err := p.rename(name); err != nil {
		return abandon(err)
	}
	p.switchTo(g, w)
	p.report.ObjectsAfter, p.report.BytesAfter = int64(g.index.n), g.end
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
	p.index.max, p.index.expect = max(p.index.max, p.src.index.max), nil
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
	old.release() // Pack has a reference on it still
	p.setWriter(w)
	p.saved.Store(0)
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

func (s *Storage) packIndexPath() string { return s.path + ".index.pack" }

// writeIndex writes the index file of what has been copied, under a name of its own:
// now nobody waits for it. That it cannot be written costs the next start time and
// nothing else.
func (p *packer) writeIndex() {
	if err := p.writeIndexFile(); err != nil {
		p.Storage.opts.Logger.Warn("the index could not be saved for the pack", "file", p.path, "error", err)
		p.fs.Remove(p.packIndexPath())
		return
	}
	p.covers = p.out.pos()
}

func (p *packer) writeIndexFile() error {
	f, err := p.fs.OpenFile(p.packIndexPath(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	p.index.sort()
	w := datafs.NewIndexWriter(f, p.out.pos())
	err = p.index.buckets(w.Bucket)
	return errors.Join(err, w.Close(), f.Sync(), f.Close())
}

// placeIndex puts the index file in place. saveMu is held.
func (p *packer) placeIndex() {
	if p.covers == 0 {
		return
	}
	err := p.fs.Rename(p.packIndexPath(), p.path+".index")
	if err == nil {
		err = p.fs.SyncDir(filepath.Dir(p.path))
	}
	if err != nil {
		p.Storage.opts.Logger.Warn("the index could not be saved after the pack", "file", p.path, "error", err)
		return
	}
	p.saved.Store(p.covers)
}

// noteMemory notes how much the tables take.
func (p *packer) noteMemory() {
	n := p.index.memory() + p.reach.memory() + int64(8*cap(p.extra)+32*len(p.lastExtra)) + packBuffers
	if p.blobOID != nil {
		n += p.blobOID.memory()
	}
	p.report.Memory = max(p.report.Memory, n)
}
