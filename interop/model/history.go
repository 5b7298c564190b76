package model

import (
	"cmp"
	"slices"

	"github.com/zaridb/zari/zodb"
)

// Txn is one transaction of the truth: what iterating the database shows.
type Txn struct {
	TID     zodb.TID
	Label   Label
	Records []Record
}

// Record is one object's revision in a transaction.
type Record struct {
	OID     zodb.OID
	State   State
	Deleted bool // there are no data: the creation was undone
}

// revision is a committed revision of one object.
type revision struct {
	tid     zodb.TID
	id      StateID
	deleted bool
}

// commit is a committed transaction, as invalidations name it.
type commit struct {
	tid  zodb.TID
	id   StateID
	oids []zodb.OID
}

// history is the truth that is still needed: all that was committed after kept,
// and of each object the newest revision before that.
type history struct {
	base    zodb.TID // everything up to here has been verified
	kept    zodb.TID
	revs    map[zodb.OID][]revision
	commits []commit // after kept
	count   int      // transactions since the beginning
	digest  uint64   // of all of them
}

func newHistory() history { return history{revs: make(map[zodb.OID][]revision)} }

// add appends a transaction.
func (h *history) add(t Txn) {
	oids := make([]zodb.OID, 0, len(t.Records))
	for _, r := range t.Records {
		oids = append(oids, r.OID)
		h.revs[r.OID] = append(h.revs[r.OID], revision{t.TID, r.State.ID, r.Deleted})
	}
	h.commits = append(h.commits, commit{t.TID, t.Label.ID, oids})
	h.base = t.TID
	h.count++
	h.digest = t.fold(h.digest)
}

// fold continues a digest of transactions.
func (t Txn) fold(digest uint64) uint64 {
	digest = mix(mix(digest^uint64(t.TID)) ^ uint64(t.Label.ID))
	for _, r := range t.Records {
		digest = mix(mix(mix(digest^uint64(r.OID))^uint64(r.State.ID)) ^ uint64(r.State.Base))
	}
	return digest
}

// newest returns the newest revision of oid before tid, and the tid of the one
// that replaced it, 0 if none did.
func (h *history) newest(oid zodb.OID, tid zodb.TID) (r revision, next zodb.TID, ok bool) {
	revs := h.revs[oid]
	i, _ := slices.BinarySearchFunc(revs, tid, func(r revision, t zodb.TID) int { return cmp.Compare(r.tid, t) })
	if i < len(revs) {
		next = revs[i].tid
	}
	if i == 0 {
		return revision{}, next, false
	}
	return revs[i-1], next, true
}

// at returns the revision of oid made by tid.
func (h *history) at(oid zodb.OID, tid zodb.TID) (r revision, next zodb.TID, ok bool) {
	r, next, ok = h.newest(oid, tid+1)
	return r, next, ok && r.tid == tid
}

// after returns the commits after tid, in order.
func (h *history) after(tid zodb.TID) []commit {
	i, _ := slices.BinarySearchFunc(h.commits, tid+1, func(c commit, t zodb.TID) int { return cmp.Compare(c.tid, t) })
	return h.commits[i:]
}

// forget drops what is older than tid, except the newest revisions of then.
func (h *history) forget(tid zodb.TID) {
	h.commits = slices.Clone(h.after(tid))
	h.kept = tid
	for oid, revs := range h.revs {
		i, _ := slices.BinarySearchFunc(revs, tid+1, func(r revision, t zodb.TID) int { return cmp.Compare(r.tid, t) })
		if i > 1 {
			h.revs[oid] = slices.Clone(revs[i-1:])
		}
	}
}
