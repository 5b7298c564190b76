package storagetest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zaridb/zari/zodb"
)

// broken is a way to break a storage, and the tests that must notice.
type broken struct {
	name string
	wrap func(zodb.Storage) zodb.Storage
	// harness breaks the harness instead.
	harness func(h *Harness)
	fails   []string
}

var allBroken = []broken{
	{name: "loses CheckCurrent", fails: []string{"check_current/Stale", "check_current/WriterWaits"},
		wrap: txns(func(_ zodb.Storage, t *hookedTxn) {
			t.check = func(context.Context, zodb.OID, zodb.TID) error { return nil }
		})},
	{name: "loses the second object", fails: []string{"basic/SeveralObjects", "race/LoadVsCommit"},
		wrap: txns(func(_ zodb.Storage, t *hookedTxn) {
			n := 0
			t.store = func(ctx context.Context, oid zodb.OID, serial zodb.TID, data []byte) error {
				if n++; n == 2 {
					return nil
				}
				return t.Txn.Store(ctx, oid, serial, data)
			}
		})},
	{name: "ignores serials", fails: []string{"conflict/Reported", "conflict/MergedWrongly"},
		wrap: txns(func(s zodb.Storage, t *hookedTxn) {
			t.store = func(ctx context.Context, oid zodb.OID, _ zodb.TID, data []byte) error {
				rec, _ := s.LoadBefore(ctx, oid, zodb.MaxTID)
				return t.Txn.Store(ctx, oid, rec.Serial, data)
			}
		})},
	{name: "leaks locks on Abort", fails: []string{"locks/AbortReleases", "basic/AbortAfterVote"},
		wrap: txns(func(_ zodb.Storage, t *hookedTxn) { t.abort = func() {} })},
	{name: "locks nothing at Vote", fails: []string{"locks/Overlapping"}, wrap: txns(voteAtFinish)},
	{name: "frees locks while conflicts are merged", fails: []string{"locks/ConflictsKeepLocks"},
		wrap: txns(func(s zodb.Storage, t *hookedTxn) {
			t.vote = func(ctx context.Context) (zodb.Votes, error) {
				votes, err := t.Txn.Vote(ctx)
				if len(votes.Conflicts) > 0 {
					t.Txn.Abort()
				}
				return votes, err
			}
		})},
	{name: "locks the storage at Vote", fails: []string{"locks/Disjoint", "sync/Interleaved"}, wrap: lockStorage},
	{name: "calls committed when locks are free", fails: []string{"order/CommittedBeforeLocks", "order/CommittedBeforeNext"},
		wrap: txns(func(_ zodb.Storage, t *hookedTxn) {
			t.finish = func(ctx context.Context, committed func(zodb.TID)) (zodb.TID, error) {
				tid, err := t.Txn.Finish(ctx, nil)
				if committed != nil && err == nil {
					committed(tid)
				}
				return tid, err
			}
		})},
	{name: "publishes out of order", fails: []string{"order/Publication"}, wrap: outOfOrder},
	{name: "does not call committed", fails: []string{"order/CommittedOnce"},
		wrap: txns(func(_ zodb.Storage, t *hookedTxn) {
			t.finish = func(ctx context.Context, _ func(zodb.TID)) (zodb.TID, error) { return t.Txn.Finish(ctx, nil) }
		})},
	{name: "stops Finish half-way", fails: []string{"context/FinishBegun"},
		wrap: txns(func(_ zodb.Storage, t *hookedTxn) {
			t.finish = func(ctx context.Context, committed func(zodb.TID)) (zodb.TID, error) {
				tid, err := t.Txn.Finish(ctx, committed)
				if ctx.Err() != nil {
					return 0, ctx.Err()
				}
				return tid, err
			}
		})},

	{name: "hides Next", fails: []string{"revision/LoadBefore"},
		wrap: loads(func(_ zodb.Storage, _ zodb.OID, _ zodb.TID, rec zodb.Record) zodb.Record {
			rec.Next = 0
			return rec
		})},
	{name: "gives another object's tid as Next", fails: []string{"revision/OtherObjects"},
		wrap: loads(func(s zodb.Storage, _ zodb.OID, _ zodb.TID, rec zodb.Record) zodb.Record {
			if rec.Next != 0 {
				rec.Next = s.LastTID()
			}
			return rec
		})},
	{name: "promises too much by AsOf", fails: []string{"order/AsOf", "order/AsOfWhileWriting"},
		wrap: loads(func(_ zodb.Storage, _ zodb.OID, _ zodb.TID, rec zodb.Record) zodb.Record {
			rec.AsOf = zodb.MaxTID - 1
			return rec
		})},
	{name: "loads what is newest", fails: []string{"revision/LoadBefore"}, wrap: func(s zodb.Storage) zodb.Storage {
		return &hooked{Storage: s, load: func(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
			return s.LoadBefore(ctx, oid, zodb.MaxTID)
		}}
	}},
	{name: "reuses buffers", fails: []string{"buffers/Returned"}, wrap: func(s zodb.Storage) zodb.Storage {
		var buffer []byte
		return loads(func(_ zodb.Storage, _ zodb.OID, _ zodb.TID, rec zodb.Record) zodb.Record {
			buffer = append(buffer[:0], rec.Data...)
			rec.Data = buffer
			return rec
		})(s)
	}},
	{name: "appends to what is given", fails: []string{"buffers/Given"},
		wrap: txns(func(_ zodb.Storage, t *hookedTxn) {
			t.store = func(ctx context.Context, oid zodb.OID, serial zodb.TID, data []byte) error {
				_ = append(data, "trailer"...)
				return t.Txn.Store(ctx, oid, serial, data)
			}
		})},
	{name: "ignores contexts", fails: []string{"context/Load"}, wrap: func(s zodb.Storage) zodb.Storage {
		return &hooked{Storage: s, load: func(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
			return s.LoadBefore(context.WithoutCancel(ctx), oid, tid)
		}}
	}},
	{name: "turns errors into absence", fails: []string{"fault/Loads"}, wrap: nil, harness: func(h *Harness) {
		over := h.Over
		h.Over = func(t testing.TB, wrap func(zodb.Storage) zodb.Storage) zodb.Storage {
			s := over(t, wrap)
			return &hooked{Storage: s, load: func(ctx context.Context, oid zodb.OID, tid zodb.TID) (zodb.Record, error) {
				rec, err := s.LoadBefore(ctx, oid, tid)
				if err != nil {
					err = &zodb.NoObjectError{OID: oid}
				}
				return rec, err
			}}
		}
	}},
	{name: "claims what failed", fails: []string{"fault/Commits", "fault/LostAnswers"}, harness: func(h *Harness) {
		over := h.Over
		h.Over = func(t testing.TB, wrap func(zodb.Storage) zodb.Storage) zodb.Storage {
			return txns(func(s zodb.Storage, t *hookedTxn) {
				t.finish = func(ctx context.Context, committed func(zodb.TID)) (zodb.TID, error) {
					if tid, err := t.Txn.Finish(ctx, committed); err == nil {
						return tid, nil
					}
					return s.LastTID() + 1, nil
				}
			})(over(t, wrap))
		}
	}},

	{name: "reuses oids", fails: []string{"oids/Fresh", "oids/Concurrent"}, wrap: func(s zodb.Storage) zodb.Storage {
		return &hooked{Storage: s, newOIDs: func(context.Context, int) ([]zodb.OID, error) { return []zodb.OID{1}, nil }}
	}},
	{name: "forgets stored oids", fails: []string{"oids/NotStored"}, wrap: func(s zodb.Storage) zodb.Storage {
		var mu sync.Mutex
		var last zodb.OID
		return &hooked{Storage: s, newOIDs: func(context.Context, int) ([]zodb.OID, error) {
			mu.Lock()
			defer mu.Unlock()
			last++
			return []zodb.OID{last}, nil
		}}
	}},
	{name: "lets LastTID lag", fails: []string{"order/LastTID", "basic/StoreAndLoad"}, wrap: func(s zodb.Storage) zodb.Storage {
		return &hooked{Storage: s, lastTID: func() zodb.TID { return max(s.LastTID(), 1) - 1 }}
	}},

	{name: "loses an ability", fails: []string{"caps/Listed", "undo/Simple"}, wrap: func(s zodb.Storage) zodb.Storage {
		return &hooked{Storage: s, ability: func(target any) (found, answered bool) {
			_, answered = target.(*zodb.Undoer)
			return false, answered
		}}
	}},
	{name: "has more abilities than it says", fails: []string{"caps/Listed", "history/Simple"},
		harness: func(h *Harness) { h.Caps = Without(h.Caps, CapHistorian) }},
	{name: "finds abilities nobody knows", fails: []string{"caps/Unknown"}, wrap: func(s zodb.Storage) zodb.Storage {
		return &hooked{Storage: s, ability: func(target any) (found, answered bool) {
			return true, !strings.HasPrefix(fmt.Sprintf("%T", target), "*zodb.")
		}}
	}},
	{name: "skips the last transaction", fails: []string{"iterate/Simple", "basic/StoreAndLoad"},
		wrap: abilities(func(i zodb.Iterator) zodb.Iterator { return cutIterator{i} })},
	{name: "observes every second change", fails: []string{"watch/Observe", "watch/Gapless"},
		wrap: abilities(func(w zodb.Watcher) zodb.Watcher { return deafWatcher{w} })},
	{name: "leaves an object out of its changes", fails: []string{"watch/Observe", "race/LoadVsInvalidation", "race/Phases"},
		wrap: abilities(func(w zodb.Watcher) zodb.Watcher { return forgetfulWatcher{w} })},
	{name: "accepts any position", fails: []string{"watch/ChangesSinceUnknown"},
		wrap: abilities(func(w zodb.Watcher) zodb.Watcher { return trustingWatcher{w} })},
	{name: "decides outcomes too early", fails: []string{"outcome/Undecided"},
		wrap: abilities(func(o zodb.Outcomer) zodb.Outcomer { return rashOutcomer{o} })},
	{name: "turns the undo log round", fails: []string{"undo/Log", "undo/LogIndices"},
		wrap: abilities(func(u zodb.Undoer) zodb.Undoer { return turnedUndoer{u} })},
	{name: "does not pack", fails: []string{"pack/OldRevisions", "history/AfterPack"},
		wrap: abilities(func(p zodb.Packer) zodb.Packer { return idlePacker{} })},
	{name: "lists deleted objects", fails: []string{"record_iterator/Deleted"},
		wrap: abilities(func(r zodb.RecordIterator) zodb.RecordIterator { return zombieRecords{r} })},

	{name: "closes once", fails: []string{"close/Twice", "basic/Empty"}, wrap: func(s zodb.Storage) zodb.Storage {
		closed := false
		return &hooked{Storage: s, closing: func() error {
			if closed {
				return zodb.ErrClosed
			}
			closed = true
			return s.Close()
		}}
	}},
	{name: "answers after Close", fails: []string{"close/Operations"}, wrap: func(s zodb.Storage) zodb.Storage {
		return &hooked{Storage: s, newOIDs: func(ctx context.Context, n int) ([]zodb.OID, error) { return []zodb.OID{1}, nil }}
	}},
	{name: "forgets everything on reopening", fails: []string{"persist/Updates", "oids/AfterReopen"},
		harness: func(h *Harness) { h.Reopen = func(t testing.TB, _ zodb.Storage) zodb.Storage { return h.New(t) } }},
	{name: "loses acknowledged commits in a crash", fails: []string{"crash/Idle", "crash/Busy"},
		harness: func(h *Harness) {
			h.Crash = func(t testing.TB, s zodb.Storage, _ uint64) zodb.Storage {
				s.Close()
				return h.New(t)
			}
		}},
	{name: "is read-only by name only", fails: []string{"readonly/Writes"}, harness: func(h *Harness) { h.ReadOnly = h.Reopen }},
}

// TestBroken shows that the suite can fail: each broken storage makes the tests
// fail that are there for it.
func TestBroken(t *testing.T) {
	for _, b := range allBroken {
		t.Run(strings.ReplaceAll(b.name, " ", "_"), func(t *testing.T) {
			for _, name := range b.fails {
				g, tt, ok := find(name)
				if !ok {
					t.Fatalf("there is no test %q", name)
				}
				// A test that looks on for a moment can miss its moment on a busy
				// machine; it never fails without reason, so one of a few must notice.
				var r *recorder
				for try := 0; try < 5 && (r == nil || !r.Failed()); try++ {
					r = record(t, name, func(tb testing.TB) { runTest(tb, breakHarness(b), g, tt) })
				}
				if !r.Failed() {
					t.Errorf("%s does not notice (skipped: %v):\n%s", name, r.Skipped(), r.output())
				}
				t.Logf("%s: %.200s", name, r.output())
			}
		})
	}
}

func breakHarness(b broken) Harness {
	h := harness()
	h.Patience = 300 * time.Millisecond
	if b.wrap != nil {
		inner := h.New
		h.New = func(t testing.TB) zodb.Storage { return b.wrap(inner(t)) }
	}
	if b.harness != nil {
		b.harness(&h)
	}
	return h.withDefaults()
}
