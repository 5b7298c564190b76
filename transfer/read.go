package transfer

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

// batch is a run of transactions, with the blobs that are being copied for them.
type batch struct {
	txns  []*zodb.Transaction
	blobs map[blobKey]*stagedBlob
	bytes int64
	began time.Time

	missing int64 // records of blobs without a file
	copying sync.WaitGroup
}

// blobKey names the record of a blob within a batch.
type blobKey struct{ txn, record int }

// wait returns when no blob is being copied any more.
func (b *batch) wait() { b.copying.Wait() }

// add adds a transaction, whose blobs are not looked at.
func (b *batch) add(t *zodb.Transaction) {
	if len(b.txns) == 0 {
		b.began = time.Now()
	}
	b.txns = append(b.txns, t)
	b.bytes += recordBytes
	for i := range t.Records {
		b.bytes += recordBytes + int64(len(t.Records[i].Data))
	}
}

// recordBytes is what a record costs beside its data.
const recordBytes = 100

// maxAge is how long a transaction waits for others to make a batch.
const maxAge = time.Second

// read makes batches of the source's transactions.
func (c *copier) read(ctx context.Context, out chan<- *batch) error {
	b := &batch{}
	send := func() error {
		select {
		case out <- b:
			b = &batch{}
			return nil
		case <-ctx.Done():
			b.wait()
			return ctx.Err()
		}
	}
	for t, err := range c.from.Transactions(ctx, c.start, c.opts.To) {
		if err != nil {
			b.wait()
			return fmt.Errorf("reading from %s: %w", named("the source", c.src), err)
		}
		if err := c.take(ctx, b, t); err != nil {
			b.wait()
			return fmt.Errorf("transaction %v: %w", t.TID, err)
		}
		if b.bytes < c.opts.BatchBytes && time.Since(b.began) < maxAge {
			continue
		}
		if err := send(); err != nil {
			return err
		}
	}
	if len(b.txns) == 0 {
		return nil
	}
	return send()
}

// take adds a transaction to the batch and starts to copy its blobs.
func (c *copier) take(ctx context.Context, b *batch, t *zodb.Transaction) error {
	b.add(t)
	for i := range t.Records {
		r := &t.Records[i]
		if c.opts.WithoutBlobs || !r.Blob && !isBlob(r.Data) {
			continue
		}
		if c.blobs == nil {
			return fmt.Errorf("object %v is a blob, and %s was opened without a directory for blobs: name one, or leave the blobs out", r.OID, named("the source", c.src))
		}
		if !r.Blob && c.opts.NeedBlobs {
			return fmt.Errorf("object %v is a blob, and %s has no file for it", r.OID, named("the source", c.src))
		}
		if !r.Blob {
			b.missing++
			continue
		}
		n, err := c.takeBlob(ctx, b, blobKey{len(b.txns) - 1, i}, r.OID, t.TID)
		if err != nil {
			return fmt.Errorf("blob of object %v: %w", r.OID, err)
		}
		b.bytes += n
	}
	return nil
}

func (c *copier) takeBlob(ctx context.Context, b *batch, k blobKey, oid zodb.OID, tid zodb.TID) (int64, error) {
	path, err := c.blobs.LoadBlob(ctx, oid, tid)
	if err != nil {
		return 0, err
	}
	staged, err := c.stage.add(ctx, &b.copying, path, oid, tid)
	if err != nil {
		return 0, err
	}
	if b.blobs == nil {
		b.blobs = make(map[blobKey]*stagedBlob)
	}
	b.blobs[k] = staged
	return staged.size, nil
}

// isBlob reports whether a record is of the class whose objects have blobs.
func isBlob(data []byte) bool {
	if !bytes.Contains(data, []byte("ZODB.blob")) {
		return false // as nearly always; reading the pickle takes longer
	}
	class, err := pickle.ClassOf(data)
	return err == nil && class == pickle.Class{Module: "ZODB.blob", Name: "Blob"}
}
