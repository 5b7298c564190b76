package resolve

import (
	"cmp"
	"encoding/json"
	"slices"
	"sync"
)

// maxClasses bounds how many classes are counted by name. Clients choose the
// names.
const maxClasses = 200

// otherClasses is the name for all classes beyond, and for what is no class.
const otherClasses = "other"

// stats counts conflicts by class.
type stats struct {
	mu      sync.Mutex
	classes map[string]*ClassStats
}

// Outcomes counts conflicts of one class.
type Outcomes struct {
	Merged  int64
	Refused [reasons]int64 // by Reason
}

// ClassStats is what became of the conflicts of one class.
type ClassStats struct {
	Class  string
	Stores Outcomes // what is refused here was handed to a client
	Undos  Outcomes // what is refused here made an undo fail
	Checks Outcomes `json:",omitzero"` // with MergeSplits; merged: it passed, what is refused was a conflict
}

// met is what met in a conflict: two stores, an undo and what came later, or a store
// and the wish that the object be current.
type met int

const (
	stores met = iota
	undos
	checks
)

func (s *stats) count(class string, m met, r Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.of(class)
	o := [...]*Outcomes{stores: &c.Stores, undos: &c.Undos, checks: &c.Checks}[m]
	if r == NoReason {
		o.Merged++
		return
	}
	o.Refused[r]++
}

func (s *stats) of(class string) *ClassStats {
	if s.classes == nil {
		s.classes = make(map[string]*ClassStats)
	}
	if s.classes[class] == nil && len(s.classes) >= maxClasses {
		class = otherClasses
	}
	c := s.classes[class]
	if c == nil {
		c = &ClassStats{Class: class}
		s.classes[class] = c
	}
	return c
}

// Stats returns the counts of all classes that had conflicts, those with most
// first.
func (r *Resolver) Stats() []ClassStats {
	r.stats.mu.Lock()
	defer r.stats.mu.Unlock()
	var all []ClassStats
	for _, c := range r.stats.classes {
		all = append(all, *c)
	}
	slices.SortFunc(all, func(a, b ClassStats) int {
		return cmp.Or(cmp.Compare(b.conflicts(), a.conflicts()), cmp.Compare(a.Class, b.Class))
	})
	return all
}

func (c *ClassStats) conflicts() int64 {
	return c.Stores.conflicts() + c.Undos.conflicts() + c.Checks.conflicts()
}

func (o *Outcomes) conflicts() int64 {
	n := o.Merged
	for _, refused := range o.Refused {
		n += refused
	}
	return n
}

// ByName returns the counts that are not zero under the names of their reasons,
// and what was merged under "merged".
func (o *Outcomes) ByName() map[string]int64 {
	counts := make(map[string]int64)
	if o.Merged > 0 {
		counts[NoReason.String()] = o.Merged
	}
	for r, n := range o.Refused {
		if n > 0 {
			counts[Reason(r).String()] = n
		}
	}
	return counts
}

// MarshalJSON gives ByName.
func (o Outcomes) MarshalJSON() ([]byte, error) { return json.Marshal(o.ByName()) }
