package transfer

import (
	"context"
	"fmt"
	"iter"

	"github.com/zaridb/zari/zodb"
)

// Restore restores a stream of transactions, such as a dump holds, in dst, which
// must be empty. A record with From and without Data is an undo record whose data
// are those of that earlier revision. Blobs cannot come in this way.
func Restore(ctx context.Context, dst zodb.Storage, txns iter.Seq2[*zodb.Transaction, error], o Options) (Result, error) {
	c := &copier{dst: dst, opts: o.withDefaults(), stage: newStage(dst)}
	if err := c.checkDestination(); err != nil {
		return Result{}, err
	}
	if last := dst.LastTID(); last != 0 {
		return Result{}, fmt.Errorf("%s is not empty: it has transactions up to %v", named("the destination", dst), last)
	}
	b := &batch{}
	flush := func() error {
		err := c.writeBatch(ctx, b)
		b = &batch{}
		return err
	}
	for t, err := range txns {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return c.result, err
		}
		if len(b.txns) > 0 && (b.bytes >= c.opts.BatchBytes || goesBackTo(t, b.txns[0].TID)) {
			if err := flush(); err != nil {
				return c.result, err
			}
		}
		if t, err = c.withUndone(ctx, t); err != nil {
			return c.result, err
		}
		b.add(t)
	}
	if len(b.txns) == 0 {
		return c.result, nil
	}
	return c.result, flush()
}

// goesBackTo reports whether an undo record needs the data of a transaction of the
// tid first or later, which are not committed yet.
func goesBackTo(t *zodb.Transaction, first zodb.TID) bool {
	for i := range t.Records {
		if r := &t.Records[i]; r.Data == nil && r.From >= first {
			return true
		}
	}
	return false
}

// withUndone returns the transaction with the data of its undo records.
func (c *copier) withUndone(ctx context.Context, t *zodb.Transaction) (*zodb.Transaction, error) {
	whole := *t
	whole.Records = append([]zodb.TxnRecord(nil), t.Records...)
	for i := range whole.Records {
		r := &whole.Records[i]
		if r.Data != nil || r.From == 0 {
			continue
		}
		rec, err := c.dst.LoadBefore(ctx, r.OID, r.From+1)
		if err == nil && rec.Serial != r.From {
			err = fmt.Errorf("its last revision before is of %v", rec.Serial)
		}
		if err != nil {
			return nil, fmt.Errorf("transaction %v goes back to the revision of object %v by transaction %v: %w", t.TID, r.OID, r.From, err)
		}
		r.Data = rec.Data
	}
	return &whole, nil
}
