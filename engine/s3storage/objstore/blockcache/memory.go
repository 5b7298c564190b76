package blockcache

import (
	"container/list"
	"sync"
)

// memory holds the blocks used last, up to so many bytes.
type memory struct {
	max int64

	mu      sync.Mutex
	bytes   int64
	evicted int64
	order   *list.List // of memoryEntry, the last used in front
	blocks  map[blockID]*list.Element
}

type memoryEntry struct {
	id   blockID
	data []byte
}

func newMemory(max int64) *memory {
	return &memory{max: max, order: list.New(), blocks: make(map[blockID]*list.Element)}
}

// costOf is about what a block takes.
func costOf(e memoryEntry) int64 { return int64(len(e.data)+len(e.id.key)) + 200 }

func (m *memory) get(id blockID) ([]byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.blocks[id]
	if !ok {
		return nil, false
	}
	m.order.MoveToFront(e)
	return e.Value.(memoryEntry).data, true
}

func (m *memory) add(id blockID, data []byte) {
	entry := memoryEntry{id, data}
	if costOf(entry) > m.max/4 { // one block must not push out all others
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.blocks[id]; ok {
		return
	}
	m.blocks[id] = m.order.PushFront(entry)
	m.bytes += costOf(entry)
	for m.bytes > m.max {
		last := m.order.Back()
		gone := m.order.Remove(last).(memoryEntry)
		delete(m.blocks, gone.id)
		m.bytes -= costOf(gone)
		m.evicted++
	}
}

func (m *memory) kept() Kept {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Kept{Evicted: m.evicted, Bytes: m.bytes}
}
