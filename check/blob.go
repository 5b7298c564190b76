package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync/atomic"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zodb"
)

// blobRevision is a revision that has a blob.
type blobRevision struct {
	oid zodb.OID
	tid zodb.TID
}

const blobRevisionSize = 16

func compareRevisions(a, b blobRevision) int {
	return cmp.Or(cmp.Compare(a.oid, b.oid), cmp.Compare(a.tid, b.tid))
}

// BlobRevisions returns how many revisions of blobs Walk found.
func (f *File) BlobRevisions() int { return len(f.blobs) }

// Blobs compares a blob directory with the records of blobs that Walk found: every
// revision must have its file. A file without a revision is a warning.
func (f *File) Blobs(ctx context.Context, dir string, r *Report) error {
	d, err := blobs.OpenReadOnly(vfs.OS(), dir, "")
	if err != nil {
		return err
	}
	slices.SortFunc(f.blobs, compareRevisions)
	for i, b := range f.blobs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if i%1024 == 0 {
			r.progress("blobs", int64(i), int64(len(f.blobs)))
		}
		if err := f.checkBlob(d, b, r); err != nil {
			return err
		}
	}
	if same, err := f.unchanged(); err != nil || !same {
		return err
	}
	return f.strayBlobs(d, r)
}

func (f *File) checkBlob(d *blobs.Dir, b blobRevision, r *Report) error {
	path := d.Path(b.oid, b.tid)
	problem := func(message string) {
		r.add(&Problem{
			Kind: KindBlobMissing, File: path, Message: message,
			Object: &Object{OID: b.oid.String(), Class: "ZODB.blob.Blob"}, TID: tidText(b.tid),
		})
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		// A pack may have removed it since.
		if same, err := f.unchanged(); err != nil || !same {
			return err
		}
		problem("has no file for its blob")
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		problem("has something else in the place of its blob's file")
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		problem(fmt.Sprintf("has a blob that cannot be read: %v", err))
		return nil
	}
	return file.Close()
}

// strayBlobs reports the files that belong to no revision. Those of transactions
// that were committed since the walk are none.
func (f *File) strayBlobs(d *blobs.Dir, r *Report) error {
	last := zodb.TID(0)
	if n := len(f.blobs); n > 0 {
		last = slices.MaxFunc(f.blobs, func(a, b blobRevision) int { return cmp.Compare(a.tid, b.tid) }).tid
	}
	last = max(last, f.lastTID)
	for id, err := range d.All() {
		if err != nil {
			return err
		}
		b := blobRevision{id.OID, id.TID}
		if _, ok := slices.BinarySearchFunc(f.blobs, b, compareRevisions); ok || b.tid > last {
			continue
		}
		r.add(&Problem{
			Kind: KindBlobStray, Warning: true, File: d.Path(b.oid, b.tid),
			Object: &Object{OID: b.oid.String()}, TID: tidText(b.tid), Message: "has no such revision of a blob",
		})
	}
	return nil
}

// Blobs fetches the current blob of every object of a storage that has one. It returns
// how many there are; ok is false if the storage has no blobs to fetch.
func (s Storage) Blobs(ctx context.Context, name string, r *Report) (n int, ok bool, err error) {
	store, ok := zodb.As[zodb.BlobStore](s.Storage)
	var count atomic.Int64
	progress := func(done, total int64) { r.progress("blobs", done, total) }
	err = s.Each(ctx, progress, func(rec *Record) error {
		if rec.Err != nil || !isBlob(rec.Data) {
			return nil
		}
		count.Add(1)
		if !ok {
			return nil
		}
		return s.checkBlob(ctx, store, name, rec, r)
	})
	return int(count.Load()), ok, err
}

// checkBlob fetches a blob. One that has been replaced since is no problem.
func (s Storage) checkBlob(ctx context.Context, store zodb.BlobStore, name string, rec *Record, r *Report) error {
	path, err := store.LoadBlob(ctx, rec.OID, rec.TID)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if now, err := s.Load(ctx, rec.OID); err != nil || now.TID != rec.TID {
		return nil
	}
	r.add(&Problem{
		Kind: KindBlobMissing, Database: name, Message: fmt.Sprintf("has a blob that cannot be loaded: %v", err),
		Object: &Object{Database: name, OID: rec.OID.String(), Class: "ZODB.blob.Blob"}, TID: tidText(rec.TID),
	})
	return nil
}
