package model

import (
	"slices"

	"github.com/zaridb/zari/zodb"
)

// cache is the part of a ZEO client's cache where errors stay for ever: which
// revision of each object it holds for current. (What it holds for past is a
// fact as soon as it is known, and kept as a reading.)
//
// It follows ZEO/cache.py: a load without a successor enters its revision as
// current, an invalidation closes the entry, a finish reply closes it and enters
// the new revision, and verification after a reconnect drops what changed.
type cache struct {
	current  map[zodb.OID]zodb.TID
	verified bool     // false between a reconnect and the answer of getInvalidations
	since    zodb.TID // while it is not verified: what changed after this is not known
}

func newCache() cache { return cache{current: make(map[zodb.OID]zodb.TID), verified: true} }

// store enters a revision as current.
func (c *cache) store(oid zodb.OID, serial zodb.TID) { c.current[oid] = serial }

// invalidate closes the entry of oid. It returns the serial of a revision that
// the cache now holds as valid until tid; not before the cache is verified, when
// revisions in between may have been missed.
func (c *cache) invalidate(oid zodb.OID, tid zodb.TID) (serial zodb.TID, ok bool) {
	serial, ok = c.current[oid]
	if !ok || serial >= tid {
		return 0, false
	}
	delete(c.current, oid)
	return serial, c.verified
}

// verify drops the oids that changed while the client was away.
func (c *cache) verify(oids []zodb.OID) {
	for _, oid := range oids {
		delete(c.current, oid)
	}
	c.verified = true
}

// oids returns the objects with a current entry, in order.
func (c *cache) oids() []zodb.OID {
	oids := make([]zodb.OID, 0, len(c.current))
	for oid := range c.current {
		oids = append(oids, oid)
	}
	slices.Sort(oids)
	return oids
}
