package transfer

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/zaridb/zari/zodb"
)

// Options say what to copy, and how. The zero value copies everything.
type Options struct {
	// From and To bound the tids of the transactions, both included; 0 is no
	// bound. A copy that begins late lacks the objects that were not written since.
	From, To zodb.TID

	// WithoutBlobs copies the records of blobs without their files.
	WithoutBlobs bool

	// NeedBlobs makes a record of a blob whose file the source has not got an error.
	NeedBlobs bool

	// NoHistory says that the destination keeps the newest revision of each object
	// only. Where a copy goes on is found by what it still has of the last
	// transactions.
	NoHistory bool

	// BatchBytes is about how much is committed at a time. Default 16 MiB.
	BatchBytes int64

	// Progress, if not nil, is told after every commit, by one goroutine.
	Progress func(Progress)
}

func (o Options) withDefaults() Options {
	if o.BatchBytes == 0 {
		o.BatchBytes = 16 << 20
	}
	return o
}

// Result is what a Copy did.
type Result struct {
	Resumed      zodb.TID // the destination's last transaction before, 0 if it was empty
	First, Last  zodb.TID // of the transactions that were copied, 0 if none were
	Transactions int64
	Records      int64
	Bytes        int64 // of the records' data
	Blobs        int64
	BlobBytes    int64

	// BlobsMissing counts records of blobs whose file the source has not got.
	BlobsMissing int64
}

// Progress is how far a copy or a comparison has come.
type Progress struct {
	TID          zodb.TID // up to here it is done
	Transactions int64
	Records      int64
	Blobs        int64
	Bytes        int64 // of data and blobs

	// Done and Total are positions in the source's medium, roughly; Total is 0
	// where the source does not know its size.
	Done, Total int64
}

// Copy brings dst to the state of src, as it is when Copy begins. With an error,
// Result tells what was copied before it.
func Copy(ctx context.Context, dst, src zodb.Storage, o Options) (Result, error) {
	c, err := newCopier(dst, src, o)
	if err != nil {
		return Result{}, err
	}
	defer c.stage.close()
	if err := c.checkDestination(); err != nil {
		return Result{}, err
	}
	if err := c.resume(ctx); err != nil {
		return c.result, err
	}
	if err := c.stage.sweep(); err != nil {
		return c.result, err
	}
	err = c.run(ctx)
	return c.result, err
}

// Check finds out what Copy would do, without writing: the Result has Resumed, and
// an error says why Copy would refuse. dst may be open to be read only.
func Check(ctx context.Context, dst, src zodb.Storage, o Options) (Result, error) {
	c, err := newCopier(dst, src, o)
	if err != nil {
		return Result{}, err
	}
	err = c.resume(ctx)
	return c.result, err
}

// copier is one Copy.
type copier struct {
	dst, src zodb.Storage
	opts     Options

	from     zodb.Iterator
	blobs    zodb.BlobStore // the source's, nil if it has none
	appender zodb.Appender  // the destination's, nil if it is none
	stage    *stage
	start    zodb.TID // the first to copy

	result   Result
	progress Progress
}

func newCopier(dst, src zodb.Storage, o Options) (*copier, error) {
	c := &copier{dst: dst, src: src, opts: o.withDefaults(), start: o.From, stage: newStage(dst)}
	var ok bool
	if c.from, ok = zodb.As[zodb.Iterator](src); !ok {
		return nil, fmt.Errorf("%s cannot list its transactions, so there is nothing to copy one by one (a copy of the current state alone is not there yet): %w",
			named("the source", src), errors.ErrUnsupported)
	}
	if !o.WithoutBlobs {
		c.blobs, _ = zodb.As[zodb.BlobStore](src)
	}
	c.progress.Total = src.Info().Size
	if _, ok := zodb.As[zodb.Restorer](dst); !ok {
		return nil, errNoRestore(dst)
	}
	return c, nil
}

// checkDestination checks that the destination takes what is copied.
func (c *copier) checkDestination() error {
	if _, ok := zodb.As[zodb.Restorer](c.dst); !ok {
		return errNoRestore(c.dst)
	}
	if c.dst.Info().ReadOnly {
		return fmt.Errorf("%s: %w", named("the destination", c.dst), zodb.ErrReadOnly)
	}
	c.appender, _ = zodb.As[zodb.Appender](c.dst)
	return nil
}

func errNoRestore(dst zodb.Storage) error {
	return fmt.Errorf("%s does not take transactions with given tids: %w", named("the destination", dst), errors.ErrUnsupported)
}

// named is the name of a storage for an error, with the part that it plays.
func named(role string, s zodb.Storage) string {
	if name := s.Info().Name; name != "" {
		return role + " " + name
	}
	return role
}

// run copies what there is from c.start on.
func (c *copier) run(ctx context.Context) error {
	readCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	batches := make(chan *batch, 1)
	var readErr error
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(batches)
		readErr = c.read(readCtx, batches)
	})
	writeErr := c.write(ctx, batches)
	cancel()
	for b := range batches {
		b.wait() // its blobs are given up with the stage
	}
	wg.Wait()
	if writeErr != nil {
		return writeErr
	}
	return readErr
}
