package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/zaridb/zari/transfer"
	"github.com/zaridb/zari/zodb"
)

const diffLong = `Print which objects differ between two storages, or between two times of one: a line
for each with A (added), M (changed) or D (deleted), its class and the sizes, and then
how many there are of each class.

What counts is the data, not which transaction wrote it; of blobs, the contents of
their files. To compare histories, revision by revision, there is
zari copy --verify --dry-run.

Two storages are read as a whole. Of one storage only what was written between the
two times is read: --from is just after that transaction, --to is now unless given.
Where old revisions were packed away a changed object looks like an added one.

` + storageHelp + `

` + tidHelp

const diffExample = `  zari diff --from 2026-11-01 Data.fs
  zari diff --from 2026-11-01 --to 2026-11-02T12:00 --summary Data.fs
  zari diff --to 2026-11-01 Data.fs backup/Data.fs
  zari diff --json Data.fs backup/Data.fs | jq -r .oid`

const diffExits = `
EXIT STATUS (as diff)
  0  there is no difference
  1  there are differences
  2  the command line is wrong, or something could not be read`

// diffFlags is the command line of zari diff.
type diffFlags struct {
	from, to zodb.TID
	summary  bool
	json     bool
}

func newDiffCommand() *cobra.Command {
	var f diffFlags
	cmd := &cobra.Command{
		Use:     "diff [flags] A B | diff --from TID [--to TID] A",
		Short:   "Print which objects differ, between storages or times",
		Long:    diffLong + "\n" + diffExits,
		Example: diffExample,
		Args:    usageArgs(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && f.from == 0 {
				return usageError{errors.New("name two storages, or one and --from")}
			}
			if len(args) == 2 && f.from != 0 {
				return usageError{errors.New("--from is for two times of one storage; --to shows both storages as they were then")}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			n, err := f.run(ctx, args, cmd.OutOrStdout())
			switch {
			case err != nil:
				return troubleError{err}
			case n > 0:
				return errReported
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.Var(tidFlag{&f.from}, "from", "the older of two times of A")
	flags.Var(tidFlag{&f.to}, "to", "the newer of them, or with A and B the time at which to look at both")
	flags.BoolVar(&f.summary, "summary", false, "print only how many objects of each class differ")
	flags.BoolVar(&f.json, "json", false, "print a line of JSON for each object, and one for the summary")
	return cmd
}

// run prints the differences and returns how many there are.
func (f *diffFlags) run(ctx context.Context, args []string, out io.Writer) (n int, err error) {
	var opened []zodb.Storage
	defer func() {
		for _, s := range opened {
			err = errors.Join(err, s.Close())
		}
	}()
	for _, where := range args {
		s, err := openStorage(ctx, where, toRead)
		if err != nil {
			return 0, err
		}
		opened = append(opened, s)
	}
	var changes iter.Seq2[transfer.Change, error]
	if len(opened) == 1 {
		changes = transfer.DiffSince(ctx, opened[0], f.from, f.to)
	} else {
		changes = transfer.Diff(ctx, transfer.State{Storage: opened[0], At: f.to}, transfer.State{Storage: opened[1], At: f.to})
	}
	total := diffTotal{Classes: make(map[string]*classDiff)}
	for c, err := range changes {
		if err != nil {
			return 0, err
		}
		x := changed(&c)
		total.add(&x)
		if f.summary {
			continue
		}
		if err := f.print(out, &x); err != nil {
			return 0, err
		}
	}
	return total.Added + total.Changed + total.Deleted, f.printTotal(out, &total)
}

// changedObject is an object that differs.
type changedObject struct {
	Change  string `json:"change"` // A, M or D
	OID     string `json:"oid"`
	Class   string `json:"class"`
	OldTID  string `json:"old_tid,omitempty"`
	NewTID  string `json:"new_tid,omitempty"`
	OldSize int    `json:"old_size"`
	NewSize int    `json:"new_size"`
	Blob    bool   `json:"blob,omitempty"`
}

func changed(c *transfer.Change) changedObject {
	x := changedObject{Change: "M", OID: c.OID.String(), Blob: c.Blob()}
	if c.Old == nil {
		x.Change = "A"
	} else {
		x.OldTID, x.OldSize, x.Class = c.Old.Serial.String(), len(c.Old.Data), classOf(c.Old.Data)
	}
	if c.New == nil {
		x.Change = "D"
	} else {
		x.NewTID, x.NewSize, x.Class = c.New.Serial.String(), len(c.New.Data), classOf(c.New.Data)
	}
	return x
}

func (f *diffFlags) print(out io.Writer, x *changedObject) (err error) {
	if f.json {
		return json.NewEncoder(out).Encode(x)
	}
	sizes := fmt.Sprintf("%d -> %d bytes", x.OldSize, x.NewSize)
	switch x.Change {
	case "A":
		sizes = fmt.Sprintf("%d bytes", x.NewSize)
	case "D":
		sizes = fmt.Sprintf("%d bytes", x.OldSize)
	}
	_, err = fmt.Fprintf(out, "%s %s %s %s\n", x.Change, x.OID, x.Class, sizes)
	return err
}

// diffTotal is the summary.
type diffTotal struct {
	Added   int                   `json:"added"`
	Changed int                   `json:"changed"`
	Deleted int                   `json:"deleted"`
	Bytes   int                   `json:"bytes"` // how much more there are in the newer state
	Classes map[string]*classDiff `json:"classes"`
}

type classDiff struct {
	Added   int `json:"added"`
	Changed int `json:"changed"`
	Deleted int `json:"deleted"`
	Bytes   int `json:"bytes"`
}

func (d *diffTotal) add(x *changedObject) {
	c := d.Classes[x.Class]
	if c == nil {
		c = new(classDiff)
		d.Classes[x.Class] = c
	}
	switch x.Change {
	case "A":
		d.Added++
		c.Added++
	case "D":
		d.Deleted++
		c.Deleted++
	default:
		d.Changed++
		c.Changed++
	}
	d.Bytes += x.NewSize - x.OldSize
	c.Bytes += x.NewSize - x.OldSize
}

func (f *diffFlags) printTotal(out io.Writer, d *diffTotal) error {
	if f.json {
		return json.NewEncoder(out).Encode(d)
	}
	if len(d.Classes) == 0 {
		return nil
	}
	names := make([]string, 0, len(d.Classes))
	for name := range d.Classes {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		x, y := d.Classes[a], d.Classes[b]
		return cmp.Or(cmp.Compare(y.Added+y.Changed+y.Deleted, x.Added+x.Changed+x.Deleted), cmp.Compare(a, b))
	})
	if _, err := fmt.Fprintf(out, "%d added, %d changed, %d deleted, %+d bytes\n", d.Added, d.Changed, d.Deleted, d.Bytes); err != nil {
		return err
	}
	for _, name := range names {
		c := d.Classes[name]
		if _, err := fmt.Fprintf(out, "  %s: %d added, %d changed, %d deleted, %+d bytes\n", name, c.Added, c.Changed, c.Deleted, c.Bytes); err != nil {
			return err
		}
	}
	return nil
}
