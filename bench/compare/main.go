// Compare measures Zari beside Python's runzeo and beside bare programs that do
// the least possible, on one machine in one run, with the load generator of
// package bench, and prints the ratios.
//
//	go run ./bench/compare [flags]       (make bench builds bin/zari before)
//
// Every part starts its servers together and measures them in turns, run after
// run, so that noise on the machine hits all alike; the table has medians. The
// times themselves say little about another machine. The ratios say more.
//
// The Python with ZEO is $ZARI_PYTHON or .venv/bin/python.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if len(os.Args) > 1 && os.Args[1] == bareCommand {
		exit(serveBare(ctx, os.Args[2:]))
	}
	c, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(2)
	}
	exit(c.run(ctx))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// config is what the command line asks for.
type config struct {
	zari, python string
	dir          string // for data files; made and removed if empty
	only         []string
	runs         int
	duration     time.Duration // of one measurement
	connections  int
	scale        scale
	quick        bool
	jsonFile     string
	command      string // as it was called
}

// scale is how much data the parts use.
type scale struct {
	loadObjects   int   // to load from, 1 KB each
	rebuildBytes  int64 // of the file whose index is rebuilt
	memoryObjects int   // small ones
}

var (
	fullScale  = scale{loadObjects: 100_000, rebuildBytes: 1 << 30, memoryObjects: 5_000_000}
	quickScale = scale{loadObjects: 2_000, rebuildBytes: 4 << 20, memoryObjects: 20_000}
)

func parse(args []string) (*config, error) {
	c := &config{command: strings.Join(append([]string{"go run ./bench/compare"}, args...), " "), scale: fullScale}
	fs := flag.NewFlagSet("compare", flag.ContinueOnError)
	fs.StringVar(&c.zari, "zari", "bin/zari", "the zari `program`")
	fs.StringVar(&c.python, "python", defaultPython(), "a Python `program` with ZEO")
	fs.StringVar(&c.dir, "dir", "", "`directory` for data files, 6 GB or so (default a temporary one)")
	only := fs.String("only", "", "`parts` to run, with commas: "+strings.Join(partNames(), ", "))
	fs.IntVar(&c.runs, "runs", 5, "measurements of each server")
	fs.DurationVar(&c.duration, "duration", 5*time.Second, "of one measurement")
	fs.IntVar(&c.connections, "connections", 16, "of loads and commits")
	fs.BoolVar(&c.quick, "quick", false, "one short run of everything with little data: shows that it works, no more")
	fs.StringVar(&c.jsonFile, "json", "", "`file` for the figures as JSON, - for the standard output in place of the table")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if c.quick {
		c.runs, c.duration, c.scale = 1, 500*time.Millisecond, quickScale
	}
	if *only != "" {
		c.only = strings.Split(*only, ",")
	}
	return c, c.check(fs.Args())
}

func (c *config) check(rest []string) error {
	for _, name := range c.only {
		if !slices.Contains(partNames(), name) {
			return fmt.Errorf("no part %q; there are %s", name, strings.Join(partNames(), ", "))
		}
	}
	switch {
	case len(rest) > 0:
		return fmt.Errorf("what is %q?", rest[0])
	case c.runs < 1 || c.connections < 1 || c.duration <= 0:
		return fmt.Errorf("--runs, --connections and --duration must be more than nothing")
	}
	return nil
}

func defaultPython() string {
	if p := os.Getenv("ZARI_PYTHON"); p != "" {
		return p
	}
	return filepath.Join(".venv", "bin", "python")
}

func (c *config) run(ctx context.Context) error {
	if c.dir == "" {
		dir, err := os.MkdirTemp("", "zari-compare-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		c.dir = dir
	}
	l, err := newLab(c)
	if err != nil {
		return err
	}
	report := newReport(ctx, c)
	for _, p := range parts {
		if len(c.only) > 0 && !slices.Contains(c.only, p.name) {
			continue
		}
		l.log("%s: %s", p.name, p.what)
		figures, err := p.run(ctx, l)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		report.Figures = append(report.Figures, figures...)
	}
	report.Seconds = time.Since(report.Date).Seconds()
	return c.print(report)
}

func (c *config) print(r *Report) error {
	encoded, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	encoded = append(encoded, '\n')
	if c.jsonFile == "-" {
		_, err := os.Stdout.Write(encoded)
		return err
	}
	if c.jsonFile != "" {
		if err := os.WriteFile(c.jsonFile, encoded, 0o644); err != nil {
			return err
		}
	}
	return r.WriteTable(os.Stdout)
}
