// Package roster lists what is open in a process, for operators.
//
// A storage is a tree of parts, and some have figures to show: how many connections there are, what
// a cache holds, how far a bucket is behind. What has such a part puts it on a page under
// the name of its storage while it is open:
//
//	page := r.Page("main")
//	page.Add(cache)
//	defer page.Close()
//
// Who shows figures asks for all parts of a type, which may be an interface:
//
//	for storage, c := range roster.All[*cache.Storage](r) {
//
// So a part with new figures is known to two places: where it is added, and where it is shown.
// Nothing in between hears of it.
package roster

import (
	"iter"
	"slices"
	"sync"
)

// Roster is what is there now. The zero value is empty; a nil one takes nothing.
type Roster struct {
	mu    sync.Mutex
	lines []line // in the order of Add
}

type line struct {
	page *Page
	part any
}

// Page is where the parts of a storage are added that go together. A nil one takes nothing.
type Page struct {
	roster  *Roster
	storage string
}

// Page returns a new page for a storage. A storage may have several.
func (r *Roster) Page(storage string) *Page {
	if r == nil {
		return nil
	}
	return &Page{r, storage}
}

// Add adds a part, whose methods may be called until a moment after Close.
func (p *Page) Add(part any) {
	if p == nil {
		return
	}
	p.roster.mu.Lock()
	defer p.roster.mu.Unlock()
	p.roster.lines = append(p.roster.lines, line{p, part})
}

// Close removes what was added. It may be called more than once.
func (p *Page) Close() {
	if p == nil {
		return
	}
	p.roster.mu.Lock()
	defer p.roster.mu.Unlock()
	p.roster.lines = slices.DeleteFunc(p.roster.lines, func(l line) bool { return l.page == p })
}

// All yields the parts of type T with the names of their storages, the first that was added first.
// Names may come more than once.
func All[T any](r *Roster) iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		for _, l := range r.now() {
			if part, ok := l.part.(T); ok && !yield(l.page.storage, part) {
				return
			}
		}
	}
}

// now returns a copy, so that parts may come and go while it is looked at.
func (r *Roster) now() []line {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}
