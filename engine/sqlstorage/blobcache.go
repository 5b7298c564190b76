package sqlstorage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/zaridb/zari/blobs"
)

// blobCache keeps files of blobs that are rows. A file is made under another name
// first, so it is whole when it is seen. Files last used are last removed, and those
// that were handed out a moment ago are not.
type blobCache struct {
	dir   *blobs.Dir
	limit int64 // 0: none
	fetch func(context.Context, blobs.ID, *os.File) error
	now   func() time.Time

	mu      sync.Mutex
	files   map[blobs.ID]*cachedBlob
	size    int64
	loading map[blobs.ID]chan struct{} // closed when the load is over
}

type cachedBlob struct {
	size int64
	used time.Time
}

// grace is how long a file stays after its path was handed out: whoever got the path
// opens it right away.
const grace = 5 * time.Minute

// newBlobCache takes over what a cache directory holds, the oldest files to go
// first.
func newBlobCache(dir *blobs.Dir, limit int64, fetch func(context.Context, blobs.ID, *os.File) error) (*blobCache, error) {
	c := &blobCache{
		dir: dir, limit: limit, fetch: fetch, now: time.Now,
		files: make(map[blobs.ID]*cachedBlob), loading: make(map[blobs.ID]chan struct{}),
	}
	for id, err := range dir.All() {
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(dir.Path(id.OID, id.TID))
		if err != nil {
			continue // gone meanwhile
		}
		c.files[id] = &cachedBlob{size: info.Size(), used: info.ModTime()}
		c.size += info.Size()
	}
	return c, nil
}

// load returns the path of a blob, which it fetches if need be. Several who ask at
// the same time share one fetch.
func (c *blobCache) load(ctx context.Context, id blobs.ID) (string, error) {
	path := c.dir.Path(id.OID, id.TID)
	for {
		c.mu.Lock()
		if f := c.files[id]; f != nil {
			f.used = c.now()
			c.mu.Unlock()
			if there, err := exists(path); there || err != nil {
				return path, err
			}
			c.forget(id) // somebody has removed the file
			continue
		}
		wait := c.loading[id]
		if wait == nil {
			wait = make(chan struct{})
			c.loading[id] = wait
			c.mu.Unlock()
			return path, c.fill(ctx, id, wait)
		}
		c.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// fill fetches a blob into its place.
func (c *blobCache) fill(ctx context.Context, id blobs.ID, done chan struct{}) error {
	defer func() {
		c.mu.Lock()
		delete(c.loading, id)
		c.mu.Unlock()
		close(done)
	}()
	temp, err := c.dir.TempDir()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(temp, "fetch-*.tmp")
	if err != nil {
		return err
	}
	err = errors.Join(c.fetch(ctx, id, f), f.Close())
	if err == nil {
		err = c.adopt(f.Name(), id)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// adopt moves a file into the cache.
func (c *blobCache) adopt(path string, id blobs.ID) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := os.Chmod(path, 0o444); err != nil {
		return err
	}
	if err := c.move(path, id); err != nil {
		return err
	}
	c.mu.Lock()
	if old := c.files[id]; old != nil {
		c.size -= old.size
	}
	c.files[id] = &cachedBlob{size: info.Size(), used: c.now()}
	c.size += info.Size()
	c.mu.Unlock()
	c.shrink()
	return nil
}

// move puts a file into its folder, which may be removed with its last file until
// the new one is there.
func (c *blobCache) move(path string, id blobs.ID) error {
	for {
		if _, err := c.dir.OIDDir(id.OID); err != nil {
			return err
		}
		err := os.Rename(path, c.dir.Path(id.OID, id.TID))
		if there, _ := exists(path); err == nil || !errors.Is(err, fs.ErrNotExist) || !there {
			return err
		}
	}
}

// shrink removes files, those first that were used longest ago, until the cache is a
// tenth below its limit.
func (c *blobCache) shrink() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limit == 0 || c.size <= c.limit {
		return
	}
	young := c.now().Add(-grace)
	var old []blobs.ID
	for id, f := range c.files {
		if f.used.Before(young) {
			old = append(old, id)
		}
	}
	slices.SortFunc(old, func(a, b blobs.ID) int { return c.files[a].used.Compare(c.files[b].used) })
	for _, id := range old {
		if c.size <= c.limit-c.limit/10 {
			return
		}
		c.removeLocked(id)
	}
}

// remove takes a blob that is not there any more out of the cache.
func (c *blobCache) remove(id blobs.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removeLocked(id)
}

// removeLocked removes a file. c.mu is held.
func (c *blobCache) removeLocked(id blobs.ID) {
	f := c.files[id]
	if f == nil || c.dir.Remove(id.OID, id.TID) != nil {
		return
	}
	c.size -= f.size
	delete(c.files, id)
}

// forget drops a file that is not there.
func (c *blobCache) forget(id blobs.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.files[id]; f != nil {
		c.size -= f.size
		delete(c.files, id)
	}
}
