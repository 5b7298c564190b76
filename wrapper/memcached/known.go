package memcached

import (
	"sync"

	"github.com/zaridb/zari/zodb"
)

// known is what is known of changes: it says of which tids the newest revision of an object
// may be asked.
type known struct {
	limit int // of changed objects that are remembered after a checkpoint

	mu       sync.Mutex
	position zodb.TID      // every change up to it is in epochs
	epochs   []epoch       // one or two, the latest first; none: nothing can be asked for
	begun    bool          // what had changed before the first change that was told is known
	early    []zodb.Change // those that were told before that
}

// epoch is the time after a checkpoint.
type epoch struct {
	checkpoint zodb.TID
	changed    map[zodb.OID]zodb.TID // the last change of each object since; 0: at an unknown time
}

// question says what to ask memcached for: the newest revision of an object as of the
// position is the one as of at[0], and, if there is no entry of that, the one as of at[1].
type question struct {
	position zodb.TID
	at       []zodb.TID
}

// ask returns what to ask for to learn of the newest revision before bound. It reports
// false if that may be an older one, or nothing is known.
func (k *known) ask(oid zodb.OID, bound zodb.TID) (question, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	q := question{position: k.position}
	for _, e := range k.epochs {
		at, changed := e.changed[oid]
		if !changed {
			at = e.checkpoint
		}
		if at != 0 && at < bound {
			q.at = append(q.at, at)
		}
		if changed {
			break
		}
	}
	return q, len(q.at) > 0
}

// fact returns as of which tid a revision is to be kept that was the newest one as of asOf,
// 0 if it is not the newest any more. Where it was not known when the object changed, it is
// from now on.
func (k *known) fact(oid zodb.OID, serial, asOf zodb.TID) (at zodb.TID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.epochs) == 0 {
		return 0
	}
	e := &k.epochs[0]
	at, changed := e.changed[oid]
	switch {
	case !changed:
		at = e.checkpoint
	case at == 0:
		at, e.changed[oid] = serial, serial
	}
	if serial > at || at > asOf {
		return 0
	}
	return at
}

// change takes a change into account. It returns the new checkpoint if it makes one.
func (k *known) change(c zodb.Change) (checkpoint zodb.TID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.position = c.TID
	if !k.begun {
		k.early = append(k.early, c)
		return 0
	}
	return k.take(c)
}

// take is change, of one that has its turn. k.mu is held.
func (k *known) take(c zodb.Change) (checkpoint zodb.TID) {
	if c.Missed == zodb.MissedUnknown {
		k.epochs = nil
	}
	if len(k.epochs) == 0 {
		return k.begin(c.TID)
	}
	e := &k.epochs[0]
	for _, oid := range c.OIDs {
		e.changed[oid] = c.TID
	}
	if len(e.changed) <= k.limit {
		return 0
	}
	return k.begin(c.TID)
}

// begin makes a checkpoint. k.mu is held.
func (k *known) begin(checkpoint zodb.TID) zodb.TID {
	k.epochs = append([]epoch{{checkpoint, make(map[zodb.OID]zodb.TID)}}, k.epochs[:min(len(k.epochs), 1)]...)
	return checkpoint
}

// start says what had changed before changes were told. It returns the checkpoint that has
// begun since, 0 if there is none.
func (k *known) start(e epoch) (checkpoint zodb.TID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.epochs, k.begun = []epoch{e}, true
	for _, c := range k.early {
		checkpoint = max(checkpoint, k.take(c))
	}
	k.early = nil
	return checkpoint
}

// forget gives up what there is. The next change makes a new checkpoint.
func (k *known) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.epochs = nil
}
