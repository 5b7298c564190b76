package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/zaridb/zari/transfer"
	"github.com/zaridb/zari/transfer/zodbdump"
)

const undumpLong = `Make a database from a dump: of 'zari dump --format zodbtools', or of 'zodb dump' of
zodbtools. The dump is read from FILE, or from standard input.

DST must be empty. All transactions come back with their tids, texts and undo records;
blobs are not in a dump, and what is made has only their records. Every hash is checked.

` + storageHelp

const undumpExample = `  zari undump New.fs Data.dump
  zari dump --format zodbtools Data.fs | zari undump Other.fs`

const undumpExits = `
EXIT STATUS
  0  DST has what the dump has
  1  it has not: what was read before the fault is there
  2  the command line is wrong`

func newUndumpCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:     "undump [flags] DST [FILE]",
		Short:   "Make a database from a dump",
		Long:    undumpLong + "\n" + undumpExits,
		Example: undumpExample,
		Args:    usageArgs(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			in := cmd.InOrStdin()
			if len(args) == 2 {
				f, err := os.Open(args[1])
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			bar := newProgressBar(cmd.ErrOrStderr(), asJSON)
			return undump(ctx, args[0], in, cmd.OutOrStdout(), bar, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print progress and result as lines of JSON")
	return cmd
}

// undumped is the outcome as JSON.
type undumped struct {
	Transactions int64   `json:"transactions"`
	Records      int64   `json:"records"`
	Bytes        int64   `json:"bytes"`
	Last         string  `json:"last"`
	Seconds      float64 `json:"seconds"`
	Error        string  `json:"error,omitempty"`
}

func undump(ctx context.Context, where string, in io.Reader, out io.Writer, bar *progressBar, asJSON bool) (err error) {
	s, err := openStorage(ctx, where, toFill)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	began := time.Now()
	bar.begin("restored")
	r, err := transfer.Restore(ctx, s, zodbdump.NewReader(in).All(), transfer.Options{Progress: bar.show})
	bar.end()
	took := time.Since(began)
	if asJSON {
		x := undumped{Transactions: r.Transactions, Records: r.Records, Bytes: r.Bytes, Last: s.LastTID().String(), Seconds: took.Seconds()}
		if err != nil {
			x.Error = err.Error()
		}
		return errors.Join(err, json.NewEncoder(out).Encode(x))
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "restored %d transactions with %d records (%s) in %v\n", r.Transactions, r.Records, bytesText(r.Bytes), took.Round(time.Millisecond))
	return err
}
