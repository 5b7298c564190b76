package s3storage

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// walk goes along the log from a slot to its end, and looks whether each object follows on
// the one before. The state takes what comes behind its checkpoint.
func (a *audit) walk(ctx context.Context, from uint64) error {
	w := &walk{audit: a, at: &state{database: a.st.database, slot: from - 1}}
	total := int64(w.lastListed())
	for {
		objects, err := a.readAhead(ctx, w.at.slot+1, a.opts.Parallel)
		if err != nil {
			return err
		}
		for _, object := range objects {
			if err := w.take(ctx, object); err != nil {
				return err
			}
		}
		a.progress("log", int64(w.at.slot), total)
		if len(objects) == a.opts.Parallel {
			continue
		}
		if more, err := w.gap(ctx); err != nil || !more {
			return err
		}
	}
}

// walk is a way along the log.
type walk struct {
	*audit
	at    *state // as far as the chain needs it
	known bool   // what the object in the slot before is
}

// lastListed returns the last slot that the list shows.
func (w *walk) lastListed() (last uint64) {
	for key := range w.list {
		if slot, ok := slotOfKey(key); ok {
			last = max(last, slot)
		}
	}
	return last
}

// slotOfKey returns the slot of the key of a log object.
func slotOfKey(key string) (slot uint64, ok bool) {
	digits, ok := strings.CutPrefix(key, layout.LogPrefix)
	if !ok {
		return 0, false
	}
	_, err := fmt.Sscanf(digits, "%020d", &slot)
	return slot, err == nil && layout.LogKey(slot) == key
}

// gap finds out why the next slot is not there: because the log ends, because it has been
// collected, or because it is lost. It reports whether the log goes on.
func (w *walk) gap(ctx context.Context) (more bool, err error) {
	next := w.at.slot + 1
	floor, _, err := w.readFloor(ctx, w.st.database)
	if err := w.wrong(Error, layout.FloorKey, err, ""); err != nil {
		return false, err
	}
	if floor.Slot > next {
		return true, w.collected(floor.Slot)
	}
	last := w.lastListed()
	if last < next {
		if next <= w.st.slot {
			w.lose(next, w.st.slot)
		}
		return false, nil
	}
	if _, err := w.read(ctx, layout.LogKey(next), objstore.Range{Len: 1}); err == nil {
		return true, nil // it has come meanwhile
	} else if !errors.Is(err, objstore.ErrNotExist) {
		return false, err
	}
	for slot := next; slot <= last; slot++ {
		if _, listed := w.list[layout.LogKey(slot)]; listed {
			w.lose(next, slot-1)
			w.jump(slot)
			return true, nil
		}
	}
	return false, nil
}

// lose says of slots that they are not there.
func (w *walk) lose(from, to uint64) {
	means := "what was committed in it is lost, and no server can read beyond it"
	if from <= w.st.slot {
		means = "what was committed in it is lost, unless it has been moved to a segment"
	}
	for slot := from; slot <= to; slot++ {
		w.missing = append(w.missing, Problem{Error, layout.LogKey(slot), "it is not there", means})
		if slot-from > 100 {
			break
		}
	}
	w.foul = w.foul || to > w.st.slot
}

// collected goes on at the floor, which has been raised meanwhile.
func (w *walk) collected(floor uint64) error {
	if floor > w.st.slot+1 {
		if !w.final {
			return errBehind
		}
		w.foul = true
	}
	w.jump(floor)
	return nil
}

// jump goes on at a slot without knowing what was before.
func (w *walk) jump(slot uint64) {
	w.at = &state{database: w.st.database, slot: slot - 1}
	w.known = false
}

// take looks at the object in the next slot.
func (w *walk) take(ctx context.Context, object []byte) error {
	slot := w.at.slot + 1
	key := layout.LogKey(slot)
	l, err := layout.DecodeLog(object)
	if err == nil {
		err = txnsOf(&l.Table, l.Txns)
	}
	if err == nil {
		err = w.follow(l)
	}
	if err != nil {
		return w.broken(ctx, slot, err)
	}
	w.at.slot, w.at.hash, w.at.epoch, w.at.last, w.at.maxOID = slot, layout.HashOf(object), l.Epoch, l.LastTID, l.MaxOID
	w.known = true
	if slot == w.st.slot && w.base != "" && w.at.hash != w.st.hash {
		w.say(Error, w.base, "it is not the checkpoint of this log: another object is in slot "+fmt.Sprint(slot), "no server can start from it")
		w.foul = true
	}
	if slot != w.st.slot+1 || w.foul {
		return nil
	}
	if w.base != "" || slot > 1 {
		if err := w.st.follows(l); err != nil {
			w.foul = true
			w.say(Error, key, err.Error(), "no server can read beyond "+w.base)
			return nil
		}
	}
	tables, err := w.newTables(ctx, l)
	if err != nil {
		return err
	}
	w.st.apply(l, object, tables)
	w.trimTail()
	return nil
}

// follow reports why an object does not follow on the one before, if that is known.
func (w *walk) follow(l *layout.Log) error {
	if w.known {
		return w.at.follows(l)
	}
	if l.Slot != w.at.slot+1 || l.Database != w.at.database {
		return errors.New("it belongs to another slot or database")
	}
	return nil
}

// broken says what is wrong with a slot, unless it has been collected and something else
// has come to lie there.
func (w *walk) broken(ctx context.Context, slot uint64, err error) error {
	floor, _, floorErr := w.readFloor(ctx, w.st.database)
	if floorErr == nil && floor.Slot > slot {
		return w.collected(floor.Slot)
	}
	means := "no server can read beyond it"
	if slot <= w.st.slot {
		means = "its transactions cannot be read, unless they have been moved to a segment"
	}
	w.foul = w.foul || slot > w.st.slot
	w.say(Error, layout.LogKey(slot), err.Error(), means)
	w.jump(slot + 1)
	return nil
}

// newTables reads the tables of the segments that a Replace names; of one that cannot be
// read, nothing.
func (w *walk) newTables(ctx context.Context, l *layout.Log) ([]*layout.Table, error) {
	if l.Kind != layout.Replace {
		return nil, nil
	}
	tables := make([]*layout.Table, len(l.Replace.New))
	for i := range l.Replace.New {
		t, err := w.tableOf(ctx, segmentPlace(&l.Replace.New[i]))
		if err != nil {
			w.noIndex, t = true, new(layout.Table) // the segment is looked at later
		}
		if err != nil && !errors.Is(err, zodb.ErrCorrupt) && !errors.Is(err, objstore.ErrNotExist) && !errors.Is(err, objstore.ErrRange) {
			return nil, err
		}
		tables[i] = t
	}
	return tables, nil
}

// txnsOf makes sure that the transactions behind each other are those of a table, and whole.
func txnsOf(table *layout.Table, body []byte) error {
	for i := range table.Txns {
		want := &table.Txns[i]
		t, rest, err := txnlog.Decode(body)
		if err != nil {
			return fmt.Errorf("transaction %v: %w", want.TID, err)
		}
		fits := t.TID == want.TID && len(t.Records) == len(want.Records) && len(body)-len(rest) == want.Len()
		for j := 0; fits && j < len(t.Records); j++ {
			r, w := &t.Records[j], &want.Records[j]
			fits = r.OID == w.OID && r.EncodedLen() == w.Len && (r.Kind == txnlog.Delete) == w.Delete
		}
		if !fits {
			return fmt.Errorf("transaction %v is not as the table says", want.TID)
		}
		body = rest
	}
	return nil
}
