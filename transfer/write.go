package transfer

import (
	"context"
	"errors"
	"fmt"

	"github.com/zaridb/zari/zodb"
)

// write restores the batches in the destination.
func (c *copier) write(ctx context.Context, batches <-chan *batch) error {
	for b := range batches {
		b.wait()
		if err := c.writeBatch(ctx, b); err != nil {
			if errors.Is(err, zodb.ErrCommitUnknown) {
				return fmt.Errorf("%w; start the copy again, and it goes on from what the destination has got", err)
			}
			return err
		}
	}
	return ctx.Err()
}

func (c *copier) writeBatch(ctx context.Context, b *batch) error {
	defer func() { c.result.BlobsMissing += b.missing }()
	if c.appender == nil {
		for i := range b.txns {
			if err := c.commit(ctx, b, i); err != nil {
				return fmt.Errorf("transaction %v: %w", b.txns[i].TID, err)
			}
			c.count(b, i)
			c.report()
		}
		return nil
	}
	txns := make([]zodb.Txn, 0, len(b.txns))
	var err error
	for i := range b.txns {
		var txn zodb.Txn
		if txn, err = c.restore(ctx, b, i); err != nil {
			err = fmt.Errorf("transaction %v: %w", b.txns[i].TID, err)
			break
		}
		txns = append(txns, txn)
	}
	n, appendErr := c.appender.Append(ctx, txns) // also what comes before a failure
	for i := range n {
		c.count(b, i)
	}
	c.report()
	return errors.Join(appendErr, err)
}

// commit commits one transaction of the batch by itself.
func (c *copier) commit(ctx context.Context, b *batch, i int) error {
	txn, err := c.restore(ctx, b, i)
	if err != nil {
		return err
	}
	defer txn.Abort()
	votes, err := txn.Vote(ctx)
	if err != nil {
		return err
	}
	if len(votes.Conflicts) > 0 {
		return fmt.Errorf("the destination reports a conflict on object %v", votes.Conflicts[0].OID)
	}
	tid, err := txn.Finish(ctx, nil)
	if err == nil && tid != b.txns[i].TID {
		err = fmt.Errorf("the destination committed it as %v", tid)
	}
	return err
}

// restore opens a transaction like the one of the source, with its records.
func (c *copier) restore(ctx context.Context, b *batch, i int) (zodb.Txn, error) {
	t := b.txns[i]
	txn, err := c.dst.Begin(ctx, zodb.TxnMeta{
		TID: t.TID, Status: t.Status, User: t.User, Description: t.Description, Extension: t.Extension, Token: t.Token,
	})
	if err != nil {
		return nil, err
	}
	restorer, ok := zodb.As[zodb.RestoreTxn](txn)
	if !ok {
		txn.Abort()
		return nil, fmt.Errorf("%s does not restore records: %w", named("the destination", c.dst), errors.ErrUnsupported)
	}
	for j := range t.Records {
		r := &t.Records[j]
		if blob := b.blobs[blobKey{i, j}]; blob != nil {
			err = restoreBlob(ctx, txn, r, blob)
		} else {
			err = restorer.Restore(ctx, r.OID, r.Data, r.From)
		}
		if err != nil {
			txn.Abort()
			return nil, fmt.Errorf("object %v: %w", r.OID, err)
		}
	}
	return txn, nil
}

func restoreBlob(ctx context.Context, txn zodb.Txn, r *zodb.TxnRecord, blob *stagedBlob) error {
	if blob.err != nil {
		return fmt.Errorf("copying its blob: %w", blob.err)
	}
	restorer, ok := zodb.As[zodb.BlobTxn](txn)
	if !ok {
		return errNoBlobs
	}
	return restorer.RestoreBlob(ctx, r.OID, r.Data, r.From, blob.path)
}

// count adds a transaction that is committed to the result.
func (c *copier) count(b *batch, i int) {
	t := b.txns[i]
	r, p := &c.result, &c.progress
	if r.First == 0 {
		r.First = t.TID
	}
	r.Last = t.TID
	r.Transactions++
	r.Records += int64(len(t.Records))
	data := int64(0)
	for j := range t.Records {
		data += int64(len(t.Records[j].Data))
		if blob := b.blobs[blobKey{i, j}]; blob != nil {
			r.Blobs++
			r.BlobBytes += blob.size
		}
	}
	r.Bytes += data
	if t.Size > 0 {
		p.Done += t.Size
	} else {
		p.Done += data
	}
}

func (c *copier) report() {
	if c.opts.Progress == nil {
		return
	}
	r, p := &c.result, &c.progress
	p.TID, p.Transactions, p.Records, p.Blobs, p.Bytes = r.Last, r.Transactions, r.Records, r.Blobs, r.Bytes+r.BlobBytes
	c.opts.Progress(*p)
}
