package filestorage

import (
	"context"
	"sync"
	"time"

	"github.com/zaridb/zari/zodb"
)

// pace tells how far a pack has come, and holds it up where it is to be slow. The
// work is counted in bytes of the old file, once for each stage.
type pace struct {
	ctx   context.Context
	rate  int64 // bytes a second, 0 for no bound
	tell  func(done, total int64)
	size  int64 // of a stage
	total int64

	mu      sync.Mutex
	stopped bool
	base    int64 // where the current stage begins
	told    int64
	toldAt  time.Time
	due     time.Time // when what has been moved so far may have been
}

const (
	tellBytes = 16 << 20
	tellTime  = 2 * time.Second
	paceStep  = 50 * time.Millisecond // no shorter sleep is worth it
)

func newPace(ctx context.Context, opts *zodb.PackOptions, size int64, stages int) *pace {
	c := &pace{ctx: ctx, rate: opts.Rate, tell: opts.Progress, size: size, total: size * int64(stages), base: -size}
	if c.tell != nil {
		c.toldAt = time.Now()
	}
	return c
}

// stage begins the next stage.
func (c *pace) stage() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base = min(c.base+c.size, c.total-c.size)
}

// stop ends telling and holding up: from now on others wait.
func (c *pace) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
}

// step notes that the stage has come to at, and that so many bytes were read or
// written for it. It heeds the context.
func (c *pace) step(at, moved int64) error {
	if c.tell != nil || c.rate > 0 {
		c.mu.Lock()
		if !c.stopped {
			c.progress(at)
		}
		wait := c.wait(moved)
		c.mu.Unlock()
		if wait > 0 {
			return c.sleep(wait)
		}
	}
	return c.ctx.Err()
}

func (c *pace) progress(at int64) {
	done := c.base + min(at, c.size)
	if c.tell == nil || done < c.told+tellBytes && (done <= c.told || time.Since(c.toldAt) < tellTime) {
		return
	}
	c.told, c.toldAt = done, time.Now()
	c.tell(done, c.total)
}

// wait returns how long to sleep after moving so many bytes.
func (c *pace) wait(moved int64) time.Duration {
	if c.rate <= 0 || c.stopped {
		return 0
	}
	now := time.Now()
	if c.due.Before(now) {
		c.due = now // time that was not used is not saved up
	}
	c.due = c.due.Add(time.Duration(float64(moved) / float64(c.rate) * float64(time.Second)))
	if d := c.due.Sub(now); d >= paceStep {
		return d
	}
	return 0
}

func (c *pace) sleep(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.ctx.Done():
		return c.ctx.Err()
	case <-t.C:
		return nil
	}
}
