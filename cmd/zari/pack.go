package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/zaridb/zari/internal/vfs"
	"github.com/zaridb/zari/zodb"
)

const packLong = `Drop what nobody will ask for again: the revisions of objects that were no longer
current at a time, and the objects that could not be reached from the root then
(garbage collection).

A file is written anew beside the old one and put in its place in one step: it
needs that much free space, which is looked at before. Whatever happens, a kill
or a power failure included, one of the two is there and whole. Ctrl-C ends the
pack and leaves the old file.

A file that is open elsewhere cannot be packed by this command; name its server:
zari pack zeo://HOST:PORT. It goes on serving and committing meanwhile, packs as
its configuration says (pack-gc, pack-keep-old), and tells in its log how far it is.

Garbage is collected within one database. Where databases refer to each other, use
--no-gc and then zari gc: a pack that meets a reference to another database refuses
to collect garbage.

` + tidHelp + `

`

const packExample = `  zari pack Data.fs                        # all history
  zari pack --days 7 Data.fs
  zari pack --to 2026-01-31 --no-keep-old file:///srv/Data.fs?blobstorage_dir=/srv/blobs
  zari pack --days 7 --throttle 20 Data.fs  # read and write at most 20 MB a second
  zari pack --dry-run Data.fs              # what would go?
  zari pack zeo://localhost:8100`

const packExits = `
EXIT STATUS
  0  packed, or there was nothing to be gained
  1  not packed: the storage is as it was
  2  the command line or the configuration is wrong`

// packFlags is the command line of zari pack.
type packFlags struct {
	days     float64
	to       zodb.TID
	gc       bool
	noGC     bool
	keepOld  bool
	noOld    bool
	throttle float64
	dryRun   bool
	json     bool
}

func newPackCommand() *cobra.Command {
	var f packFlags
	cmd := &cobra.Command{
		Use:     "pack [flags] STORAGE",
		Short:   "Drop old revisions and unreachable objects",
		Long:    packLong + storageHelp + "\n" + packExits,
		Example: packExample,
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := f.time(time.Now())
			if err != nil {
				return usageError{err}
			}
			return f.run(cmd.Context(), args[0], at, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.Float64Var(&f.days, "days", 0, "keep the history of so many days")
	flags.Var(tidFlag{&f.to}, "to", "keep the history from this transaction or time on")
	flags.BoolVar(&f.gc, "gc", false, "collect garbage, whatever is configured")
	flags.BoolVar(&f.noGC, "no-gc", false, "keep what cannot be reached")
	flags.BoolVar(&f.keepOld, "keep-old", false, "leave the old file as Data.fs.old, whatever is configured")
	flags.BoolVar(&f.noOld, "no-keep-old", false, "leave no old file")
	flags.Float64Var(&f.throttle, "throttle", 0, "read and write at most so many `MB` a second")
	flags.BoolVar(&f.dryRun, "dry-run", false, "tell what would be dropped, and change nothing")
	flags.BoolVar(&f.json, "json", false, "print the summary as a JSON object")
	return cmd
}

// time checks the flags and returns the pack time.
func (f *packFlags) time(now time.Time) (time.Time, error) {
	switch {
	case f.days != 0 && f.to != 0:
		return now, errors.New("--days and --to exclude each other")
	case f.gc && f.noGC:
		return now, errors.New("--gc and --no-gc exclude each other")
	case f.keepOld && f.noOld:
		return now, errors.New("--keep-old and --no-keep-old exclude each other")
	case f.days < 0 || f.days > 1e5:
		return now, fmt.Errorf("--days %g: a number of days that are past", f.days)
	case f.throttle < 0:
		return now, fmt.Errorf("--throttle %g: a rate in MB a second", f.throttle)
	case f.to == 0:
		return now.Add(-time.Duration(f.days * 24 * float64(time.Hour))), nil
	}
	return f.to.Time().Add(15 * time.Nanosecond), nil // a tid is less than its time by up to that
}

// packSummary is what is printed at the end.
type packSummary struct {
	Storage string    `json:"storage"`
	To      time.Time `json:"to"`
	DryRun  bool      `json:"dry_run,omitempty"`
	Seconds float64   `json:"seconds"`
	zodb.PackReport
}

func (f *packFlags) run(ctx context.Context, where string, at time.Time, out io.Writer) (err error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	to := toChange
	if f.dryRun {
		to = toRead
	}
	s, err := openStorage(ctx, where, to)
	if errors.Is(err, vfs.ErrLocked) {
		return fmt.Errorf("%w\nIf a server has it open, let the server pack: zari pack zeo://HOST:PORT", err)
	}
	if errors.Is(err, context.Canceled) {
		return cancelled(where)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	packer, ok := zodb.As[zodb.Packer](s)
	if !ok {
		return fmt.Errorf("%s: this kind of storage keeps nothing that could be packed", where)
	}
	sum := &packSummary{Storage: s.Info().Name, To: at, DryRun: f.dryRun}
	before := s.Info()
	meter := newRateMeter("packing")
	began := time.Now()
	err = packer.Pack(ctx, at, zodb.PackOptions{
		GC: f.gc, NoGC: f.noGC, KeepOld: f.keepOld, NoKeepOld: f.noOld, DryRun: f.dryRun,
		Rate: int64(f.throttle * 1e6), Progress: meter.show, Report: &sum.PackReport,
	})
	meter.clear()
	switch {
	case errors.Is(err, context.Canceled):
		return cancelled(where)
	case err != nil:
		return fmt.Errorf("%s: %w", where, err)
	}
	sum.Seconds = time.Since(began).Seconds()
	if sum.BytesBefore == 0 { // it could not tell
		after := s.Info()
		sum.ObjectsBefore, sum.BytesBefore = before.Objects, before.Size
		sum.ObjectsAfter, sum.BytesAfter = after.Objects, after.Size
	}
	if f.json {
		printJSON(out, sum)
	} else {
		sum.print(out)
	}
	return nil
}

func cancelled(where string) error {
	return fmt.Errorf("%s: the pack was cancelled; the storage is as it was", where)
}

func (s *packSummary) print(out io.Writer) {
	when := s.To.UTC().Format(time.DateTime)
	switch {
	case s.Unchanged:
		fmt.Fprintf(out, "%s: nothing to be gained by packing to %s; nothing was changed\n", s.Storage, when)
		return
	case s.DryRun:
		fmt.Fprintf(out, "%s: packing to %s would leave\n", s.Storage, when)
	default:
		fmt.Fprintf(out, "%s: packed to %s in %.1f s\n", s.Storage, when, s.Seconds)
	}
	fmt.Fprintf(out, "objects  %d -> %d\n", s.ObjectsBefore, s.ObjectsAfter)
	fmt.Fprintf(out, "bytes    %d -> %d\n", s.BytesBefore, s.BytesAfter)
	if s.Memory == 0 {
		return // it could not tell the rest either
	}
	dropped := count(s.Revisions, "revision")
	if !s.DryRun {
		dropped += ", " + count(s.Blobs, "blob")
	}
	fmt.Fprintf(out, "dropped  %s\nmemory   %.1f MB of tables and buffers\n", dropped, float64(s.Memory)/1e6)
}

// rateMeter shows how far work that is counted in bytes has come, how fast it is,
// and how long it will take: on a terminal all the time, else now and then.
type rateMeter struct {
	what  string
	term  *meter // nil if standard error is no terminal
	began time.Time
	last  time.Time
}

func newRateMeter(what string) *rateMeter {
	now := time.Now()
	return &rateMeter{what: what, term: newMeter(), began: now, last: now}
}

// rateLine is what a rateMeter shows.
func rateLine(what string, done, total int64, took time.Duration) string {
	if total <= 0 || done <= 0 || took <= 0 {
		return what
	}
	left := time.Duration(float64(took) / float64(done) * float64(total-done))
	return fmt.Sprintf("%s: %d%%, %.1f MB/s, %v left", what, done*100/total, float64(done)/1e6/took.Seconds(), left.Round(time.Second))
}

func (m *rateMeter) show(done, total int64) {
	every := 200 * time.Millisecond
	if m.term == nil {
		every = 10 * time.Second
	}
	now := time.Now()
	if now.Sub(m.last) < every {
		return
	}
	m.last = now
	line := rateLine(m.what, done, total, now.Sub(m.began))
	if m.term == nil {
		fmt.Fprintln(os.Stderr, line)
		return
	}
	m.term.print(line)
}

func (m *rateMeter) clear() { m.term.clear() }
