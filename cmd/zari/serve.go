package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/config/pylog"
	"github.com/zaridb/zari/config/zconfig"
)

// Addresses that are served unless others are given.
const (
	defaultAddress = "127.0.0.1:8100"
	defaultMetrics = "127.0.0.1:8102"
)

const serveLong = `Serve a storage, such as a Data.fs, or what a zeo.conf names, to ZODB clients over
ZEO. How else storages are named says zari help storages.

A file that does not exist is created. An existing zeo.conf works as it is; what
it names and Zari does not have is an error that names the line. With -a, a
zope.conf or zodb.conf will do: its databases are served by their names.

A client that asks for storage 1@2026-11-01T10:00 (UTC), 1@-2h or 1@0xTID in place
of storage 1 reads the database as it was then.

With --import SOURCE clients are served at once from SOURCE, a file or a URL as
zari copy takes them, while it is copied to Data.fs. What they write is kept in
Data.fs.import until the copy is complete; then Data.fs is the database, and SOURCE
is not needed any more. Nobody else may write to SOURCE meanwhile. A server that is
killed goes on when it is started again with the same command.

Metrics for Prometheus are at http://127.0.0.1:8102/metrics, /healthz and /readyz
beside them; see --metrics-address.

Signals: SIGTERM and SIGINT let transactions that have voted finish and then end
the server; a second one ends it at once. SIGHUP and SIGUSR2 open the log files
anew and read the certificates again.`

const serveExample = `  zari serve Data.fs
  zari serve -a 0.0.0.0:8100 --blob-dir blobs var/Data.fs
  zari serve -a /run/zari.sock Data.fs
  zari serve zeo://central.example.com:8100
  zari serve -C /etc/zope/zeo.conf
  zari serve -a 8100 -C zope.conf
  zari serve --import 'file:///old/Data.fs?blobstorage_dir=/old/blobs' --blob-dir blobs Data.fs

  # then, in Python:
  #   import ZEO; connection = ZEO.connection(('127.0.0.1', 8100))`

const serveExits = `
EXIT STATUS
  0  the server was told to end, and did
  1  it could not start, or had to give up
  2  the command line or the configuration is wrong`

// serveFlags is the command line of zari serve.
type serveFlags struct {
	address  string
	config   string
	blobDir  string
	from     string // --import
	metrics  string
	readOnly bool
	drain    time.Duration
}

func newServeCommand() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:     "serve [flags] STORAGE | serve -C zeo.conf",
		Short:   "Serve a database to ZODB clients",
		Long:    serveLong + "\n" + serveExits,
		Example: serveExample,
		Args:    usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := f.load(args)
			if err != nil {
				return usageError{err}
			}
			return serve(cmd.Context(), cfg, f)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.address, "address", "a", "", "where clients connect: HOST:PORT, PORT, or the path of a Unix socket (default "+defaultAddress+")")
	flags.StringVarP(&f.config, "configure", "C", "", "a zeo.conf")
	flags.StringVar(&f.blobDir, "blob-dir", "", "directory for blobs")
	flags.StringVar(&f.from, "import", "", "serve the database of this file or URL, and copy it to Data.fs meanwhile")
	flags.StringVar(&f.metrics, "metrics-address", "", "where metrics and health are: HOST:PORT, or off (default "+defaultMetrics+", if that is free)")
	flags.BoolVar(&f.readOnly, "read-only", false, "let no client write; files are not locked")
	flags.DurationVar(&f.drain, "drain", 30*time.Second, "how long voted transactions may take to finish when the server is told to end")
	return cmd
}

// load makes a configuration of the command line.
func (f *serveFlags) load(args []string) (*config.Config, error) {
	if (f.config == "") == (len(args) == 0) {
		return nil, errors.New("name either a storage, such as a Data.fs, or, with -C, a configuration file")
	}
	var cfg *config.Config
	var err error
	if f.config != "" {
		load := config.Load
		if f.address != "" {
			load = config.LoadStorages // it need not say where clients connect
		}
		if cfg, err = load(f.config, os.LookupEnv); err != nil {
			return nil, err
		}
		if f.blobDir != "" {
			return nil, errors.New("--blob-dir does not go with -C: name the directory in the file")
		}
		if f.from != "" {
			return nil, errors.New("--import does not go with -C: name the Data.fs to import into on the command line")
		}
	} else if cfg, err = f.single(args[0]); err != nil {
		return nil, err
	}
	if f.from != "" {
		if err := f.importing(cfg); err != nil {
			return nil, err
		}
	}
	return cfg, f.override(cfg)
}

// single is the configuration for one storage.
func (f *serveFlags) single(where string) (*config.Config, error) {
	if strings.EqualFold(filepath.Ext(where), ".conf") {
		return nil, fmt.Errorf("%s is a configuration file: zari serve -C %s, or %s#NAME for one of its storages", where, where, where)
	}
	storage, notes, err := config.FindStorage(where, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	if err := f.addBlobs(storage); err != nil {
		return nil, err
	}
	format, err := pylog.Compile("%(asctime)s %(levelname)s %(name)s %(message)s", pylog.DefaultDateFormat)
	if err != nil {
		return nil, err
	}
	stderr := config.LogFile{Path: "STDERR", Format: format}
	return &config.Config{
		ZEO:      config.NewServer(os.LookupEnv),
		Storages: []config.Storage{storage},
		EventLog: &config.EventLog{Level: pylog.Info, Files: []config.LogFile{stderr}},
		Notes:    notes,
	}, nil
}

func (f *serveFlags) addBlobs(s config.Storage) error {
	if f.blobDir == "" {
		return nil
	}
	file, ok := s.(*config.FileStorage)
	if !ok || file.BlobDir != "" {
		return errors.New("--blob-dir goes with a Data.fs that has no blobs otherwise")
	}
	file.BlobDir = f.blobDir
	return nil
}

// importing has the one file of the configuration filled from another storage.
func (f *serveFlags) importing(cfg *config.Config) error {
	if f.readOnly {
		return errors.New("--import does not go with --read-only: it writes what it copies")
	}
	source, notes, err := config.FindStorage(f.from, nil)
	if err != nil {
		return fmt.Errorf("--import: %w", err)
	}
	destination, ok := cfg.Storages[0].(*config.FileStorage)
	if !ok {
		return errors.New("--import fills a Data.fs: name one as the destination")
	}
	cfg.Notes = append(cfg.Notes, notes...)
	cfg.Storages[0] = &config.Import{Section: config.Section{Type: "import", Name: "1"}, Source: source, Destination: destination}
	return nil
}

// override lets flags win over the file.
func (f *serveFlags) override(cfg *config.Config) error {
	address := f.address
	if address == "" && f.config == "" {
		address = defaultAddress
	}
	if address != "" {
		a, err := zconfig.SocketAddress(address)
		if err != nil {
			return fmt.Errorf("--address: %w", err)
		}
		cfg.ZEO.Address = a
	}
	switch {
	case strings.EqualFold(f.metrics, "off"):
		cfg.ZEO.NoMetrics = true
	case f.metrics != "":
		a, err := zconfig.SocketConnectionAddress(f.metrics)
		if err != nil {
			return fmt.Errorf("--metrics-address: %w", err)
		}
		cfg.ZEO.MetricsAddress, cfg.ZEO.NoMetrics = &a, false
	}
	cfg.ZEO.ReadOnly = cfg.ZEO.ReadOnly || f.readOnly
	return nil
}

func serve(ctx context.Context, cfg *config.Config, f serveFlags) error {
	s := &service{cfg: cfg, readOnly: f.readOnly, drain: f.drain}
	defer s.close()
	_ = slackenTimers() // without it all goes as well, for more processor time
	if err := s.open(ctx); err != nil {
		return err
	}
	return s.run(ctx)
}
