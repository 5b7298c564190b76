package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/zaridb/zari/engine/s3storage"
	"github.com/zaridb/zari/storages"
)

const s3VerifyLong = `Look whether a database in S3 is whole: whether each object of the log follows on
the one before, whether all objects that are named are there and undamaged, and
whether the index says what the transactions say. Everything is read.

With --quick the bucket is listed, and only that is read which a server reads that
starts, and the tables of what holds transactions: damage inside of them, and of
blobs, is not found.

An error is something that is lost or cannot be read. A warning is what costs nothing
yet; the exit status counts it with --strict. What nothing names is a note: it is new,
or is going to be swept up.

Servers may go on meanwhile. References between objects of the application are what
zari check looks at.

` + s3URLHelp

const s3VerifyExample = `  zari s3 verify 's3://zodb/plone?region=eu-central-1'
  zari s3 verify --quick s3dir:///srv/plone
  zari s3 verify --json --strict s3dir:///srv/plone`

const s3VerifyExits = `
EXIT STATUS
  0  nothing is wrong
  1  something is, or the bucket could not be read
  2  the command line is wrong`

type s3VerifyFlags struct {
	quick  bool
	json   bool
	strict bool
}

func newS3VerifyCommand() *cobra.Command {
	var f s3VerifyFlags
	cmd := &cobra.Command{
		Use:     "verify [flags] URL",
		Short:   "Look whether a database in S3 is whole",
		Long:    s3VerifyLong + "\n" + s3VerifyExits,
		Example: s3VerifyExample,
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := openS3(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return f.run(cmd.Context(), s, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.quick, "quick", false, "do not read all transactions and blobs")
	flags.BoolVar(&f.json, "json", false, "print a JSON object for each problem, and one for the summary")
	flags.BoolVar(&f.strict, "strict", false, "let warnings count for the exit status")
	return cmd
}

// s3VerifySummary is what is printed at the end.
type s3VerifySummary struct {
	URL  string `json:"url"`
	TID  string `json:"tid"`
	Full bool   `json:"full"`
	s3storage.VerifyReport
}

func (f *s3VerifyFlags) run(ctx context.Context, s *storages.S3, out io.Writer) error {
	meter := newMeter()
	report, err := s3storage.Verify(ctx, s.Options, s3storage.VerifyOptions{
		Quick: f.quick, Progress: meter.show,
		Found: func(p s3storage.Problem) {
			meter.clear()
			f.print(out, p)
		},
	})
	meter.clear()
	if err != nil {
		return fmt.Errorf("%s: %w", s.URL, err)
	}
	f.summarize(out, &s3VerifySummary{s.URL, report.TID.String(), !f.quick, report})
	if report.Errors > 0 || f.strict && report.Warnings > 0 {
		return errReported
	}
	return nil
}

func (f *s3VerifyFlags) print(out io.Writer, p s3storage.Problem) {
	if f.json {
		printJSON(out, p)
		return
	}
	fmt.Fprintln(out, p)
}

func (f *s3VerifyFlags) summarize(out io.Writer, s *s3VerifySummary) {
	if f.json {
		printJSON(out, map[string]*s3VerifySummary{"summary": s})
		return
	}
	fmt.Fprintf(out, "%s, %s, %s; %s with %s, %s in %s, up to slot %d\n",
		count(int64(s.Errors), "error"), count(int64(s.Warnings), "warning"), count(int64(s.Notes), "note"),
		count(s.Transactions, "transaction"), count(s.Revisions, "revision"), count(int64(s.Blobs), "blob"),
		count(int64(s.Objects), "object"), s.Slot)
	if !s.Full {
		fmt.Fprintln(out, "The bytes of transactions and blobs were not read: without --quick they are.")
	}
}
