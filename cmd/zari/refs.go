package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zaridb/zari/check"
	"github.com/zaridb/zari/zodb"
	"github.com/zaridb/zari/zodb/pickle"
)

const refsLong = `Say which objects refer to an object, and to which it refers.

` + databasesHelp + `

OID is a number, as 0x2a or 42; with several databases NAME:OID. Only the current
records count. Who refers to the object is found by reading all of the database:
see also zari check, which tells the path from the root for what is broken.`

const refsExample = `  zari refs Data.fs 0x2a
  zari refs -C zope.conf catalog:0x2a --json`

const refsExits = `
EXIT STATUS
  0  done
  1  there is no such object, or a file could not be read
  2  the command line or the configuration is wrong`

type refsFlags struct {
	config string
	json   bool
}

func newRefsCommand() *cobra.Command {
	var f refsFlags
	cmd := &cobra.Command{
		Use:     "refs [flags] STORAGE OID | -C FILE NAME:OID",
		Short:   "Say who refers to an object, and to whom it refers",
		Long:    refsLong + "\n" + refsExits,
		Example: refsExample,
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			dbs, err := findDatabases(args[:len(args)-1], f.config)
			if err != nil {
				return usageError{err}
			}
			n, oid, err := objectArg(dbs, args[len(args)-1])
			if err != nil {
				return usageError{err}
			}
			return f.run(cmd.Context(), dbs, n, oid, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVarP(&f.config, "configure", "C", "", "a file with sections <zodb NAME>")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return cmd
}

// objectArg reads OID or NAME:OID, and returns the number of the database.
func objectArg(dbs []database, arg string) (int, zodb.OID, error) {
	name, number, named := strings.Cut(arg, ":")
	if !named {
		name, number = "", arg
	}
	i := 0
	if named || len(dbs) > 1 {
		i = slices.IndexFunc(dbs, func(d database) bool { return d.name == name })
		if i < 0 {
			return 0, 0, fmt.Errorf("%s: say which database the object is of: NAME:OID", arg)
		}
	}
	oid, err := parseOID(number)
	return i, oid, err
}

func parseOID(s string) (zodb.OID, error) {
	n, err := strconv.ParseUint(s, 0, 64)
	if err != nil || (len(s) > 1 && s[0] == '0' && s[1] != 'x') {
		return 0, fmt.Errorf("%q is no oid: write 0x2a, or 42", s)
	}
	return zodb.OID(n), nil
}

// references is the answer of zari refs.
type references struct {
	Object check.Object     `json:"object"`
	From   []check.Referrer `json:"referred_to_by"`
	To     []reference      `json:"refers_to"`
}

type reference struct {
	check.Object
	Weak    bool `json:"weak,omitempty"`
	Missing bool `json:"missing,omitempty"`
}

func (f *refsFlags) run(ctx context.Context, dbs []database, n int, oid zodb.OID, out io.Writer) error {
	open, err := openDatabases(ctx, dbs)
	if err != nil {
		return err
	}
	defer open.close()
	meter := newMeter()
	defer meter.clear()
	if err := open.walk(ctx, meter); err != nil {
		return err
	}
	answer := references{Object: check.Object{Database: dbs[n].name, OID: oid.String()}, From: []check.Referrer{}, To: []reference{}}
	rec, err := open.load(ctx, n, oid)
	if err != nil {
		return err
	}
	if rec != nil {
		class, _ := pickle.ClassOf(rec.Data)
		answer.Object.Class = class.String()
		if answer.To, err = refersTo(ctx, open, n, rec); err != nil {
			return err
		}
	}
	err = check.Referrers(ctx, open.sources, n, oid, &check.Report{Progress: meter.show}, func(r check.Referrer) { answer.From = append(answer.From, r) })
	if err != nil {
		return err
	}
	slices.SortFunc(answer.From, func(a, b check.Referrer) int {
		return cmp.Or(cmp.Compare(a.Database, b.Database), cmp.Compare(len(a.OID), len(b.OID)), cmp.Compare(a.OID, b.OID))
	})
	meter.clear()
	f.print(out, &answer, rec == nil)
	if rec == nil {
		return &zodb.NoObjectError{OID: oid, Before: zodb.MaxTID}
	}
	return nil
}

// refersTo returns the references of a record, each target once.
func refersTo(ctx context.Context, open *opened, n int, rec *check.Record) ([]reference, error) {
	refs, err := pickle.AllReferences(rec.Data, nil)
	if err != nil {
		return nil, fmt.Errorf("object %v: %w", rec.OID, err)
	}
	to := []reference{}
	seen := make(map[pickle.Reference]bool)
	for _, t := range refs {
		t.Class = pickle.Class{}
		if seen[t] {
			continue
		}
		seen[t] = true
		r, err := describe(ctx, open, n, t)
		if err != nil {
			return nil, err
		}
		to = append(to, r)
	}
	return to, nil
}

func describe(ctx context.Context, open *opened, n int, t pickle.Reference) (reference, error) {
	r := reference{Object: check.Object{Database: open.all[n].name, OID: t.OID.String()}, Weak: t.Strength == pickle.Weak}
	if t.Database != "" && t.Database != open.all[n].name {
		r.Database = t.Database
		n = slices.IndexFunc(open.all, func(d database) bool { return d.name == t.Database })
		if n < 0 {
			return r, nil
		}
	}
	target, err := open.load(ctx, n, t.OID)
	if target == nil || err != nil {
		r.Missing = err == nil
		return r, err
	}
	class, _ := pickle.ClassOf(target.Data)
	r.Class = class.String()
	return r, nil
}

func (f *refsFlags) print(out io.Writer, a *references, absent bool) {
	if f.json {
		printJSON(out, a)
		return
	}
	if absent {
		a.Object.Class = "(missing)"
	}
	fmt.Fprintf(out, "%v\n\nreferred to by %s:\n", a.Object, count(int64(len(a.From)), "object"))
	for _, r := range a.From {
		fmt.Fprintf(out, "  %v%s%s\n", r.Object, times(r.Times), weak(r.Weak))
	}
	fmt.Fprintf(out, "\nrefers to %s:\n", count(int64(len(a.To)), "object"))
	for _, r := range a.To {
		missing := ""
		if r.Missing {
			missing = " (missing)"
		}
		fmt.Fprintf(out, "  %v%s%s\n", r.Object, weak(r.Weak), missing)
	}
}

func times(n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprintf(" (%d times)", n)
}

func weak(w bool) string {
	if w {
		return " (weak)"
	}
	return ""
}
