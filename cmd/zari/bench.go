package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/zaridb/zari/bench"
	"github.com/zaridb/zari/zeo/wire"
)

const benchLong = `Measure a ZEO server: Zari's, Python's, or any other.

The generator keeps a fixed number of operations in flight on each connection,
and reports rates, latencies, and, where it can see the server's process, the
processor time that the server took.

No command changes an object that it did not make. Those that write leave
objects behind that nobody refers to; a pack removes them. Even so, do not
measure a server that people are using.`

const benchExample = `  zari serve -a 127.0.0.1:8100 /tmp/bench.fs &
  zari bench fill --objects 100000             # a database to load from
  zari bench load --in-flight 8 --duration 30s
  zari bench load --pick cold --codec msgpack
  zari bench commit --per-commit 10 --size 4096 --conflicts 0.05
  zari bench mixed --writes 0.2 --objects 1000
  zari bench slow-voter --connections 1 --json`

const benchExits = `
EXIT STATUS
  0  all went well (conflicts are answers, and go well)
  1  some operations failed, or there is no server
  2  the command line is wrong`

// newBenchCommand returns `zari bench` with a command for each workload.
func newBenchCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:     "bench",
		Short:   "Measure a ZEO server",
		Long:    benchLong + "\n" + benchExits,
		Example: benchExample,
	})
	for _, c := range benchCommands {
		cmd.AddCommand(newWorkloadCommand(c))
	}
	return cmd
}

// benchFlags are the flags of one workload's command, before they are checked.
type benchFlags struct {
	bench.Options
	codec string
	json  bool
}

type benchCommand struct {
	workload bench.Workload
	short    string
	long     string
	flags    func(*cobra.Command, *benchFlags)
}

var benchCommands = []benchCommand{
	{bench.Load, "Load objects", `Load objects as they are at the last transaction.

The objects are those from --first-oid on; fill makes them, and any database has
some: its oids begin with 0 and mostly follow each other.`,
		func(c *cobra.Command, f *benchFlags) {
			existingFlags(c, f)
			inFlightFlag(c, f)
			c.Flags().StringVar((*string)(&f.Pick), "pick", string(f.Pick), "which to load next: random, hot (some of them only), cold (each once before any twice)")
			c.Flags().IntVar(&f.HotSet, "hot-set", f.HotSet, "how many objects --pick hot picks from")
		}},
	{bench.Commit, "Commit transactions", `Commit transactions, each connection to fresh objects of its own.

Some can be made to conflict: they write from a revision that was overwritten.`,
		func(c *cobra.Command, f *benchFlags) {
			writingFlags(c, f)
			c.Flags().Float64Var(&f.Conflicts, "conflicts", f.Conflicts, "share of the commits made to conflict, 0 to 1")
		}},
	{bench.Mixed, "Load, and now and then commit", `Load, and now and then commit, on fresh objects that all connections share.

Invalidations are heeded. Few objects and many writes make conflicts.`,
		func(c *cobra.Command, f *benchFlags) {
			writingFlags(c, f)
			inFlightFlag(c, f)
			f.Objects = 1000
			c.Flags().IntVar(&f.Objects, "objects", f.Objects, "how many objects to make and share")
			c.Flags().Float64Var(&f.Writes, "writes", f.Writes, "share of the operations that are commits, 0 to 1")
		}},
	{bench.SlowVoter, "Commit beside a client that stalls in the middle", `Commit twice: alone, and while one more client keeps sitting between vote and
finish, on an object of its own.

A server that locks the whole storage makes everybody wait for that client.`,
		func(c *cobra.Command, f *benchFlags) {
			f.Connections = 1
			writingFlags(c, f)
			c.Flags().DurationVar(&f.Stall, "stall", f.Stall, "how long the other client sits there")
		}},
	{bench.Fill, "Make objects to load from", `Make the objects from --first-oid on, in large transactions.

An object that is there already is not touched: the server refuses the
transaction that would make it.`,
		func(c *cobra.Command, f *benchFlags) {
			f.Connections = 1
			existingFlags(c, f)
			c.Flags().IntVar(&f.Size, "size", f.Size, "bytes of an object")
			c.Flags().IntVar(&f.Batch, "batch", f.Batch, "objects in a transaction")
		}},
}

func newWorkloadCommand(b benchCommand) *cobra.Command {
	f := &benchFlags{Options: bench.Defaults()}
	cmd := &cobra.Command{
		Use:   string(b.workload),
		Short: b.short,
		Long:  b.long + "\n" + benchExits,
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runBench(cmd, b.workload, f)
		},
	}
	b.flags(cmd, f)
	commonFlags(cmd, b.workload, f)
	return cmd
}

func commonFlags(c *cobra.Command, w bench.Workload, f *benchFlags) {
	fs := c.Flags()
	fs.StringVarP(&f.Address, "address", "a", f.Address, "the server: HOST:PORT, or the path of a Unix socket")
	fs.StringVar(&f.Storage, "storage", f.Storage, "name of the storage on the server")
	fs.StringVar(&f.codec, "codec", f.Codec.String(), "encoding of messages: pickle or msgpack")
	fs.IntVarP(&f.Connections, "connections", "c", f.Connections, "how many")
	fs.Uint64Var(&f.Seed, "seed", f.Seed, "of all random choices")
	fs.IntVar(&f.PID, "pid", 0, "the server's process (default: whoever listens on the address)")
	fs.BoolVar(&f.json, "json", false, "print the result as JSON")
	if w == bench.Fill {
		return
	}
	fs.DurationVarP(&f.Duration, "duration", "d", f.Duration, "how long to measure")
	fs.DurationVar(&f.Warmup, "warmup", f.Warmup, "how long to work before")
}

func existingFlags(c *cobra.Command, f *benchFlags) {
	c.Flags().Uint64Var((*uint64)(&f.FirstOID), "first-oid", uint64(f.FirstOID), "the first object")
	c.Flags().IntVar(&f.Objects, "objects", f.Objects, "how many objects, from the first on")
}

func writingFlags(c *cobra.Command, f *benchFlags) {
	c.Flags().IntVar(&f.Size, "size", f.Size, "bytes of an object")
	c.Flags().IntVar(&f.PerTxn, "per-commit", f.PerTxn, "objects in a commit")
}

func inFlightFlag(c *cobra.Command, f *benchFlags) {
	c.Flags().IntVar(&f.InFlight, "in-flight", f.InFlight, "loads that each connection has in flight")
}

func runBench(cmd *cobra.Command, w bench.Workload, f *benchFlags) error {
	o, err := f.options()
	if err != nil {
		return benchError(err)
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
	defer stop() // an interrupted measurement is told as far as it went
	res, err := bench.Run(ctx, w, o)
	if err != nil {
		return benchError(err)
	}
	if err := printBench(cmd.OutOrStdout(), res, f.json); err != nil {
		return err
	}
	return res.Err()
}

// benchError marks wrong options as an error of the command line.
func benchError(err error) error {
	if _, ok := errors.AsType[*bench.UsageError](err); ok {
		return usageError{err}
	}
	return err
}

// options returns what the flags say.
func (f *benchFlags) options() (bench.Options, error) {
	o := f.Options
	switch f.codec {
	case wire.Pickle.String():
		o.Codec = wire.Pickle
	case wire.Msgpack.String():
		o.Codec = wire.Msgpack
	default:
		return o, &bench.UsageError{Message: fmt.Sprintf("--codec must be pickle or msgpack, not %q", f.codec)}
	}
	return o, o.Check()
}

func printBench(w io.Writer, res *bench.Result, asJSON bool) error {
	if !asJSON {
		return res.WriteTable(w)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(res)
}
