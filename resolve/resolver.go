package resolve

import (
	"context"
	"errors"
	"log/slog"

	"github.com/zaridb/zari/zodb/compressed"
	"github.com/zaridb/zari/zodb/pickle"
)

// Limits of a record that is merged. Buckets are a few kilobytes, unless an
// application has raised BTrees' max_leaf_size.
const (
	MaxRecord = 16 << 20 // bytes, decompressed
	maxValues = 1 << 20
)

// Options are the settings of a Resolver. The zero value is good.
type Options struct {
	// LeaveToClients counts the conflicts of stores but merges only those of undos,
	// which no client can.
	LeaveToClients bool

	// MergeSplits lets transactions pass where others have split nodes of a BTree
	// that theirs are below, and merges two splits below one node. See ADR 14.
	MergeSplits bool

	// Untransform makes the pickles of a record that is stored in another form. The
	// default undoes the compression of zc.zlibstorage. It returns no more than max
	// bytes, or an error.
	Untransform func(record []byte, max int) ([]byte, error)

	Logger *slog.Logger // default: none
}

// Resolver merges conflicts and counts them by class. It is a store.Resolver, and
// may be used by many storages and goroutines.
type Resolver struct {
	opts  Options
	stats stats
}

// New makes a Resolver.
func New(o Options) *Resolver {
	if o.Untransform == nil {
		o.Untransform = Decompress
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Resolver{opts: o}
}

// Resolve merges the conflict of a store: wanted was made from base, and committed
// is current. It returns false if the client must try.
func (r *Resolver) Resolve(base, committed, wanted []byte) (merged []byte, ok bool) {
	return r.resolve(base, committed, wanted, false)
}

// ResolveUndo is Resolve for an undo: base is what the undone transaction wrote,
// and wanted what was there before it. If it returns false the undo fails.
func (r *Resolver) ResolveUndo(base, committed, wanted []byte) (merged []byte, ok bool) {
	return r.resolve(base, committed, wanted, true)
}

func (r *Resolver) resolve(base, committed, wanted []byte, undo bool) ([]byte, bool) {
	c := conflict{untransform: r.opts.Untransform, skip: r.opts.LeaveToClients && !undo}
	merged, err := c.resolve(base, committed, wanted)
	reason := reasonOf(err)
	met := stores
	if undo {
		met = undos
	}
	r.stats.count(label(c.class), met, reason)
	level := slog.LevelDebug
	if undo && err != nil {
		level = slog.LevelInfo // nobody else will try
	}
	r.opts.Logger.Log(context.Background(), level, "merge", "class", label(c.class), "undo", undo, "outcome", reason.String())
	return merged, err == nil
}

// Merge merges a conflict without counting it. The error says why it does not.
func Merge(base, committed, wanted []byte) (merged []byte, reason Reason) {
	c := conflict{untransform: Decompress}
	merged, err := c.resolve(base, committed, wanted)
	return merged, reasonOf(err)
}

// conflict is one conflict while it is merged.
type conflict struct {
	untransform func(record []byte, max int) ([]byte, error)
	skip        bool
	class       pickle.Class // zero: not known yet
	old         bool         // a pickle is of a protocol below 3
	renamed     bool         // a name may mean something else in such a protocol
}

func (c *conflict) resolve(base, committed, wanted []byte) ([]byte, error) {
	d, err := c.decoder(wanted)
	if err != nil {
		return nil, err
	}
	meta, err := c.next(d)
	if err != nil {
		return nil, err
	}
	var ok bool
	if c.class, ok = classOf(meta); !ok {
		return nil, refuse(UnknownClass)
	}
	merge, ok := classes[proper(c.class)]
	switch {
	case c.skip:
		return nil, refuse(LeftToClients)
	case !ok:
		return nil, refuse(UnknownClass)
	}
	ours, err := c.stateOf(d)
	if err != nil {
		return nil, err
	}
	old, err := c.state(base)
	if err != nil {
		return nil, err
	}
	theirs, err := c.state(committed)
	if err != nil {
		return nil, err
	}
	if c.old && c.renamed {
		return nil, refuse(Uncertain)
	}
	merged, err := merge(old, theirs, ours)
	if err != nil {
		return nil, err
	}
	out, err := pickle.EncodeRecord(meta, merged)
	if err != nil {
		return nil, badRecord(err)
	}
	return out, nil
}

func (c *conflict) decoder(record []byte) (*pickle.Decoder, error) {
	plain, err := c.untransform(record, MaxRecord)
	if err != nil {
		return nil, badRecord(err)
	}
	if len(plain) > MaxRecord {
		return nil, refuse(TooLarge)
	}
	d := pickle.NewDecoder(plain)
	d.MaxValues = maxValues
	d.Allow = func(module, _ string) error {
		c.renamed = c.renamed || renamed[module]
		return nil
	}
	return d, nil
}

// state reads the state in a record, which must be of the class of the conflict.
func (c *conflict) state(record []byte) (any, error) {
	d, err := c.decoder(record)
	if err != nil {
		return nil, err
	}
	meta, err := c.next(d)
	if err != nil {
		return nil, err
	}
	name, ok := classOf(meta)
	if !ok || proper(name) != proper(c.class) {
		return nil, refuse(OtherClass)
	}
	return c.stateOf(d)
}

func (c *conflict) stateOf(d *pickle.Decoder) (any, error) {
	state, err := c.next(d)
	if err != nil {
		return nil, err
	}
	if len(d.Rest()) > 0 {
		return nil, refuse(BadRecord)
	}
	return state, nil
}

// next reads the next pickle.
func (c *conflict) next(d *pickle.Decoder) (any, error) {
	c.old = c.old || oldProtocol(d.Rest())
	v, err := d.Decode()
	if err != nil {
		return nil, badRecord(err)
	}
	return v, nil
}

func badRecord(err error) error {
	if _, ok := errors.AsType[*refusal](err); ok {
		return err
	}
	return refuse(BadRecord)
}

// Decompress undoes the compression of zc.zlibstorage.
func Decompress(record []byte, max int) ([]byte, error) {
	plain, err := compressed.Read(record, max)
	if errors.Is(err, compressed.ErrTooLarge) {
		return nil, refuse(TooLarge)
	}
	return plain, err
}
