package blockcache

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

// group is a part of the directory whose files are counted and removed together.
type group struct {
	mu      sync.Mutex
	counted bool
	size    int64 // when it was last counted
	added   int64 // since then, by this process
	queued  bool  // it will be counted
}

const (
	folders   = 256      // of the directory
	groupSize = 64 << 20 // a group has at least so many bytes
	fileBlock = 4096     // what a file takes is a multiple of this
	tmpAge    = time.Hour
)

// groupsFor is how many groups a directory of this size has: a power of two.
func groupsFor(maxBytes int64) int {
	n := 1
	for n < folders && maxBytes/int64(2*n) >= groupSize {
		n *= 2
	}
	return n
}

// groupOf is the group of a block.
func (c *Cache) groupOf(b block) int {
	folder, _ := strconv.ParseUint(b.file[:2], 16, 8)
	return int(folder) * len(c.groups) / folders
}

// added notes that a file was written, and has its group counted if it may be too large.
func (c *Cache) added(b block, size int64) {
	i := c.groupOf(b)
	g := &c.groups[i]
	budget := c.opts.MaxBytes / int64(len(c.groups))
	g.mu.Lock()
	g.added += onDisk(size)
	due := !g.queued && (!g.counted || g.size+g.added > budget || g.added > budget/16)
	g.queued = g.queued || due
	g.mu.Unlock()
	if due {
		c.queue <- i // has room for each group once
	}
}

// countAll has the groups counted that never were. Under c.mu, for the queue must not be closed.
func (c *Cache) countAll() {
	for i := range c.groups {
		g := &c.groups[i]
		g.mu.Lock()
		if !g.counted && !g.queued {
			g.queued = true
			c.queue <- i
		}
		g.mu.Unlock()
	}
}

// bytesOnDisk is what lies in the directory, as far as it is known.
func (c *Cache) bytesOnDisk() (sum int64) {
	for i := range c.groups {
		g := &c.groups[i]
		g.mu.Lock()
		sum += g.size + g.added
		g.mu.Unlock()
	}
	return sum
}

// evictor counts groups until the queue is closed.
func (c *Cache) evictor() {
	for i := range c.queue {
		g := &c.groups[i]
		g.mu.Lock()
		g.queued = false
		before := g.added
		g.mu.Unlock()
		size := c.evict(i)
		c.open.sweep() // also of what other processes have removed
		g.mu.Lock()
		g.counted, g.size = true, size
		g.added -= before
		g.mu.Unlock()
	}
}

type cachedFile struct {
	path string
	size int64
	used time.Time
}

// evict removes the least recently used files of a group, if it is too large, and
// returns its size.
func (c *Cache) evict(i int) int64 {
	budget := c.opts.MaxBytes / int64(len(c.groups))
	files, size := c.count(i)
	if size <= budget {
		return size
	}
	slices.SortFunc(files, func(a, b cachedFile) int { return a.used.Compare(b.used) })
	for _, f := range files {
		if size <= budget-budget/10 {
			break
		}
		if os.Remove(f.path) == nil {
			c.evicted.Add(1)
		}
		size -= f.size
	}
	return size
}

// count lists the files of a group, and removes what was never finished.
func (c *Cache) count(i int) (files []cachedFile, size int64) {
	per := folders / len(c.groups)
	for folder := i * per; folder < (i+1)*per; folder++ {
		dir := filepath.Join(c.opts.Dir, fmt.Sprintf("%02x", folder))
		entries, _ := os.ReadDir(dir) // what is not there holds nothing
		for _, e := range entries {
			st, err := e.Info()
			if err != nil || !st.Mode().IsRegular() {
				continue
			}
			f := cachedFile{filepath.Join(dir, e.Name()), onDisk(st.Size()), st.ModTime()}
			if isTmp(e.Name()) && time.Since(f.used) > tmpAge {
				_ = os.Remove(f.path)
				continue
			}
			size += f.size
			if !isTmp(e.Name()) {
				files = append(files, f)
			}
		}
	}
	return files, size
}

// onDisk is what a file of some bytes takes.
func onDisk(size int64) int64 { return (size + fileBlock - 1) / fileBlock * fileBlock }
