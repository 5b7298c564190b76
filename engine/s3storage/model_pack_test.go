package s3storage

import (
	"slices"
	"strconv"
	"strings"

	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// modelReferences finds the oids in the records of the model: what stands behind a ">".
func modelReferences(data []byte, dst []zodb.OID) ([]zodb.OID, error) {
	for _, ref := range strings.Split(string(data), ">")[1:] {
		oid, err := strconv.ParseUint(ref, 10, 64)
		if err != nil {
			return nil, err
		}
		dst = append(dst, zodb.OID(oid))
	}
	return dst, nil
}

// replaced checks what a Replace does to where revisions lie, and returns how many it drops.
func (m *model) replaced(n uint64, r *layout.ReplaceRecord) int {
	kept := make(map[*revision]bool)
	for i := range r.New {
		p := layout.Place{Segment: r.New[i].ID}
		records := m.segment(p)
		for _, rev := range records {
			kept[rev] = true
		}
		m.lie[p] = records
	}
	var dropped []*revision
	moved := 0
	for p, records := range m.lie {
		if p.Slot == 0 && !slices.Contains(r.Gone, p.Segment) || p.Slot >= r.UpTo && p.Slot != 0 {
			continue
		}
		for _, rev := range records {
			if kept[rev] {
				moved++
			} else {
				dropped = append(dropped, rev)
			}
		}
		delete(m.lie, p)
	}
	if moved != len(kept) {
		m.fail("slot %d: %d revisions are in segments, and %d of them have moved there", n, len(kept), moved)
	}
	if len(dropped) > 0 && !r.Drops {
		m.fail("slot %d: %d revisions are lost", n, len(dropped))
	}
	if r.Drops {
		m.packed(n, r.PackedTo, dropped)
	}
	return len(dropped)
}

// segment returns the revisions in a segment that a Replace names.
func (m *model) segment(p layout.Place) (records []*revision) {
	object := m.segments[p.Key()]
	var database layout.ID
	if len(object) > 25 {
		database = layout.ID(object[9:25])
	}
	_, body, err := layout.DecodeSegment(object, database, p.Segment)
	for err == nil && len(body) > 0 {
		var t *txnlog.Txn
		if t, body, err = txnlog.Decode(body); err != nil {
			break
		}
		for i := range t.Records {
			r := &t.Records[i]
			rev := m.revision(r.OID, t.TID)
			if rev == nil || rev.gone != 0 || rev.data != string(r.Data) || rev.deleted != (r.Kind == txnlog.Delete) {
				m.fail("%s has something else as revision %v of object %v", p.Key(), t.TID, r.OID)
				return records
			}
			records = append(records, rev)
		}
	}
	if err != nil {
		m.fail("%s: %w", p.Key(), err)
	}
	return records
}

func (m *model) revision(oid zodb.OID, tid zodb.TID) *revision {
	for _, r := range m.revs[oid] {
		if r.tid == tid {
			return r
		}
	}
	return nil
}

// packed checks what a pack drops: revisions that were replaced at its time, and objects
// that cannot be reached any more.
func (m *model) packed(n uint64, at zodb.TID, dropped []*revision) {
	m.count["dropped"] += len(dropped)
	current := make(map[zodb.OID]*revision) // at the pack time
	for oid := range m.revs {
		current[oid], _ = m.before(n-1, oid, at+1)
	}
	var reached map[zodb.OID]bool
	for _, r := range dropped {
		r.gone = n
		switch {
		case r.tid > at:
			m.fail("slot %d: a pack to %v drops revision %v of object %v", n, at, r.tid, r.oid)
		case r != current[r.oid]:
		case slices.ContainsFunc(m.revs[r.oid], func(old *revision) bool { return old.tid < r.tid && old.gone == 0 && !slices.Contains(dropped, old) }):
			m.fail("slot %d: a pack to %v drops revision %v of object %v, and leaves older ones", n, at, r.tid, r.oid)
		case r.deleted:
		case !m.gc:
			m.fail("slot %d: a pack to %v drops revision %v of object %v, which was current then", n, at, r.tid, r.oid)
		default:
			if reached == nil {
				reached = m.reached(n-1, at)
			}
			m.count["garbage"]++
			if reached[r.oid] {
				m.fail("slot %d: a pack to %v drops object %v, which can be reached", n, at, r.oid)
			}
		}
	}
	for p, records := range m.lie {
		for _, r := range records {
			if p.Slot == 0 && r.tid <= at && (r != current[r.oid] || r.deleted) {
				m.fail("slot %d: a pack to %v leaves revision %v of object %v", n, at, r.tid, r.oid)
			}
		}
	}
}

// reached returns the objects that can be reached at a time or later, for whoever has read up
// to a slot.
func (m *model) reached(slot uint64, at zodb.TID) map[zodb.OID]bool {
	reached := make(map[zodb.OID]bool)
	todo := []zodb.OID{0}
	later := func(r *revision) bool { return r.tid > at && r.at(slot) } // an earlier pack may have dropped it
	for oid, revs := range m.revs {
		if slices.ContainsFunc(revs, later) {
			todo = append(todo, oid)
		}
	}
	for len(todo) > 0 {
		oid := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if reached[oid] {
			continue
		}
		reached[oid] = true
		seen, _ := m.before(slot, oid, at+1)
		for _, r := range m.revs[oid] {
			if r != seen && !later(r) {
				continue
			}
			refs, err := modelReferences([]byte(r.data), nil)
			if err != nil {
				m.fail("revision %v of object %v: %w", r.tid, oid, err)
			}
			todo = append(todo, refs...)
		}
	}
	return reached
}
