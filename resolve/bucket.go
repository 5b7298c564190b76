package resolve

import "github.com/zaridb/zari/zodb/pickle"

// bucket is a Bucket, or a Set, which has no values.
type bucket struct {
	keys, values []any
	next         *pickle.Ref // nil: it is the last one
}

func (b *bucket) hasNext(r *pickle.Ref) bool {
	if b.next == nil || r == nil {
		return b.next == r
	}
	return sameReference(b.next, r)
}

// merger merges the changes from base to committed and from base to wanted. It is
// bucket_merge in BTrees/MergeTemplate.c, and takes its branches in the same
// order, since the order decides which comparisons are made.
type merger struct {
	*comparer
	family    family
	base      cursor
	committed cursor
	wanted    cursor
	out       bucket
}

// cursor is a place in a bucket.
type cursor struct {
	*bucket
	at int
}

func (c *cursor) more() bool  { return c.at < len(c.keys) }
func (c *cursor) key() any    { return c.keys[c.at] }
func (c *cursor) first() bool { return c.at == 0 }

// mergeBuckets merges three states of a bucket.
func mergeBuckets(f family, base, committed, wanted *bucket) (*bucket, error) {
	if !base.hasNext(committed.next) || !base.hasNext(wanted.next) {
		return nil, refuse(SplitBucket)
	}
	if len(committed.keys) == 0 || len(wanted.keys) == 0 {
		return nil, refuse(EmptyBucket)
	}
	m := merger{
		comparer: &comparer{}, family: f,
		base: cursor{bucket: base}, committed: cursor{bucket: committed}, wanted: cursor{bucket: wanted},
	}
	for _, step := range []func() error{m.all, m.inserts, m.restCommitted, m.restWanted} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if m.base.more() {
		return nil, refuse(BothDeleted)
	}
	for m.committed.more() {
		m.emit(&m.committed)
	}
	for m.wanted.more() {
		m.emit(&m.wanted)
	}
	if len(m.out.keys) == 0 {
		return nil, refuse(EmptyBucket)
	}
	m.out.next = base.next
	return &m.out, nil
}

// emit moves the pair at c to the output.
func (m *merger) emit(c *cursor) {
	m.out.keys = append(m.out.keys, c.key())
	if m.family.mapping() {
		m.out.values = append(m.out.values, c.values[c.at])
	}
	c.at++
}

func (m *merger) order(a, b *cursor) (int, error) {
	return m.family.compareKeys(m.comparer, a.key(), b.key())
}

// same reports whether the values at two cursors are equal; sets have none, so
// theirs are.
func (m *merger) same(a, b *cursor) (bool, error) {
	if !m.family.mapping() {
		return true, nil
	}
	n, err := m.family.compareValues(m.comparer, a.values[a.at], b.values[b.at])
	return n == 0, err
}

// all goes on while all three have keys.
func (m *merger) all() error {
	for m.base.more() && m.committed.more() && m.wanted.more() {
		toCommitted, err := m.order(&m.base, &m.committed)
		if err != nil {
			return err
		}
		toWanted, err := m.order(&m.base, &m.wanted)
		if err != nil {
			return err
		}
		switch {
		case toCommitted == 0 && toWanted == 0:
			err = m.kept()
		case toCommitted == 0 && toWanted > 0:
			m.emit(&m.wanted)
		case toCommitted == 0:
			err = m.deleted(&m.committed, &m.wanted)
		case toWanted == 0 && toCommitted > 0:
			m.emit(&m.committed)
		case toWanted == 0:
			err = m.deleted(&m.wanted, &m.committed)
		default:
			err = m.changed(toCommitted, toWanted)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// kept handles a key that all have: the value may be changed by one.
func (m *merger) kept() error {
	same, err := m.same(&m.base, &m.committed)
	if err != nil {
		return err
	}
	from := &m.wanted
	if !same {
		if same, err = m.same(&m.base, &m.wanted); err != nil {
			return err
		}
		if !same {
			return refuse(BothChanged)
		}
		from = &m.committed
	}
	m.emit(from)
	m.base.at++
	if from == &m.wanted {
		m.committed.at++
	} else {
		m.wanted.at++
	}
	return nil
}

// deleted handles a key that one still has and the other has not. If the other's
// first key is a later one, then the parent node may have to change too.
func (m *merger) deleted(has, hasNot *cursor) error {
	same, err := m.same(&m.base, has)
	switch {
	case err != nil:
		return err
	case !same:
		return refuse(ChangedDeleted)
	case hasNot.first():
		return refuse(FirstDeleted)
	}
	m.base.at++
	has.at++
	return nil
}

// changed handles that neither has the base's key here: one inserts before it, or
// both have deleted it.
func (m *merger) changed(toCommitted, toWanted int) error {
	n, err := m.order(&m.committed, &m.wanted)
	switch {
	case err != nil:
		return err
	case n == 0:
		return refuse(bothHave(toCommitted))
	case toCommitted > 0 && n > 0:
		m.emit(&m.wanted)
	case toCommitted > 0:
		m.emit(&m.committed)
	case toWanted > 0:
		m.emit(&m.wanted)
	default:
		return refuse(BothDeleted)
	}
	return nil
}

// bothHave tells what it means that both have the same key where base has
// another: the key is new if it is smaller, else base's key is gone.
func bothHave(toCommitted int) Reason {
	if toCommitted > 0 {
		return BothInserted
	}
	return BothDeleted
}

// inserts goes on behind the end of base.
func (m *merger) inserts() error {
	for m.committed.more() && m.wanted.more() {
		n, err := m.order(&m.committed, &m.wanted)
		switch {
		case err != nil:
			return err
		case n == 0:
			return refuse(BothInserted)
		case n > 0:
			m.emit(&m.wanted)
		default:
			m.emit(&m.committed)
		}
	}
	return nil
}

func (m *merger) restCommitted() error { return m.rest(&m.committed) }
func (m *merger) restWanted() error    { return m.rest(&m.wanted) }

// rest goes on where only base and one side have keys: the other side has deleted
// the rest of base.
func (m *merger) rest(has *cursor) error {
	for m.base.more() && has.more() {
		n, err := m.order(&m.base, has)
		if err != nil {
			return err
		}
		if n > 0 {
			m.emit(has)
			continue
		}
		if n < 0 {
			return refuse(BothDeleted)
		}
		same, err := m.same(&m.base, has)
		if err != nil {
			return err
		}
		if !same {
			return refuse(ChangedDeleted)
		}
		m.base.at++
		has.at++
	}
	return nil
}
