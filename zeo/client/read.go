package client

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/zaridb/zari/zeo/wire"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// History implements zodb.Historian.
func (s *Storage) History(ctx context.Context, oid zodb.OID, size int) (list []zodb.Revision, err error) {
	last := s.LastTID()
	err = s.ask(ctx, "history", func(m *wire.Message) error {
		dicts, err := dictsOf(m)
		if err != nil {
			return err
		}
		list = nil
		for _, d := range dicts {
			r, err := revisionOf(d)
			if err != nil {
				return err
			}
			if r.TID <= last {
				list = append(list, r)
			}
		}
		return nil
	}, oid, int64(size))
	return list, unsupported(namedObject(err, oid))
}

func revisionOf(d *pickle.Dict) (r zodb.Revision, err error) {
	if r.TID, err = zodb.ParseTID(bytesOf(d, "tid")); err != nil {
		return r, err
	}
	r.User, r.Description = filled(bytesOf(d, "user_name")), filled(bytesOf(d, "description"))
	size, _ := d.Get("size")
	r.Size, _ = size.(int64)
	r.Extension, err = extensionIn(d, "tid", "time", "user_name", "description", "size", "version")
	return r, err
}

// extensionIn makes an extension of what a dict has besides the known keys.
func extensionIn(d *pickle.Dict, known ...string) ([]byte, error) {
	ext := pickle.NewDict()
	for _, e := range d.Entries {
		if key, ok := pickle.Text(e.Key); !ok || !slices.Contains(known, key) {
			ext.Entries = append(ext.Entries, e)
		}
	}
	if ext.Len() == 0 {
		return nil, nil
	}
	return pickle.Encode(ext)
}

// dictsOf reads a result that is a list of dicts.
func dictsOf(m *wire.Message) ([]*pickle.Dict, error) {
	v, err := m.Result()
	if err != nil {
		return nil, err
	}
	items, ok := v.(pickle.Tuple)
	if l, isList := v.(*pickle.List); isList {
		items, ok = l.Items, true
	}
	if !ok {
		return nil, fmt.Errorf("not a list: %.50T", v)
	}
	dicts := make([]*pickle.Dict, len(items))
	for i, item := range items {
		if dicts[i], ok = item.(*pickle.Dict); !ok {
			return nil, fmt.Errorf("not a dict: %.50T", item)
		}
	}
	return dicts, nil
}

// namedObject names the object in an error for one that is not there.
func namedObject(err error, oid zodb.OID) error {
	if e, ok := errors.AsType[*zodb.NoObjectError](err); ok {
		e.OID = oid
	}
	return err
}

// unsupported is what it means that the server's storage has no such method.
func unsupported(err error) error {
	if e, ok := errors.AsType[*wire.PyError](err); ok && e.Class == wire.AttributeError {
		return fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	return err
}

// LoadSerial implements zodb.Historian.
func (s *Storage) LoadSerial(ctx context.Context, oid zodb.OID, serial zodb.TID) (data []byte, err error) {
	if serial > s.LastTID() {
		return nil, &zodb.NoObjectError{OID: oid, Before: serial}
	}
	err = s.ask(ctx, "loadSerial", func(m *wire.Message) error {
		b, err := m.Bytes(0)
		data = bytes.Clone(b)
		return err
	}, oid, serial)
	return data, namedObject(err, oid)
}

// undoPage is how many entries of the undo log are read at a time for a filter.
const undoPage = 100

// UndoLog implements zodb.Undoer.
func (s *Storage) UndoLog(ctx context.Context, first, last int, filter func(*zodb.UndoEntry) bool) ([]zodb.UndoEntry, error) {
	if first >= last {
		return nil, nil
	}
	if filter == nil {
		return s.undoLog(ctx, first, last)
	}
	var accepted []zodb.UndoEntry
	for at := 0; ; at += undoPage {
		page, err := s.undoLog(ctx, at, at+undoPage)
		if err != nil {
			return nil, err
		}
		for i := range page {
			if filter(&page[i]) {
				accepted = append(accepted, page[i])
			}
			if len(accepted) == last {
				return accepted[first:], nil
			}
		}
		if len(page) < undoPage {
			return accepted[min(first, len(accepted)):], nil
		}
	}
}

// undoLog reads entries, without those that were not told of yet.
func (s *Storage) undoLog(ctx context.Context, first, last int) (log []zodb.UndoEntry, err error) {
	told := s.LastTID()
	err = s.beside(ctx, func(c *conn) error {
		return c.call(ctx, "undoLog", func(m *wire.Message) error {
			dicts, err := dictsOf(m)
			if err != nil {
				return err
			}
			log = nil
			for _, d := range dicts {
				e, err := undoEntryOf(d)
				if err != nil {
					return err
				}
				if e.TID <= told {
					log = append(log, e)
				}
			}
			return nil
		}, int64(first), int64(last))
	})
	return log, err
}

func undoEntryOf(d *pickle.Dict) (e zodb.UndoEntry, err error) {
	if e.TID, err = zodb.ParseUndoID(bytesOf(d, "id")); err != nil {
		return e, err
	}
	e.User, e.Description = filled(bytesOf(d, "user_name")), filled(bytesOf(d, "description"))
	size, _ := d.Get("size")
	e.Size, _ = size.(int64)
	e.Extension, err = extensionIn(d, "id", "time", "user_name", "description", "size")
	return e, err
}

// Pack implements zodb.Packer. The server packs as it is configured to, and says
// nothing before it is done.
func (s *Storage) Pack(ctx context.Context, at time.Time, opts zodb.PackOptions) error {
	if !opts.AsConfigured() {
		return fmt.Errorf("the server decides how it packs: %w", errors.ErrUnsupported)
	}
	x, err := s.connected(ctx)
	if err != nil {
		return err
	}
	if x.readOnly {
		return zodb.ErrReadOnly
	}
	c, err := s.acquire(ctx, x)
	if err != nil {
		return err
	}
	err = c.call(ctx, "pack", nil, float64(at.UnixNano())/1e9, true)
	if err != nil {
		s.release(x, c, false)
		return unsupported(err)
	}
	// The server tells all clients of the new size, but no one knows when. That it
	// cannot be learned now is no failure of the pack.
	_, length, size, err := getInfo(ctx, c)
	if err == nil {
		s.setSize(length, size)
	}
	s.release(x, c, err == nil)
	return nil
}

// Current implements zodb.RecordIterator. The server tells of the records that are
// current when it is asked for each; what has changed since asOf, or changes
// meanwhile, is loaded as it was.
func (s *Storage) Current(ctx context.Context, asOf zodb.TID, from, to zodb.OID) iter.Seq2[zodb.Current, error] {
	return func(yield func(zodb.Current, error) bool) {
		w := &walk{s: s, at: from, to: to}
		after, stop := s.Observe(w.note)
		defer stop()
		if asOf == 0 || asOf > after {
			asOf = after
		}
		if asOf < after {
			oids, err := s.changedAfter(ctx, asOf)
			if err != nil {
				yield(zodb.Current{}, err)
				return
			}
			w.note(zodb.Change{OIDs: oids})
		}
		w.asOf = asOf
		for {
			c, ok, err := w.next(ctx)
			if err != nil {
				yield(zodb.Current{}, err)
			}
			if !ok || err != nil || !yield(c, nil) {
				return
			}
		}
	}
}

// changedAfter returns the objects that changed after a tid, which need not be a
// transaction's. What the server does not remember is read from its transactions.
func (s *Storage) changedAfter(ctx context.Context, tid zodb.TID) (oids []zodb.OID, err error) {
	err = s.retry(ctx, func(x *session) (err error) {
		oids, _, err = x.invalidations(ctx, tid)
		return err
	})
	if !errors.Is(err, zodb.ErrUnknownPosition) || !s.can().interfaces["IStorageIteration"] {
		return oids, err
	}
	for t, err := range s.Transactions(ctx, tid+1, 0) {
		if err != nil {
			return nil, err
		}
		for i := range t.Records {
			oids = append(oids, t.Records[i].OID)
		}
	}
	return oids, nil
}

// walk is an iteration over current records.
type walk struct {
	s        *Storage
	asOf     zodb.TID
	at, to   zodb.OID
	ended    bool // nothing from at on
	past     bool // the last oid there is was passed
	upcoming *zodb.Current

	mu      sync.Mutex
	changed []zodb.OID // since asOf, sorted when it is looked at
	missed  bool
}

// note is told of changes.
func (w *walk) note(c zodb.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changed = append(w.changed, c.OIDs...)
	w.missed = w.missed || c.Missed == zodb.MissedUnknown
}

// nextChanged returns the first changed object from w.at on.
func (w *walk) nextChanged() (oid zodb.OID, ok bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.missed {
		return 0, false, zodb.ErrUnknownPosition
	}
	for _, o := range w.changed {
		if o >= w.at && o <= w.to && (!ok || o < oid) {
			oid, ok = o, true
		}
	}
	return oid, ok, nil
}

// next returns the next record.
func (w *walk) next(ctx context.Context) (zodb.Current, bool, error) {
	for !w.past {
		if w.upcoming == nil && !w.ended {
			if err := w.ask(ctx); err != nil {
				return zodb.Current{}, false, err
			}
		}
		oid, ok, err := w.nextChanged()
		if err != nil {
			return zodb.Current{}, false, err
		}
		if c := w.upcoming; c != nil && (!ok || c.OID < oid) {
			w.pass(c.OID)
			if c.Serial <= w.asOf {
				return *c, true, nil
			}
			oid, ok = c.OID, true
		} else if ok {
			w.pass(oid)
		}
		if !ok {
			break
		}
		rec, err := w.s.LoadBefore(ctx, oid, w.asOf+1)
		if err == nil {
			return zodb.Current{OID: oid, Serial: rec.Serial, Data: rec.Data}, true, nil
		}
		if _, gone := errors.AsType[*zodb.NoObjectError](err); !gone {
			return zodb.Current{}, false, err
		}
	}
	return zodb.Current{}, false, nil
}

// pass goes on behind an object.
func (w *walk) pass(oid zodb.OID) {
	w.past = oid >= w.to || oid == ^zodb.OID(0)
	w.at = oid + 1
	if w.upcoming != nil && w.upcoming.OID <= oid {
		w.upcoming = nil
	}
}

// ask asks for the first record from w.at on.
func (w *walk) ask(ctx context.Context) error {
	for from := w.at; ; {
		c, err := w.s.nextRecord(ctx, from)
		if e, ok := errors.AsType[*zodb.NoObjectError](err); ok && e.OID >= from && e.OID < w.to {
			from = e.OID + 1 // Python's server stumbles over an object whose creation is undone
			continue
		}
		if e, ok := errors.AsType[*wire.PyError](err); ok && e.Class == wire.ValueError {
			w.ended = true // Python says so of an empty range
			return nil
		}
		if err != nil {
			return unsupported(err)
		}
		if c.OID < from {
			return errors.New("the server's records are out of order")
		}
		w.ended = c.OID > w.to
		if !w.ended {
			w.upcoming = &c
		}
		return nil
	}
}

// nextRecord returns the first current record from an oid on. When it returns, what
// the server has said before is told: an object that was deleted meanwhile is not
// in the answer, and nothing but its change says so.
func (s *Storage) nextRecord(ctx context.Context, from zodb.OID) (c zodb.Current, err error) {
	err = s.retry(ctx, func(x *session) error {
		answer := x.main.call(ctx, "record_iternext", func(m *wire.Message) (err error) {
			if c.OID, err = m.OID(0); err != nil {
				return err
			}
			if c.Serial, err = m.TID(1); err != nil {
				return err
			}
			data, err := m.Bytes(2)
			c.Data = bytes.Clone(data)
			return err
		}, from)
		if errors.Is(answer, ErrDisconnected) {
			return answer
		}
		return cmp.Or(s.published(ctx, x, x.heardOf()), answer)
	})
	return c, err
}
