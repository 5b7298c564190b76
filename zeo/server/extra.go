package server

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// Find tells how to open a storage that a client asks for and that is not among
// those that are always open. The key is the same for all names of one storage.
type Find func(name string) (key string, open func(ctx context.Context) (zodb.Storage, error), err error)

// extras are the storages that were opened because a client asked for them. All
// who ask for the same one share it. One that nobody uses any more is closed after
// a while, or when another needs its place.
type extras struct {
	server  *Server
	closing sync.WaitGroup

	mu     sync.Mutex
	open   map[string]*extra // by key
	closed bool
}

// extra is one of them, open or being opened.
type extra struct {
	key   string
	ready chan struct{} // closed when hub or err is there
	hub   *hub
	err   error

	users  int         // guarded by extras.mu, as is the rest
	unused time.Time   // since when
	timer  *time.Timer // closes it, once it was unused for long; nil while it is used
}

// acquire returns the hub of a storage, which must be released.
func (x *extras) acquire(name string) (*hub, error) {
	find := x.server.opts.Find
	if find == nil {
		return nil, unknownStorage(name)
	}
	key, open, err := find(name)
	if err != nil {
		return nil, wire.NewPyError(wire.ValueError, err.Error())
	}
	e, first, err := x.enter(key)
	if err != nil {
		return nil, err
	}
	if !first {
		<-e.ready
		return e.hub, e.err
	}
	e.hub, e.err = x.openHub(key, open)
	close(e.ready)
	if e.err != nil {
		x.mu.Lock()
		delete(x.open, key)
		x.mu.Unlock()
	}
	return e.hub, e.err
}

func unknownStorage(name string) error {
	return wire.NewPyError(wire.ValueError, "unknown storage: "+name)
}

// enter counts one more user, of a storage that is the first's to open.
func (x *extras) enter(key string) (e *extra, first bool, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return nil, false, ErrServerClosed
	}
	if e := x.open[key]; e != nil {
		e.users++
		e.stopTimer()
		return e, false, nil
	}
	if limit := x.server.opts.MaxExtra; len(x.open) >= limit && !x.makeRoom() {
		return nil, false, fmt.Errorf("%d storages are open that clients asked for, all are in use, and there may be no more", limit)
	}
	e = &extra{key: key, ready: make(chan struct{}), users: 1}
	x.open[key] = e
	return e, true, nil
}

func (e *extra) stopTimer() {
	if e.timer != nil {
		e.timer.Stop()
		e.timer = nil
	}
}

// makeRoom closes the storage that has been unused for longest. x.mu is held.
func (x *extras) makeRoom() bool {
	var oldest *extra
	for _, e := range x.open {
		if e.users == 0 && (oldest == nil || e.unused.Before(oldest.unused)) {
			oldest = e
		}
	}
	if oldest == nil {
		return false
	}
	x.shut(oldest)
	return true
}

// shut forgets a storage and closes it beside the caller. x.mu is held.
func (x *extras) shut(e *extra) {
	e.stopTimer()
	delete(x.open, e.key)
	x.closing.Go(func() {
		e.hub.stop()
		if err := e.hub.storage.Close(); err != nil {
			x.server.opts.Logger.Error("closing a storage that a client had asked for", "storage", e.key, "err", err)
		}
	})
}

func (x *extras) openHub(key string, open func(context.Context) (zodb.Storage, error)) (*hub, error) {
	s, err := open(x.server.ctx)
	if err != nil {
		return nil, err
	}
	// Metrics are for what is always there.
	h, err := newHub(key, s, &x.server.opts, prometheus.ObserverFunc(func(float64) {}))
	if err != nil {
		s.Close()
		return nil, err
	}
	x.server.opts.Logger.Info("opened a storage that a client asks for", "storage", key)
	return h, nil
}

// retain counts one more use of a hub that is in use, which must be released.
func (x *extras) retain(h *hub) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e := x.open[h.id]; e != nil && e.hub == h {
		e.users++
	}
}

// release ends one use of a hub. One of a storage that is always open has no need
// of it.
func (x *extras) release(h *hub) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.open[h.id]
	if e == nil || e.hub != h {
		return
	}
	if e.users--; e.users > 0 || x.closed {
		return
	}
	e.unused = time.Now()
	e.timer = time.AfterFunc(x.server.opts.ExtraIdle, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.open[e.key] == e && e.users == 0 {
			x.shut(e)
		}
	})
}

// count returns how many are open.
func (x *extras) count() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.open)
}

// close closes all of them. Nobody uses any, and nobody can ask any more.
func (x *extras) close() {
	x.mu.Lock()
	x.closed = true
	for _, e := range x.open {
		x.shut(e)
	}
	x.mu.Unlock()
	x.closing.Wait()
}
