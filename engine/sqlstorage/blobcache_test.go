package sqlstorage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zodb"
)

// fetcher makes blobs of ten bytes, and counts how many it made.
type fetcher struct {
	n    atomic.Int64
	fail error
}

func (f *fetcher) fetch(_ context.Context, _ blobs.ID, file *os.File) error {
	f.n.Add(1)
	if _, err := file.WriteString("0123456789"); err != nil {
		return err
	}
	return f.fail
}

func testCache(t *testing.T, dir string, limit int64, f *fetcher) *blobCache {
	t.Helper()
	d, err := blobs.Open(vfs.OS(), dir, "")
	if err != nil {
		t.Fatal(err)
	}
	c, err := newBlobCache(d, limit, f.fetch)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustLoad(t *testing.T, c *blobCache, oid zodb.OID) {
	t.Helper()
	path, err := c.load(t.Context(), blobs.ID{OID: oid, TID: 1})
	if err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "0123456789" {
		t.Errorf("blob %v: %q, %v", oid, data, err)
	}
}

func TestBlobCacheIsBounded(t *testing.T) {
	f := new(fetcher)
	dir := t.TempDir()
	c := testCache(t, dir, 50, f)
	now := time.Now()
	c.now = func() time.Time { return now }
	for oid := range zodb.OID(8) {
		now = now.Add(time.Millisecond)
		mustLoad(t, c, oid)
	}
	if c.size != 80 {
		t.Errorf("files that were handed out a moment ago are gone: %d bytes", c.size)
	}
	now = now.Add(2 * grace)
	mustLoad(t, c, 0) // is used again
	mustLoad(t, c, 100)
	if c.size > 50 {
		t.Errorf("%d bytes in a cache of 50", c.size)
	}
	before := f.n.Load()
	mustLoad(t, c, 0)
	if f.n.Load() != before {
		t.Error("the file used last was removed")
	}
	mustLoad(t, c, 1)
	if f.n.Load() != before+1 {
		t.Error("the file used first was not removed")
	}

	again := testCache(t, dir, 50, f)
	if again.size != c.size {
		t.Errorf("%d bytes after opening it again, %d before", again.size, c.size)
	}
}

func TestBlobCacheFetchesOnce(t *testing.T) {
	f := new(fetcher)
	c := testCache(t, t.TempDir(), 0, f)
	var g errgroup.Group
	for range 20 {
		g.Go(func() error {
			_, err := c.load(t.Context(), blobs.ID{OID: 1, TID: 1})
			return err
		})
	}
	if err := g.Wait(); err != nil || f.n.Load() != 1 {
		t.Errorf("%d fetches, %v", f.n.Load(), err)
	}
	if err := os.Remove(c.dir.Path(1, 1)); err != nil {
		t.Fatal(err)
	}
	mustLoad(t, c, 1) // is fetched again
}

func TestBlobCacheKeepsNothingHalf(t *testing.T) {
	f := &fetcher{fail: errors.New("lost")}
	dir := t.TempDir()
	c := testCache(t, dir, 0, f)
	if _, err := c.load(t.Context(), blobs.ID{OID: 1, TID: 1}); !errors.Is(err, f.fail) {
		t.Errorf("a fetch that failed: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "tmp", "*")); err != nil || len(left) > 0 || len(c.files) > 0 {
		t.Errorf("%q is left, %v", left, err)
	}
	f.fail = nil
	mustLoad(t, c, 1)
}
