package storagetest

import (
	"errors"

	"github.com/zaridb/zari/zodb"
)

var readOnlyGroup = group{name: "readonly", tests: []test{
	{name: "Reads", run: testReadOnlyReads},
	{name: "Writes", run: testReadOnlyWrites},
	{name: "Abilities", run: testReadOnlyAbilities},
}}

// readOnly opens the storage's data such that they cannot be written.
func (t *T) readOnly() {
	t.Helper()
	if t.H.ReadOnly == nil {
		t.Skip("the harness has no ReadOnly")
	}
	t.own(t.H.ReadOnly(t, t.S))
}

func testReadOnlyReads(t *T) {
	var tids []zodb.TID
	for i := range 10 {
		tids = append(tids, t.put(zodb.OID(i+1), 0, Object(i)))
	}
	t.readOnly()
	for i, tid := range tids {
		t.current(zodb.OID(i+1), tid, Object(i))
		if !t.has(CapHistorian) {
			continue
		}
		data, err := ability[zodb.Historian](t, t.S).LoadSerial(t.ctx, zodb.OID(i+1), tid)
		if err != nil {
			t.Fatalf("LoadSerial: %v", err)
		}
		equal(t, "LoadSerial", data, Object(i))
	}
	equal(t, "LastTID", t.S.LastTID(), tids[9])
}

func testReadOnlyWrites(t *T) {
	t.put(1, 0, Object(1))
	t.readOnly()
	equal(t, "Info().ReadOnly", t.S.Info().ReadOnly, true)
	_, err := t.S.Begin(t.ctx, zodb.TxnMeta{})
	matches(t, "Begin", err, zodb.ErrReadOnly)
	_, err = t.S.NewOIDs(t.ctx, 1)
	matches(t, "NewOIDs", err, zodb.ErrReadOnly)
	if p, ok := zodb.As[zodb.Packer](t.S); ok {
		matches(t, "Pack", p.Pack(t.ctx, t.H.Now(), zodb.PackOptions{}), zodb.ErrReadOnly)
	}
}

// Being read-only is a state: no ability of reading is lost by it.
func testReadOnlyAbilities(t *T) {
	tids := t.revisions(1, 2)
	t.readOnly()
	for _, c := range []Cap{CapIterator, CapRecordIterator, CapHistorian, CapWatcher, CapBlobStore} {
		equal(t, string(c)+" of the read-only storage", finders[c](t.S), t.has(c))
	}
	if u, ok := zodb.As[zodb.Undoer](t.S); ok {
		log, err := u.UndoLog(t.ctx, 0, 10, nil)
		if err != nil || len(log) != 2 {
			t.Errorf("UndoLog: %d entries, %v; want 2", len(log), err)
		}
	}
	_, err := t.S.LoadBefore(t.ctx, 1, tids[0])
	if _, ok := errors.AsType[*zodb.NoObjectError](err); !ok {
		t.Errorf("LoadBefore before the first revision: %v", err)
	}
}
