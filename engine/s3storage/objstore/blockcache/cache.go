package blockcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zaridb/zari/engine/s3storage/objstore"
)

// Options are the settings of a Cache.
type Options struct {
	Dir      string // empty: in memory only
	MaxBytes int64  // in the directory
	Memory   int64  // bytes of blocks in memory, at most

	// Space keeps databases apart that share a directory: whatever says whose keys
	// these are, for example the bucket and the database's UUID.
	Space string
}

// Stats count what a Cache did since it was opened.
type Stats struct {
	Memory, Disk Kept
	Fetched      int64 // blocks that were read from the store
	Corrupt      int64 // files that were not what they should be
	WriteErrors  int64 // files that could not be written
	LastError    error // of these
}

// Kept is about the blocks in one place.
type Kept struct {
	Hits    int64 // reads that were answered from there
	Evicted int64 // blocks removed to make room
	Bytes   int64 // that they take; of a directory: with those of other processes, as last counted
}

// Cache is a cache over one store. All methods may be called by many goroutines.
type Cache struct {
	from objstore.Reader
	opts Options

	memory   *memory
	whole    whole // files that were found whole
	open     *openFiles
	groups   []group
	queue    chan int       // groups to count
	counting sync.WaitGroup // the evictor
	flying   sync.WaitGroup // flights

	mu      sync.Mutex
	closed  bool
	flights map[blockID]*flight
	pauseTo time.Time // no writing before: the disk failed
	lastErr error

	inMemory, onDiskHits, fetched, corrupt, evicted, writeErrors atomic.Int64
}

// blockID names a block within a Cache.
type blockID struct {
	key string
	r   objstore.Range
}

// flight is a block on its way from the store.
type flight struct {
	done    chan struct{} // closed when data and err are set
	data    []byte
	err     error
	waiting int // those who wait; under Cache.mu
	cancel  context.CancelFunc
}

const failurePause = 10 * time.Second

// Open returns a cache over a store, and makes its directory.
func Open(from objstore.Reader, opts Options) (*Cache, error) {
	c := &Cache{from: from, opts: opts, memory: newMemory(opts.Memory), open: newOpenFiles(maxOpen()), flights: make(map[blockID]*flight)}
	if opts.Dir == "" || opts.MaxBytes <= 0 {
		c.opts.Dir = ""
		return c, nil
	}
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("the cache directory: %w (name another one, or none)", err)
	}
	c.groups = make([]group, groupsFor(opts.MaxBytes))
	c.queue = make(chan int, len(c.groups))
	c.counting.Go(c.evictor)
	return c, nil
}

// Close waits for blocks on their way. The directory stays as it is.
func (c *Cache) Close() error {
	c.mu.Lock()
	already := c.closed
	c.closed = true
	for _, f := range c.flights {
		f.cancel()
	}
	c.mu.Unlock()
	if already {
		return nil
	}
	c.flying.Wait()
	if c.queue != nil {
		close(c.queue)
	}
	c.counting.Wait()
	c.open.close()
	return nil
}

// Stats returns what the cache did. What lies in the directory takes a while to count, and is
// counted from the first time on that somebody asks.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.countAll()
	}
	s := Stats{
		Memory:  c.memory.kept(),
		Disk:    Kept{Hits: c.onDiskHits.Load(), Evicted: c.evicted.Load(), Bytes: c.bytesOnDisk()},
		Fetched: c.fetched.Load(), Corrupt: c.corrupt.Load(), WriteErrors: c.writeErrors.Load(), LastError: c.lastErr,
	}
	s.Memory.Hits = c.inMemory.Load()
	return s
}

// Read returns a range of an object, or as much of it as there is. The bytes must not be
// changed. Errors are those of the store.
func (c *Cache) Read(ctx context.Context, key string, r objstore.Range) ([]byte, error) {
	id := blockID{key, r}
	if data, ok := c.memory.get(id); ok {
		c.inMemory.Add(1)
		return data, nil
	}
	if data, ok := c.fromDisk(id); ok {
		c.onDiskHits.Add(1)
		c.memory.add(id, data)
		return data, nil
	}
	return c.fetch(ctx, id)
}

// ReadPart returns n bytes at off in a block, or as many as there are. The block is read from
// the store as a whole; from the disk only the part is, if the whole was good before.
func (c *Cache) ReadPart(ctx context.Context, key string, block objstore.Range, off, n int64) ([]byte, error) {
	if data, ok := c.Recall(key, block, off, n); ok {
		return data, nil
	}
	data, err := c.Read(ctx, key, block)
	return part(data, off, n), err
}

// Recall is ReadPart if nothing more than that part need be read, from this machine.
func (c *Cache) Recall(key string, block objstore.Range, off, n int64) ([]byte, bool) {
	id := blockID{key, block}
	if data, ok := c.memory.get(id); ok {
		c.inMemory.Add(1)
		return part(data, off, n), true
	}
	data, ok := c.partFromDisk(id, off, n)
	if ok {
		c.onDiskHits.Add(1)
	}
	return data, ok
}

// part returns a copy, for who retains it must not retain the block.
func part(block []byte, off, n int64) []byte {
	size := int64(len(block))
	off = min(max(off, 0), size)
	if off == 0 && n >= size {
		return block
	}
	return bytes.Clone(block[off:min(off+max(n, 0), size)])
}

// partFromDisk reads a part of a block whose file this process knows to be whole.
func (c *Cache) partFromDisk(id blockID, off, n int64) ([]byte, bool) {
	if c.opts.Dir == "" || off < 0 || n <= 0 {
		return nil, false
	}
	f := c.open.get(id)
	open := f != nil
	if !open {
		b := blockOf(c.opts.Space, id.key, id.r)
		if !c.whole.has(b.hash) {
			return nil, false
		}
		var err error
		if f, err = c.openFile(b, id); err != nil {
			return nil, false
		}
	}
	data, err := f.read(off, n)
	switch {
	case err != nil:
		c.open.forget(f)
		c.whole.remove(blockOf(c.opts.Space, id.key, id.r).hash)
		return nil, false
	case f.stale():
		touch(f.path, f.info)
		c.open.forget(f) // the next one opens it with its new time
	case !open:
		c.open.add(f)
	}
	return data, true
}

// Add puts a block into the cache that is known already: who has just written an object
// need not read it back. data must be what Read would return, and must not be changed.
func (c *Cache) Add(key string, r objstore.Range, data []byte) {
	id := blockID{key, r}
	c.memory.add(id, data)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.flying.Add(1)
	c.mu.Unlock()
	defer c.flying.Done()
	c.toDisk(id, data)
}

// fromDisk reads a block from the directory. Whatever goes wrong, it is not there.
func (c *Cache) fromDisk(id blockID) ([]byte, bool) {
	if c.opts.Dir == "" {
		return nil, false
	}
	b := blockOf(c.opts.Space, id.key, id.r)
	data, err := c.readFile(b)
	if errors.Is(err, errCorrupt) {
		c.corrupt.Add(1)
		_ = os.Remove(filepath.Join(c.opts.Dir, b.file))
	}
	if err == nil {
		c.whole.add(b.hash)
	}
	return data, err == nil
}

// toDisk writes a block, unless the disk has just failed.
func (c *Cache) toDisk(id blockID, data []byte) {
	if c.opts.Dir == "" || len(data) > maxBlock {
		return
	}
	b := blockOf(c.opts.Space, id.key, id.r)
	c.mu.Lock()
	skip := len(b.name) > maxName || time.Now().Before(c.pauseTo)
	c.mu.Unlock()
	if skip {
		return
	}
	size, err := c.writeFile(b, data)
	if err == nil {
		c.whole.add(b.hash)
		c.added(b, size)
		return
	}
	c.writeErrors.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastErr = err
	c.pauseTo = time.Now().Add(failurePause)
}

// fetch reads a block from the store, together with all others who want it now.
func (c *Cache) fetch(ctx context.Context, id blockID) ([]byte, error) {
	f, err := c.join(ctx, id)
	if err != nil {
		return nil, err
	}
	select {
	case <-f.done:
		return f.data, f.err
	case <-ctx.Done():
		c.leave(id, f)
		return nil, ctx.Err()
	}
}

// join finds or begins the flight of a block.
func (c *Cache) join(ctx context.Context, id blockID) (*flight, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, objstore.ErrClosed
	}
	f := c.flights[id]
	if f == nil {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it may be wanted by others
		f = &flight{done: make(chan struct{}), cancel: cancel}
		c.flights[id] = f
		c.flying.Go(func() {
			defer cancel()
			c.fly(ctx, id, f)
		})
	}
	f.waiting++
	return f, nil
}

// leave gives up waiting. The last one who does ends the flight.
func (c *Cache) leave(id blockID, f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		c.forget(id, f)
	}
}

// forget takes a flight off the list, so that nobody joins it any more. Under c.mu.
func (c *Cache) forget(id blockID, f *flight) {
	if c.flights[id] == f {
		delete(c.flights, id)
	}
}

// fly reads a block and keeps it. It stays on the list until it is on the disk: who
// comes meanwhile has it from here. Who looked for it just before it was there, and at the list
// just after, finds it here.
func (c *Cache) fly(ctx context.Context, id blockID, f *flight) {
	data, ok := c.memory.get(id)
	if !ok {
		data, ok = c.fromDisk(id)
	}
	if ok {
		f.data = data
		close(f.done)
	} else {
		c.fetchInto(ctx, id, f)
	}
	c.mu.Lock()
	c.forget(id, f)
	c.mu.Unlock()
	if f.err != nil {
		close(f.done)
	}
}

// fetchInto reads a block from the store. With an error the flight is not done yet.
func (c *Cache) fetchInto(ctx context.Context, id blockID, f *flight) {
	f.data, _, f.err = c.from.Read(ctx, id.key, id.r)
	c.fetched.Add(1)
	if f.err == nil {
		c.memory.add(id, f.data)
		close(f.done)
		c.toDisk(id, f.data)
	}
}
