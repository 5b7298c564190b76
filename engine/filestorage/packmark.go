package filestorage

import (
	"fmt"

	"github.com/zaridb/zari/zodb"
)

// marker finds out what is reachable at the pack time.
type marker struct {
	*packer
	current *index // at the pack time
	reached *index // the records that are kept
	todo    []zodb.OID
	refs    []zodb.OID
}

// findReachable reduces keep to what is reachable: from the root as of the pack
// time, and from everything written after it. Python's pack looks only at back
// pointers of what was written later; so it loses an object that was unreachable
// for a while around the pack time and then put to use again.
func (p *packer) findReachable() error {
	m := &marker{packer: p, current: p.keep, reached: newIndex()}
	p.extra = make(map[int64]bool)
	switch {
	case p.keep.get(0) != 0:
		m.todo = append(m.todo, 0)
	case p.keep.n > 0:
		return fmt.Errorf("there is no root object to start from: %w", &zodb.NoObjectError{})
	}
	if err := m.follow(true); err != nil {
		return err
	}
	if err := m.later(); err != nil {
		return err
	}
	p.keep = m.reached
	return nil
}

// follow marks all that is reachable from todo. A reference to nothing is an
// error if strict: then the data are damaged, and it is no time to throw
// anything away.
func (m *marker) follow(strict bool) error {
	for len(m.todo) > 0 {
		if err := m.ctx.Err(); err != nil {
			return err
		}
		oid := m.todo[len(m.todo)-1]
		m.todo = m.todo[:len(m.todo)-1]
		if m.reached.get(oid) != 0 {
			continue
		}
		pos := m.current.get(oid)
		m.reached.set(oid, pos)
		if err := m.addRefs(pos, oid, strict); err != nil {
			return err
		}
	}
	return nil
}

// addRefs puts what the record at pos refers to into todo.
func (m *marker) addRefs(pos int64, oid zodb.OID, strict bool) error {
	buf := readBuffers.Get().(*[readAhead]byte)
	defer readBuffers.Put(buf)
	h, n, err := m.src.read(pos, oid, buf[:])
	if err != nil {
		return err
	}
	data, err := m.src.data(pos, &h, buf[:], n)
	if err != nil || data == nil {
		return err
	}
	if m.refs, err = m.Storage.opts.References(data, m.refs[:0]); err != nil {
		return fmt.Errorf("references of object %v at offset %d: %w", oid, pos, err)
	}
	for _, ref := range m.refs {
		switch {
		case m.current.get(ref) != 0:
			m.todo = append(m.todo, ref)
		case strict:
			return fmt.Errorf("object %v refers to an object that is missing: %w", oid, &zodb.NoObjectError{OID: ref})
		}
	}
	return nil
}

// later marks what transactions after the pack time refer to, by references and
// by back pointers.
func (m *marker) later() error {
	sc := m.scanner(m.packPos, m.src.end)
	for sc.Txn() {
		if err := m.step(sc); err != nil {
			return err
		}
		for sc.Record() {
			if back := sc.Rec.Back; back != 0 && back < m.packPos {
				m.keepAlso(sc.Rec.OID, back)
			}
			if err := m.addRefs(sc.Pos, sc.Rec.OID, false); err != nil {
				return err
			}
		}
		if err := m.follow(false); err != nil {
			return err
		}
	}
	return sc.Err()
}

// keepAlso keeps a record that a later one points back to.
func (m *marker) keepAlso(oid zodb.OID, pos int64) {
	if m.reached.get(oid) != pos {
		m.extra[pos] = true
	}
}
