package check

import (
	"slices"
	"sync"

	"github.com/zaridb/zari/zodb"
)

// pageLen is how many neighbouring oids share a page.
const pageLen = 256

// table keeps a small value for each of many objects; the zero value stands for
// nothing. Different objects may be set from different goroutines.
type table[V uint32 | uint64] struct {
	mu    sync.RWMutex
	pages map[uint64]*[pageLen]V
	n     int
}

func newTable[V uint32 | uint64]() *table[V] {
	return &table[V]{pages: make(map[uint64]*[pageLen]V)}
}

func (t *table[V]) get(oid zodb.OID) V {
	t.mu.RLock()
	defer t.mu.RUnlock()
	p := t.pages[uint64(oid)/pageLen]
	if p == nil {
		return 0
	}
	return p[oid%pageLen]
}

// set returns the value that was there.
func (t *table[V]) set(oid zodb.OID, v V) V {
	return t.update(oid, func(V) V { return v })
}

// or adds bits to the value, and returns what was there.
func (t *table[V]) or(oid zodb.OID, bits V) V {
	return t.update(oid, func(old V) V { return old | bits })
}

// update puts what change makes of the value in its place, and returns what was
// there.
func (t *table[V]) update(oid zodb.OID, change func(old V) V) V {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := uint64(oid) / pageLen
	p := t.pages[key]
	if p == nil {
		p = new([pageLen]V)
		t.pages[key] = p
	}
	old := p[oid%pageLen]
	v := change(old)
	p[oid%pageLen] = v
	if old == 0 && v != 0 {
		t.n++
	}
	if old != 0 && v == 0 {
		t.n--
	}
	return old
}

// len counts the values that are not zero.
func (t *table[V]) len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.n
}

// bytes is the memory that the table takes, roughly.
func (t *table[V]) bytes() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var v V
	size := int64(4)
	if uint64(^v) > 1<<32 {
		size = 8
	}
	return int64(len(t.pages)) * (pageLen*size + 32)
}

// each calls fn for all values in the order of oids until it returns false. The
// table may be changed meanwhile, for what has been passed.
func (t *table[V]) each(fn func(zodb.OID, V) bool) {
	t.mu.RLock()
	keys := make([]uint64, 0, len(t.pages))
	for k := range t.pages {
		keys = append(keys, k)
	}
	t.mu.RUnlock()
	slices.Sort(keys)
	for _, k := range keys {
		for i := range pageLen {
			oid := zodb.OID(k*pageLen + uint64(i))
			if v := t.get(oid); v != 0 && !fn(oid, v) {
				return
			}
		}
	}
}
