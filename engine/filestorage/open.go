package filestorage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/datafs"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zodb"
)

// Open opens a Data.fs, and makes it if it is not there.
//
// What an interrupted append left at its end is cut off and kept in a file
// beside it; any other damage that is met is a *zodb.CorruptError. With a good
// index file only what was appended after it is read, otherwise the whole file.
func Open(o Options) (*Storage, error) {
	o = o.withDefaults()
	switch {
	case o.Path == "":
		return nil, errors.New("filestorage: no path was given")
	case o.ReadOnly && o.Create:
		return nil, errors.New("filestorage: a read-only storage cannot be created")
	case o.Stop != 0 && !o.ReadOnly:
		return nil, errors.New("filestorage: a storage can be shown as of an earlier time only if it is read-only")
	}
	s := &Storage{opts: o, fs: o.FS, path: o.Path, planned: make(map[zodb.OID]int)}
	s.space.quota = o.Quota
	s.closing, s.stop = context.WithCancel(context.Background())
	if err := s.open(); err != nil {
		s.closeFailed()
		return nil, err
	}
	return s, nil
}

func (s *Storage) closeFailed() {
	s.stop()
	if s.gen != nil {
		s.gen.release()
	}
	if s.w != nil {
		s.w.Close()
	}
	if s.lock != nil {
		s.lock.Close()
	}
}

func (s *Storage) open() (err error) {
	if !s.opts.ReadOnly {
		if s.lock, err = s.fs.Lock(s.path + ".lock"); err != nil {
			return lockError(s.path, err)
		}
		if err := s.recoverPack(); err != nil {
			return err
		}
		if err := s.openWriter(); err != nil {
			return err
		}
	}
	if s.opts.BlobDir != "" {
		if s.blobs, err = blobs.Open(s.fs, s.opts.BlobDir, s.opts.BlobLayout); err != nil {
			return err
		}
	}
	g, err := s.openGeneration(s.path)
	if err != nil {
		return err
	}
	s.gen = g
	if err := s.readAll(g); err != nil {
		return err
	}
	if err := s.readMeta(); err != nil {
		return err
	}
	if s.opts.ReadOnly {
		return nil
	}
	if err := s.syncFound(); err != nil {
		return err
	}
	if err := s.emptyBlobs(); err != nil {
		return err
	}
	if _, err := s.removePackedBlobs(); err != nil {
		return err
	}
	s.tryReserve()
	return nil
}

// syncFound makes durable what was found: a process that was killed may have
// written it without coming to sync it, and from now on it is shown.
func (s *Storage) syncFound() error {
	if err := s.w.Sync(); err != nil {
		return err
	}
	return s.fs.SyncDir(filepath.Dir(s.path))
}

// openWriter opens the file for writing, and makes it if need be.
func (s *Storage) openWriter() error {
	flag := os.O_RDWR
	if s.opts.Create {
		flag |= os.O_CREATE | os.O_TRUNC
		if err := s.removeIndex(); err != nil {
			return err
		}
	}
	f, err := s.fs.OpenFile(s.path, flag, 0o666)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = s.fs.OpenFile(s.path, flag|os.O_CREATE, 0o666)
	}
	if err != nil {
		return err
	}
	s.setWriter(f)
	isNew, err := isNewFile(f)
	if err != nil || !isNew {
		return err
	}
	if _, err := f.WriteAt([]byte(datafs.Magic), 0); err != nil {
		return noSpace(err)
	}
	return nil
}

// lockError says who is in the way, if somebody is.
func lockError(path string, err error) error {
	if errors.Is(err, vfs.ErrLocked) {
		return fmt.Errorf("another process has %s open (a server of Zari or Python): %w", path, err)
	}
	return fmt.Errorf("cannot lock %s: %w", path, err)
}

// isNewFile reports whether the file is empty, or what is left of one that has
// just been made: its magic, of which bytes were lost or not written.
func isNewFile(f vfs.File) (bool, error) {
	fi, err := f.Stat()
	if err != nil || fi.Size() > datafs.MagicSize {
		return false, err
	}
	b := make([]byte, fi.Size())
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	for i, c := range b {
		if c != 0 && c != datafs.Magic[i] {
			return false, nil
		}
	}
	return string(b) != datafs.Magic, nil
}

// openGeneration opens a data file for reading, with an empty index.
func (s *Storage) openGeneration(path string) (*generation, error) {
	f, err := s.fs.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	g := &generation{file: f, name: s.path, index: newIndex(), tids: new(tids), end: datafs.MagicSize}
	g.refs.Store(1)
	return g, nil
}

// readAll fills the index: from the index file and what was appended after it,
// or from the whole file.
func (s *Storage) readAll(g *generation) error {
	size, err := s.checkMagic(g.file)
	if err != nil || size == 0 {
		return err
	}
	if s.opts.Stop == 0 && s.loadIndex(g, size) {
		return s.catchUp(g, size)
	}
	begin := time.Now()
	if err := s.catchUp(g, size); err != nil {
		return err
	}
	if size > 16<<20 {
		took := time.Since(begin)
		s.opts.Logger.Info("index rebuilt", "file", s.path, "bytes", g.end, "objects", g.index.n,
			"seconds", took.Seconds(), "MB/s", float64(g.end)/1e6/took.Seconds())
	}
	if s.opts.ReadOnly {
		return nil
	}
	s.saveIndexOnClose()
	return nil
}

// checkMagic returns the size of the file. An empty one, which only a read-only
// storage meets, is an empty storage.
func (s *Storage) checkMagic(f vfs.File) (size int64, err error) {
	fi, err := f.Stat()
	if err != nil || fi.Size() == 0 {
		return 0, err
	}
	var b [datafs.MagicSize]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if !datafs.KnownMagic(b[:n]) {
		return 0, datafs.Corrupt(s.path, "file header", 0, fmt.Errorf("%q is not the beginning of a Data.fs", b[:n]))
	}
	return fi.Size(), nil
}

// scanPiece is how much the index rebuild reads at a time.
const scanPiece = 1 << 20

// catchUp reads what is behind g.end, and sets it to the end of the last whole
// transaction.
func (s *Storage) catchUp(g *generation, size int64) error {
	sc := datafs.NewScanner(datafs.NewWindow(g.file, scanPiece), s.path, g.end, size, g.head)
	c := catcher{Storage: s, g: g, size: size, told: g.end}
	for sc.Txn() {
		if s.opts.Stop != 0 && sc.Head.TID >= s.opts.Stop {
			c.done()
			return nil
		}
		c.txn(sc)
	}
	c.done()
	if sc.Err() == nil {
		return nil
	}
	torn, err := tornAt(g.file, sc.Next(), size, g.head)
	if err != nil {
		return err
	}
	if !torn {
		return sc.Err()
	}
	return s.cutTail(g, size, sc.Err())
}

// catcher puts scanned transactions into the index.
type catcher struct {
	*Storage
	g        *generation
	size     int64
	told     int64 // position of the last progress
	badPrevs int
	firstBad int64
}

// txn adds a transaction. Records of one that turns out to be damaged may have
// got into the index: then the storage is not opened.
func (c *catcher) txn(sc *datafs.Scanner) {
	for sc.Record() {
		old := c.g.index.set(sc.Rec.OID, sc.Pos)
		// An object that is twice in a transaction has the same previous record
		// both times.
		if prev := sc.Rec.Prev; prev != 0 && prev != old && old < sc.TxnPos {
			if c.badPrevs == 0 {
				c.firstBad = sc.Pos
			}
			c.badPrevs++
		}
	}
	if sc.Err() != nil {
		return
	}
	c.g.marks.add(sc.TxnPos, sc.Head.TID)
	c.g.end, c.g.head = sc.Next(), sc.Head.TID
	if c.g.end-c.told >= 16<<20 {
		c.told = c.g.end
		c.opts.Progress("index", c.g.end, c.size)
	}
}

// done reports what is odd and does no harm to current records.
func (c *catcher) done() {
	if c.badPrevs > 0 {
		c.opts.Logger.Error("data records name a wrong previous record; old revisions of their objects may be missing",
			"file", c.path, "records", c.badPrevs, "first offset", c.firstBad)
	}
}

// emptyBlobs removes all blobs where the storage was to be emptied.
func (s *Storage) emptyBlobs() error {
	if !s.opts.Create || s.blobs == nil {
		return nil
	}
	return emptyDir(s.blobs)
}
