package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/config/zconfig"
	"github.com/zaridb/zari/transfer"
	"github.com/zaridb/zari/zodb"
)

const copyLong = `Copy a database: all transactions of SRC to DST, with their tids, users,
descriptions and extensions, undo records, deletions and blobs.

A copy that was interrupted is resumed by the same command, and a copy is brought
up to date by it: what DST has got is compared with SRC at its end, and what
follows is copied. A DST with another history is refused; --clear empties it.

SRC is opened to be read only. A Data.fs may be copied while a server writes it:
what is committed after the start waits for the next copy.

--verify compares afterwards every transaction, every revision and every blob, in
both directions. With --dry-run it compares what is there, and copies nothing.

` + storageHelp + `

` + tidHelp + `

-C reads the configuration file of RelStorage's zodbconvert: two storages named
source and destination. As there, a destination with data needs --incremental or
--clear.`

const copyExample = `  zari copy Data.fs backup/Data.fs
  zari copy --verify 'file:///srv/Data.fs?blobstorage_dir=/srv/blobs' 'file:///new/Data.fs?blobstorage_dir=/new/blobs'
  zari copy --to 2026-11-01 Data.fs october.fs
  zari copy --verify --dry-run Data.fs backup/Data.fs
  zari copy -C convert.conf --incremental`

const copyExits = `
EXIT STATUS
  0  DST is a copy now (with --verify: and that was found to be so)
  1  it is not: what was copied is kept, and the same command goes on
  2  the command line or a configuration file is wrong`

// copyFlags is the command line of zari copy.
type copyFlags struct {
	config       string
	clear        bool
	incremental  bool
	dryRun       bool
	verify       bool
	withoutBlobs bool
	json         bool
	batch        byteSize
	from, to     zodb.TID
}

func newCopyCommand() *cobra.Command {
	var f copyFlags
	cmd := &cobra.Command{
		Use:     "copy [flags] SRC DST | copy -C convert.conf",
		Short:   "Copy a database, or bring a copy up to date",
		Long:    copyLong + "\n" + copyExits,
		Example: copyExample,
		Args:    usageArgs(cobra.MaximumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			c := &copying{copyFlags: f, out: cmd.OutOrStdout(), err: cmd.ErrOrStderr()}
			if err := c.find(args); err != nil {
				return err
			}
			return c.run(ctx)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.config, "configure", "C", "", "a configuration file of zodbconvert")
	flags.BoolVar(&f.clear, "clear", false, "throw away what is in DST, blobs included, and begin anew")
	flags.BoolVar(&f.incremental, "incremental", false, "go on with what is in DST (only -C needs to be told)")
	flags.BoolVar(&f.dryRun, "dry-run", false, "write nothing; say what would be copied")
	flags.BoolVar(&f.verify, "verify", false, "compare everything")
	flags.BoolVar(&f.withoutBlobs, "without-blobs", false, "copy the records of blobs without their files")
	flags.BoolVar(&f.json, "json", false, "print progress and result as lines of JSON")
	flags.Var(&f.batch, "batch", "how much is committed at a time: an interrupted copy loses no more (default 16MB)")
	flags.Var(tidFlag{&f.from}, "from", "leave out earlier transactions: objects that were not written since are missing then")
	flags.Var(tidFlag{&f.to}, "to", "leave out later transactions")
	return cmd
}

// byteSize is a flag for a number of bytes, as configuration files have it.
type byteSize int64

func (b *byteSize) Type() string { return "SIZE" }

func (b *byteSize) String() string {
	if *b == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*b), 10)
}

// Set reads 100, 64KB, 16MB or 1GB.
func (b *byteSize) Set(s string) error {
	n, err := zconfig.ByteSize(s)
	if err == nil && n < 1 {
		err = errors.New("it must be positive")
	}
	*b = byteSize(n)
	return err
}

// copying is one run of the command.
type copying struct {
	copyFlags
	out, err io.Writer

	srcName, dstName string
	srcConf, dstConf config.Storage
	src, dst         zodb.Storage
	bar              *progressBar
	began            time.Time
	reached          zodb.TID // up to here DST should be a copy
	report           copyReport
}

// copyReport is the outcome as JSON.
type copyReport struct {
	Source       string `json:"source"`
	Destination  string `json:"destination"`
	DryRun       bool   `json:"dry_run,omitempty"`
	Resumed      string `json:"resumed_after,omitempty"`
	First        string `json:"first,omitempty"`
	Last         string `json:"last,omitempty"`
	Transactions int64  `json:"transactions"`
	Records      int64  `json:"records"`
	Bytes        int64  `json:"bytes"`
	Blobs        int64  `json:"blobs"`
	BlobBytes    int64  `json:"blob_bytes"`
	BlobsMissing int64  `json:"blobs_missing,omitempty"`

	Verified    *int64            `json:"verified_transactions,omitempty"`
	Differences *int64            `json:"differences,omitempty"`
	FirstOnes   []differenceEntry `json:"first_differences,omitempty"`
	Seconds     float64           `json:"seconds"`
	Error       string            `json:"error,omitempty"`
}

// differenceEntry is a difference as JSON.
type differenceEntry struct {
	TID    string `json:"tid"`
	OID    string `json:"oid,omitempty"`
	Kind   string `json:"kind"`
	Detail string `json:"detail,omitempty"`
}

// find finds out what is to be copied.
func (c *copying) find(args []string) (err error) {
	if (c.config == "") != (len(args) == 2) {
		return usageError{errors.New("name SRC and DST or, with -C, a configuration file")}
	}
	if c.clear && c.incremental {
		return usageError{errors.New("--clear and --incremental exclude each other")}
	}
	if c.config != "" {
		var notes []config.Note
		if c.srcConf, c.dstConf, notes, err = config.LoadConvert(c.config, os.LookupEnv); err != nil {
			return usageError{err}
		}
		for _, n := range notes {
			fmt.Fprintln(c.err, n)
		}
		c.srcName, c.dstName = "source", "destination"
	} else {
		c.srcName, c.dstName = config.Redact(args[0]), config.Redact(args[1])
		if c.srcConf, err = findStorage(c.err, args[0]); err != nil {
			return err
		}
		if c.dstConf, err = findStorage(c.err, args[1]); err != nil {
			return err
		}
	}
	c.report.Source, c.report.Destination, c.report.DryRun = c.srcName, c.dstName, c.dryRun
	return c.differ()
}

// differ refuses to copy a file, or a database, to itself.
func (c *copying) differ() error {
	for a := range config.All(c.srcConf) {
		for b := range config.All(c.dstConf) {
			if config.SameDatabase(a, b) {
				return usageError{fmt.Errorf("source and destination are one database: %s", config.Describe(a))}
			}
		}
	}
	for _, a := range filesOf(c.srcConf) {
		for _, b := range filesOf(c.dstConf) {
			one, err1 := os.Stat(a.Path)
			two, err2 := os.Stat(b.Path)
			if a.Path == b.Path || err1 == nil && err2 == nil && os.SameFile(one, two) {
				return usageError{fmt.Errorf("%s is both source and destination", a.Path)}
			}
			if a.BlobDir != "" && a.BlobDir == b.BlobDir {
				return usageError{fmt.Errorf("the blobs of source and destination are both in %s", a.BlobDir)}
			}
		}
	}
	return nil
}

// filesOf returns the sections of data files in a storage.
func filesOf(s config.Storage) (files []*config.FileStorage) {
	if f, ok := s.(*config.FileStorage); ok {
		return []*config.FileStorage{f}
	}
	for _, part := range s.Parts() {
		files = append(files, filesOf(part)...)
	}
	return files
}

func (c *copying) run(ctx context.Context) error {
	c.bar, c.began = newProgressBar(c.err, c.json), time.Now()
	err := c.open(ctx)
	if err == nil {
		err = c.work(ctx)
	}
	err = errors.Join(err, c.close())
	if _, ok := errors.AsType[usageError](err); ok {
		return err
	}
	if c.json {
		c.report.Seconds = time.Since(c.began).Seconds()
		if err != nil {
			c.report.Error = config.Redact(err.Error())
		}
		err = errors.Join(err, json.NewEncoder(c.out).Encode(c.report))
	}
	return err
}

// open opens both storages; dst stays nil in a dry run if it is not there.
func (c *copying) open(ctx context.Context) (err error) {
	if c.src, err = openFound(ctx, c.err, c.srcName, c.srcConf, toRead); err != nil {
		return err
	}
	if c.clear && !c.dryRun {
		if err := c.clearOnOpen(); err != nil {
			return err
		}
	}
	if c.dryRun && isMissing(c.dstConf) {
		return nil
	}
	to := toFill
	if c.dryRun {
		to = toRead
	}
	c.dst, err = openFound(ctx, c.err, c.dstName, c.dstConf, to)
	return err
}

// isMissing reports whether a data file of the storage is not there, so that
// opening the storage would make it.
func isMissing(s config.Storage) bool {
	return slices.ContainsFunc(filesOf(s), func(f *config.FileStorage) bool {
		_, err := os.Stat(f.Path)
		return errors.Is(err, fs.ErrNotExist)
	})
}

// clearOnOpen makes the destination empty when it is opened.
func (c *copying) clearOnOpen() error {
	files, databases := filesOf(c.dstConf), databasesOf(c.dstConf)
	switch {
	case len(files) == 1 && len(databases) == 0 && !files[0].ReadOnly:
		files[0].Create = true
	case len(databases) == 1 && len(files) == 0 && !databases[0].ReadOnly:
		databases[0].Clear = true
	default:
		return usageError{fmt.Errorf("--clear: there is no way to empty %s, which is not one data file or database: make an empty one", c.dstName)}
	}
	return nil
}

// databasesOf returns the sections of SQL databases in a storage.
func databasesOf(s config.Storage) (databases []*config.RelStorage) {
	for part := range config.All(s) {
		if d, ok := part.(*config.RelStorage); ok {
			databases = append(databases, d)
		}
	}
	return databases
}

// forgets reports whether a storage keeps the newest revision of each object only.
func forgets(s config.Storage) bool {
	return slices.ContainsFunc(databasesOf(s), func(d *config.RelStorage) bool { return !d.KeepHistory })
}

func (c *copying) close() (err error) {
	if c.dst != nil {
		err = c.dst.Close()
	}
	if c.src != nil {
		err = errors.Join(err, c.src.Close())
	}
	return err
}

// work copies and compares.
func (c *copying) work(ctx context.Context) error {
	if c.dst == nil || c.dryRun && c.clear {
		return c.explainAll()
	}
	if c.config != "" && !c.incremental && c.dst.LastTID() != 0 && !c.dryRun {
		return fmt.Errorf("the destination has data up to %v: --incremental goes on from there, --clear throws them away", c.dst.LastTID())
	}
	if c.dryRun {
		if err := c.explain(ctx); err != nil || !c.verify {
			return err
		}
		return c.compare(ctx)
	}
	if err := c.copy(ctx); err != nil {
		return err
	}
	if c.verify {
		return c.compare(ctx)
	}
	return nil
}

// explainAll says that everything would be copied.
func (c *copying) explainAll() error {
	if c.clear && c.dst != nil {
		c.say("%s would be emptied: it has %d objects, up to transaction %v\n", c.dstName, c.dst.Info().Objects, c.dst.LastTID())
	}
	c.say("all of %s would be copied, up to transaction %v (%s)\n", c.srcName, c.src.LastTID(), when(c.src.LastTID()))
	if c.verify {
		return errors.New("there is nothing to verify yet")
	}
	return nil
}

// explain says what would be copied.
func (c *copying) explain(ctx context.Context) error {
	r, err := transfer.Check(ctx, c.dst, c.src, c.options())
	c.note(r)
	if err != nil {
		return err
	}
	last := c.src.LastTID()
	switch {
	case r.Resumed == 0:
		return c.explainAll()
	case r.Resumed == last:
		c.say("nothing would be copied: %s ends with transaction %v (%s), as %s does\n", c.dstName, last, when(last), c.srcName)
	default:
		c.say("what follows transaction %v (%s) would be copied, up to transaction %v (%s)\n", r.Resumed, when(r.Resumed), last, when(last))
	}
	return nil
}

func (c *copying) options() transfer.Options {
	return transfer.Options{From: c.from, To: c.to, WithoutBlobs: c.withoutBlobs, BatchBytes: int64(c.batch), NoHistory: forgets(c.dstConf), Progress: c.bar.show}
}

func (c *copying) copy(ctx context.Context) error {
	c.bar.begin("copied")
	r, err := transfer.Copy(ctx, c.dst, c.src, c.options())
	c.bar.end()
	c.note(r)
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted after transaction %v; the same command goes on from there", c.dst.LastTID())
	}
	if _, ok := errors.AsType[*transfer.HistoryError](err); ok {
		return fmt.Errorf("%w; --clear would empty it", err)
	}
	if err != nil {
		return err
	}
	c.reached = max(r.Resumed, r.Last)
	took := time.Since(c.began)
	c.say("copied %d transactions with %d records (%s) and %d blobs (%s) in %v\n",
		r.Transactions, r.Records, bytesText(r.Bytes), r.Blobs, bytesText(r.BlobBytes), took.Round(time.Millisecond))
	if r.BlobsMissing > 0 {
		fmt.Fprintf(c.err, "warning: %d blobs have no file in %s, and none in the copy\n", r.BlobsMissing, c.srcName)
	}
	return nil
}

// note keeps the result for the report.
func (c *copying) note(r transfer.Result) {
	tid := func(t zodb.TID) string {
		if t == 0 {
			return ""
		}
		return t.String()
	}
	x := &c.report
	x.Resumed, x.First, x.Last = tid(r.Resumed), tid(r.First), tid(r.Last)
	x.Transactions, x.Records, x.Bytes = r.Transactions, r.Records, r.Bytes
	x.Blobs, x.BlobBytes, x.BlobsMissing = r.Blobs, r.BlobBytes, r.BlobsMissing
}

// compare compares what there is in both, after a copy up to where it came.
func (c *copying) compare(ctx context.Context) error {
	o := transfer.VerifyOptions{From: c.from, To: c.to, WithoutBlobs: c.withoutBlobs, NoHistory: forgets(c.dstConf), Progress: c.bar.show}
	if o.To == 0 {
		o.To = c.reached // a live source may have gone on since
	}
	c.bar.begin("compared")
	v, err := transfer.Verify(ctx, c.dst, c.src, o)
	c.bar.end()
	if err != nil {
		return err
	}
	c.report.Verified, c.report.Differences = &v.Transactions, &v.Count
	for _, d := range v.Differences {
		e := differenceEntry{TID: d.TID.String(), Kind: string(d.Kind), Detail: d.Detail}
		if d.Object {
			e.OID = d.OID.String()
		}
		c.report.FirstOnes = append(c.report.FirstOnes, e)
		c.say("%v\n", d)
	}
	if !v.Equal() {
		return fmt.Errorf("%d differences between %s and %s", v.Count, c.srcName, c.dstName)
	}
	if o.NoHistory {
		c.say("verified the current revisions of %d objects and %d blobs, for the copy keeps no history: no difference\n", v.Records, v.Blobs)
		return nil
	}
	c.say("verified %d transactions with %d records and %d blobs: no difference\n", v.Transactions, v.Records, v.Blobs)
	return nil
}

// say prints for people.
func (c *copying) say(format string, args ...any) {
	if !c.json {
		fmt.Fprintf(c.out, format, args...)
	}
}
