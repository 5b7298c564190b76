package memstorage

import (
	"errors"
	"slices"

	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// HistoryFree implements store.HistoryFree.
func (e *Engine) HistoryFree() bool { return e.opts.HistoryFree }

// forget drops what a transaction has overwritten, and then what is left of a
// transaction without records.
func (e *Engine) forget(t *txnlog.Txn) {
	gone := make(map[zodb.TID]map[zodb.OID]bool)
	for i := range t.Records {
		oid := t.Records[i].OID
		revs := e.revisions[oid]
		last := len(revs) - 1
		for _, r := range revs[:last] {
			if gone[r.tid] == nil {
				gone[r.tid] = make(map[zodb.OID]bool)
			}
			gone[r.tid][oid] = true
			if r.record.Blob != "" && e.opts.Blobs != nil {
				e.removeBlob(oid, r.tid)
			}
		}
		e.revisions[oid] = slices.Clone(revs[last:])
	}
	old := e.txns // a Scan may be reading it
	e.txns, e.bytes = nil, 0
	for _, t := range old {
		if t = without(t, gone[t.TID]); len(t.Records) > 0 {
			e.txns = append(e.txns, t)
			e.bytes += t.Size
		}
	}
}

// without returns a transaction without the records of some objects.
func without(t *txnlog.Txn, oids map[zodb.OID]bool) *txnlog.Txn {
	if len(oids) == 0 {
		return t
	}
	left := *t
	left.Size, left.Records = 0, nil
	for _, r := range t.Records {
		if !oids[r.OID] {
			left.Size += int64(len(r.Data))
			left.Records = append(left.Records, r)
		}
	}
	return &left
}

// forgotten reports whether an object is there, but what was asked for is not: it may
// have been overwritten.
func (e *Engine) forgotten(err error) bool {
	missing, ok := errors.AsType[*zodb.NoObjectError](err)
	return ok && e.opts.HistoryFree && missing.Known && missing.DeletedAt == 0
}
