package s3storage

import (
	"sync"
	"time"
)

// pace spaces the PUTs of commits by the window.
type pace struct {
	mu   sync.Mutex
	last time.Time
}

// Gather implements store.Pacer: how long transactions may gather before the next Append: until the
// window that the last one began is over.
func (e *Engine) Gather() time.Duration {
	e.pace.mu.Lock()
	defer e.pace.mu.Unlock()
	return max(max(e.opts.Window, e.backlog.gather())-time.Since(e.pace.last), 0)
}

// paced notes that a PUT begins.
func (e *Engine) paced() {
	e.pace.mu.Lock()
	defer e.pace.mu.Unlock()
	e.pace.last = time.Now()
}
