package model

import (
	"fmt"
	"sync"

	"github.com/zaridb/zari/zodb"
)

// trail keeps the last frames of a session for reports.
type trail struct {
	mu   sync.Mutex
	ring [40]step
	n    int
}

// step is one frame, in the numbers that matter.
type step struct {
	what string
	at   int64
	oid  zodb.OID
	a, b zodb.TID
	view zodb.TID
}

// note counts a frame and adds it to the trail.
func (s *Session) note(what string, oid zodb.OID, a, b zodb.TID) {
	t := &s.trail
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ring[t.n%len(t.ring)] = step{what, s.c.opts.Now(), oid, a, b, s.View()}
	t.n++
}

// lines prints the trail, oldest first.
func (t *trail) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for i := max(0, t.n-len(t.ring)); i < t.n; i++ {
		e := t.ring[i%len(t.ring)]
		lines = append(lines, fmt.Sprintf("%12.6fs view %v %-16s oid %v %v %v",
			float64(e.at)/1e9, e.view, e.what, e.oid, e.a, e.b))
	}
	return lines
}
