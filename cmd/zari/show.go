package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/zaridb/zari/check"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

const showLong = `Show the class and the state of an object, without the application's code.

Nothing of the pickle is run. The text is in the notation of Python: references are
<oid class>, an instance is its class with what makes it, and behind a | the state it
is given. --json tells everything without loss: zodb/pickle, View.AppendJSON, says how.

` + storageHelp + `

` + tidHelp

const showExample = `  zari show Data.fs 0x01
  zari show Data.fs 0x2a --at 2026-11-01
  zari show Data.fs 0x2a --json | jq .state
  zari show Data.fs 0x2a --raw | python -m pickletools`

const showExits = `
EXIT STATUS
  0  done
  1  there is no such object, or it could not be read
  2  the command line is wrong`

type showFlags struct {
	at   zodb.TID
	json bool
	raw  bool
}

func newShowCommand() *cobra.Command {
	var f showFlags
	cmd := &cobra.Command{
		Use:     "show [flags] STORAGE OID",
		Short:   "Show the class and the state of an object",
		Long:    showLong + "\n" + showExits,
		Example: showExample,
		Args:    usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			oid, err := parseOID(args[1])
			if err != nil {
				return usageError{err}
			}
			before := zodb.MaxTID
			if f.at != 0 {
				before = f.at + 1
			}
			if f.json && f.raw {
				return usageError{errors.New("--json and --raw exclude each other")}
			}
			return f.run(cmd.Context(), args[0], oid, before, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.Var(tidFlag{&f.at}, "at", "show the object as it was just after that transaction, or at that time")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	flags.BoolVar(&f.raw, "raw", false, "write the bytes of the record, two pickles")
	return cmd
}

// shown is what zari show says of a revision.
type shown struct {
	OID, TID, Time string
	Next           string // who replaced the revision
	Size           int
}

func (f *showFlags) run(ctx context.Context, where string, oid zodb.OID, before zodb.TID, out io.Writer) error {
	s, err := openStorage(ctx, where, toRead)
	if err != nil {
		return err
	}
	defer s.Close()
	r, err := s.LoadBefore(ctx, oid, before)
	if err != nil {
		return err
	}
	if r.Data, err = check.Plain(r.Data); err != nil {
		return fmt.Errorf("object %v: %w", oid, err)
	}
	if f.raw {
		_, err := out.Write(r.Data)
		return err
	}
	about := shown{OID: oid.String(), TID: r.Serial.String(), Time: r.Serial.Time().Format(time.RFC3339Nano), Size: len(r.Data)}
	if r.Next != 0 {
		about.Next = r.Next.String()
	}
	if f.json {
		return f.printJSON(out, about, r.Data)
	}
	return f.print(out, about, r.Data)
}

func (f *showFlags) printJSON(out io.Writer, about shown, record []byte) error {
	body, err := pickle.View{}.AppendRecordJSON(nil, record)
	if err != nil {
		return fmt.Errorf("object %s: %w (--raw shows its bytes)", about.OID, err)
	}
	head := fmt.Sprintf(`{"oid":%q,"tid":%q,"time":%q,`, about.OID, about.TID, about.Time)
	if about.Next != "" {
		head += fmt.Sprintf(`"next":%q,`, about.Next)
	}
	_, err = fmt.Fprintf(out, "%s\"size\":%d,%s\n", head, about.Size, body[1:])
	return err
}

func (f *showFlags) print(out io.Writer, about shown, record []byte) error {
	class, state, err := pickle.DecodeRecord(record)
	if err != nil {
		return fmt.Errorf("object %s: %w (--raw shows its bytes)", about.OID, err)
	}
	name := string(pickle.View{}.AppendText(nil, class))
	if c, err := pickle.ClassOf(record); err == nil {
		name = c.String()
	}
	fmt.Fprintf(out, "%s %s\n%s by transaction %s, %s\n", about.OID, name, about.Time, about.TID, count(int64(about.Size), "byte"))
	if about.Next != "" {
		fmt.Fprintf(out, "replaced by transaction %s\n", about.Next)
	}
	_, err = fmt.Fprintf(out, "\n%s\n", pickle.View{MaxBytes: 1 << 20}.AppendText(nil, state))
	return err
}
