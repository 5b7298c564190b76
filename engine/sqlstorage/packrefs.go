package sqlstorage

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/zaridb/zari/zodb"
)

// pageRefs is for how many transactions, or objects, references are looked up at a
// time.
const pageRefs = 200

// reference is a row of object_ref.
type reference struct{ from, tid, to int64 }

// fillReferences brings object_ref and object_refs_added up to date. Both are
// RelStorage's, which trusts them as well.
func (p *packer) fillReferences(ctx context.Context) error {
	todo, after, err := p.missingReferences(ctx, -1)
	for err == nil && len(todo) > 0 {
		if err = p.addReferences(ctx, todo); err != nil {
			break
		}
		todo, after, err = p.missingReferences(ctx, after)
	}
	return err
}

// What has no references yet: transactions (preserving) or objects (free), in order.
const (
	missingPreserving = `SELECT t.tid, t.tid FROM "transaction" t
		WHERE t.tid > ? AND NOT EXISTS (SELECT 1 FROM object_refs_added a WHERE a.tid = t.tid) ORDER BY t.tid LIMIT ?`
	missingFree = `SELECT o.zoid, o.tid FROM object_state o
		WHERE o.zoid > ? AND NOT EXISTS (SELECT 1 FROM object_refs_added a WHERE a.zoid = o.zoid AND a.tid = o.tid) ORDER BY o.zoid LIMIT ?`
)

// missingReferences returns the keys of the next ones.
func (p *packer) missingReferences(ctx context.Context, after int64) (keys []int64, last int64, err error) {
	statement := missingPreserving
	if p.form == Free {
		statement = missingFree
	}
	err = p.db.Read(ctx, func(s Session) error {
		keys = keys[:0]
		for row, err := range s.Query(ctx, statement, after, int64(pageRefs)) {
			if err != nil {
				return err
			}
			var tid int64
			if err := row.Scan(&last, &tid); err != nil {
				return err
			}
			keys = append(keys, last)
		}
		return nil
	})
	return keys, last, err
}

// keyed is what object_refs_added has a row for.
func (p *packer) keyed() string {
	if p.form == Free {
		return "zoid"
	}
	return "tid"
}

// addReferences reads what the transactions, or objects, refer to, and writes it down.
func (p *packer) addReferences(ctx context.Context, keys []int64) error {
	var refs []reference
	tids := make(map[int64]int64, len(keys)) // of objects
	var bytes int64
	cond, args := p.db.In(p.keyed(), keys)
	err := p.db.Read(ctx, func(s Session) error {
		refs, bytes = refs[:0], 0
		return p.eachReference(ctx, s, cond, args, func(r reference) { refs = append(refs, r) }, func(oid, tid, size int64) {
			tids[oid] = tid
			bytes += size
		})
	})
	if err != nil {
		return err
	}
	err = p.db.Write(ctx, func(s Session) error {
		for _, table := range []string{"object_ref", "object_refs_added"} {
			if _, err := s.Exec(ctx, `DELETE FROM `+table+` WHERE `+cond, args...); err != nil {
				return err
			}
		}
		if err := insertMany(ctx, s, "object_ref (zoid, tid, to_zoid)", 3, len(refs), func(i int) []any {
			return []any{refs[i].from, refs[i].tid, refs[i].to}
		}); err != nil {
			return err
		}
		if p.form == Preserving {
			return insertMany(ctx, s, "object_refs_added (tid)", 1, len(keys), func(i int) []any { return []any{keys[i]} })
		}
		// An object that was removed meanwhile has no tid.
		keys = slices.DeleteFunc(keys, func(oid int64) bool { return tids[oid] == 0 })
		return insertMany(ctx, s, "object_refs_added (zoid, tid)", 2, len(keys), func(i int) []any { return []any{keys[i], tids[keys[i]]} })
	})
	if err != nil {
		return err
	}
	return p.progress(ctx, 0, bytes)
}

// eachReference calls found for every reference, each once, and state for every state
// of the rows of object_state that a condition picks.
func (p *packer) eachReference(ctx context.Context, s Session, cond string, args []any, found func(reference), state func(oid, tid, size int64)) error {
	var refs []zodb.OID
	for row, err := range s.Query(ctx, `SELECT zoid, tid, state FROM object_state WHERE `+cond, args...) {
		if err != nil {
			return err
		}
		var oid, tid int64
		var data []byte
		if err := row.Scan(&oid, &tid, &data); err != nil {
			return err
		}
		state(oid, tid, int64(len(data)))
		if data == nil {
			continue
		}
		if refs, err = p.Engine.opts.References(data, refs[:0]); err != nil {
			return fmt.Errorf("object %v of transaction %v: %w", zodb.OID(oid), zodb.TID(tid), err)
		}
		slices.Sort(refs)
		for _, to := range slices.Compact(refs) {
			if int64(to) >= 0 { // no row can have another
				found(reference{oid, tid, int64(to)})
			}
		}
	}
	return nil
}

// insertAtOnce is how many rows one statement inserts.
const insertAtOnce = 50

// insertMany inserts n rows into a table: many with one statement, and the rest one by
// one, so that there are two statements to prepare.
func insertMany(ctx context.Context, s Session, into string, columns, n int, row func(i int) []any) error {
	one := "(?" + strings.Repeat(", ?", columns-1) + ")"
	single := "INSERT INTO " + into + " VALUES " + one
	many := single + strings.Repeat(", "+one, insertAtOnce-1)
	args := make([]any, 0, insertAtOnce*columns)
	for i := 0; i < n; {
		statement, end := single, i+1
		if n-i >= insertAtOnce {
			statement, end = many, i+insertAtOnce
		}
		args = args[:0]
		for ; i < end; i++ {
			args = append(args, row(i)...)
		}
		if _, err := s.Exec(ctx, statement, args...); err != nil {
			return err
		}
	}
	return nil
}

// What can be reached: the root, what was changed after the pack, and what that refers
// to; and from there on what the revisions refer to that will be kept.
const (
	rootsPreserving = `SELECT zoid FROM current_object WHERE tid > ?`
	rootsFree       = `SELECT zoid FROM object_state WHERE tid > ?`
	edgesPreserving = `SELECT r.zoid, r.tid, r.to_zoid FROM object_ref r WHERE r.tid > ? OR r.tid =
		(SELECT MAX(o.tid) FROM object_state o WHERE o.zoid = r.zoid AND o.tid <= ?)`
	edgesFree = `SELECT r.zoid, r.tid, r.to_zoid FROM object_ref r WHERE r.tid > ? OR r.tid <= ?`
)

// mark marks what can be reached.
func (p *packer) mark(ctx context.Context) error {
	edges, rootsOf := edgesPreserving, rootsPreserving
	if p.form == Free {
		edges, rootsOf = edgesFree, rootsFree
	}
	roots := []int64{0}
	err := p.db.Snapshot(ctx, func(s Session) (err error) {
		p.marks, roots = graph{}, roots[:1]
		if p.seen, err = number(ctx, s, p.form.SelectLast()); err != nil {
			return err
		}
		for row, err := range s.Query(ctx, rootsOf, p.at) {
			if err != nil {
				return err
			}
			var oid int64
			if err := row.Scan(&oid); err != nil {
				return err
			}
			roots = append(roots, oid)
		}
		for row, err := range s.Query(ctx, edges, p.at, p.at) {
			if err != nil {
				return err
			}
			var r reference
			if err := row.Scan(&r.from, &r.tid, &r.to); err != nil {
				return err
			}
			if r.tid > p.at {
				roots = append(roots, r.to)
			} else {
				p.marks.add(r.from, r.to)
			}
		}
		// What was committed after the references were filled in is not in object_ref.
		return p.eachReference(ctx, s, p.unfilled(), []any{p.at}, func(r reference) { roots = append(roots, r.to) }, func(oid, _, _ int64) { roots = append(roots, oid) })
	})
	if err != nil {
		return err
	}
	p.marks.sort()
	for _, oid := range roots {
		p.marks.mark(oid)
	}
	return nil
}

// unfilled picks the states after a tid that have no references yet.
func (p *packer) unfilled() string {
	if p.form == Free {
		return `tid > ? AND NOT EXISTS (SELECT 1 FROM object_refs_added a WHERE a.zoid = object_state.zoid AND a.tid = object_state.tid)`
	}
	return `tid > ? AND NOT EXISTS (SELECT 1 FROM object_refs_added a WHERE a.tid = object_state.tid)`
}

// markNew marks what transactions refer to that were committed since the marks were
// made. It is called under the commit lock.
func (p *packer) markNew(ctx context.Context, s Session) error {
	last, err := number(ctx, s, p.form.SelectLast())
	if err != nil || last <= p.seen {
		return err
	}
	err = p.eachReference(ctx, s, `tid > ?`, []any{p.seen}, func(r reference) { p.marks.mark(r.to) }, func(oid, _, _ int64) { p.marks.mark(oid) })
	if err == nil {
		p.seen = last
	}
	return err
}
