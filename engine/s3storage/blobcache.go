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
	"github.com/zaridb/zari/zodb"
)

// blobCache bounds the files in a directory of blobs: those that were not asked for the
// longest go first.
type blobCache struct {
	mu      sync.Mutex
	files   map[blobs.ID]*cachedBlob
	use     int64
	bytes   int64
	loading map[blobs.ID]*loading
}

type cachedBlob struct{ size, used int64 }

// loading is a download that others wait for.
type loading struct {
	done chan struct{}
	path string
	err  error
}

// keep moves a staged file into the cache. It is in the bucket, so nothing is lost if
// that fails.
func (c *blobCache) keep(dir *blobs.Dir, path string, id blobs.ID, limit int64) {
	info, err := os.Stat(path)
	if err != nil {
		return
	}
	if dir.Place(path, id.OID, id.TID) != nil {
		_ = os.Remove(path)
		return
	}
	c.added(dir, id, info.Size(), limit)
}

// get returns the path of a blob, which load downloads if it is not there.
func (c *blobCache) get(ctx context.Context, dir *blobs.Dir, id blobs.ID, limit int64, load func(path string) error) (string, error) {
	for {
		c.mu.Lock()
		if path, err := dir.Load(id.OID, id.TID); err == nil {
			c.touch(id, path)
			c.mu.Unlock()
			return path, nil
		} else if _, missing := errors.AsType[*zodb.NoObjectError](err); !missing {
			c.mu.Unlock()
			return "", err
		}
		l := c.loading[id]
		if l == nil {
			break
		}
		c.mu.Unlock()
		select {
		case <-l.done:
			if l.err == nil || ctx.Err() != nil {
				return l.path, l.err
			}
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	l := &loading{done: make(chan struct{})}
	if c.loading == nil {
		c.loading = make(map[blobs.ID]*loading)
	}
	c.loading[id] = l
	c.mu.Unlock()
	l.path, l.err = c.load(dir, id, limit, load)
	c.mu.Lock()
	delete(c.loading, id)
	c.mu.Unlock()
	close(l.done)
	return l.path, l.err
}

func (c *blobCache) load(dir *blobs.Dir, id blobs.ID, limit int64, load func(path string) error) (string, error) {
	temp, err := dir.TempDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(temp, fmt.Sprintf("%v.download", layout.NewID()))
	if err := load(path); err != nil {
		return "", errors.Join(err, os.Remove(path))
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if err := dir.Place(path, id.OID, id.TID); err != nil {
		return "", errors.Join(err, os.Remove(path))
	}
	c.added(dir, id, info.Size(), limit)
	return dir.Path(id.OID, id.TID), nil
}

// touch notes that a file was asked for. c.mu is held.
func (c *blobCache) touch(id blobs.ID, path string) {
	f := c.files[id]
	if f == nil { // of an earlier process
		info, err := os.Stat(path)
		if err != nil {
			return
		}
		f = c.note(id, info.Size())
	}
	c.use++
	f.used = c.use
}

func (c *blobCache) note(id blobs.ID, size int64) *cachedBlob {
	if c.files == nil {
		c.files = make(map[blobs.ID]*cachedBlob)
	}
	f := &cachedBlob{size: size}
	c.files[id] = f
	c.bytes += size
	return f
}

// added notes a new file, and removes those that are too many; never this one.
func (c *blobCache) added(dir *blobs.Dir, id blobs.ID, size, limit int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files[id] == nil {
		c.note(id, size)
	}
	c.use++
	c.files[id].used = c.use
	for c.bytes > limit && len(c.files) > 1 {
		var oldest blobs.ID
		least := int64(-1)
		for other, f := range c.files {
			if other != id && (least < 0 || f.used < least) {
				oldest, least = other, f.used
			}
		}
		if dir.Remove(oldest.OID, oldest.TID) != nil {
			return
		}
		c.bytes -= c.files[oldest].size
		delete(c.files, oldest)
	}
}

// drop removes a file that nobody will ask for again.
func (c *blobCache) drop(dir *blobs.Dir, id blobs.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if dir == nil || dir.Remove(id.OID, id.TID) != nil {
		return
	}
	if f := c.files[id]; f != nil {
		c.bytes -= f.size
		delete(c.files, id)
	}
}

// adopt notes the files that an earlier process has left.
func (c *blobCache) adopt(dir *blobs.Dir) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, err := range dir.All() {
		if err != nil {
			return err
		}
		if info, err := os.Stat(dir.Path(id.OID, id.TID)); err == nil {
			c.note(id, info.Size())
		}
	}
	return nil
}
