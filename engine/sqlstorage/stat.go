package sqlstorage

import (
	"sync/atomic"

	"github.com/zaridb/zari/txnlog"
)

// statistics are what a database estimated when it was opened or packed, and what
// was written since.
type statistics struct{ objects, bytes atomic.Int64 }

func (s *statistics) set(objects, bytes int64) {
	s.objects.Store(objects)
	s.bytes.Store(bytes)
}

func (s *statistics) add(r *txnlog.Record) {
	if r.Prev == 0 {
		s.objects.Add(1)
	}
	s.bytes.Add(int64(r.Len()) + rowBytes)
}

// rowBytes is about what a row takes besides its state.
const rowBytes = 80

// Stat implements store.Engine.
func (e *Engine) Stat() (objects, bytes int64) { return e.stat.objects.Load(), e.stat.bytes.Load() }
