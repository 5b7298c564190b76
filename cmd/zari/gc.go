package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zaridb/zari/check"
	"github.com/zaridb/zari/zodb"
)

const gcLong = `Delete the objects that no root leads to, across databases that refer to each other.

A pack with garbage collection looks at one database alone, and would remove what only
another database refers to. Give the members of such a set pack-gc false, run zari gc
now and then, and pack them: the pack drops what gc has deleted.

An object is kept if a root leads to it, or if it, or what leads to it, was written in
the last --days days. The revisions of before are followed too, as long as they are
kept: what was unlinked goes after a pack. Weak references keep nothing.

` + databasesHelp + `

The analysis can be made on copies or replicas: --analyze names a second configuration
file with databases of the same names, --file one Data.fs. Records that zc.zlibstorage
compressed are understood. What changed since the copies were made is looked at before
anything is deleted; others may go on writing. See --dry-run for a report alone.`

const gcExample = `  zari gc -C zodb.conf --dry-run
  zari gc -C zodb.conf --days 3
  zari gc -C zodb.conf --analyze replica.conf
  zari gc -C zodb.conf --file main=/backup/Data.fs --json`

const gcExits = `
EXIT STATUS
  0  done
  1  a database is damaged, or could not be read or written
  2  the command line or the configuration is wrong`

type gcFlags struct {
	config  string
	analyze string
	files   []string
	ignore  []string
	days    float64
	batch   int
	dryRun  bool
	list    bool
	json    bool
}

func newGCCommand() *cobra.Command {
	var f gcFlags
	cmd := &cobra.Command{
		Use:     "gc [flags] -C FILE | STORAGE | NAME=STORAGE...",
		Short:   "Delete what no root leads to, across databases",
		Long:    gcLong + "\n" + gcExits,
		Example: gcExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			live, looked, err := f.databases(args)
			if err != nil {
				return usageError{err}
			}
			return f.run(cmd.Context(), live, looked, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.config, "configure", "C", "", "a file with sections <zodb NAME>")
	flags.StringVar(&f.analyze, "analyze", "", "a second file, with copies or replicas of the databases to look at")
	flags.StringArrayVarP(&f.files, "file", "f", nil, "NAME=PATH: a Data.fs to look at instead of the database of that name")
	flags.StringArrayVarP(&f.ignore, "ignore-database", "i", nil, "a database to which references do not count")
	flags.Float64VarP(&f.days, "days", "d", 1, "keep what was written in so many days")
	flags.IntVar(&f.batch, "batch", 100, "how many objects to delete in one transaction")
	flags.BoolVarP(&f.dryRun, "dry-run", "n", false, "delete nothing")
	flags.BoolVar(&f.list, "list", false, "print every object, and what refers to it")
	flags.BoolVar(&f.json, "json", false, "print a JSON object for each object, and one for the summary")
	return cmd
}

// databases finds what is to be cleaned, and what is to be looked at for it.
func (f *gcFlags) databases(args []string) (live, looked []database, err error) {
	if live, err = findDatabases(args, f.config); err != nil {
		return nil, nil, err
	}
	switch {
	case f.days < 0:
		return nil, nil, errors.New("--days is negative")
	case f.batch < 1:
		return nil, nil, errors.New("--batch is less than 1")
	}
	looked = slices.Clone(live)
	if f.analyze != "" {
		copies, err := findDatabases(nil, f.analyze)
		if err != nil {
			return nil, nil, err
		}
		if err := replace(looked, copies, f.analyze); err != nil {
			return nil, nil, err
		}
		if len(copies) != len(live) {
			return nil, nil, fmt.Errorf("%s does not have the same databases as %s", f.analyze, f.config)
		}
	}
	for _, file := range f.files {
		name, path, ok := strings.Cut(file, "=")
		if !ok {
			return nil, nil, fmt.Errorf("--file %s: write NAME=PATH", file)
		}
		if err := replace(looked, []database{{name: name, where: path, file: path}}, "--file"); err != nil {
			return nil, nil, err
		}
	}
	return live, looked, nil
}

// replace puts databases in the place of those of the same names.
func replace(dst, by []database, where string) error {
	for _, d := range by {
		i := slices.IndexFunc(dst, func(old database) bool { return old.name == d.name })
		if i < 0 {
			return fmt.Errorf("%s: there is no database %q to be cleaned", where, d.name)
		}
		dst[i] = d
	}
	return nil
}

func (f *gcFlags) run(ctx context.Context, live, looked []database, out io.Writer) error {
	var storages []zodb.Storage
	if !f.dryRun {
		for _, d := range live {
			s, err := openStorage(ctx, d.where, toChange)
			if err != nil {
				return err
			}
			defer s.Close()
			storages = append(storages, s)
		}
	}
	open, err := openDatabases(ctx, looked)
	if err != nil {
		return err
	}
	defer open.close()
	meter := newMeter()
	defer meter.clear()
	if err := walkWhole(ctx, open, meter); err != nil {
		return err
	}
	o := check.GCOptions{Ignore: make(map[string]bool), Since: zodb.TIDAt(time.Now().Add(-time.Duration(f.days * 24 * float64(time.Hour))))}
	for _, name := range f.ignore {
		o.Ignore[name] = true
	}
	marks, err := check.Mark(ctx, open.sources, o, &check.Report{Progress: meter.show})
	if err != nil {
		return err
	}
	t := &gcTally{flags: f, out: out, meter: meter, classes: make(map[gcClass]*gcCount)}
	var swept []check.Swept
	if f.dryRun {
		for i := range looked {
			if err := marks.Each(ctx, i, func(g *check.Garbage) error { t.add(g); return nil }); err != nil {
				return err
			}
		}
	} else if swept, err = marks.Sweep(ctx, storages, check.SweepOptions{Batch: f.batch, Each: t.add}); err != nil {
		return err
	}
	meter.clear()
	t.print(looked, swept)
	return nil
}

// walkWhole walks files that must not be damaged.
func walkWhole(ctx context.Context, open *opened, m *meter) error {
	for i, f := range open.files {
		if f == nil {
			continue
		}
		var first *check.Problem
		r := &check.Report{Progress: m.show, Found: func(p *check.Problem) { first = cmp.Or(first, p) }}
		if err := f.Walk(ctx, r); err != nil {
			return err
		}
		if r.Errors() > 0 {
			return fmt.Errorf("%s is damaged, and nothing is deleted: %v (zari check says more)", open.all[i].where, first)
		}
	}
	return nil
}

type gcClass struct{ Database, Class string }

type gcCount struct {
	Database string `json:"database,omitempty"`
	Class    string `json:"class"`
	Objects  int    `json:"objects"`
	Bytes    int64  `json:"bytes"`
}

// gcTally counts garbage, and prints it.
type gcTally struct {
	flags   *gcFlags
	out     io.Writer
	meter   *meter
	classes map[gcClass]*gcCount
}

func (t *gcTally) add(g *check.Garbage) {
	key := gcClass{g.Database, g.Class}
	c := t.classes[key]
	if c == nil {
		c = &gcCount{Database: g.Database, Class: g.Class}
		t.classes[key] = c
	}
	c.Objects++
	c.Bytes += int64(g.Size)
	switch {
	case t.flags.json:
		t.meter.clear()
		printJSON(t.out, struct {
			*check.Garbage
			TID  string    `json:"tid"`
			Time time.Time `json:"written"`
		}{g, g.TID.String(), g.TID.Time()})
	case t.flags.list:
		t.meter.clear()
		why := "nothing refers to it"
		if g.Referrer != nil {
			why = "only garbage refers to it: " + g.Referrer.String()
		}
		fmt.Fprintf(t.out, "%v, %s, written %s: %s\n", g.Object, count(int64(g.Size), "byte"), g.TID.Time().Format(time.DateTime), why)
	}
}

// gcSummary is the last line of --json.
type gcSummary struct {
	DryRun  bool        `json:"dry_run,omitempty"`
	Days    float64     `json:"days"`
	Deleted int         `json:"deleted"`
	Kept    int         `json:"kept"`
	Revived int         `json:"revived"`
	Classes []*gcCount  `json:"classes"`
	By      []gcOutcome `json:"databases,omitempty"`
}

type gcOutcome struct {
	Name string `json:"name"`
	check.Swept
}

func (t *gcTally) print(dbs []database, swept []check.Swept) {
	s := gcSummary{DryRun: t.flags.dryRun, Days: t.flags.days}
	s.Classes = slices.SortedFunc(maps.Values(t.classes), func(a, b *gcCount) int {
		return cmp.Or(cmp.Compare(a.Database, b.Database), cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Class, b.Class))
	})
	for i, w := range swept {
		s.By = append(s.By, gcOutcome{dbs[i].name, w})
		s.Deleted, s.Kept, s.Revived = s.Deleted+w.Deleted, s.Kept+w.Kept, s.Revived+w.Revived
	}
	if t.flags.json {
		printJSON(t.out, map[string]gcSummary{"summary": s})
		return
	}
	objects, bytes := 0, int64(0)
	for _, c := range s.Classes {
		name := c.Class
		if c.Database != "" {
			name = c.Database + ": " + name
		}
		fmt.Fprintf(t.out, "%10d  %12d bytes  %s\n", c.Objects, c.Bytes, name)
		objects, bytes = objects+c.Objects, bytes+c.Bytes
	}
	if t.flags.dryRun {
		fmt.Fprintf(t.out, "%s, %d bytes would be deleted. Nothing was: it is a dry run.\n", count(int64(objects), "object"), bytes)
		return
	}
	fmt.Fprintf(t.out, "%s deleted; the next pack frees their space.\n", count(int64(s.Deleted), "object"))
	if s.Kept > 0 || s.Revived > 0 {
		fmt.Fprintf(t.out, "Put to use meanwhile: %d kept, %d brought back.\n", s.Kept, s.Revived)
	}
}
