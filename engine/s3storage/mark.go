package s3storage

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/zodb"
)

// marker finds out what can be reached at the pack time or later.
//
// The transactions are read once from the first to the last, and the references of the
// revisions that anybody may still see are noted, in 16 bytes each: reading the objects
// one by one, as they are reached, would be a request for each.
type marker struct {
	*packer
	seen  bitmap
	edges []edge // by from, once sorted
	upTo  zodb.TID
}

type edge struct{ from, to zodb.OID }

// bitmap is a set of oids.
type bitmap map[zodb.OID]*[1 << 10]uint64

func (b bitmap) has(oid zodb.OID) bool {
	page := b[oid>>16]
	return page != nil && page[oid>>6&1023]&(1<<(oid&63)) != 0
}

// add reports whether the oid was not there.
func (b bitmap) add(oid zodb.OID) bool {
	page := b[oid>>16]
	if page == nil {
		page = new([1 << 10]uint64)
		b[oid>>16] = page
	}
	word, bit := &page[oid>>6&1023], uint64(1)<<(oid&63)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}

func (m *marker) has(oid zodb.OID) bool { return m.seen.has(oid) }

// mark finds what is reachable from the root, and from all that was written after the
// pack time.
func (p *packer) mark() error {
	m := &marker{packer: p, seen: make(bitmap)}
	roots := []zodb.OID{0}
	for t, err := range p.Scan(p.ctx, 0, store.Forward) {
		if err != nil {
			return err
		}
		if t.TID > p.pinned {
			break
		}
		for i := range t.Records {
			r := &t.Records[i]
			if !m.counts(r.OID, t.TID) {
				continue
			}
			if t.TID > p.at {
				roots = append(roots, r.OID)
			}
			if err := m.note(r.OID, t.TID, r.Data); err != nil {
				return err
			}
		}
		if err := p.step(t.Size); err != nil {
			return err
		}
	}
	slices.SortFunc(m.edges, func(a, b edge) int { return cmp.Compare(a.from, b.from) })
	p.opts.Report.Memory = int64(16*cap(m.edges) + 8192*len(m.seen))
	m.upTo = p.pinned
	m.follow(roots, func(zodb.OID) {})
	p.live = m
	return nil
}

// counts reports whether somebody who looks at the pack time or later sees the revision.
func (m *marker) counts(oid zodb.OID, tid zodb.TID) bool {
	if tid > m.at {
		return true
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	current, _, _, ok := m.st.index.Before(oid, m.at+1)
	return ok && current.TID == tid
}

// note notes what a revision refers to.
func (m *marker) note(oid zodb.OID, tid zodb.TID, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	refs, err := m.Engine.opts.References(data, nil)
	if err != nil {
		return fmt.Errorf("revision %v of object %v: %w", tid, oid, err)
	}
	for _, ref := range refs {
		m.edges = append(m.edges, edge{oid, ref})
	}
	return nil
}

// follow adds what can be reached, and calls added for each object that was not
// reached before.
func (m *marker) follow(todo []zodb.OID, added func(zodb.OID)) {
	for len(todo) > 0 {
		oid := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !m.seen.add(oid) {
			continue
		}
		added(oid)
		i, _ := slices.BinarySearchFunc(m.edges, oid, func(e edge, oid zodb.OID) int { return cmp.Compare(e.from, oid) })
		for ; i < len(m.edges) && m.edges[i].from == oid; i++ {
			todo = append(todo, m.edges[i].to)
		}
	}
}

// catchUp looks at the transactions that came while segments were written. It reports
// true if by them something can be reached that could not be before, and is old enough
// to have been dropped.
func (m *marker) catchUp() (grown bool, err error) {
	for t, err := range m.Scan(m.ctx, m.upTo+1, store.Forward) {
		if err != nil {
			return false, err
		}
		for i := range t.Records {
			r := &t.Records[i]
			todo := []zodb.OID{r.OID}
			if len(r.Data) > 0 {
				if todo, err = m.Engine.opts.References(r.Data, todo); err != nil {
					return false, fmt.Errorf("revision %v of object %v: %w", t.TID, r.OID, err)
				}
			}
			m.follow(todo, func(oid zodb.OID) { grown = grown || m.old(oid) })
		}
		m.upTo = t.TID
	}
	return grown, nil
}

// old reports whether an object has revisions up to the pack time.
func (m *marker) old(oid zodb.OID) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	_, _, _, ok := m.st.index.Before(oid, m.at+1)
	return ok
}
