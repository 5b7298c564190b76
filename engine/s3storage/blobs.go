package s3storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// stagedBlobs are blobs that are in the bucket and that no transaction names yet, by the
// paths of their files.
type stagedBlobs struct {
	mu   sync.Mutex
	byID map[string]layout.Blob
}

// openBlobs opens the cache of blobs.
func (e *Engine) openBlobs() (err error) {
	if e.opts.BlobDir == "" {
		return nil
	}
	e.blobs, err = blobs.Open(vfs.OS(), filepath.Join(e.opts.BlobDir, e.st.database.String()), "")
	if err != nil {
		return err
	}
	return e.cache.adopt(e.blobs)
}

// stageBlobs uploads the blobs of a transaction that votes. What is never committed is
// swept up.
func (e *Engine) stageBlobs(ctx context.Context, t *txnlog.Txn) error {
	for i := range t.Records {
		r := &t.Records[i]
		if r.Blob == "" || e.blobs == nil {
			continue
		}
		if err := e.stageBlob(ctx, r); err != nil {
			return fmt.Errorf("blob of object %v: %w", r.OID, err)
		}
	}
	return nil
}

func (e *Engine) stageBlob(ctx context.Context, r *txnlog.Record) error {
	e.staged.mu.Lock()
	_, done := e.staged.byID[r.Blob]
	e.staged.mu.Unlock()
	if done { // a second vote
		return nil
	}
	b, err := describeBlob(r.Blob)
	if err != nil {
		return err
	}
	if err := e.objects.PutFile(ctx, layout.BlobKey(r.OID, b.ID), r.Blob); err != nil {
		return err
	}
	e.staged.mu.Lock()
	defer e.staged.mu.Unlock()
	if e.staged.byID == nil {
		e.staged.byID = make(map[string]layout.Blob)
	}
	e.staged.byID[r.Blob] = b
	return nil
}

func describeBlob(path string) (layout.Blob, error) {
	f, err := os.Open(path)
	if err != nil {
		return layout.Blob{}, err
	}
	defer f.Close()
	return layout.BlobOf(f)
}

// stagedBlob returns what was uploaded for a record.
func (e *Engine) stagedBlob(r *txnlog.Record) (layout.Blob, error) {
	if e.blobs == nil {
		return layout.Blob{}, errNoBlobs
	}
	e.staged.mu.Lock()
	defer e.staged.mu.Unlock()
	b, ok := e.staged.byID[r.Blob]
	if !ok {
		return b, fmt.Errorf("blob %s of object %v was not uploaded at the vote", r.Blob, r.OID)
	}
	return b, nil
}

var errNoBlobs = errors.New("a transaction with a blob, and no directory to cache blobs was configured")

// keepBlobs moves the files of committed blobs into the cache.
func (e *Engine) keepBlobs(batch []*txnlog.Txn) {
	if e.blobs == nil {
		return
	}
	for _, t := range batch {
		for i := range t.Records {
			r := &t.Records[i]
			if r.Blob == "" {
				continue
			}
			e.staged.mu.Lock()
			delete(e.staged.byID, r.Blob)
			e.staged.mu.Unlock()
			e.cache.keep(e.blobs, r.Blob, blobs.ID{OID: r.OID, TID: t.TID}, e.opts.BlobCache)
		}
	}
}

// HasBlobs implements store.BlobEngine.
func (e *Engine) HasBlobs() bool { return e.blobs != nil }

// BlobTempDir implements zodb.BlobStore.
func (e *Engine) BlobTempDir() (string, error) { return e.blobs.TempDir() }

// BlobDir implements zodb.BlobStore.
func (e *Engine) BlobDir(oid zodb.OID) (string, error) { return e.blobs.OIDDir(oid) }

// LoadBlob implements zodb.BlobStore: from the cache, or from the bucket through it.
func (e *Engine) LoadBlob(ctx context.Context, oid zodb.OID, serial zodb.TID) (string, error) {
	id := blobs.ID{OID: oid, TID: serial}
	e.mu.RLock()
	b, ok := e.st.blobs[id]
	e.mu.RUnlock()
	if !ok {
		return "", &zodb.NoObjectError{OID: oid, Before: serial + 1}
	}
	return e.cache.get(ctx, e.blobs, id, e.opts.BlobCache, func(path string) error {
		return e.download(ctx, layout.BlobKey(oid, b.ID), b, path)
	})
}

// download writes a blob to a file.
func (e *Engine) download(ctx context.Context, key string, b layout.Blob, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	got := layout.Blob{ID: b.ID}
	for off := int64(0); off < b.Size; off += partLen {
		part, err := e.read(ctx, key, objstore.Range{Off: off, Len: partLen})
		if err != nil {
			return err
		}
		if _, err := f.WriteAt(part, off); err != nil {
			return err
		}
		got.Add(part)
	}
	if got != b {
		return inObject(key, fmt.Errorf("it has %d bytes with checksum %08x, and the blob %d with %08x", got.Size, got.Sum, b.Size, b.Sum))
	}
	return f.Close()
}
