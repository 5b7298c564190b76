package check

import (
	"bytes"
	"context"
	"sync"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// Referrer is an object that refers to another.
type Referrer struct {
	Object
	Times int  `json:"times"`          // how many references it has
	Weak  bool `json:"weak,omitempty"` // all of them are weak

}

// Referrers calls fn, one at a time and in no certain order, for every object of the
// databases that refers to the object oid of the database number db.
func Referrers(ctx context.Context, dbs []Database, db int, oid zodb.OID, r *Report, fn func(Referrer)) error {
	var mu sync.Mutex
	want := oid.Bytes()
	for i, d := range dbs {
		step := func(done, total int64) { r.progress("references", done, total) }
		err := d.Source.Each(ctx, step, func(rec *Record) error {
			if rec.Err != nil || !mayName(rec.Data, want[:]) {
				return nil
			}
			found, ok := referrer(dbs, i, rec, db, oid)
			if !ok {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			fn(found)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// mayName reports whether a record may have the oid in it. ZODB on Python 3 writes
// protocol 3, in which the oid stands as it is; others are read in any case.
func mayName(record, oid []byte) bool {
	return len(record) < 2 || record[1] != 3 || bytes.Contains(record, oid)
}

func referrer(dbs []Database, from int, rec *Record, db int, oid zodb.OID) (Referrer, bool) {
	refs, err := pickle.AllReferences(rec.Data, nil)
	if err != nil {
		return Referrer{}, false
	}
	r := Referrer{Weak: true}
	for _, t := range refs {
		name := t.Database
		if name == "" {
			name = dbs[from].Name
		}
		if t.OID != oid || name != dbs[db].Name {
			continue
		}
		r.Times++
		r.Weak = r.Weak && t.Strength == pickle.Weak
	}
	class, _ := pickle.ClassOf(rec.Data)
	r.Object = Object{Database: dbs[from].Name, OID: rec.OID.String(), Class: className(class)}
	return r, r.Times > 0
}
