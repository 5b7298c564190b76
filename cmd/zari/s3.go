package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/zaridb/zari/engine/s3storage"
	"github.com/zaridb/zari/storages"
	"github.com/zaridb/zari/zodb"
)

const s3Long = `Look at a database in S3, or in a directory in the same form: what is there,
whether it is whole, and what it costs. Servers may go on meanwhile; nothing is
written.

` + s3URLHelp

const s3URLHelp = `A database is named as zari serve names it:
  s3://BUCKET/PREFIX?region=REGION   a bucket; docs/operations/s3.md has the parameters
  s3dir:///DIRECTORY                 a directory`

func newS3Command() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "s3",
		Short: "Look at a database in S3: status, verify, cost",
		Long:  s3Long,
	})
	cmd.AddCommand(newS3StatusCommand(), newS3VerifyCommand(), newS3CostCommand())
	return cmd
}

// openS3 opens the store that an argument names. Who uses the options closes it.
func openS3(ctx context.Context, where string) (*storages.S3, error) {
	s, err := storages.OpenS3(ctx, where)
	if err != nil {
		return nil, usageError{err}
	}
	if s.At != 0 {
		return nil, errors.Join(usageError{fmt.Errorf("%s: the past is not a database of its own; name it without at=", where)}, s.Options.Objects.Close())
	}
	return s, nil
}

const s3StatusLong = `Say what is in a bucket: whose database, how far its log goes, who writes, and how
many objects and bytes of each kind there are.

The bucket is listed, and the newest checkpoint and the log behind it are read:
some 10 requests, and one for each 1000 objects.

` + s3URLHelp

const s3StatusExample = `  zari s3 status 's3://zodb/plone?region=eu-central-1'
  zari s3 status --json s3dir:///srv/plone`

const s3StatusExits = `
EXIT STATUS
  0  done
  1  there is no database, or it could not be read
  2  the command line is wrong`

func newS3StatusCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:     "status [flags] URL",
		Short:   "Say what is in a bucket",
		Long:    s3StatusLong + "\n" + s3StatusExits,
		Example: s3StatusExample,
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := openS3(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			status, err := s3storage.Inspect(cmd.Context(), s.Options)
			if err != nil {
				return fmt.Errorf("%s: %w", s.URL, err)
			}
			printS3Status(cmd.OutOrStdout(), s.URL, &status, asJSON)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

// s3Status is a status as JSON.
type s3Status struct {
	URL      string `json:"url"`
	TID      string `json:"tid"`
	Time     string `json:"time"`
	PackedTo string `json:"packed_to,omitempty"` // a time
	LogIn    string `json:"log_in"`
	*s3storage.Status
}

func printS3Status(out io.Writer, url string, s *s3storage.Status, asJSON bool) {
	if asJSON {
		x := s3Status{URL: url, TID: s.TID.String(), Time: isoTime(s.TID), LogIn: "s3", Status: s}
		if s.PackedTo != 0 {
			x.PackedTo = isoTime(s.PackedTo)
		}
		printJSON(out, x)
		return
	}
	line := func(what, format string, args ...any) {
		fmt.Fprintf(out, "%-12s"+format+"\n", append([]any{what}, args...)...)
	}
	line("database", "%s, made %s", s.Database, dateTime(s.Created))
	for _, r := range s.BranchOf {
		line("branch of", "%s (%d segments, %d blobs shared)", r.URL, r.Segments, r.Blobs)
	}
	line("last", "%s", lastText(s))
	line("log", "in the bucket: slots %d to %d, epoch %d", s.Floor, s.Slot, s.Epoch)
	if f := s.Front; f != nil {
		line("", "goes on in %s (%s), log %s: what is not moved yet does not count here", f.Where, f.Kind, f.ID)
	}
	line("writer", "%s", holderText(s.Lease, time.Now()))
	line("checkpoint", "%s", checkpointText(s))
	line("packed to", "%s", packedText(s.PackedTo))
	for _, r := range s.Branches {
		line("branch", "%s, since %s (%d segments, %d blobs shared), %s", r.URL, dateTime(r.Since), r.Segments, r.Blobs, r.Database)
	}
	fmt.Fprintf(out, "\n%-28s%10s%14s\n", "", "objects", "bytes")
	for _, row := range []struct {
		what   string
		amount s3storage.Amount
		always bool
	}{
		{"log", s.Log, true}, {"segments", s.Segments, true}, {"index", s.Runs, true}, {"checkpoints", s.Checkpoints, true},
		{"blobs", s.Blobs, true}, {"waiting for deletion", s.Garbage, true}, {"kept for branches", s.Pinned, false},
		{"named by nothing", s.Unnamed, false}, {"foreign", s.Foreign, false}, {"other", s.Other, true}, {"all", s.Total, true},
	} {
		if row.always || row.amount.Objects > 0 {
			fmt.Fprintf(out, "%-28s%10d%14s\n", row.what, row.amount.Objects, bytesText(row.amount.Bytes))
		}
	}
}

func lastText(s *s3storage.Status) string {
	if s.TID == 0 {
		return "no transactions"
	}
	return fmt.Sprintf("%v, %s; %s", s.TID, when(s.TID), count(s.Transactions, "transaction"))
}

func dateTime(t time.Time) string { return t.UTC().Format(time.DateTime) }

func holderText(h *s3storage.Holder, now time.Time) string {
	switch {
	case h == nil:
		return "no lease"
	case h.Lasts == 0:
		return fmt.Sprintf("nobody; %s gave the lease up at %s", h.Writer, dateTime(h.Renewed))
	case h.Until.Before(now):
		return fmt.Sprintf("nobody, it seems; the lease of %s ended at %s", h.Writer, dateTime(h.Until))
	}
	return fmt.Sprintf("%s; lease until %s", h.Writer, dateTime(h.Until))
}

func checkpointText(s *s3storage.Status) string {
	if s.Checkpoint == "" {
		return "none"
	}
	return fmt.Sprintf("%s, written %s", s.Checkpoint, dateTime(s.CheckpointAt))
}

func packedText(tid zodb.TID) string {
	if tid == 0 {
		return "never"
	}
	return when(tid)
}
