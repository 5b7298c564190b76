package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zaridb/zari/check"
)

const checkLong = `Look for what is wrong in databases: damage to the file, references to objects that
are missing or deleted, blobs without files, BTrees whose keys are out of order.

` + databasesHelp + `

What is checked, in this order:

  structure    every transaction and record of the file, as fstest does; behind
               damage it goes on at the next record that is whole
  index        the .index against the file
  blobs        every revision of a blob against the blob directory, if one is named
  references   every reference of every current record, as fsrefs and
               multi-zodb-check-refs do; with the path from the root
  trees        every BTree, as BTrees.check does (--only trees checks references too)

An error is what an application will trip over. A warning is what it will not, or
what may be meant: a reference from an object that no root leads to, or one that
names the class as it was called before; the exit status counts them with --strict.`

const checkExample = `  zari check Data.fs
  zari check --blob-dir blobs --json Data.fs
  zari check zeo://localhost:8100
  zari check main=Data.fs catalog=Catalog.fs
  zari check -C zope.conf --only references`

const checkExits = `
EXIT STATUS
  0  nothing is wrong
  1  something is, or a file could not be read
  2  the command line or the configuration is wrong`

// checkParts are what can be checked.
var checkParts = []string{"structure", "index", "blobs", "references", "trees"}

type checkFlags struct {
	config  string
	blobDir string
	only    []string
	json    bool
	strict  bool
}

func newCheckCommand() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:     "check [flags] STORAGE | NAME=STORAGE... | -C FILE",
		Short:   "Look for damage and for broken references",
		Long:    checkLong + "\n" + checkExits,
		Example: checkExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			dbs, err := f.databases(args)
			if err != nil {
				return usageError{err}
			}
			return f.run(cmd.Context(), dbs, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.config, "configure", "C", "", "a file with sections <zodb NAME>")
	flags.StringVar(&f.blobDir, "blob-dir", "", "the blob directory of the only database")
	flags.StringSliceVar(&f.only, "only", nil, "check only these: "+strings.Join(checkParts, ", "))
	flags.BoolVar(&f.json, "json", false, "print a JSON object for each problem, and one for the summary")
	flags.BoolVar(&f.strict, "strict", false, "let warnings count for the exit status")
	return cmd
}

func (f *checkFlags) databases(args []string) ([]database, error) {
	for _, part := range f.only {
		if !slices.Contains(checkParts, part) {
			return nil, fmt.Errorf("--only: there is no part %q: they are %s", part, strings.Join(checkParts, ", "))
		}
	}
	dbs, err := findDatabases(args, f.config)
	if err != nil {
		return nil, err
	}
	if f.blobDir != "" {
		if len(dbs) != 1 {
			return nil, errors.New("--blob-dir is for one database; name the directories in a configuration file")
		}
		dbs[0].blobDir = f.blobDir
	}
	return dbs, nil
}

func (f *checkFlags) wants(part string) bool {
	return len(f.only) == 0 || slices.Contains(f.only, part)
}

// checkSummary is what is printed at the end.
type checkSummary struct {
	Errors     int   `json:"errors"`
	Warnings   int   `json:"warnings"`
	Objects    int   `json:"objects"`
	References int64 `json:"references,omitempty"`
	Blobs      int   `json:"blob_revisions"`
	Memory     int64 `json:"memory"` // bytes of tables, at most
	Unchecked  bool  `json:"blobs_unchecked,omitempty"`
}

func (f *checkFlags) run(ctx context.Context, dbs []database, out io.Writer) error {
	open, err := openDatabases(ctx, dbs)
	if err != nil {
		return err
	}
	defer open.close()
	meter := newMeter()
	r := &check.Report{Progress: meter.show, Found: func(p *check.Problem) {
		meter.clear()
		f.print(out, p)
	}}
	s, err := f.check(ctx, open, r)
	meter.clear()
	if err != nil {
		return err
	}
	s.Errors, s.Warnings, s.Memory = r.Errors(), r.Warnings(), r.Memory()
	f.summarize(out, s)
	if s.Errors > 0 || (f.strict && s.Warnings > 0) {
		return errReported
	}
	return nil
}

func (f *checkFlags) check(ctx context.Context, open *opened, r *check.Report) (*checkSummary, error) {
	s := &checkSummary{}
	for i, file := range open.files {
		var err error
		if file == nil {
			err = f.checkStorage(ctx, open.sources[i], r, s)
		} else {
			err = f.checkFile(ctx, open.all[i], file, r, s)
		}
		if err != nil {
			return nil, err
		}
	}
	if !f.wants("references") && !f.wants("trees") {
		return s, nil
	}
	g, err := check.References(ctx, open.sources, r)
	if err != nil {
		return nil, err
	}
	s.Objects, s.References = g.Objects(), g.Counted()
	if f.wants("trees") {
		err = g.Trees(ctx)
	}
	return s, err
}

// checkFile checks what concerns one file alone.
func (f *checkFlags) checkFile(ctx context.Context, d database, file *check.File, r *check.Report, s *checkSummary) error {
	walk := r
	if !f.wants("structure") {
		walk = &check.Report{Progress: r.Progress} // the walk is what finds the objects
	}
	if err := file.Walk(ctx, walk); err != nil {
		return err
	}
	s.Objects += file.Objects()
	s.Blobs += file.BlobRevisions()
	if f.wants("index") {
		if err := file.Index(ctx, r); err != nil {
			return err
		}
	}
	if !f.wants("blobs") || file.BlobRevisions() == 0 && d.blobDir == "" {
		return nil
	}
	if d.blobDir == "" {
		s.Unchecked = true
		return nil
	}
	return file.Blobs(ctx, d.blobDir, r)
}

// checkStorage checks the blobs of what is no file.
func (f *checkFlags) checkStorage(ctx context.Context, db check.Database, r *check.Report, s *checkSummary) error {
	st, ok := db.Source.(check.Storage)
	if !ok || !f.wants("blobs") {
		return nil
	}
	n, fetched, err := st.Blobs(ctx, db.Name, r)
	s.Blobs += n
	s.Unchecked = s.Unchecked || n > 0 && !fetched
	return err
}

func (f *checkFlags) print(out io.Writer, p *check.Problem) {
	if !f.json {
		fmt.Fprintln(out, p)
		return
	}
	printJSON(out, p)
}

// printJSON prints a value on one line.
func printJSON(out io.Writer, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // these types always marshal
	}
	fmt.Fprintf(out, "%s\n", b)
}

func (f *checkFlags) summarize(out io.Writer, s *checkSummary) {
	if f.json {
		printJSON(out, map[string]*checkSummary{"summary": s})
		return
	}
	fmt.Fprintf(out, "%s, %s: %s, %s, %s; %s of tables\n",
		count(int64(s.Errors), "error"), count(int64(s.Warnings), "warning"), count(int64(s.Objects), "object"),
		count(s.References, "reference"), count(int64(s.Blobs), "blob revision"), bytesText(s.Memory))
	if s.Unchecked {
		fmt.Fprintln(out, "The files of blobs were not checked: name their directory with --blob-dir, or in the configuration file.")
	}
}

// count is a number with its noun.
func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
