package cache

import (
	"iter"
	"slices"
	"strconv"
	"sync"

	"github.com/zaridb/zari/internal/revisions"
)

// List is all caches of a process, for operators. A nil one takes none.
type List struct {
	mu     sync.Mutex
	caches []*Storage
}

func (l *List) add(s *Storage) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.caches = append(l.caches, s)
}

func (l *List) remove(s *Storage) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.caches = slices.DeleteFunc(l.caches, func(x *Storage) bool { return x == s })
}

// All yields the name and the counts of each open cache. A name comes once.
func (l *List) All() iter.Seq2[string, revisions.Stats] {
	return func(yield func(string, revisions.Stats) bool) {
		l.mu.Lock()
		list := slices.Clone(l.caches)
		l.mu.Unlock()
		seen := make(map[string]int)
		for _, s := range list {
			name := s.name
			if n := seen[name]; n > 0 {
				name += "#" + strconv.Itoa(n+1)
			}
			seen[s.name]++
			if !yield(name, s.Stats()) {
				return
			}
		}
	}
}
