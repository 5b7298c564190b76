package storagetest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/zaridb/zari/zodb"
)

// player runs the steps of a generated sequence on one storage.
type player struct {
	*T
	hs     map[string]Harness
	tids   []zodb.TID // of all commits, in order
	log    []string
	packed int // how many transactions there were at the last pack
}

// playObjects is how many objects the steps are about: few, so that they meet.
const playObjects = 6

// play runs a step and says what came of it, with tids named by their order.
func (p *player) play(s step) string {
	p.Helper()
	oid := zodb.OID(s.A % playObjects)
	switch s.Op {
	case "store":
		return p.commits(p.writing(write{oid, p.serial(oid), Object(s.B)}))
	case "pair":
		other := zodb.OID((s.A + 1 + s.B%(playObjects-1)) % playObjects)
		return p.commits(p.writing(write{oid, p.serial(oid), Object(s.B)}, write{other, p.serial(other), Object(s.C)}))
	case "stale":
		return p.stale(oid, s)
	case "check":
		return p.checked(oid, s)
	case "abort":
		txn := p.writing(write{oid, p.serial(oid), Object(s.B)})
		if s.C%2 == 0 {
			p.vote(txn)
		}
		txn.Abort()
		return "aborted"
	case "delete":
		serial := p.serial(oid)
		if !p.exists(oid) {
			return "nothing to delete"
		}
		return p.commits(p.deleting(oid, serial))
	case "undo":
		return p.undone(s)
	case "restore":
		return p.restored(oid, s)
	case "pack":
		if p.anyDeleted() {
			return "not packed: what is left of a deletion is the storage's affair"
		}
		p.pack(p.between())
		p.packed = len(p.tids)
		return "packed"
	case "reopen":
		p.reopen()
		return "reopened"
	}
	p.Fatalf("there is no step %q", s.Op)
	return ""
}

// commits votes and finishes, which must succeed.
func (p *player) commits(txn zodb.Txn) string {
	p.Helper()
	return p.committed(p.end(txn))
}

func (p *player) committed(tid zodb.TID) string {
	p.Helper()
	if len(p.tids) > 0 && tid <= p.tids[len(p.tids)-1] {
		p.Fatalf("transaction %v came after %v", tid, p.tids[len(p.tids)-1])
	}
	p.tids = append(p.tids, tid)
	return "committed as " + p.name(tid)
}

// name is a tid's place in the order of commits.
func (p *player) name(tid zodb.TID) string {
	if tid == 0 {
		return "none"
	}
	i, ok := slices.BinarySearch(p.tids, tid)
	if !ok {
		return "no commit: " + tid.String()
	}
	return fmt.Sprintf("#%d", i)
}

// serial returns the newest revision of an object, deletions included.
func (p *player) serial(oid zodb.OID) zodb.TID {
	p.Helper()
	rec, err := p.S.LoadBefore(p.ctx, oid, zodb.MaxTID)
	if e, ok := errors.AsType[*zodb.NoObjectError](err); ok {
		return e.DeletedAt
	}
	if err != nil {
		p.Fatalf("LoadBefore(%v): %v", oid, err)
	}
	return rec.Serial
}

func (p *player) exists(oid zodb.OID) bool {
	_, err := p.S.LoadBefore(p.ctx, oid, zodb.MaxTID)
	return err == nil
}

// anyDeleted reports whether an object is deleted or had its creation undone.
func (p *player) anyDeleted() bool {
	p.Helper()
	for oid := range zodb.OID(playObjects) {
		if !p.exists(oid) && p.serial(oid) != 0 {
			return true
		}
	}
	return false
}

// stale stores an object from a revision that may be an old one, and merges the
// conflict or gives up.
func (p *player) stale(oid zodb.OID, s step) string {
	p.Helper()
	serial := zodb.TID(0)
	if len(p.tids) > 0 {
		serial = p.tids[s.B%len(p.tids)]
	}
	txn := p.writing(write{oid, serial, Object(s.B)})
	if s.C%3 == 0 {
		other := zodb.OID((s.A + 1) % playObjects)
		p.store(txn, write{other, p.serial(other), Object(s.C)})
	}
	votes, err := txn.Vote(p.ctx)
	if err != nil {
		p.Fatalf("Vote: %v", err)
	}
	said := ""
	for _, c := range votes.Conflicts {
		said += fmt.Sprintf("conflict on %v: %s over %s with %d; ", c.OID, p.name(c.Read), p.name(c.Committed), valueOf(c.Data))
		p.store(txn, write{c.OID, c.Committed, Object(s.C)})
	}
	if len(votes.Conflicts) > 0 {
		if s.C%2 == 0 {
			txn.Abort()
			return said + "aborted"
		}
		p.vote(txn)
	}
	return said + p.committed(p.finish(txn))
}

// checked stores one object and checks another, which may have been read too
// long ago.
func (p *player) checked(oid zodb.OID, s step) string {
	p.Helper()
	serial := p.serial(oid)
	if s.B%2 == 1 && len(p.tids) > 0 {
		serial = p.tids[s.B%len(p.tids)]
	}
	other := zodb.OID((s.A + 1) % playObjects)
	txn := p.writing(write{other, p.serial(other), Object(s.C)})
	p.check(txn, oid, serial)
	_, err := txn.Vote(p.ctx)
	if e, ok := errors.AsType[*zodb.ConflictError](err); ok {
		txn.Abort()
		return fmt.Sprintf("read conflict on %v: %s over %s", e.OID, p.name(e.Read), p.name(e.Committed))
	}
	if err != nil {
		p.Fatalf("Vote: %v", err)
	}
	return p.committed(p.finish(txn))
}

// undone undoes one or two transactions after the last pack.
func (p *player) undone(s step) string {
	p.Helper()
	var log []zodb.TID
	for _, e := range p.undoLog(0, len(p.tids)+1, nil) {
		if i, ok := slices.BinarySearch(p.tids, e.TID); ok && i >= p.packed {
			log = append(log, e.TID)
		}
	}
	if len(log) == 0 {
		return "nothing to undo"
	}
	i := s.A % len(log)
	tids := log[i : i+1]
	if s.B%4 == 0 {
		tids = log[i:min(i+2, len(log))]
	}
	said := "undo of"
	for _, tid := range tids {
		said += " " + p.name(tid)
	}
	txn := p.undoing(tids...)
	votes, err := txn.Vote(p.ctx)
	if _, ok := errors.AsType[*zodb.UndoError](err); ok {
		txn.Abort()
		return said + " refused"
	}
	if err != nil {
		p.Fatalf("Vote of an undo: %v", err)
	}
	slices.Sort(votes.Resolved)
	return fmt.Sprintf("%s changes %v, %s", said, slices.Compact(votes.Resolved), p.committed(p.finish(txn)))
}

func (p *player) restored(oid zodb.OID, s step) string {
	p.Helper()
	r := zodb.TxnRecord{OID: oid, Data: Object(s.B)}
	if s.C%5 == 0 && p.exists(oid) {
		r.Data = nil
	}
	meta := zodb.TxnMeta{TID: p.S.LastTID() + 1, User: []byte("restorer"), Description: fmt.Appendf(nil, "step %d", s.C)}
	return p.commits(p.restoring(meta, r))
}

// describe writes down all that can be read since the last pack.
func (p *player) describe() {
	p.Helper()
	if everyHas(p.hs, CapIterator) {
		for _, txn := range p.history() {
			if i, ok := slices.BinarySearch(p.tids, txn.TID); !ok || i >= p.packed {
				p.describeTransaction(txn)
			}
		}
	}
	for oid := range zodb.OID(playObjects) {
		for _, tid := range p.tids[max(p.packed-1, 0):] {
			if everyHas(p.hs, CapHistorian) {
				p.describeRevision(oid, tid+1)
			}
		}
		p.describeRevision(oid, zodb.MaxTID)
	}
}

func (p *player) describeTransaction(txn *zodb.Transaction) {
	p.Helper()
	records := slices.Clone(txn.Records)
	slices.SortFunc(records, func(a, b zodb.TxnRecord) int { return int(a.OID) - int(b.OID) })
	said := fmt.Sprintf("transaction %s by %q, %q, %q:", p.name(txn.TID), txn.User, txn.Description, txn.Extension)
	for _, r := range records {
		said += fmt.Sprintf(" %v = %d", r.OID, valueOf(r.Data))
		if p.packed == 0 { // a pack may resolve it
			said += " from " + p.name(r.From)
		}
	}
	p.log = append(p.log, said)
}

func (p *player) describeRevision(oid zodb.OID, before zodb.TID) {
	p.Helper()
	said := fmt.Sprintf("object %v before %s+1: ", oid, p.name(before-1))
	if before == zodb.MaxTID {
		said = fmt.Sprintf("object %v now: ", oid)
	}
	rec, err := p.S.LoadBefore(p.ctx, oid, before)
	e, absent := errors.AsType[*zodb.NoObjectError](err)
	switch {
	case absent:
		said += fmt.Sprintf("absent, known %v, deleted at %s", e.Known || e.DeletedAt != 0, p.name(e.DeletedAt))
	case err != nil:
		p.Fatalf("LoadBefore(%v, %v): %v", oid, before, err)
	default:
		said += fmt.Sprintf("%d of %s, next %s", valueOf(rec.Data), p.name(rec.Serial), p.name(rec.Next))
	}
	p.log = append(p.log, said)
}
