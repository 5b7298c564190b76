package crashtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/zaridb/zari/engine/filestorage"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// fate is what is known of a transaction.
type fate int

const (
	inFlight fate = iota // handed to the engine, and nothing heard since
	kept                 // must be there
	gone                 // must not be there
)

func (f fate) String() string { return [...]string{"in flight", "kept", "gone"}[f] }

// entry is a transaction that was handed to the engine.
type entry struct {
	txnlog.Txn // data in memory
	label      string
	fate       fate
}

// ledger is what a round knows from outside of the storage.
type ledger struct {
	mu      sync.Mutex
	entries []*entry              // in the order of Append
	acked   map[string]zodb.TID   // labels that Finish returned a tid for
	refused map[string]error      // labels that ended otherwise, but not in doubt
	doubted map[string]zodb.Token // labels of ErrCommitUnknown
	handed  map[zodb.OID]bool     // what NewOIDs returned
	packs   []zodb.TID            // tids that a pack was begun for
	uuid    [16]byte
}

func newLedger() *ledger {
	return &ledger{
		acked: make(map[string]zodb.TID), refused: make(map[string]error),
		doubted: make(map[string]zodb.Token), handed: make(map[zodb.OID]bool),
	}
}

// finished notes the answer to a Finish, or the error that ended a transaction
// before.
func (l *ledger) finished(label string, token zodb.Token, tid zodb.TID, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.acked[label] = tid
	case errors.Is(err, zodb.ErrCommitUnknown):
		l.doubted[label] = token
	default:
		l.refused[label] = err
	}
}

// resolve settles the fate of everything by what was found after opening: what
// is there has been seen, what is not can never come back.
func (l *ledger) resolve(found []*txnlog.Txn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	there := make(map[zodb.TID]bool, len(found))
	for _, t := range found {
		there[t.TID] = true
	}
	for _, e := range l.entries {
		if e.fate == inFlight {
			e.fate = gone
			if there[e.TID] {
				e.fate = kept
			}
		}
	}
}

// sameUUID wants the database to have the name that it had in an earlier life.
func (l *ledger) sameUUID(uuid [16]byte) error {
	if l.uuid != [16]byte{} && l.uuid != uuid {
		return fmt.Errorf("the database's name was %x and is %x", l.uuid, uuid)
	}
	return nil
}

// recorder is the engine, and writes down what passes through it.
type recorder struct {
	*filestorage.Storage
	ledger *ledger
	sched  *sched
	plant  plant
	stats  *stats
}

var (
	_ store.Engine     = (*recorder)(nil)
	_ store.Streamer   = (*recorder)(nil)
	_ store.Settler    = (*recorder)(nil)
	_ store.Reserver   = (*recorder)(nil)
	_ store.BlobEngine = (*recorder)(nil)
	_ store.Packer     = (*recorder)(nil)
)

// Append waits for its turn, so that more commits can queue behind it.
func (r *recorder) Append(ctx context.Context, batch []*txnlog.Txn, meta *store.Meta) (n int, err error) {
	r.sched.park("append")
	entries := r.ledger.handOver(batch)
	if r.plant.lie != nil {
		n, err = r.plant.lie(r, batch, meta)
	} else {
		n, err = r.Storage.Append(ctx, batch, meta)
	}
	r.ledger.answered(entries, n, err)
	return n, err
}

// Stream waits for its turn, too.
func (r *recorder) Stream(ctx context.Context, next func() []*txnlog.Txn, answer func(int, error)) {
	if r.plant.lie != nil {
		r.lie(ctx, next, answer)
		return
	}
	r.sched.park("append")
	var open [][]*entry
	early := false // the next answer was given with the last one
	r.Storage.Stream(ctx, func() []*txnlog.Txn {
		batch := next()
		if len(batch) > 0 {
			r.stats.streamed += len(open)
			open = append(open, r.ledger.handOver(batch))
		}
		return batch
	}, func(n int, err error) {
		entries := open[0]
		open = open[1:]
		if early {
			early = false
			return
		}
		r.ledger.answered(entries, n, err)
		answer(n, err)
		if early = r.plant.early && err == nil && len(open) > 0; early {
			r.ledger.answered(open[0], len(open[0]), nil)
			answer(len(open[0]), nil)
		}
	})
}

// lie appends one batch after the other, in the planted way.
func (r *recorder) lie(ctx context.Context, next func() []*txnlog.Txn, answer func(int, error)) {
	for batch := next(); len(batch) > 0; batch = next() {
		n, err := r.Append(ctx, batch, nil)
		if answer(n, err); err != nil {
			return
		}
	}
}

// answered writes down what became of transactions, of which n are durable.
func (l *ledger) answered(entries []*entry, n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, e := range entries {
		switch {
		case i < n:
			e.fate = kept
		case !errors.Is(err, zodb.ErrCommitUnknown):
			e.fate = gone
		}
	}
}

func (l *ledger) handOver(batch []*txnlog.Txn) []*entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := len(l.entries)
	for _, t := range batch {
		e := &entry{Txn: *t, label: string(t.User)}
		e.Records = append([]txnlog.Record(nil), t.Records...)
		for i := range e.Records {
			r := &e.Records[i]
			data, err := r.Load()
			if err != nil {
				panic(fmt.Sprintf("reading back what was handed over: %v", err))
			}
			r.Data, r.Spooled = data, nil
		}
		l.entries = append(l.entries, e)
	}
	return l.entries[from:]
}

// Settle settles the fate of what was in flight.
func (r *recorder) Settle(ctx context.Context) (zodb.TID, error) {
	head, err := r.Storage.Settle(ctx)
	if err != nil {
		return head, err
	}
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	for _, e := range r.ledger.entries {
		if e.fate == inFlight {
			e.fate = gone
			if e.TID <= head {
				e.fate = kept
			}
		}
	}
	return head, nil
}

// content is data that tell where they belong and can be checked to the last
// byte.
func content(label string, oid zodb.OID, n int) []byte {
	b := fmt.Appendf(nil, "%s %v %d ", label, oid, n)
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	fill := rand.New(rand.NewPCG(h, 11))
	for len(b) < n {
		b = append(b, byte(fill.Uint32()))
	}
	return b
}
