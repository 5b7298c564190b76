package server

import (
	"cmp"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
)

// pack(time, wait=True) drops what nobody sees who looks at or after time. Who waits
// for it cancels it by going away; else it goes on until it is done or the server is
// closed.
func pack(x *session, m *wire.Message) (any, error) {
	at, err := m.Float(0)
	if err != nil {
		return nil, err
	}
	p, ok := zodb.As[zodb.Packer](x.hub.storage)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	when := time.Unix(0, int64(at*1e9))
	if m.Len() < 2 || m.Bool(1) {
		return nil, cmp.Or(x.beside(func(m *wire.Message) {
			if err := x.pack(x.ctx, p, when); err != nil {
				x.answerError(m.ID, m.Method, err)
				return
			}
			x.answer(m.ID, nil)
		}), errAnswered)
	}
	x.server.extras.retain(x.hub) // the client may be gone before the pack is done
	x.server.background(func(ctx context.Context) {
		defer x.server.extras.release(x.hub)
		x.pack(ctx, p, when)
	})
	return nil, nil
}

func (x *session) pack(ctx context.Context, p zodb.Packer, at time.Time) error {
	log := x.log().With("storage", x.hub.id)
	log.Info("pack started", "time", at)
	s := &x.hub.stats.pack
	s.begin()
	defer s.end()
	began := time.Now()
	told := began
	var r zodb.PackReport
	err := p.Pack(ctx, at, zodb.PackOptions{Report: &r, Progress: func(done, total int64) {
		s.progress(done, total)
		if now := time.Now(); now.Sub(told) >= tellPack && done > 0 {
			told = now
			took := now.Sub(began)
			log.Info("packing", "percent", done*100/total, "MB/s", float64(done)/1e6/took.Seconds(),
				"left", (time.Duration(float64(took) / float64(done) * float64(total-done))).Round(time.Second))
		}
	}})
	took := time.Since(began).Round(time.Millisecond)
	switch {
	case err != nil && ctx.Err() != nil:
		log.Warn("pack cancelled; the storage is as it was", "took", took, "err", err)
		return err
	case err != nil:
		log.Error("pack failed", "took", took, "err", err)
		return err
	case r.Unchanged:
		log.Info("pack complete: there was nothing to be gained", "took", took)
	default:
		log.Info("pack complete", "took", took, "objects before", r.ObjectsBefore, "objects", r.ObjectsAfter,
			"bytes before", r.BytesBefore, "bytes", r.BytesAfter, "revisions dropped", r.Revisions,
			"blobs removed", r.Blobs, "memory", r.Memory)
	}
	x.hub.broadcastInfo()
	return nil
}

// tellPack is how often the log says how far a pack is.
const tellPack = 10 * time.Second

// packStats tell of the pack under way. A storage runs one at a time; of a second
// one, which it refuses, they show nothing.
type packStats struct {
	running atomic.Int64
	permil  atomic.Int64 // done of it
}

func (s *packStats) begin() {
	if s.running.Add(1) == 1 {
		s.permil.Store(0)
	}
}

func (s *packStats) end() { s.running.Add(-1) }

func (s *packStats) progress(done, total int64) {
	if total > 0 {
		s.permil.Store(int64(float64(done) / float64(total) * 1000))
	}
}

// part returns how much of the pack under way is done, 0 if there is none.
func (s *packStats) part() float64 {
	if s.running.Load() == 0 {
		return 0
	}
	return float64(s.permil.Load()) / 1000
}
