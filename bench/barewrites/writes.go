// Package barewrites is the yardstick for commits: how fast this machine's disk
// takes the same bytes with the same number of fdatasyncs, with nobody to talk to
// and nothing to check.
//
// Zari appends a batch of transactions to Data.fs with one write of which the
// first transaction is marked as incomplete, then fdatasync, one byte that
// completes it, and fdatasync again. This does the same.
package barewrites

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/zaridb/zari/internal/vfs"
)

// Options say what to write.
type Options struct {
	Dir      string        // where; the file is removed at the end
	FS       vfs.FS        // nil: the system's
	Batch    int           // transactions in a write
	Bytes    int           // of a transaction, at least 17
	Duration time.Duration // for how long
}

// Result is what was written.
type Result struct {
	Batch        int     `json:"batch"`
	Transactions uint64  `json:"transactions"`
	Seconds      float64 `json:"seconds"`
	Rate         float64 `json:"rate"` // transactions per second
}

// Run writes for the duration.
func Run(ctx context.Context, o Options) (Result, error) {
	if o.Batch < 1 || o.Bytes <= statusByte {
		return Result{}, fmt.Errorf("barewrites: batches of %d transactions of %d bytes", o.Batch, o.Bytes)
	}
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	path := filepath.Join(o.Dir, "bare.writes")
	f, err := o.FS.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return Result{}, err
	}
	defer o.FS.Remove(path)
	defer f.Close()

	res := Result{Batch: o.Batch}
	block := make([]byte, o.Batch*o.Bytes)
	began := time.Now()
	for at := int64(0); time.Since(began) < o.Duration && ctx.Err() == nil; at += int64(len(block)) {
		if err := write(f, block, at); err != nil {
			return res, fmt.Errorf("barewrites: %w", err)
		}
		res.Transactions += uint64(o.Batch)
	}
	res.Seconds = time.Since(began).Seconds()
	res.Rate = float64(res.Transactions) / res.Seconds
	return res, nil
}

// statusByte is where the status stands in a transaction of a Data.fs.
const statusByte = 16

func write(f vfs.File, block []byte, at int64) error {
	if _, err := f.WriteAt(block, at); err != nil {
		return err
	}
	if err := f.Datasync(); err != nil {
		return err
	}
	if _, err := f.WriteAt([]byte{' '}, at+statusByte); err != nil {
		return err
	}
	return f.Datasync()
}
