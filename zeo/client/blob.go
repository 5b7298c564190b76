package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// blobChunk is how much of a blob one message carries, as Python's client has it.
const blobChunk = 59000

// blobCache keeps the files of blobs, in the server's directory or in one of its
// own that is bounded.
type blobCache struct {
	*blobs.Dir
	shared bool
	limit  int64 // 0: none

	mu      sync.Mutex
	loading map[blobs.ID]chan struct{} // closed when the download has ended
	grown   int64                      // bytes since the last look at the whole
}

// stagedBlob is one that was sent with a transaction.
type stagedBlob struct {
	oid  zodb.OID
	path string
}

// pythonCache is the layout of a directory that Python's client has used as its
// cache: files of many objects in one folder.
const pythonCache = "zeocache"

// openBlobCache opens the directory. In one that was Python's cache a folder beside
// that client's files is used.
func openBlobCache(opts Options) (*blobCache, error) {
	path := opts.BlobDir
	if layout, err := os.ReadFile(filepath.Join(path, ".layout")); err == nil && strings.TrimSpace(string(layout)) == pythonCache {
		path = filepath.Join(path, "zari")
	}
	dir, err := blobs.Open(vfs.OS(), path, "")
	if err != nil {
		return nil, err
	}
	return &blobCache{Dir: dir, shared: opts.SharedBlobDir, limit: opts.BlobCacheBytes, loading: make(map[blobs.ID]chan struct{})}, nil
}

// BlobTempDir implements zodb.BlobStore.
func (s *Storage) BlobTempDir() (string, error) { return s.blobs.TempDir() }

// BlobDir implements zodb.BlobStore.
func (s *Storage) BlobDir(oid zodb.OID) (string, error) { return s.blobs.OIDDir(oid) }

// LoadBlob implements zodb.BlobStore: it returns the file that is here, or gets it
// from the server. Of a bounded directory, files that were not asked for lately may
// go at any time; one that is open stays readable.
func (s *Storage) LoadBlob(ctx context.Context, oid zodb.OID, serial zodb.TID) (string, error) {
	for {
		path, err := s.blobs.Load(oid, serial)
		if err == nil {
			s.blobs.used(path)
			return path, nil
		}
		if _, missing := errors.AsType[*zodb.NoObjectError](err); !missing || s.blobs.shared {
			return "", err
		}
		wait, mine := s.blobs.claim(blobs.ID{OID: oid, TID: serial})
		if mine {
			err = s.download(ctx, oid, serial)
			s.blobs.unclaim(blobs.ID{OID: oid, TID: serial})
			if err != nil {
				return "", err
			}
			continue
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// claim makes the caller the one who downloads a blob, or returns what to wait for.
func (b *blobCache) claim(id blobs.ID) (wait chan struct{}, mine bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if wait, ok := b.loading[id]; ok {
		return wait, false
	}
	b.loading[id] = make(chan struct{})
	return nil, true
}

func (b *blobCache) unclaim(id blobs.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.loading[id])
	delete(b.loading, id)
}

// download is a blob on its way. The reader of its connection writes the file.
type download struct {
	oid  zodb.OID
	tid  zodb.TID
	file *os.File
	size int64
	open bool // the server has begun
	all  bool // the server has ended
}

// download gets a blob from the server, in a file of the temporary directory
// first.
func (s *Storage) download(ctx context.Context, oid zodb.OID, serial zodb.TID) error {
	dir, err := s.blobs.TempDir()
	if err != nil {
		return err
	}
	return s.beside(ctx, func(c *conn) error {
		f, err := os.CreateTemp(dir, "download-*.tmp")
		if err != nil {
			return err
		}
		defer os.Remove(f.Name())
		defer f.Close()
		d := &download{oid: oid, tid: serial, file: f}
		c.mu.Lock()
		c.blob = d
		c.mu.Unlock()
		if err := c.call(ctx, "sendBlob", nil, oid, serial); err != nil {
			return noBlob(err, oid, serial)
		}
		c.mu.Lock()
		c.blob = nil
		c.mu.Unlock()
		if !d.all {
			return fmt.Errorf("the server has not sent the blob of object %v, revision %v", oid, serial)
		}
		if err := f.Close(); err != nil {
			return err
		}
		if err := s.blobs.Place(f.Name(), oid, serial); err != nil {
			return err
		}
		s.blobs.grew(d.size, s.blobs.Path(oid, serial))
		return nil
	})
}

// noBlob gives the error for a blob that is not there the form of the contract.
func noBlob(err error, oid zodb.OID, serial zodb.TID) error {
	if e, ok := errors.AsType[*zodb.NoObjectError](err); ok {
		e.OID, e.Before = oid, serial
	}
	return err
}

// sideCallback takes what the server says on a connection beside the main one. Of
// commits the main one hears.
func sideCallback(c *conn, m *wire.Message) error {
	switch m.Method {
	case "invalidateTransaction", "info":
		return nil
	case "receiveBlobStart", "receiveBlobChunk", "receiveBlobStop":
	default:
		return fmt.Errorf("the server calls %q", m.Method)
	}
	c.mu.Lock()
	d := c.blob
	c.mu.Unlock()
	oid, err := m.OID(0)
	if err != nil {
		return err
	}
	tid, err := m.TID(1)
	if err != nil {
		return err
	}
	if d == nil || d.oid != oid || d.tid != tid || d.all {
		return fmt.Errorf("the server sends a blob of object %v that was not asked for", oid)
	}
	return d.take(m)
}

func (d *download) take(m *wire.Message) error {
	switch {
	case m.Method == "receiveBlobStart" && !d.open:
		d.open = true
		return nil
	case !d.open || m.Method == "receiveBlobStart":
		return errors.New("pieces of a blob out of order")
	case m.Method == "receiveBlobStop":
		d.all = true
		return nil
	}
	chunk, err := m.Bytes(2)
	if err != nil {
		return err
	}
	d.size += int64(len(chunk))
	_, err = d.file.Write(chunk)
	return err
}

// StoreBlob implements zodb.BlobTxn.
func (t *txn) StoreBlob(ctx context.Context, oid zodb.OID, serial zodb.TID, data []byte, path string) error {
	if err := t.Store(ctx, oid, serial, data); err != nil {
		return err
	}
	if t.s.blobs.shared {
		return t.shareBlob(oid, serial, data, path)
	}
	if err := t.upload(oid, path); err != nil {
		return err
	}
	return t.c.post("storeBlobEnd", oid, serial, data, t.id)
}

// upload sends a file, which stays the transaction's.
func (t *txn) upload(oid zodb.OID, path string) error {
	t.blobs = append(t.blobs, stagedBlob{oid, path})
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := t.c.post("storeBlobStart"); err != nil {
		return err
	}
	buf := make([]byte, blobChunk)
	for {
		n, err := io.ReadFull(f, buf)
		if n > 0 {
			if err := t.c.post("storeBlobChunk", buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			t.c.fail(err) // the server has half a blob
			return err
		}
	}
}

// shareBlob leaves the file in the directory of the object, where the server takes
// it from.
func (t *txn) shareBlob(oid zodb.OID, serial zodb.TID, data []byte, path string) error {
	dir, err := t.s.blobs.OIDDir(oid)
	if err != nil {
		return err
	}
	to, err := os.CreateTemp(dir, "BUC*.tmp")
	if err != nil {
		return err
	}
	to.Close()
	t.blobs = append(t.blobs, stagedBlob{oid, to.Name()})
	if err := os.Rename(path, to.Name()); err != nil {
		return err
	}
	return t.c.post("storeBlobShared", oid, serial, data, filepath.Base(to.Name()), t.id)
}

// RestoreBlob implements zodb.BlobTxn, over Zari's server: the protocol has no call
// for it.
func (t *txn) RestoreBlob(_ context.Context, oid zodb.OID, data []byte, from zodb.TID, path string) error {
	if err := t.restorable(); err != nil {
		return err
	}
	if !t.s.can().blobs {
		return fmt.Errorf("a blob cannot be restored over Python's ZEO server: %w", errors.ErrUnsupported)
	}
	t.oids[oid], t.vague = true, true
	if err := t.upload(oid, path); err != nil {
		return err
	}
	return t.c.post("zari_restoreBlobEnd", oid, data, orNone(from), t.id)
}

// adopt keeps the files of a transaction's blobs, now that they have a serial. What
// cannot be kept is loaded again when it is asked for.
func (b *blobCache) adopt(staged []stagedBlob, tid zodb.TID) {
	for _, s := range staged {
		if b.shared {
			continue
		}
		info, err := os.Stat(s.path)
		if err != nil || b.Place(s.path, s.oid, tid) != nil {
			os.Remove(s.path)
			continue
		}
		b.grew(info.Size(), b.Path(s.oid, tid))
	}
}

// used notes that a file is asked for.
func (b *blobCache) used(path string) {
	if b.limit > 0 && !b.shared {
		now := time.Now()
		_ = os.Chtimes(path, now, time.Time{}) // where it is not possible, files go in another order
	}
}

// grew notes that there are more bytes, those of a file that came just now, and makes
// room after each tenth of the limit.
func (b *blobCache) grew(n int64, path string) {
	if b.limit <= 0 || b.shared {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.grown += n; b.grown*10 < b.limit {
		return
	}
	b.grown = 0
	b.shrink(path)
}

type blobFile struct {
	path string
	size int64
	used time.Time
}

// shrink removes the files that were not used for the longest time, but not the one
// that came just now: whoever waits for it would get it again, and again, if it is
// larger than the limit.
func (b *blobCache) shrink(keep string) {
	var files []blobFile
	var total int64
	for id, err := range b.All() {
		if err != nil {
			return
		}
		path := b.Path(id.OID, id.TID)
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return
		}
		files = append(files, blobFile{path, info.Size(), accessTime(info)})
		total += info.Size()
	}
	slices.SortFunc(files, func(x, y blobFile) int { return cmp.Or(x.used.Compare(y.used), cmp.Compare(x.path, y.path)) })
	for _, f := range files {
		if total <= b.limit-b.limit/10 {
			return
		}
		if f.path != keep && os.Remove(f.path) == nil {
			total -= f.size
		}
	}
}
