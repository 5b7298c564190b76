package s3storage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/engine/s3storage/front"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/engine/s3storage/objstore/blockcache"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// Engine is a database in a bucket.
//
// Locks are taken in this order: packMu, keepMu, writeMu, moveMu, mu.
type Engine struct {
	opts    Options
	objects objstore.Store
	sharing *sharing  // objects, if this is a branch
	owner   layout.ID // names this engine in the lease

	packMu     sync.Mutex // one pack at a time
	keepMu     sync.Mutex // one checkpoint, compaction, collection or pack at a time
	checkpoint checkpointInfo
	collectAt  time.Duration // when something was last collected
	pins       map[layout.ID]*layout.Share

	writeMu sync.Mutex // the log grows by one object at a time
	halted  error      // why nothing is written any more
	pending *pending   // an object of the log whose fate is not known
	known   time.Duration
	fenced  bool // this engine has written its fence

	front   front.Log // where slots are before they are in the bucket; nil: nowhere. Set by Open
	entered entered
	moveMu  sync.Mutex // slots are moved to the bucket one by one
	backlog backlog

	mu sync.RWMutex
	st *state

	hedger   *objstore.Hedger  // nil: nothing is asked for twice
	blocks   *blockcache.Cache // nil: there is none
	blobs    *blobs.Dir        // where blobs are cached; nil: there are none
	tables   tableCache
	staged   stagedBlobs
	cache    blobCache
	lease    lease
	news     news
	pace     pace
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	wake     chan struct{} // something for the keeper
	wg       sync.WaitGroup
	closing  sync.Once
	closeErr error
}

var (
	_ store.Engine     = (*Engine)(nil)
	_ store.Settler    = (*Engine)(nil)
	_ store.Checker    = (*Engine)(nil)
	_ store.Packer     = (*Engine)(nil)
	_ store.BlobEngine = (*Engine)(nil)
	_ store.Describer  = (*Engine)(nil)
	_ store.Pacer      = (*Engine)(nil)
	_ store.Follower   = (*Engine)(nil)
	_ store.Recaller   = (*Engine)(nil)
)

// Open opens a database; to write, it is made if it is not there, and whoever wrote
// before is over. The engine owns opts.Objects from now on, also when it fails.
func Open(ctx context.Context, opts Options) (*Engine, error) {
	e, err := start(ctx, opts)
	if err == nil && !opts.Manual {
		e.wg.Go(e.keep)
	}
	return e, err
}

// look opens a database as it is now: nothing is written, and nothing goes on by itself.
func look(ctx context.Context, opts Options) (*Engine, error) {
	opts.ReadOnly, opts.BlobDir = true, ""
	return start(ctx, opts)
}

// start is Open without what goes on behind.
func start(ctx context.Context, opts Options) (*Engine, error) {
	e := newEngine(opts)
	opts.Page.Add(e.objects)
	if err := e.open(ctx); err != nil {
		opts.Page.Close()
		e.cancel()
		e.wg.Wait()
		e.giveUpLease()
		return nil, errors.Join(fmt.Errorf("%s: %w", e.Name(), err), e.closeFronts(), e.closeReading(), e.objects.Close())
	}
	e.checkpoint.when, e.collectAt = e.opts.Elapsed(), e.opts.Elapsed()
	return e, nil
}

func newEngine(opts Options) *Engine {
	e := &Engine{opts: opts.withDefaults(), objects: opts.Objects, owner: layout.NewID(), wake: make(chan struct{}, 1)}
	e.news.arrived = make(chan struct{}, 1)
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e
}

func (e *Engine) open(ctx context.Context) error {
	if err := e.openShared(ctx); err != nil {
		return err
	}
	if !e.opts.Manual {
		e.hedger = objstore.NewHedger(e.objects)
	}
	if e.opts.ReadOnly {
		if err := e.boot(ctx); err != nil {
			return err
		}
		e.news.changes, e.news.after = nil, e.st.last // what a Store begins with
		return e.openCaches()
	}
	if !e.opts.Manual {
		if err := objstore.Probe(ctx, e.objects, layout.ProbePrefix); err != nil {
			return err
		}
	}
	if err := e.takeLease(ctx); err != nil {
		return err
	}
	if err := e.boot(ctx); err != nil {
		return err
	}
	if err := e.takeOver(ctx); err != nil {
		return err
	}
	e.startMover()
	return e.openCaches()
}

func (e *Engine) openCaches() error {
	if err := e.openBlocks(); err != nil {
		return err
	}
	return e.openBlobs()
}

// Name implements store.Describer.
func (e *Engine) Name() string {
	if e.opts.Name != "" {
		return e.opts.Name
	}
	return fmt.Sprint(e.objects)
}

// ReadOnly implements store.Describer.
func (e *Engine) ReadOnly() bool { return e.opts.ReadOnly }

// Close ends what goes on by itself, and leaves a checkpoint where one is due.
func (e *Engine) Close() error {
	e.closing.Do(func() {
		e.cancel()
		e.wg.Wait()
		if !e.opts.ReadOnly && !e.opts.Manual && e.Halted() == nil && e.sinceCheckpoint() > 16 {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			if err := e.Checkpoint(ctx); err != nil {
				e.opts.Logger.Warn("the next start will take longer: no checkpoint could be written", "storage", e.Name(), "error", err)
			}
			cancel()
		}
		e.moveRest()
		e.giveUpLease()
		e.opts.Page.Close()
		e.closeErr = errors.Join(e.closeFronts(), e.closeReading(), e.objects.Close())
	})
	return e.closeErr
}

// Halted tells why this engine cannot write any more, nil if it can.
func (e *Engine) Halted() error {
	e.lock(&e.writeMu)
	defer e.writeMu.Unlock()
	return errors.Join(e.halted, e.backlog.failed())
}

// Head implements store.Engine.
func (e *Engine) Head() (zodb.TID, zodb.OID) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.st.last, e.st.maxOID
}

// Meta implements store.Engine. A new database has the id of its log as its UUID.
func (e *Engine) Meta(context.Context) (store.Meta, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.st.meta, nil
}

// Stat implements store.Engine.
func (e *Engine) Stat() (objects, bytes int64) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return int64(e.st.index.Objects()), e.st.bytes
}

// Slot returns the last slot of the log that this engine knows.
func (e *Engine) Slot() uint64 {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.st.slot
}

// read gets an object, or a part of it. A store that fails is asked again for a while.
func (e *Engine) read(ctx context.Context, key string, r objstore.Range) ([]byte, error) {
	return e.readFrom(ctx, e.objects, key, r)
}

func (e *Engine) readFrom(ctx context.Context, objects objstore.Store, key string, r objstore.Range) ([]byte, error) {
	for delay := 10 * time.Millisecond; ; delay *= 4 {
		data, err := e.readOnce(ctx, objects, key, r)
		switch {
		case err == nil, errors.Is(err, objstore.ErrNotExist), errors.Is(err, objstore.ErrRange), errors.Is(err, objstore.ErrClosed):
			return data, err
		case ctx.Err() != nil || delay > time.Second:
			return nil, err
		}
		e.opts.Sleep(ctx, delay)
	}
}

// readOnce is one request; of a part of an object it is a second one if the first is slow. Whole
// objects are of any size: of them nobody can say what is slow.
func (e *Engine) readOnce(ctx context.Context, objects objstore.Store, key string, r objstore.Range) (data []byte, err error) {
	if r.Len > 0 && e.hedger != nil && objects == e.objects {
		data, _, err = e.hedger.Read(ctx, key, r)
	} else {
		data, _, err = objstore.Read(ctx, objects, key, r)
	}
	return data, err
}

// upload puts an object under a key that is ours alone.
func (e *Engine) upload(ctx context.Context, key string, object []byte) error {
	for delay := 10 * time.Millisecond; ; delay *= 4 {
		_, err := e.objects.Put(ctx, key, object, objstore.Always)
		if err == nil || ctx.Err() != nil || delay > 3*time.Second {
			return err
		}
		e.opts.Sleep(ctx, delay)
	}
}

// remove deletes an object.
func (e *Engine) remove(ctx context.Context, key string) error {
	return e.removeFrom(ctx, e.objects, key)
}

func (e *Engine) removeFrom(ctx context.Context, objects objstore.Store, key string) error {
	for delay := 10 * time.Millisecond; ; delay *= 4 {
		err := objects.Delete(ctx, key)
		if err == nil || ctx.Err() != nil || delay > time.Second {
			return err
		}
		e.opts.Sleep(ctx, delay)
	}
}

// lock takes a lock. Where nothing is done by itself, somebody else decides who goes on.
func (e *Engine) lock(mu *sync.Mutex) {
	if !e.opts.Manual {
		mu.Lock()
		return
	}
	for !mu.TryLock() {
		e.opts.Sleep(e.ctx, 0)
	}
}
