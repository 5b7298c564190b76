package storagetest

import (
	"errors"
	"fmt"

	"github.com/zaridb/zari/storagetest/faulty"
	"github.com/zaridb/zari/zodb"
)

// The fault group is for storages that are built on others: whatever those
// answer, an error never turns into a wrong answer.
var faultGroup = group{name: "fault", tests: []test{
	{name: "Loads", run: testFaultLoads},
	{name: "Commits", run: func(t *T) { testFaultCommits(t, false) }},
	{name: "LostAnswers", run: func(t *T) { testFaultCommits(t, true) }},
	{name: "Random", run: testFaultRandom},
}}

var errInjected = errors.New("a failure of the storage below")

// over makes a storage on storages that fail as the faults say.
func (t *T) over() *faulty.Faults {
	t.Helper()
	if t.H.Over == nil {
		t.Skip("the harness has no Over")
	}
	f := faulty.New()
	t.own(t.H.Over(t, func(s zodb.Storage) zodb.Storage { return f.Wrap(s) }))
	return f
}

// maxFaultCalls bounds how many places for a fault are tried.
const maxFaultCalls = 60

// Every load, with every call below failing in turn, is right or an error that
// says nothing about the object.
func testFaultLoads(t *T) {
	for n := range maxFaultCalls {
		f := t.over()
		tids := t.revisions(1, 3)
		two := t.put(2, 0, Object(7))
		f.Set(faulty.Nth(n, faulty.Fault{Err: errInjected}))
		want := map[zodb.OID]write{1: {1, tids[2], Object(3)}, 2: {2, two, Object(7)}}
		for range 2 {
			for oid := range zodb.OID(4) {
				if err := rightOrFailed(t, oid, want); err != nil {
					t.Fatalf("with call %d below failing: %v", n, err)
				}
			}
		}
		_, hits := f.Calls()
		f.Set(nil)
		t.auditAll()
		if hits == 0 {
			return
		}
	}
}

// rightOrFailed loads an object and says what is wrong with the answer.
func rightOrFailed(t *T, oid zodb.OID, want map[zodb.OID]write) error {
	rec, err := t.S.LoadBefore(t.ctx, oid, zodb.MaxTID)
	w, exists := want[oid]
	_, absent := errors.AsType[*zodb.NoObjectError](err)
	switch {
	case absent && exists:
		return fmt.Errorf("object %v, which is there: %w", oid, err)
	case err != nil:
		return nil
	case !exists:
		return fmt.Errorf("object %v, which is not there: revision %v", oid, rec.Serial)
	case rec.Serial != w.serial || string(rec.Data) != string(w.data) || rec.Next != 0:
		return fmt.Errorf("object %v: revision %v, next %v, want %v", oid, rec.Serial, rec.Next, w.serial)
	}
	return nil
}

// A commit, with every call below failing in turn, is there if it succeeded, not
// there if it failed, and either if that is said not to be known.
func testFaultCommits(t *T, lost bool) {
	for n := range maxFaultCalls {
		f := t.over()
		first := t.put(1, 0, Object(1))
		fault := faulty.Fault{Err: errInjected}
		if lost {
			fault = faulty.Fault{Lost: true} // with ErrCommitUnknown
		}
		f.Set(faulty.Nth(n, fault))
		tid, err := commit(t.ctx, t.S, nil, write{1, first, Object(2)}, write{2, 0, Object(3)})
		_, hits := f.Calls()
		f.Set(nil)
		if err := keptAsSaid(t, first, tid, err); err != nil {
			t.Fatalf("with call %d below failing (answer lost: %v): %v", n, lost, err)
		}
		t.auditAll()
		if hits == 0 {
			return
		}
	}
}

// keptAsSaid compares what a commit of object 2 and of a second revision of
// object 1 said with what is there.
func keptAsSaid(t *T, first, tid zodb.TID, said error) error {
	one, err := t.S.LoadBefore(t.ctx, 1, zodb.MaxTID)
	if err != nil {
		return fmt.Errorf("load after the fault: %w", err)
	}
	_, err = t.S.LoadBefore(t.ctx, 2, zodb.MaxTID)
	kept := one.Serial != first
	if kept != (err == nil) {
		return fmt.Errorf("the transaction is torn: object 1 is at %v, object 2: %v", one.Serial, err)
	}
	switch {
	case said == nil && (!kept || one.Serial != tid):
		return fmt.Errorf("committed as %v, but object 1 is at %v", tid, one.Serial)
	case said != nil && kept && !errors.Is(said, zodb.ErrCommitUnknown):
		return fmt.Errorf("failed with %w, but it is committed as %v", said, one.Serial)
	}
	return nil
}

// Many operations with a fault now and then.
func testFaultRandom(t *T) {
	f := t.over()
	base := t.put(1, 0, Object(0))
	f.Set(faulty.Randomly(t.H.Seed, 12, faulty.Fault{Err: errInjected}))
	last := write{1, base, Object(0)}
	for n := range 150 {
		w := write{1, last.serial, Object(n + 1)}
		tid, err := commit(t.ctx, t.S, nil, w)
		if err == nil {
			last = write{1, tid, w.data}
		} else if errors.Is(err, zodb.ErrCommitUnknown) {
			t.Fatalf("commit %d: %v, but no answer was lost", n, err)
		}
		if err := rightOrFailed(t, 1, map[zodb.OID]write{1: last}); err != nil {
			t.Fatalf("after commit %d (seed %d): %v", n, t.H.Seed, err)
		}
	}
	f.Set(nil)
	t.current(1, last.serial, last.data)
}
