package transfer

import (
	"context"
	"iter"

	"github.com/zaridb/zari/zodb"
)

// Transactions are handed over in runs of about so many bytes and at most so many,
// since a channel operation for each would cost as much as reading a small one.
const (
	runBytes = 1 << 20
	runLen   = 1000
)

// ahead yields what seq yields, but reads it in a goroutine of its own, some runs
// ahead of the reader. The goroutine ends with the loop over the result.
func ahead(ctx context.Context, seq iter.Seq2[*zodb.Transaction, error]) iter.Seq2[*zodb.Transaction, error] {
	type run struct {
		txns []*zodb.Transaction
		err  error
	}
	return func(yield func(*zodb.Transaction, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		runs := make(chan run, 2)
		go func() {
			defer close(runs)
			var r run
			bytes := 0
			send := func() bool {
				select {
				case runs <- r:
					r, bytes = run{}, 0
					return true
				case <-ctx.Done():
					return false
				}
			}
			for t, err := range seq {
				if err != nil {
					r.err = err
					break
				}
				r.txns = append(r.txns, t)
				for i := range t.Records {
					bytes += len(t.Records[i].Data)
				}
				if (bytes >= runBytes || len(r.txns) >= runLen) && !send() {
					return
				}
			}
			send()
		}()
		defer func() {
			cancel()
			for range runs { // until the goroutine has ended
			}
		}()
		for r := range runs {
			for _, t := range r.txns {
				if !yield(t, nil) {
					return
				}
			}
			if r.err != nil {
				yield(nil, r.err)
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(nil, err)
		}
	}
}
