package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zaridb/zari/zodb"
)

const undoLong = `Undo transactions: commit one that takes back what they changed. It can be undone
itself. An object that was changed again since stands in the way, unless the two
changes can be merged, or the later one is undone with it: name all of them.

--log lists the transactions that may be undone, newest first: those that have not
been packed.

A Data.fs must not be open elsewhere; of a database that is served name the server.

` + storageHelp

const undoExample = `  zari undo --log Data.fs
  zari undo --log -n 5 --json Data.fs
  zari undo Data.fs 03f1a2b3c4d5e6f7
  zari undo --user admin --description 'undo of a mistake' Data.fs 03f1a2b3c4d5e700`

const undoExits = `
EXIT STATUS
  0  they are undone
  1  they are not, and nothing has changed
  2  the command line is wrong`

// undoFlags is the command line of zari undo.
type undoFlags struct {
	log         bool
	number      int
	user        string
	description string
	json        bool
}

func newUndoCommand() *cobra.Command {
	f := undoFlags{number: 20}
	cmd := &cobra.Command{
		Use:     "undo [flags] STORAGE TID... | undo --log STORAGE",
		Short:   "Undo transactions, or list those that may be undone",
		Long:    undoLong + "\n" + undoExits,
		Example: undoExample,
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			tids, err := f.tids(args[1:])
			if err != nil {
				return usageError{err}
			}
			to := toChange
			if f.log {
				to = toRead
			}
			s, err := openStorage(cmd.Context(), args[0], to)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			if f.log {
				return f.list(cmd.Context(), s, cmd.OutOrStdout())
			}
			return f.undo(cmd.Context(), s, tids, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.log, "log", false, "list the transactions that may be undone")
	flags.IntVarP(&f.number, "number", "n", f.number, "how many to list at most")
	flags.StringVar(&f.user, "user", "", "who undoes, for the new transaction")
	flags.StringVar(&f.description, "description", "", `of the new transaction (default "undo" and the tids)`)
	flags.BoolVar(&f.json, "json", false, "print JSON")
	return cmd
}

func (f *undoFlags) tids(args []string) ([]zodb.TID, error) {
	switch {
	case f.log && len(args) > 0:
		return nil, errors.New("--log takes a storage and no transactions")
	case f.log && f.number < 1:
		return nil, errors.New("-n must be at least 1")
	case !f.log && len(args) == 0:
		return nil, errors.New("name the transactions to undo; --log lists them")
	}
	tids := make([]zodb.TID, len(args))
	for i, arg := range args {
		tid, err := parseTID(arg)
		if err != nil || strings.ContainsAny(arg, "-:") {
			return nil, fmt.Errorf("%q is not a tid, which has 16 hexadecimal digits; --log lists them", arg)
		}
		tids[i] = tid
	}
	return tids, nil
}

// undoer returns the storage's ability to undo.
func undoer(s zodb.Storage) (zodb.Undoer, error) {
	u, ok := zodb.As[zodb.Undoer](s)
	if !ok {
		return nil, fmt.Errorf("%s cannot undo: %w", s.Info().Name, errors.ErrUnsupported)
	}
	return u, nil
}

func (f *undoFlags) list(ctx context.Context, s zodb.Storage, out io.Writer) error {
	u, err := undoer(s)
	if err != nil {
		return err
	}
	log, err := u.UndoLog(ctx, 0, f.number, nil)
	if err != nil {
		return err
	}
	for _, e := range log {
		if err := printLogged(out, e.TID, e.Size, e.User, e.Description, f.json); err != nil {
			return err
		}
	}
	return nil
}

// undone is the outcome as JSON.
type undone struct {
	TID    string   `json:"tid"`
	Undone []string `json:"undone"`
	OIDs   []string `json:"oids"`
}

func (f *undoFlags) undo(ctx context.Context, s zodb.Storage, tids []zodb.TID, out io.Writer) error {
	if _, err := undoer(s); err != nil {
		return err
	}
	result := undone{OIDs: []string{}}
	for _, tid := range tids {
		result.Undone = append(result.Undone, tid.String())
	}
	description := f.description
	if description == "" {
		description = "undo " + strings.Join(result.Undone, " ")
	}
	tid, oids, err := undoTransactions(ctx, s, zodb.TxnMeta{User: []byte(f.user), Description: []byte(description)}, tids)
	if err != nil {
		return err
	}
	result.TID = tid.String()
	for _, oid := range oids {
		result.OIDs = append(result.OIDs, oid.String())
	}
	if f.json {
		return json.NewEncoder(out).Encode(result)
	}
	_, err = fmt.Fprintf(out, "undone by transaction %v; %d objects are as they were\n", tid, len(oids))
	return err
}

// undoTransactions undoes transactions in one, and returns its tid and the objects
// that it changed.
func undoTransactions(ctx context.Context, s zodb.Storage, meta zodb.TxnMeta, tids []zodb.TID) (zodb.TID, []zodb.OID, error) {
	txn, err := s.Begin(ctx, meta)
	if err != nil {
		return 0, nil, err
	}
	defer txn.Abort()
	u, ok := zodb.As[zodb.UndoTxn](txn)
	if !ok {
		return 0, nil, fmt.Errorf("%s cannot undo: %w", s.Info().Name, errors.ErrUnsupported)
	}
	for _, tid := range tids {
		if err := u.Undo(ctx, tid); err != nil {
			return 0, nil, err
		}
	}
	votes, err := txn.Vote(ctx)
	if err != nil {
		return 0, nil, err
	}
	if len(votes.Conflicts) > 0 {
		return 0, nil, fmt.Errorf("object %v was changed meanwhile: undo again", votes.Conflicts[0].OID)
	}
	tid, err := txn.Finish(ctx, nil)
	return tid, votes.Resolved, err
}
