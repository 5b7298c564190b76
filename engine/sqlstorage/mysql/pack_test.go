package mysql

import (
	"testing"
	"time"

	"github.com/zaridb/zari/engine/sqlstorage"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// TestPackWaitsForNoVote packs while votes hold locks: on the root, whose old
// revisions go, and on garbage. The pack must not wait for them, the votes must be
// able to finish, and what they are about is kept.
func TestPackWaitsForNoVote(t *testing.T) {
	eachForm(t, func(t *testing.T, form sqlstorage.Form) {
		d := create(t, form)
		other := open(t, d.opts)
		engine, err := sqlstorage.Open(t.Context(), d, sqlstorage.Options{Form: form, References: pickle.OwnReferences})
		if err != nil {
			t.Fatal(err)
		}
		var batch []*txnlog.Txn
		for i := range zodb.TID(10) {
			prev := max(9, 9+i)
			if i == 0 {
				prev = 0
			}
			batch = append(batch, txn(10+i, data(0, prev, none), data(zodb.OID(100+i), 0, none), data(zodb.OID(200+i), 0, none)))
		}
		if _, err := engine.Append(t.Context(), batch, nil); err != nil {
			t.Fatal(err)
		}
		vote := lock(t, other, form, []int64{0, 103, 205}, []int64{104})
		packed := make(chan error, 1)
		go func() { packed <- engine.Pack(t.Context(), 19, zodb.PackOptions{GC: true}) }()
		select {
		case err := <-packed:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the pack waits for the vote")
		}
		want(t, d, "SELECT DISTINCT zoid FROM object_state ORDER BY zoid", "0", "103", "104", "205")
		if err := commit(t, vote, form, 103, 13); err != nil {
			t.Errorf("the vote cannot finish: %v", err)
		}
		if err := engine.Pack(t.Context(), 19, zodb.PackOptions{GC: true}); err != nil {
			t.Fatal(err)
		}
		want(t, d, "SELECT DISTINCT zoid FROM object_state ORDER BY zoid", "0", "103")
		if form == sqlstorage.Preserving {
			want(t, d, "SELECT zoid, tid FROM current_object ORDER BY zoid", "0 19", "103 20")
		}
	})
}
