package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/zaridb/zari/zodb"
)

const historyLong = `Print the revisions of an object, newest first: for each the transaction that wrote
it, its time, the size of the data (0 for a deletion), and who did what.

` + storageHelp

const historyExample = `  zari history Data.fs 0x01
  zari history -n 1 Data.fs 1
  zari history --json Data.fs 0x01 | jq -r .tid`

const historyExits = `
EXIT STATUS
  0  there are revisions
  1  there is no such object, or it could not be read
  2  the command line is wrong`

func newHistoryCommand() *cobra.Command {
	size, asJSON := 100, false
	cmd := &cobra.Command{
		Use:     "history [flags] STORAGE OID",
		Short:   "Print the revisions of an object",
		Long:    historyLong + "\n" + historyExits,
		Example: historyExample,
		Args:    usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			oid, err := parseOID(args[1])
			if err != nil {
				return usageError{err}
			}
			if size < 1 {
				return usageError{errors.New("-n must be at least 1")}
			}
			s, err := openStorage(cmd.Context(), args[0], toRead)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			h, ok := zodb.As[zodb.Historian](s)
			if !ok {
				return fmt.Errorf("%s keeps no history: %w", args[0], errors.ErrUnsupported)
			}
			revisions, err := h.History(cmd.Context(), oid, size)
			if err != nil {
				return err
			}
			return printHistory(cmd.OutOrStdout(), revisions, asJSON)
		},
	}
	cmd.Flags().IntVarP(&size, "number", "n", size, "how many revisions at most")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON for each revision")
	return cmd
}

// loggedTxn is a line of a history or of an undo log as JSON.
type loggedTxn struct {
	TID         string `json:"tid"`
	Time        string `json:"time"`
	Size        int64  `json:"size"`
	User        string `json:"user"`
	Description string `json:"description"`
}

func printHistory(out io.Writer, revisions []zodb.Revision, asJSON bool) error {
	for _, r := range revisions {
		if err := printLogged(out, r.TID, r.Size, r.User, r.Description, asJSON); err != nil {
			return err
		}
	}
	return nil
}

func printLogged(out io.Writer, tid zodb.TID, size int64, user, description []byte, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(loggedTxn{tid.String(), isoTime(tid), size, string(user), string(description)})
	}
	_, err := fmt.Fprintf(out, "%v %s %8d bytes user=%s description=%s\n", tid, when(tid), size, quoted(user), quoted(description))
	return err
}
