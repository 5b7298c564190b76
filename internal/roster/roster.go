// Package roster lists what is open in a process, for operators.
package roster

import (
	"iter"
	"slices"
	"strconv"
	"sync"
)

// Roster is what is there now. The zero value is empty; a nil one takes nothing.
type Roster[T comparable] struct {
	mu   sync.Mutex
	list []named[T]
}

type named[T comparable] struct {
	name string
	item T
}

// Add adds an item, which several may be named like.
func (r *Roster[T]) Add(name string, item T) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, named[T]{name, item})
}

// Remove removes an item.
func (r *Roster[T]) Remove(item T) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = slices.DeleteFunc(slices.Clone(r.list), func(n named[T]) bool { return n.item == item })
}

// All yields all items by names, each of which comes once: the second of a name is NAME#2.
func (r *Roster[T]) All() iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		r.mu.Lock()
		list := slices.Clone(r.list)
		r.mu.Unlock()
		seen := make(map[string]int)
		for _, n := range list {
			name := n.name
			if seen[n.name]++; seen[n.name] > 1 {
				name += "#" + strconv.Itoa(seen[n.name])
			}
			if !yield(name, n.item) {
				return
			}
		}
	}
}
