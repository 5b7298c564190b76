package sqlstorage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// BlobOptions say where blobs are kept.
type BlobOptions struct {
	Dir    string
	Layout string // blobs.Bushy, blobs.Lawn, or "" for what the directory says

	// Shared says that Dir holds the blobs, for all who use the database (RelStorage's
	// shared-blob-dir). Otherwise they are rows of the database, and Dir is a cache of
	// them that this process alone uses.
	Shared bool

	// CacheSize bounds the bytes of blobs in the cache; 0 is no bound. What is in use
	// may exceed it for a while.
	CacheSize int64

	FS vfs.FS // nil: vfs.OS()
}

// blobStore keeps the blobs of an engine.
type blobStore struct {
	dir   *blobs.Dir
	rows  bool
	cache *blobCache // nil unless the blobs are rows
}

var _ store.BlobEngine = (*Engine)(nil)

var errNoBlobs = errors.Join(errors.New("the storage was opened without a directory for blobs"), errors.ErrUnsupported)

func (e *Engine) openBlobs() error {
	o := e.opts.Blobs
	if o == nil {
		return nil
	}
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	open := blobs.Open
	if e.opts.ReadOnly && o.Shared {
		open = blobs.OpenReadOnly
	}
	dir, err := open(o.FS, o.Dir, o.Layout)
	if err != nil {
		return err
	}
	e.blobs = &blobStore{dir: dir, rows: !o.Shared}
	if !o.Shared {
		e.blobs.cache, err = newBlobCache(dir, o.CacheSize, e.readBlob)
	}
	return err
}

func (e *Engine) readBlob(ctx context.Context, id blobs.ID, f *os.File) error {
	return e.db.ReadBlob(ctx, e.form, int64(id.OID), int64(id.TID), f)
}

// HasBlobs implements store.BlobEngine.
func (e *Engine) HasBlobs() bool { return e.blobs != nil }

// LoadBlob implements zodb.BlobStore. Where blobs are rows, the file is one of the
// cache: it stays for minutes at least.
func (e *Engine) LoadBlob(ctx context.Context, oid zodb.OID, serial zodb.TID) (string, error) {
	switch {
	case e.blobs == nil:
		return "", errNoBlobs
	case e.blobs.rows:
		return e.blobs.cache.load(ctx, blobs.ID{OID: oid, TID: serial})
	}
	return e.blobs.dir.Load(oid, serial)
}

// BlobTempDir implements zodb.BlobStore.
func (e *Engine) BlobTempDir() (string, error) {
	if e.blobs == nil {
		return "", errNoBlobs
	}
	return e.blobs.dir.TempDir()
}

// BlobDir implements zodb.BlobStore.
func (e *Engine) BlobDir(oid zodb.OID) (string, error) {
	if e.blobs == nil {
		return "", errNoBlobs
	}
	return e.blobs.dir.OIDDir(oid)
}

// checkBlob reports whether the database can hold the blob of a record.
func (e *Engine) checkBlob(r *txnlog.Record, limit int64) error {
	if r.Blob == "" || e.blobs == nil || !e.blobs.rows {
		return nil
	}
	info, err := os.Stat(r.Blob)
	if err != nil {
		return fmt.Errorf("blob of object %v: %w", r.OID, err)
	}
	if info.Size() > limit {
		return fmt.Errorf("the blob of object %v has %d bytes, and a row of %s can hold %d: keep blobs in a shared directory", r.OID, info.Size(), e.db.Name(), limit)
	}
	return nil
}

// placeBlobs makes the blobs of a batch durable if they are kept in a directory, and
// otherwise has Append write them.
func (e *Engine) placeBlobs(b *Batch) error {
	staged := stagedBlobs(b.Txns)
	switch {
	case len(staged) == 0:
		return nil
	case e.blobs == nil:
		return fmt.Errorf("object %v: %w", staged[0].OID, errNoBlobs)
	case e.blobs.rows:
		b.BlobRows = true
		return nil
	}
	err := e.blobs.dir.PlaceAll(staged)
	if err != nil {
		e.unplaceBlobs(b)
	}
	return err
}

// unplaceBlobs removes the blobs of transactions that came to nothing. What cannot
// be removed is a stray that no row names.
func (e *Engine) unplaceBlobs(b *Batch) {
	if e.blobs == nil || e.blobs.rows {
		return
	}
	for _, s := range stagedBlobs(b.Txns) {
		if err := e.blobs.dir.Remove(s.OID, s.TID); err != nil {
			e.opts.Logger.Warn("a blob of no transaction stays", "oid", s.OID, "tid", s.TID, "err", err)
		}
	}
}

// keepBlobs moves the blobs that are rows by now into the cache: they are likely to
// be asked for soon.
func (e *Engine) keepBlobs(batch []*txnlog.Txn) {
	if e.blobs == nil || !e.blobs.rows {
		return
	}
	for _, s := range stagedBlobs(batch) {
		if err := e.blobs.cache.adopt(s.Path, s.ID); err != nil {
			e.opts.Logger.Warn("a blob could not be moved into the cache", "oid", s.OID, "tid", s.TID, "err", err)
			os.Remove(s.Path)
		}
	}
}

func stagedBlobs(batch []*txnlog.Txn) (list []blobs.Staged) {
	for _, t := range batch {
		for i := range t.Records {
			if r := &t.Records[i]; r.Blob != "" {
				list = append(list, blobs.Staged{Path: r.Blob, ID: blobs.ID{OID: r.OID, TID: t.TID}})
			}
		}
	}
	return list
}

// blobFinder returns what tells whether a revision has a blob in the shared
// directory, nil if there is none.
func (e *Engine) blobFinder() *blobs.Finder {
	if e.blobs == nil || e.blobs.rows {
		return nil
	}
	return e.blobs.dir.Finder()
}

// exists reports whether there is a file.
func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// ReadChunks is Dialect.ReadBlob where blob_chunk holds the bytes themselves.
func ReadChunks(ctx context.Context, d Dialect, oid, tid int64, w io.Writer) error {
	found := false
	err := d.Read(ctx, func(s Session) error {
		if found { // Read tries once more, but w has got a part already
			return fmt.Errorf("%s: the connection broke in the middle of a blob", d.Name())
		}
		for row, err := range s.Query(ctx, `SELECT chunk FROM blob_chunk WHERE zoid = ? AND tid = ? ORDER BY chunk_num`, oid, tid) {
			if err != nil {
				return err
			}
			var chunk []byte
			if err := row.Scan(&chunk); err != nil {
				return err
			}
			found = true
			if _, err := w.Write(chunk); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && !found {
		err = &zodb.NoObjectError{OID: zodb.OID(oid), Before: zodb.TID(tid) + 1}
	}
	return err
}
