package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zaridb/zari/engine/s3storage"
	"github.com/zaridb/zari/engine/s3storage/objstore"
	"github.com/zaridb/zari/storages"
	"github.com/zaridb/zari/zodb"
)

const s3CostLong = `Say what a database in S3 costs a month if it goes on as it does now.

What is stored is counted in the bucket. How many requests there are is found out in
one of two ways:

  from the log       the transactions of the last --days days: one PUT for each, or as
                     many together as the newest ones had, and what a server writes
                     beside them. What is read is not known then: no GET is counted.
  --metrics URL      all requests of a running server, by its metrics, over --sample;
                     with --sample 0, on average since it was started.

Prices are list prices, without free tiers and taxes: --print-prices prints the table,
and --prices reads one that you have edited. docs/operations/s3.md says more.

` + s3URLHelp

const s3CostExample = `  zari s3 cost 's3://zodb/plone?region=eu-central-1'
  zari s3 cost --days 30 --store r2 s3dir:///srv/plone
  zari s3 cost --metrics http://127.0.0.1:8102/metrics --sample 10m s3dir:///srv/plone
  zari s3 cost --print-prices
  zari s3 cost --prices prices.json --json s3dir:///srv/plone`

const s3CostExits = `
EXIT STATUS
  0  done
  1  the bucket or the metrics could not be read
  2  the command line or the table of prices is wrong`

type s3CostFlags struct {
	prices  string
	print   bool
	store   string
	days    int
	metrics string
	storage string
	sample  time.Duration
	json    bool
}

func newS3CostCommand() *cobra.Command {
	var f s3CostFlags
	cmd := &cobra.Command{
		Use:     "cost [flags] URL",
		Short:   "Say what a database in S3 costs a month",
		Long:    s3CostLong + "\n" + s3CostExits,
		Example: s3CostExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			table, err := f.table()
			if err != nil {
				return usageError{err}
			}
			if f.print {
				return objstore.WritePrices(cmd.OutOrStdout(), table)
			}
			price, err := f.check(args, table)
			if err != nil {
				return usageError{err}
			}
			return f.run(cmd.Context(), args[0], price, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.prices, "prices", "", "a table of prices, in the form that --print-prices prints")
	flags.BoolVar(&f.print, "print-prices", false, "print the table of prices, and end")
	flags.StringVar(&f.store, "store", "", "whose prices: a `NAME` in the table (default: the first)")
	flags.IntVar(&f.days, "days", 7, "how many days of the log are looked at")
	flags.StringVar(&f.metrics, "metrics", "", "the `URL` of a server's metrics")
	flags.StringVar(&f.storage, "storage", "1", "the `NAME` of the storage in that server")
	flags.DurationVar(&f.sample, "sample", time.Minute, "over how long metrics are compared")
	flags.BoolVar(&f.json, "json", false, "print a JSON object")
	return cmd
}

func (f *s3CostFlags) table() ([]objstore.Prices, error) {
	if f.prices == "" {
		return objstore.KnownPrices(), nil
	}
	file, err := os.Open(f.prices)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	table, err := objstore.ReadPrices(file)
	if err == nil && len(table) == 0 {
		err = errors.New("there is nothing in the table")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.prices, err)
	}
	return table, nil
}

// check checks the flags and returns the prices that are meant.
func (f *s3CostFlags) check(args []string, table []objstore.Prices) (objstore.Prices, error) {
	switch {
	case len(args) != 1:
		return objstore.Prices{}, errors.New("name one database")
	case f.days < 1 || f.days > 36500:
		return objstore.Prices{}, fmt.Errorf("--days %d: a number of days", f.days)
	case f.sample < 0:
		return objstore.Prices{}, fmt.Errorf("--sample %v: a time such as 1m", f.sample)
	case f.store == "":
		return table[0], nil
	}
	var names []string
	for _, p := range table {
		if p.Name == f.store {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return objstore.Prices{}, fmt.Errorf("--store %s: the table has %s", f.store, strings.Join(names, ", "))
}

// s3Cost is what is printed.
type s3Cost struct {
	URL     string          `json:"url"`
	From    string          `json:"from"`    // "log" or "metrics"
	Method  string          `json:"method"`  // the same in words
	Seconds float64         `json:"seconds"` // that the requests were counted over
	Counts  objstore.Counts `json:"counts"`
	Stored  int64           `json:"stored_bytes"`
	Days    []s3storage.Day `json:"days,omitempty"`
	Prices  objstore.Prices `json:"prices"`
	Month   objstore.Cost   `json:"month"` // US dollars
}

func (f *s3CostFlags) run(ctx context.Context, where string, price objstore.Prices, out io.Writer) error {
	s, err := openS3(ctx, where)
	if err != nil {
		return err
	}
	now := time.Now()
	since := now.Add(-time.Duration(f.days) * 24 * time.Hour)
	h, err := s3storage.Commits(ctx, s.Options, zodb.TIDAt(since))
	if err != nil {
		return fmt.Errorf("%s: %w", s.URL, err)
	}
	c := fromLog(s, &h, now.Sub(since))
	if f.metrics != "" {
		if c, err = f.fromMetrics(ctx, s); err != nil {
			return err
		}
	}
	c.Stored, c.Prices = h.Stored, price
	c.Month = price.Month(c.Counts, time.Duration(c.Seconds*float64(time.Second)), c.Stored)
	if f.json {
		printJSON(out, c)
	} else {
		c.print(out)
	}
	return nil
}

// What a server writes beside the log, as docs/operations/s3.md says.
const (
	putsPerMinute = 3 // checkpoint, run of the index and hint, while there are commits
	putsPerLease  = 3 // renewals in the time of the lease
)

// fromLog works out the requests from what was committed.
func fromLog(s *storages.S3, h *s3storage.History, over time.Duration) *s3Cost {
	c := &s3Cost{URL: s.URL, From: "log", Seconds: over.Seconds(), Days: h.Days}
	var commits, minutes int64
	for _, d := range h.Days {
		commits += d.Commits
		minutes += d.Minutes
		c.Counts.BytesIn += d.Bytes
	}
	c.Counts.Put = int64(float64(commits)*h.PutsPerCommit+0.5) + putsPerMinute*minutes
	if h.Lease > 0 {
		c.Counts.Put += int64(over.Seconds() / h.Lease * putsPerLease)
	}
	how := "each counts as a PUT of its own, for the log has none of them any more"
	if h.Logs > 0 {
		how = fmt.Sprintf("%.2f PUTs for each, as in the %s that the log still has", h.PutsPerCommit, count(int64(h.Logs), "object"))
	}
	c.Method = fmt.Sprintf("from the log: %s in the last %s; %s. Reads are not in the log: no GET is counted; see --metrics",
		count(commits, "commit"), count(int64(over.Hours()/24), "day"), how)
	return c
}

// fromMetrics reads what a server has counted.
func (f *s3CostFlags) fromMetrics(ctx context.Context, s *storages.S3) (*s3Cost, error) {
	first, err := f.scrape(ctx)
	if err != nil {
		return nil, err
	}
	c := &s3Cost{URL: s.URL, From: "metrics", Counts: first.counts, Seconds: first.up.Seconds()}
	c.Method = fmt.Sprintf("from the metrics of a server, since it was started %v ago", first.up.Round(time.Second))
	if f.sample == 0 {
		return c, nil
	}
	fmt.Fprintf(os.Stderr, "comparing the metrics over %v\n", f.sample)
	select {
	case <-time.After(f.sample):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	second, err := f.scrape(ctx)
	if err != nil {
		return nil, err
	}
	if second.up < first.up {
		return nil, errors.New("the server was started again meanwhile")
	}
	c.Counts, c.Seconds = second.counts.Sub(first.counts), (second.up - first.up).Seconds()
	c.Method = fmt.Sprintf("from the metrics of a server, over %v", (second.up - first.up).Round(time.Second))
	return c, nil
}

// scraped is one reading of a server's metrics.
type scraped struct {
	counts objstore.Counts
	up     time.Duration // since the server was started
}

// maxMetrics bounds what is read.
const maxMetrics = 32 << 20

func (f *s3CostFlags) scrape(ctx context.Context) (scraped, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.metrics, nil)
	if err != nil {
		return scraped{}, usageError{err}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return scraped{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return scraped{}, fmt.Errorf("%s: %s", f.metrics, resp.Status)
	}
	s, err := readMetrics(io.LimitReader(resp.Body, maxMetrics), f.storage, time.Now())
	if err != nil {
		return scraped{}, fmt.Errorf("%s: %w", f.metrics, err)
	}
	return s, nil
}

var metricLine = regexp.MustCompile(`^([a-z0-9_]+)(?:\{(.*)\})? ([-+.0-9eE]+)$`)

// readMetrics finds the requests of a storage in what a server tells Prometheus.
func readMetrics(r io.Reader, storage string, now time.Time) (scraped, error) {
	var s scraped
	found := false
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		m := metricLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		value, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			continue
		}
		switch m[1] {
		case "process_start_time_seconds":
			s.up = now.Sub(time.UnixMicro(int64(value * 1e6)))
		case requestsMetric, bytesMetric:
			if strings.Contains(m[2], `storage=`+strconv.Quote(storage)) {
				found = true
				s.note(m[2], int64(value))
			}
		}
	}
	switch {
	case lines.Err() != nil:
		return s, lines.Err()
	case !found:
		return s, fmt.Errorf("there are no requests of a storage %q: is it in S3? --storage names another one", storage)
	case s.up <= 0:
		return s, errors.New("the metrics do not say when the server was started")
	}
	return s, nil
}

// note counts one line.
func (s *scraped) note(labels string, n int64) {
	for label, to := range map[string]*int64{
		`kind="put"`: &s.counts.Put, `kind="get"`: &s.counts.Get, `kind="head"`: &s.counts.Head, `kind="list"`: &s.counts.List,
		`kind="delete"`: &s.counts.Delete, `direction="written"`: &s.counts.BytesIn, `direction="read"`: &s.counts.BytesOut,
	} {
		if strings.Contains(labels, label) {
			*to = n
		}
	}
}

func (c *s3Cost) print(out io.Writer) {
	months := 0.0
	if c.Seconds > 0 {
		months = objstore.Month.Seconds() / c.Seconds
	}
	a := func(n int64) string { return strconv.FormatFloat(float64(n)*months, 'f', 0, 64) }
	gb := func(n int64, times float64) string {
		return strconv.FormatFloat(float64(n)/1e9*times, 'f', 3, 64) + " GB"
	}
	transfer := gb(c.Counts.BytesOut, months) + " read"
	if c.From == "log" {
		transfer = "not known"
	}
	fmt.Fprintf(out, "%s\n%s.\nPrices: %s (%s)\n\n%-12s%20s%12s\n", c.URL, c.Method, c.Prices.Name, c.Prices.Note, "a month", "", "US$")
	for _, row := range []struct {
		what, much string
		cost       float64
	}{
		{"PUT", a(c.Counts.Put), c.Month.Put}, {"GET, HEAD", a(c.Counts.Get + c.Counts.Head), c.Month.Get},
		{"LIST", a(c.Counts.List), c.Month.List}, {"DELETE", a(c.Counts.Delete), c.Month.Delete},
		{"stored", gb(c.Stored, 1), c.Month.Stored}, {"transfer", transfer, c.Month.Transfer}, {"all", "", c.Month.Total},
	} {
		fmt.Fprintf(out, "%-12s%20s%12.2f\n", row.what, row.much, row.cost)
	}
}
