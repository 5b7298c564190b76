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
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/zaridb/zari/bench/harness"
)

func main() {
	harness.Role(bareCommand, serveBare)
	harness.Main("compare", parse, (*lab).run)
}

// lab is where the measurements are made, as the command line asks for it.
type lab struct {
	zari, python string
	dir          string // for data files
	only         []string
	runs         int
	duration     time.Duration // of one measurement
	connections  int
	scale        scale
	quick        bool
	jsonFile     string
	command      string // as it was called
	began        time.Time
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

func parse(args []string) (*lab, error) {
	l := &lab{command: strings.Join(append([]string{"go run ./bench/compare"}, args...), " "), scale: fullScale, began: time.Now()}
	fs := harness.NewFlags("compare")
	fs.Zari(&l.zari)
	fs.Python(&l.python, "ZEO")
	fs.StringVar(&l.dir, "dir", os.TempDir(), "`directory` for a temporary one with data files, 6 GB or so")
	fs.Choice(&l.only, "only", partNames(), "`parts` to run")
	fs.IntVar(&l.runs, "runs", 5, "measurements of each server")
	fs.DurationVar(&l.duration, "duration", 5*time.Second, "of one measurement")
	fs.IntVar(&l.connections, "connections", 16, "of loads and commits")
	fs.BoolVar(&l.quick, "quick", false, "one short run of everything with little data: shows that it works, no more")
	fs.StringVar(&l.jsonFile, "json", "", "`file` for the figures as JSON, - for the standard output in place of the table")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if l.quick {
		l.runs, l.duration, l.scale = 1, 500*time.Millisecond, quickScale
	}
	if l.runs < 1 || l.connections < 1 || l.duration <= 0 {
		return nil, errors.New("--runs, --connections and --duration must be more than nothing")
	}
	return l, nil
}

func (l *lab) run(ctx context.Context) error {
	err := os.MkdirAll(l.dir, 0o755)
	if err == nil {
		l.dir, err = os.MkdirTemp(l.dir, "zari-compare-")
	}
	if err != nil {
		return err
	}
	defer os.RemoveAll(l.dir)
	report := newReport(ctx, l)
	for _, p := range parts {
		if !slices.Contains(l.only, p.name) {
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
	return l.print(report)
}

func (l *lab) print(r *Report) error {
	encoded, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	encoded = append(encoded, '\n')
	if l.jsonFile == "-" {
		_, err := os.Stdout.Write(encoded)
		return err
	}
	if l.jsonFile != "" {
		if err := os.WriteFile(l.jsonFile, encoded, 0o644); err != nil {
			return err
		}
	}
	return r.WriteTable(os.Stdout)
}
