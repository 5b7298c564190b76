package filestorage

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

var (
	_ store.Engine      = (*Storage)(nil)
	_ store.Packer      = (*Storage)(nil)
	_ store.BlobEngine  = (*Storage)(nil)
	_ store.Reserver    = (*Storage)(nil)
	_ store.Settler     = (*Storage)(nil)
	_ store.Streamer    = (*Storage)(nil)
	_ store.HeadScanner = (*Storage)(nil)
	_ store.Describer   = (*Storage)(nil)
)

// Storage is an open Data.fs. It is made by [Open].
type Storage struct {
	opts  Options
	fs    vfs.FS
	path  string
	lock  io.Closer // nil if read-only
	blobs *blobs.Dir

	waiting atomic.Int32     // counts who waits for writeMu while batches stream
	writeMu sync.Mutex       // guards what is for writers
	w       vfs.File         // nil if read-only, closed, or given up after a failed sync
	dirty   bool             // there may be something behind the end, to be cut off first
	doubt   *doubt           // not nil: the last append must be settled
	broken  error            // not nil: nothing can be written until the storage is opened again
	buf     []byte           // for encoding
	planned map[zodb.OID]int // of the batch that was planned last: the number of the last record of each object

	mu  sync.RWMutex // see package documentation
	gen *generation  // nil once closed

	metaMu sync.Mutex
	meta   store.Meta

	space space

	saveMu sync.Mutex   // one saver of the index file at a time
	saved  atomic.Int64 // end of what the index file covers
	saving atomic.Bool  // a goroutine saves it
	wg     sync.WaitGroup

	packMu  sync.Mutex      // one pack at a time; taken before all others
	closing context.Context // done when Close begins, to end a pack
	stop    context.CancelFunc
}

// Head returns the last tid and the largest oid.
func (s *Storage) Head() (zodb.TID, zodb.OID) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.gen == nil {
		return 0, 0
	}
	return s.gen.head, s.gen.index.max
}

// Stat returns the number of objects, deleted ones included until they are
// packed away, and the size of the file.
func (s *Storage) Stat() (objects, bytes int64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.gen == nil {
		return 0, 0
	}
	return int64(s.gen.index.n), s.gen.end
}

// Name returns the path of the file, as it was given.
func (s *Storage) Name() string { return s.path }

// ReadOnly reports whether the storage was opened so.
func (s *Storage) ReadOnly() bool { return s.opts.ReadOnly }

// Close ends a pack that is under way, saves the index and frees the lock. Readers that are still at work
// finish with the file they have.
func (s *Storage) Close() error {
	s.stop()
	s.packMu.Lock()
	defer s.packMu.Unlock()
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	s.mu.RLock()
	closed := s.gen == nil
	s.mu.RUnlock()
	if closed {
		return nil
	}
	s.wg.Wait()
	if !s.opts.ReadOnly {
		s.saveIndexOnClose()
	}
	s.mu.Lock()
	g := s.gen
	s.gen = nil
	s.mu.Unlock()
	g.release()
	var err error
	if s.w != nil {
		if s.dirty || s.space.allocated() {
			err = s.w.Truncate(g.end) // also gives back what was set aside
		}
		err = errors.Join(err, s.w.Close())
		s.w = nil
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}

// LoadBlob returns the path of a blob. The file stays until it is packed away.
func (s *Storage) LoadBlob(ctx context.Context, oid zodb.OID, serial zodb.TID) (string, error) {
	if s.blobs == nil {
		return "", errNoBlobs
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	return s.blobs.Load(oid, serial)
}

// BlobTempDir returns the directory for blobs on their way in.
func (s *Storage) BlobTempDir() (string, error) {
	if s.blobs == nil {
		return "", errNoBlobs
	}
	return s.blobs.TempDir()
}

// BlobDir returns the directory of an object's blobs.
func (s *Storage) BlobDir(oid zodb.OID) (string, error) {
	if s.blobs == nil {
		return "", errNoBlobs
	}
	return s.blobs.OIDDir(oid)
}

// HasBlobs reports whether there is a directory for blobs.
func (s *Storage) HasBlobs() bool { return s.blobs != nil }

var errNoBlobs = errors.Join(errors.New("the storage was opened without a directory for blobs"), errors.ErrUnsupported)
