package storagetest

import (
	"github.com/zaridb/zari/zodb"
)

// The peer group has a second handle on the same data: another client of the
// server, another process on the database.
var peerGroup = group{name: "peer", needs: []Cap{CapSyncer}, tests: []test{
	{name: "Sync", run: testPeerSync},
	{name: "Conflict", run: testPeerConflict},
	{name: "OIDs", run: testPeerOIDs},
	{name: "Race", run: testPeerRace},
}}

func (t *T) peer() zodb.Storage {
	t.Helper()
	if t.H.Peer == nil {
		t.Skip("the harness has no Peer")
	}
	p := t.H.Peer(t, t.S)
	t.Cleanup(func() { closeTwice(t, p) })
	return p
}

// synced catches s up with the others.
func (t *T) synced(s zodb.Storage) {
	t.Helper()
	if err := ability[zodb.Syncer](t, s).Sync(t.ctx); err != nil {
		t.Fatalf("Sync: %v", err)
	}
}

func testPeerSync(t *T) {
	p := t.peer()
	var serial zodb.TID
	for i := range 10 {
		from, to := t.S, p
		if i%2 == 1 {
			from, to = p, t.S
		}
		tid, err := commit(t.ctx, from, nil, write{1, serial, Object(i)})
		if err != nil {
			t.Fatalf("commit: %v", err)
		}
		serial = tid
		t.synced(to)
		if to.LastTID() < tid {
			t.Errorf("LastTID after Sync is %v, want at least %v", to.LastTID(), tid)
		}
		rec, err := to.LoadBefore(t.ctx, 1, zodb.MaxTID)
		if err != nil {
			t.Fatalf("LoadBefore: %v", err)
		}
		equal(t, "Serial at the peer", rec.Serial, tid)
		equal(t, "data at the peer", rec.Data, Object(i))
	}
	t.synced(t.S)
}

func testPeerConflict(t *T) {
	p := t.peer()
	first := t.put(1, 0, Object(1))
	t.synced(p)
	second, err := commit(t.ctx, p, nil, write{1, first, Object(2)})
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	got := conflicts(t, t.writing(write{1, first, Object(3)}))
	equal(t, "Committed", got[0].Committed, second)
	t.synced(t.S)
}

func testPeerOIDs(t *T) {
	p := t.peer()
	var set oidSet
	t.together(4, func(i int) error {
		for range 20 {
			if _, err := set.take(t, []zodb.Storage{t.S, p}[i%2], 5); err != nil {
				return err
			}
		}
		return nil
	})
}

func testPeerRace(t *T) {
	p := t.peer()
	t.commit(incBoth.initial()...)
	t.synced(p)
	m := incBoth
	m.forgets = t.H.HistoryFree
	race(t, 50, func(i int) zodb.Storage { return []zodb.Storage{t.S, p}[i%2] }, m, m.watchLoads)
	t.synced(t.S)
}
