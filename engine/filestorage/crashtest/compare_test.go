package crashtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/zaridb/zari/engine/filestorage"
	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/store"
	"github.com/zaridb/zari/txnlog"
	"github.com/zaridb/zari/zodb"
)

// compare checks the transactions that the engine has against the ledger, and
// returns them.
func (r *round) compare(ctx context.Context, e *filestorage.Storage, fsys vfs.FS) ([]*txnlog.Txn, error) {
	var found []*txnlog.Txn
	for t, err := range e.Scan(ctx, 0, store.Forward) {
		if err != nil {
			return nil, fmt.Errorf("reading the transactions: %w", err)
		}
		found = append(found, t)
	}
	c := &comparison{ledger: r.ledger, found: found}
	if err := c.all(); err != nil {
		return nil, err
	}
	if err := c.labels(); err != nil {
		return nil, err
	}
	return found, c.states(ctx, e, fsys)
}

type comparison struct {
	*ledger
	found []*txnlog.Txn
}

// all goes through the ledger and the found transactions side by side.
func (c *comparison) all() error {
	i, missing := 0, (*entry)(nil)
	for _, e := range c.entries {
		there := i < len(c.found) && c.found[i].TID == e.TID && string(c.found[i].User) == e.label
		switch {
		case e.fate == gone && there:
			return fmt.Errorf("%s is there (tid %v), but it failed", e.label, e.TID)
		case e.fate == gone:
			continue
		case there && missing != nil:
			return fmt.Errorf("%s is there (tid %v), but %s before it is not (tid %v, %v)", e.label, e.TID, missing.label, missing.TID, missing.fate)
		case there:
			if err := c.same(e, c.found[i]); err != nil {
				return fmt.Errorf("%s (tid %v, %v): %w", e.label, e.TID, e.fate, err)
			}
			i++
		case c.packedAway(e):
		case e.fate == kept:
			return fmt.Errorf("%s is lost (tid %v)", e.label, e.TID)
		case missing == nil:
			missing = e
		}
	}
	if i < len(c.found) {
		return fmt.Errorf("transaction %v (%q) is there, and nobody committed it", c.found[i].TID, c.found[i].User)
	}
	return nil
}

// same compares a transaction with what was handed to the engine. Records may
// have been packed away.
func (c *comparison) same(e *entry, t *txnlog.Txn) error {
	if !bytes.Equal(t.Description, e.Description) || !bytes.Equal(t.Extension, e.Extension) {
		return errors.New("description or extension differ")
	}
	records := t.Records
	for i := range e.Records {
		want := &e.Records[i]
		if len(records) == 0 || records[0].OID != want.OID {
			if !c.superseded(want, e.TID) {
				return fmt.Errorf("its record of %v is lost", want.OID)
			}
			continue
		}
		got := &records[0]
		records = records[1:]
		data, err := got.Load()
		if err != nil {
			return err
		}
		if got.Kind != want.Kind || !bytes.Equal(data, want.Data) {
			return fmt.Errorf("its record of %v is not what was committed", want.OID)
		}
	}
	if len(records) > 0 {
		return fmt.Errorf("it has a record of %v, which nobody committed", records[0].OID)
	}
	return nil
}

// packedAway reports whether a pack may have dropped all of a transaction.
func (c *comparison) packedAway(e *entry) bool {
	for i := range e.Records {
		if !c.superseded(&e.Records[i], e.TID) {
			return false
		}
	}
	return true
}

// superseded reports whether some pack may have dropped a record: it was not
// current at the pack's time, or held no data.
func (c *comparison) superseded(r *txnlog.Record, tid zodb.TID) bool {
	var latest zodb.TID // of the packs
	for _, at := range c.packs {
		latest = max(latest, at)
	}
	if tid > latest {
		return false
	}
	if r.Kind == txnlog.Delete {
		return true
	}
	for _, e := range c.entries {
		if e.fate != gone && e.TID > tid && e.TID <= latest && e.has(r.OID) {
			return true
		}
	}
	return false
}

func (e *entry) has(oid zodb.OID) bool {
	return slices.ContainsFunc(e.Records, func(r txnlog.Record) bool { return r.OID == oid })
}

// labels checks what the clients were told.
func (c *comparison) labels() error {
	there := make(map[string]*txnlog.Txn)
	for _, t := range c.found {
		there[string(t.User)] = t
	}
	handed := make(map[string]*entry)
	for _, e := range c.entries {
		handed[e.label] = e
	}
	for label, err := range c.refused {
		if there[label] != nil {
			return fmt.Errorf("%s is there, but its client was told: %w", label, err)
		}
	}
	for label, tid := range c.acked {
		e := handed[label]
		if e == nil || e.TID != tid {
			return fmt.Errorf("%s was acknowledged as %v, and the engine never got it so", label, tid)
		}
		if there[label] == nil && !c.packedAway(e) {
			return fmt.Errorf("%s is lost, which was acknowledged as %v", label, tid)
		}
	}
	return nil
}

// states checks through the index what loads and serials show of each record
// that is there, and its blob.
func (c *comparison) states(ctx context.Context, e *filestorage.Storage, fsys vfs.FS) error {
	newest := make(map[zodb.OID]zodb.TID)
	for _, t := range slices.Backward(c.found) {
		for i := range t.Records {
			rec := &t.Records[i]
			if err := c.state(ctx, e, rec, t.TID, newest[rec.OID]); err != nil {
				return fmt.Errorf("object %v as of %v: %w", rec.OID, t.TID, err)
			}
			newest[rec.OID] = t.TID
		}
	}
	return c.blobs(ctx, e, fsys)
}

func (c *comparison) state(ctx context.Context, e *filestorage.Storage, want *txnlog.Record, tid, next zodb.TID) error {
	if next == 0 {
		serials, err := e.Serials(ctx, []zodb.OID{want.OID})
		if err != nil || serials[0] != tid {
			return fmt.Errorf("its newest serial is said to be %v (%v)", serials, err)
		}
	}
	got, err := e.LoadBefore(ctx, want.OID, tid+1)
	if want.Kind == txnlog.Delete {
		if no, ok := errors.AsType[*zodb.NoObjectError](err); !ok || no.DeletedAt != tid {
			return fmt.Errorf("it is deleted, and loads say %v", err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	data, err := want.Load()
	if err != nil {
		return err
	}
	if !bytes.Equal(got.Data, data) || got.Serial != tid || got.Next != next {
		return fmt.Errorf("loads show serial %v, next %v, want next %v", got.Serial, got.Next, next)
	}
	return nil
}

// blobs reads the blob of every record that was committed with one and is there.
func (c *comparison) blobs(ctx context.Context, e *filestorage.Storage, fsys vfs.FS) error {
	there := make(map[zodb.TID]*txnlog.Txn)
	for _, t := range c.found {
		there[t.TID] = t
	}
	for _, x := range c.entries {
		t := there[x.TID]
		if t == nil || x.fate == gone {
			continue
		}
		for i := range t.Records {
			if !x.hasBlob(t.Records[i].OID) {
				continue
			}
			if err := blob(ctx, e, fsys, x.label, t.Records[i].OID, t.TID); err != nil {
				return fmt.Errorf("%s: the blob of %v, %v: %w", x.label, t.Records[i].OID, t.TID, err)
			}
		}
	}
	return nil
}

func (e *entry) hasBlob(oid zodb.OID) bool {
	return slices.ContainsFunc(e.Records, func(r txnlog.Record) bool { return r.OID == oid && r.Blob != "" })
}

func blob(ctx context.Context, e *filestorage.Storage, fsys vfs.FS, label string, oid zodb.OID, tid zodb.TID) error {
	path, err := e.LoadBlob(ctx, oid, tid)
	if err != nil {
		return err
	}
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	got, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, blobContent(label, oid)) {
		return fmt.Errorf("its %d bytes are not those that were committed", len(got))
	}
	return nil
}
