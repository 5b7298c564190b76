package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/zaridb/zari/engine/s3storage"
	"github.com/zaridb/zari/engine/s3storage/layout"
	"github.com/zaridb/zari/zodb"
)

const branchLong = `Make a new database out of what another one in S3 contains, or contained --at a time,
without copying it: the new one shares the old one's objects, and writes its own.
Each has its own history from there on. The old one's server goes on meanwhile.

What is shared stays in the old one's bucket, whatever is packed there, until the
branch is dropped; so whoever serves the branch must be able to read the old bucket,
with the same credentials. Where that cannot be, copy: zari copy.

--drop deletes a branch, or what there is of one that was not finished. The servers
of a branch are to be ended before. --forget lets a database delete what a branch
needs that is not there any more: the last resort if its bucket is gone. zari s3
status shows the branches of a database, and their ids.

` + s3URLHelp + `

` + tidHelp

const branchExample = `  zari branch s3://zodb/plone s3://zodb/plone-test
  zari branch --at 2026-11-01T10:00 s3://zodb/plone s3://zodb/plone-november
  zari branch --drop s3://zodb/plone-test
  zari branch --forget 8f3cd2a90b7e4416a1d3c5e7f9021b4d s3://zodb/plone`

const branchExits = `
EXIT STATUS
  0  done
  1  not done; a branch that is not finished can be dropped
  2  the command line is wrong`

type branchFlags struct {
	at     zodb.TID
	drop   bool
	force  bool
	forget string
	json   bool
}

func newBranchCommand() *cobra.Command {
	var f branchFlags
	cmd := &cobra.Command{
		Use:     "branch [--at TIME] FROM TO | branch --drop URL | branch --forget ID URL",
		Short:   "Make a database in S3 that shares another one's objects",
		Long:    branchLong + "\n" + branchExits,
		Example: branchExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(args); err != nil {
				return usageError{err}
			}
			switch {
			case f.drop:
				return f.runDrop(cmd.Context(), args[0])
			case f.forget != "":
				return f.runForget(cmd.Context(), args[0])
			}
			return f.run(cmd.Context(), args[0], args[1], cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.Var(tidFlag{&f.at}, "at", "branch off what was there after this transaction or time")
	flags.BoolVar(&f.drop, "drop", false, "delete a branch")
	flags.BoolVar(&f.force, "force", false, "with --drop: also if a server seems to write to it")
	flags.StringVar(&f.forget, "forget", "", "give up what the branch of this `ID` needs")
	flags.BoolVar(&f.json, "json", false, "print what was made as a JSON object")
	return cmd
}

func (f *branchFlags) check(args []string) error {
	alone := f.drop || f.forget != ""
	switch {
	case f.drop && f.forget != "":
		return errors.New("--drop and --forget exclude each other")
	case alone && (f.at != 0 || f.json):
		return errors.New("--at and --json are for making a branch")
	case f.force && !f.drop:
		return errors.New("--force goes with --drop")
	case alone && len(args) != 1:
		return errors.New("name one database")
	case !alone && len(args) != 2:
		return errors.New("name the database, and where the branch is to be")
	}
	return nil
}

func (f *branchFlags) run(ctx context.Context, from, to string, out io.Writer) error {
	a, err := openS3(ctx, from)
	if err != nil {
		return err
	}
	b, err := openS3(ctx, to)
	if err != nil {
		return errors.Join(err, a.Options.Objects.Close())
	}
	report, err := s3storage.Branch(ctx, s3storage.BranchOptions{
		From: a.Options, To: b.Options, FromURL: a.URL, ToURL: b.URL, At: f.at,
	})
	if err != nil {
		return err
	}
	if f.json {
		printJSON(out, struct {
			URL string `json:"url"`
			TID string `json:"tid"`
			s3storage.BranchReport
		}{b.URL, report.TID.String(), report})
		return nil
	}
	fmt.Fprintf(out, "%s: a branch of %s at %s\nshared  %s, %s: %s\ncopied  %s: %s\n", b.URL, a.URL, when(report.TID),
		count(int64(report.Segments), "segment"), count(int64(report.Blobs), "blob"), bytesText(report.SharedBytes),
		count(int64(report.Transactions), "transaction"), bytesText(report.CopiedBytes))
	return nil
}

func (f *branchFlags) runDrop(ctx context.Context, where string) error {
	s, err := openS3(ctx, where)
	if err != nil {
		return err
	}
	if err := s3storage.DropBranch(ctx, s.Options, f.force); err != nil {
		return fmt.Errorf("%s: %w", s.URL, err)
	}
	return nil
}

func (f *branchFlags) runForget(ctx context.Context, where string) error {
	var id layout.ID
	if n, err := hex.Decode(id[:], []byte(f.forget)); err != nil || n != len(id) || len(f.forget) != 2*len(id) {
		return usageError{fmt.Errorf("--forget %s: an id has 32 hexadecimal digits", f.forget)}
	}
	s, err := openS3(ctx, where)
	if err != nil {
		return err
	}
	if err := s3storage.ForgetBranch(ctx, s.Options, id); err != nil {
		return fmt.Errorf("%s: %w", s.URL, err)
	}
	return nil
}
