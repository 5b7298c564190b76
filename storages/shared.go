package storages

import (
	"sync"

	"github.com/zaridb/zari/zodb"
)

// shared is a storage that several others use. It is closed when the last of
// their handles is.
type shared struct {
	zodb.Storage
	mu      sync.Mutex
	handles int
}

// handle returns the storage, for one more who uses it.
func (s *shared) handle() zodb.Storage {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handles++
	return &handle{shared: s, close: sync.OnceValue(s.release)}
}

func (s *shared) release() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handles--
	if s.handles > 0 {
		return nil
	}
	return s.Storage.Close()
}

// handle is one use of a shared storage.
type handle struct {
	*shared
	close func() error
}

var (
	_ zodb.Storage = (*handle)(nil)
	_ zodb.Asser   = (*handle)(nil)
)

// Close ends this use of the storage.
func (h *handle) Close() error { return h.close() }

// As finds every ability of the shared storage.
func (h *handle) As(target any) bool { return zodb.PassOn(h.Storage, target) }
