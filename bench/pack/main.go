// Pack measures the packs of Python's FileStorage and of Zari on equal files, one
// after the other, beside a writer, and compares what they leave.
//
//	go run ./bench/pack [--megabytes 2000] [--objects 2000000] [--runs 1]
//
// The file is made: half of its objects cannot be reached, one in ten has an old
// revision, and there are blobs. Both pack it to a time just before the last
// transactions, with garbage collection. It fails if the results differ: by a
// transaction, a record, its data, or a blob; or if Python's FileStorage cannot
// load every object of Zari's file.
//
// Memory is what the process took at the most during the pack (VmHWM), above what it
// took when it had opened the file. It needs Linux, and four times the size on disk.
// The Python with ZODB is $ZARI_PYTHON or .venv/bin/python.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/zaridb/zari/bench/harness"
)

func main() {
	harness.Role(sideCommand, side)
	harness.Main("pack", parse, (*config).run)
}

// config is what the command line asks for.
type config struct {
	python    string
	dir       string
	megabytes int
	objects   int
	runs      int
	json      bool
}

func parse(args []string) (*config, error) {
	c := &config{}
	flags := harness.NewFlags("pack")
	flags.Python(&c.python, "ZODB")
	flags.StringVar(&c.dir, "dir", "", "`directory` for the files (default a temporary one)")
	flags.IntVar(&c.megabytes, "megabytes", 2000, "size of the file")
	flags.IntVar(&c.objects, "objects", 0, "how many objects (default 1000 for each megabyte)")
	flags.IntVar(&c.runs, "runs", 1, "packs of each side; the table has medians")
	flags.BoolVar(&c.json, "json", false, "print all results as JSON")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if c.objects == 0 {
		c.objects = 1000 * c.megabytes
	}
	if c.megabytes < 1 || c.objects < perBlob || c.runs < 1 {
		return nil, errors.New("the least is a megabyte with a thousand objects, and one run")
	}
	return c, nil
}

func (c *config) run(ctx context.Context) error {
	r, err := c.measure(ctx)
	if err != nil {
		return err
	}
	if c.json {
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	r.print(os.Stdout)
	return nil
}

// results are all runs.
type results struct {
	Bytes   int64     `json:"bytes"`
	Objects int       `json:"objects"`
	Records int       `json:"equal_records"`
	Blobs   int       `json:"equal_blobs"`
	Python  []*result `json:"python"`
	Zari    []*result `json:"zari"`
}

func (c *config) measure(ctx context.Context) (*results, error) {
	if c.dir == "" {
		dir, err := os.MkdirTemp("", "zari-pack-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		c.dir = dir
	}
	fmt.Fprintf(os.Stderr, "making %d objects in %d MB\n", c.objects, c.megabytes)
	base := filepath.Join(c.dir, "base")
	if err := os.MkdirAll(base, 0o700); err != nil {
		return nil, err
	}
	// One record in nine is written later.
	size := c.megabytes * 1e6 / (c.objects * 111 / 100)
	m, err := makeData(filepath.Join(base, "Data.fs"), filepath.Join(base, "blobs"), c.objects, size)
	if err != nil {
		return nil, err
	}
	r := &results{Bytes: m.bytes, Objects: m.objects}
	for range c.runs {
		if err := c.pair(ctx, m, base, r); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// pair runs both sides once, and compares.
func (c *config) pair(ctx context.Context, m *made, base string, r *results) error {
	at := strconv.FormatFloat(float64(m.at.UnixNano())/1e9, 'f', 6, 64)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	theirs, ours := filepath.Join(c.dir, "python"), filepath.Join(c.dir, "zari")
	for _, dir := range []string{theirs, ours} {
		if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(base))); err != nil {
			return err
		}
	}
	syscall.Sync() // or the first side would wait for what was copied
	files := func(dir string) []string { return []string{filepath.Join(dir, "Data.fs"), filepath.Join(dir, "blobs")} }
	fmt.Fprintln(os.Stderr, "Python packs")
	p, err := runSide(ctx, c.python, append(append([]string{"-c", program, "pack"}, files(theirs)...), at)...)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "Zari packs")
	z, err := runSide(ctx, self, append(append([]string{sideCommand}, files(ours)...), at)...)
	if err != nil {
		return err
	}
	r.Python, r.Zari = append(r.Python, p), append(r.Zari, z)
	fmt.Fprintln(os.Stderr, "comparing")
	if r.Records, err = equal(files(theirs)[0], files(ours)[0], p.Commits, z.Commits); err != nil {
		return err
	}
	if r.Blobs, err = equalBlobs(files(theirs)[1], files(ours)[1]); err != nil {
		return err
	}
	if _, err := harness.Output(ctx, c.python, append([]string{"-c", program, "read"}, files(ours)...)...); err != nil {
		return fmt.Errorf("reading what Zari packed: %w", err)
	}
	return nil
}

func (r *results) print(out io.Writer) {
	p, z := middle(r.Python), middle(r.Zari)
	perObject := func(x *result) float64 { return float64(x.above()) / float64(r.Objects) }
	fmt.Fprintf(out, "%d MB, %d objects; %s; medians of %d\n\n", r.Bytes/1e6, r.Objects, time.Now().Format(time.DateOnly), len(r.Zari))
	fmt.Fprintf(out, "| | python | zari | ratio |\n|---|--:|--:|--:|\n")
	fmt.Fprintf(out, "| seconds | %.2f | %.2f | %.1f times as fast |\n", p.Seconds, z.Seconds, p.Seconds/z.Seconds)
	fmt.Fprintf(out, "| seconds of CPU | %.2f | %.2f | %.1f times as few |\n", p.CPU, z.CPU, p.CPU/z.CPU)
	fmt.Fprintf(out, "| memory while serving, MB | %.1f | %.1f | |\n", float64(p.Serving)/1e6, float64(z.Serving)/1e6)
	fmt.Fprintf(out, "| memory above that, MB | %.1f | %.1f | %.2f |\n", float64(p.above())/1e6, float64(z.above())/1e6, float64(z.above())/float64(p.above()))
	fmt.Fprintf(out, "| the same for each object, bytes | %.1f | %.1f | |\n", perObject(p), perObject(z))
	fmt.Fprintf(out, "| tables and buffers for each object, bytes | | %.1f | |\n", float64(z.Report.Memory)/float64(r.Objects))
	fmt.Fprintf(out, "| commits meanwhile | %d | %d | |\n", p.Commits, z.Commits)
	fmt.Fprintf(out, "\nThe results are equal: %d records, %d blobs; %d revisions were dropped. Python loads all of Zari's %d objects.\n",
		r.Records, r.Blobs, z.Report.Revisions, z.Objects)
}

// middle returns the result with the median time.
func middle(list []*result) *result {
	sorted := slices.SortedFunc(slices.Values(list), func(a, b *result) int {
		return int((a.Seconds - b.Seconds) * 1e6)
	})
	return sorted[len(sorted)/2]
}
