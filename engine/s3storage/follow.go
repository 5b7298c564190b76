package s3storage

import (
	"context"
	"errors"
)

// follow reads the log of another server, until Close.
func (e *Engine) follow() {
	for {
		e.opts.Sleep(e.ctx, e.opts.Poll)
		if e.ctx.Err() != nil {
			return
		}
		if _, err := e.Follow(e.ctx); err != nil && e.ctx.Err() == nil {
			e.opts.Logger.Warn("the log could not be followed; what is served becomes old", "storage", e.Name(), "error", err)
		}
	}
}

// Follow reads what has come in the log, and returns how many objects that was. A reader
// that was so slow that the log has been collected before it begins again from a
// checkpoint.
func (e *Engine) Follow(ctx context.Context) (int, error) {
	e.lock(&e.writeMu)
	defer e.writeMu.Unlock()
	before := e.Slot()
	n, err := e.catchUp(ctx)
	if errors.Is(err, errBehind) {
		err = e.boot(ctx)
		n = int(e.Slot() - before)
	}
	return n, err
}
