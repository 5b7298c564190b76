package sqlstorage

import (
	"context"
	"slices"

	"github.com/zaridb/zari/blobs"
	"github.com/zaridb/zari/zodb"
)

// pageRemove is how many transactions, or objects, are packed in one transaction of
// SQL: commits wait for so long.
const pageRemove = 100

// removable is a transaction and what goes of it.
type removable struct {
	tid  int64
	rows int64   // of object_state
	gone []int64 // objects whose revision is not kept
	ends []int64 // those of them whose newest it is: they go altogether
}

func blobID(oid, tid int64) blobs.ID { return blobs.ID{OID: zodb.OID(oid), TID: zodb.TID(tid)} }

// removeRevisions packs transactions, from the oldest on.
func (p *packer) removeRevisions(ctx context.Context) error {
	for after := int64(0); after < p.at; {
		var page []*removable
		var gone []blobs.ID
		err := p.locked(ctx, func(s Session) (err error) {
			gone = gone[:0]
			if err = p.recheck(ctx, s); err != nil {
				return err
			}
			if page, err = p.removablePage(ctx, s, after); err != nil || len(page) == 0 {
				return err
			}
			gone, err = p.remove(ctx, s, page)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		p.report.Revisions += int64(len(gone))
		p.dropBlobs(gone)
		after = page[len(page)-1].tid
		if err := p.progress(ctx, int64(len(page)), int64(len(gone))*rowBytes); err != nil {
			return err
		}
	}
	return nil
}

// recheck keeps what was linked again since the last page.
func (p *packer) recheck(ctx context.Context, s Session) error {
	if !p.gc {
		return nil
	}
	return p.markNew(ctx, s)
}

const (
	nextTransactions = `SELECT tid FROM "transaction" WHERE tid > ? AND tid <= ? ORDER BY tid LIMIT ?`
	statesOf         = `SELECT o.zoid, o.tid, o.state IS NULL,
			EXISTS (SELECT 1 FROM object_state n WHERE n.zoid = o.zoid AND n.tid > o.tid AND n.tid <= ?),
			EXISTS (SELECT 1 FROM object_state n WHERE n.zoid = o.zoid AND n.tid > o.tid)
		FROM object_state o WHERE o.tid >= ? AND o.tid <= ? ORDER BY o.tid, o.zoid`
)

// removablePage looks at the next transactions.
func (p *packer) removablePage(ctx context.Context, s Session, after int64) (page []*removable, err error) {
	byTID := make(map[int64]*removable)
	for row, err := range s.Query(ctx, nextTransactions, after, p.at, int64(pageRemove)) {
		if err != nil {
			return nil, err
		}
		t := new(removable)
		if err := row.Scan(&t.tid); err != nil {
			return nil, err
		}
		page = append(page, t)
		byTID[t.tid] = t
	}
	if len(page) == 0 {
		return nil, nil
	}
	for row, err := range s.Query(ctx, statesOf, p.at, page[0].tid, page[len(page)-1].tid) {
		if err != nil {
			return nil, err
		}
		var oid, tid int64
		var deleted, superseded, later bool
		if err := row.Scan(&oid, &tid, &deleted, &superseded, &later); err != nil {
			return nil, err
		}
		t := byTID[tid]
		if t == nil {
			return nil, corrupt(p.db, "object %v has a revision of transaction %v, which is not there", zodb.OID(oid), zodb.TID(tid))
		}
		t.rows++
		if superseded || p.gc && !p.marks.live.has(oid) || deleted && !later && !p.opts.Overlay {
			t.gone = append(t.gone, oid)
			if !later {
				t.ends = append(t.ends, oid)
			}
		}
	}
	return page, p.spareVoted(ctx, s, page)
}

// spareVoted keeps the objects that are about to be written again.
func (p *packer) spareVoted(ctx context.Context, s Session, page []*removable) error {
	var ends []int64
	for _, t := range page {
		ends = append(ends, t.ends...)
	}
	free, err := p.unvoted(ctx, s, ends)
	if err != nil || len(free) == len(ends) {
		return err
	}
	for _, t := range page {
		for _, oid := range t.ends {
			if !free[oid] {
				t.gone = slices.DeleteFunc(t.gone, func(gone int64) bool { return gone == oid })
			}
		}
		t.ends = slices.DeleteFunc(t.ends, func(oid int64) bool { return !free[oid] })
	}
	return nil
}

// unvoted returns the objects whose rows may be removed without waiting for a vote.
func (p *packer) unvoted(ctx context.Context, s Session, oids []int64) (map[int64]bool, error) {
	free := oids
	if l, ok := p.db.(RowLocker); ok && len(oids) > 0 {
		var err error
		if free, err = l.LockFree(ctx, s, p.form, oids); err != nil {
			return nil, err
		}
	}
	set := make(map[int64]bool, len(free))
	for _, oid := range free {
		set[oid] = true
	}
	return set, nil
}

// removeUnvoted removes the rows of objects that unvoted has returned.
func (p *packer) removeUnvoted(ctx context.Context, s Session, oids []int64) error {
	if l, ok := p.db.(RowLocker); ok && len(oids) > 0 {
		return l.DeleteFree(ctx, s, p.form, oids)
	}
	return execIn(ctx, p.db, s, `DELETE FROM `+p.form.objects()+` WHERE `, "zoid", oids)
}

// remove removes what goes of a page of transactions. Of what goes altogether, all
// rows of a table go with one statement.
func (p *packer) remove(ctx context.Context, s Session, page []*removable) (gone []blobs.ID, err error) {
	last, err := number(ctx, s, p.form.SelectLast())
	if err != nil {
		return nil, err
	}
	var whole, kept, ends []int64
	for _, t := range page {
		ends = append(ends, t.ends...)
	}
	if err := p.removeUnvoted(ctx, s, ends); err != nil {
		return nil, err
	}
	for _, t := range page {
		for _, oid := range t.gone {
			gone = append(gone, blobID(oid, t.tid))
		}
		switch {
		case int64(len(t.gone)) == t.rows:
			whole = append(whole, t.tid)
		default:
			kept = append(kept, t.tid)
			if err := p.removeSome(ctx, s, t); err != nil {
				return nil, err
			}
		}
	}
	if err := p.removeWhole(ctx, s, whole, last); err != nil {
		return nil, err
	}
	return gone, execIn(ctx, p.db, s, `UPDATE "transaction" SET packed = TRUE WHERE packed = FALSE AND `, "tid", kept)
}

// removeSome removes revisions of a transaction that others are kept of.
func (p *packer) removeSome(ctx context.Context, s Session, t *removable) error {
	for _, statement := range []string{
		`UPDATE object_state SET prev_tid = 0 WHERE prev_tid = ? AND `,
		`DELETE FROM object_state WHERE tid = ? AND `,
		`DELETE FROM object_ref WHERE tid = ? AND `,
		`DELETE FROM zari_undone WHERE tid = ? AND `,
	} {
		if err := execIn(ctx, p.db, s, statement, "zoid", t.gone, t.tid); err != nil {
			return err
		}
	}
	return nil
}

// removeWhole removes transactions with all revisions. The row of the last
// transaction of all stays, empty: tids must not go back.
func (p *packer) removeWhole(ctx context.Context, s Session, tids []int64, last int64) error {
	for _, statement := range []struct{ text, column string }{
		{`UPDATE object_state SET prev_tid = 0 WHERE `, "prev_tid"},
		{`DELETE FROM object_state WHERE `, "tid"},
		{`DELETE FROM object_ref WHERE `, "tid"},
		{`DELETE FROM object_refs_added WHERE `, "tid"},
		{`DELETE FROM zari_undone WHERE `, "tid"},
		{`UPDATE "transaction" SET packed = TRUE, is_empty = TRUE WHERE `, "tid"},
	} {
		if err := execIn(ctx, p.db, s, statement.text, statement.column, tids); err != nil {
			return err
		}
	}
	return execIn(ctx, p.db, s, `DELETE FROM "transaction" WHERE tid <> ? AND `, "tid", tids, last)
}

// execIn runs a statement that ends in a condition, for at most MaxIn values at a time.
func execIn(ctx context.Context, d Dialect, s Session, statement, column string, values []int64, args ...any) error {
	for len(values) > 0 {
		n := min(len(values), MaxIn)
		cond, more := d.In(column, values[:n])
		if _, err := s.Exec(ctx, statement+cond, append(append([]any{}, args...), more...)...); err != nil {
			return err
		}
		values = values[n:]
	}
	return nil
}

const objectsAfter = `SELECT zoid, tid, state IS NULL FROM object_state WHERE zoid > ? ORDER BY zoid LIMIT ?`

// removeObjects removes what is deleted or garbage from a history-free database.
func (p *packer) removeObjects(ctx context.Context) error {
	for after := int64(-1); ; {
		var gone []blobs.ID
		end := after
		err := p.locked(ctx, func(s Session) (err error) {
			if err = p.recheck(ctx, s); err != nil {
				return err
			}
			if gone, end, err = p.goneObjects(ctx, s, after); err != nil || len(gone) == 0 {
				return err
			}
			return p.removeRows(ctx, s, gone)
		})
		if err != nil || end == after {
			return err
		}
		p.report.Revisions += int64(len(gone))
		p.dropBlobs(gone)
		after = end
		if err := p.progress(ctx, pageRemove, int64(len(gone))*rowBytes); err != nil {
			return err
		}
	}
}

// goneObjects looks at the next objects, and returns those that go, and how far it
// looked.
func (p *packer) goneObjects(ctx context.Context, s Session, after int64) (gone []blobs.ID, end int64, err error) {
	end = after
	for row, err := range s.Query(ctx, objectsAfter, after, int64(pageRemove)) {
		if err != nil {
			return nil, 0, err
		}
		var tid int64
		var deleted bool
		if err := row.Scan(&end, &tid, &deleted); err != nil {
			return nil, 0, err
		}
		if tid <= p.at && (p.gc && !p.marks.live.has(end) || deleted && !p.opts.Overlay) {
			gone = append(gone, blobID(end, tid))
		}
	}
	oids := make([]int64, len(gone))
	for i, id := range gone {
		oids[i] = int64(id.OID)
	}
	free, err := p.unvoted(ctx, s, oids)
	gone = slices.DeleteFunc(gone, func(id blobs.ID) bool { return !free[int64(id.OID)] })
	return gone, end, err
}

// removeRows removes objects. The largest tid may go with them: the floor keeps it.
func (p *packer) removeRows(ctx context.Context, s Session, gone []blobs.ID) error {
	last, err := number(ctx, s, p.form.SelectLast())
	if err != nil {
		return err
	}
	if _, err := s.Exec(ctx, raiseFloor, last, last); err != nil {
		return err
	}
	raise(&p.floor, uint64(last))
	oids := make([]int64, len(gone))
	for i, id := range gone {
		oids[i] = int64(id.OID)
	}
	if err := p.removeUnvoted(ctx, s, oids); err != nil {
		return err
	}
	for _, table := range []string{"object_ref", "object_refs_added"} {
		if err := execIn(ctx, p.db, s, `DELETE FROM `+table+` WHERE `, "zoid", oids); err != nil {
			return err
		}
	}
	return nil
}
