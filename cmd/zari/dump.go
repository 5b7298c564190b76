package main

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/zaridb/zari/transfer/zodbdump"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

const dumpLong = `Print transactions and what they changed: for each a line with its tid, time, user
and description, and a line for each object with its class and size.

--format zodbtools prints what 'zodb dump' of zodbtools prints, byte for byte: all
the data, from which 'zari undump' and 'zodb restore' make the database again, though
not its blobs. With --hashes it is the form of 'zodb dump --hashonly'.

--json prints a line of JSON for each transaction.

` + storageHelp + `

` + tidHelp

const dumpExample = `  zari dump Data.fs
  zari dump --from 2026-11-01 --to now Data.fs | less
  zari dump --oid 0x01 --hashes Data.fs
  zari dump --json Data.fs | jq .description
  zari dump --format zodbtools Data.fs | zodb restore file://new.fs`

const dumpExits = `
EXIT STATUS
  0  all was printed
  1  something could not be read
  2  the command line is wrong`

// dumpFlags is the command line of zari dump.
type dumpFlags struct {
	from, to zodb.TID
	oids     []string
	format   string
	hashes   bool
	json     bool

	only map[zodb.OID]bool // of oids; nil: all
}

func newDumpCommand() *cobra.Command {
	f := dumpFlags{format: "text"}
	cmd := &cobra.Command{
		Use:     "dump [flags] STORAGE",
		Short:   "Print transactions and what they changed",
		Long:    dumpLong + "\n" + dumpExits,
		Example: dumpExample,
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return usageError{err}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return f.run(ctx, args[0], cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.Var(tidFlag{&f.from}, "from", "leave out earlier transactions")
	flags.Var(tidFlag{&f.to}, "to", "leave out later transactions")
	flags.StringSliceVar(&f.oids, "oid", nil, "print only these objects, and the transactions that changed them")
	flags.StringVar(&f.format, "format", f.format, "text, or zodbtools")
	flags.BoolVar(&f.hashes, "hashes", false, "print the SHA-1 of the data")
	flags.BoolVar(&f.json, "json", false, "print a line of JSON for each transaction")
	return cmd
}

func (f *dumpFlags) check() error {
	switch {
	case f.format != "text" && f.format != "zodbtools":
		return fmt.Errorf("--format is text or zodbtools, not %q", f.format)
	case f.json && f.format != "text":
		return errors.New("--json and --format exclude each other")
	}
	for _, s := range f.oids {
		oid, err := parseOID(s)
		if err != nil {
			return err
		}
		if f.only == nil {
			f.only = make(map[zodb.OID]bool)
		}
		f.only[oid] = true
	}
	return nil
}

// printer prints one transaction after the other.
type printer interface {
	Write(t *zodb.Transaction) error
	Flush() error
}

func (f *dumpFlags) printer(out io.Writer) printer {
	switch {
	case f.json:
		w := bufio.NewWriter(out)
		return &jsonDump{w: w, enc: json.NewEncoder(w), hashes: f.hashes}
	case f.format == "zodbtools":
		w := zodbdump.NewWriter(out)
		w.HashOnly = f.hashes
		return w
	}
	return &textDump{w: bufio.NewWriter(out), hashes: f.hashes}
}

func (f *dumpFlags) run(ctx context.Context, where string, out io.Writer) (err error) {
	s, err := openStorage(ctx, where, toRead)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	it, ok := zodb.As[zodb.Iterator](s)
	if !ok {
		return fmt.Errorf("%s cannot list its transactions: %w", where, errors.ErrUnsupported)
	}
	p := f.printer(out)
	for t, err := range it.Transactions(ctx, f.from, f.to) {
		if err != nil {
			return errors.Join(err, p.Flush())
		}
		if t = f.filter(t); t == nil {
			continue
		}
		if err := p.Write(t); err != nil {
			return err
		}
	}
	return p.Flush()
}

// filter returns the transaction with the objects that are wanted, nil if it has
// none of them.
func (f *dumpFlags) filter(t *zodb.Transaction) *zodb.Transaction {
	if f.only == nil {
		return t
	}
	some := *t
	some.Records = slices.DeleteFunc(slices.Clone(t.Records), func(r zodb.TxnRecord) bool { return !f.only[r.OID] })
	if len(some.Records) == 0 {
		return nil
	}
	return &some
}

// textDump prints for people.
type textDump struct {
	w      *bufio.Writer
	hashes bool
}

func (d *textDump) Write(t *zodb.Transaction) error {
	fmt.Fprintf(d.w, "%v %s user=%s description=%s", t.TID, when(t.TID), quoted(t.User), quoted(t.Description))
	if len(t.Extension) > 0 {
		fmt.Fprintf(d.w, " extension=%d bytes", len(t.Extension))
	}
	if t.Status != ' ' {
		fmt.Fprintf(d.w, " status=%c", t.Status)
	}
	for i := range t.Records {
		r := &t.Records[i]
		fmt.Fprintf(d.w, "\n  %v ", r.OID)
		if r.Data == nil {
			d.w.WriteString("deleted")
			continue
		}
		fmt.Fprintf(d.w, "%s %d bytes", classOf(r.Data), len(r.Data))
		if r.From != 0 {
			fmt.Fprintf(d.w, " undone to %v", r.From)
		}
		if r.Blob {
			d.w.WriteString(" with a blob")
		}
		if d.hashes {
			fmt.Fprintf(d.w, " sha1:%x", sha1.Sum(r.Data))
		}
	}
	_, err := d.w.WriteString("\n")
	return err
}

// Flush writes what is buffered.
func (d *textDump) Flush() error { return d.w.Flush() }

// quoted shows a text of a transaction so that it stays in one line.
func quoted(b []byte) string { return strconv.QuoteToGraphic(string(b)) }

// classOf is the class of a record, "?" where there is none to be found.
func classOf(data []byte) string {
	class, err := pickle.ClassOf(data)
	if err != nil {
		return "?"
	}
	return class.String()
}

// jsonDump prints lines of JSON.
type jsonDump struct {
	w      *bufio.Writer
	enc    *json.Encoder
	hashes bool
}

// dumpedTxn is a transaction as JSON. Bytes that are no valid UTF-8 come out as
// U+FFFD; the zodbtools format has them all.
type dumpedTxn struct {
	TID         string         `json:"tid"`
	Time        string         `json:"time"`
	Status      string         `json:"status"`
	User        string         `json:"user"`
	Description string         `json:"description"`
	Extension   string         `json:"extension,omitempty"` // the pickle, in hexadecimal
	Records     []dumpedRecord `json:"records"`
}

type dumpedRecord struct {
	OID     string `json:"oid"`
	Class   string `json:"class,omitempty"`
	Size    int    `json:"size"`
	From    string `json:"undone_to,omitempty"`
	Deleted bool   `json:"deleted,omitempty"`
	Blob    bool   `json:"blob,omitempty"`
	SHA1    string `json:"sha1,omitempty"`
}

func (d *jsonDump) Write(t *zodb.Transaction) error {
	x := dumpedTxn{
		TID: t.TID.String(), Time: isoTime(t.TID), Status: string(rune(t.Status)),
		User: string(t.User), Description: string(t.Description), Extension: hex.EncodeToString(t.Extension),
		Records: make([]dumpedRecord, len(t.Records)),
	}
	for i := range t.Records {
		x.Records[i] = d.record(&t.Records[i])
	}
	return d.enc.Encode(x)
}

// Flush writes what is buffered.
func (d *jsonDump) Flush() error { return d.w.Flush() }

func (d *jsonDump) record(r *zodb.TxnRecord) dumpedRecord {
	x := dumpedRecord{OID: r.OID.String(), Size: len(r.Data), Deleted: r.Data == nil, Blob: r.Blob}
	if r.Data == nil {
		return x
	}
	x.Class = classOf(r.Data)
	if r.From != 0 {
		x.From = r.From.String()
	}
	if d.hashes {
		sum := sha1.Sum(r.Data)
		x.SHA1 = hex.EncodeToString(sum[:])
	}
	return x
}
